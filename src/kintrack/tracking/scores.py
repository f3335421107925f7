"""From the logits of remembered sightings to one score for each pair of a detection and a track. Pure functions."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kintrack.core.detections import Floats, Ints


def track_scores(
    logits: NDArray[np.floating],
    pairs: Ints,
    track: Ints,
    rank: Ints,
    shape: tuple[int, int],
    combine: Literal["mean", "sum"] = "mean",
) -> Floats:
    """(Q, M) how much each query is each track: a logit, -inf where no sighting of the track was compared.

    `mean`: the mean logit of the track's remembered sightings. A threshold keeps its meaning however many there are.

    `sum`: GTR's (Zhou et al. 2022): softmax, with a null of logit 0, over the sightings of one rank; the probabilities
    are summed over the ranks. The sum S is returned as the logit log(S / (1 - S)), S capped just below 1.

    Args:
        logits: (E,).
        pairs: (E, 2) of query and sighting.
        track: (R,) each sighting's track, as a position 0..M-1.
        rank: (R,) see `kintrack.core.sightings.Memory`.
        shape: (Q, M).
    """
    q, m = pairs[:, 0], track[pairs[:, 1]]
    cell = q * shape[1] + m
    n = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    if combine == "mean":
        mean = np.asarray(np.bincount(cell, weights=logits, minlength=n.size), np.float64).reshape(shape)
        np.divide(mean, n, out=mean, where=n > 0)  # in place: a crowd's matrices are large
        mean[n == 0] = -np.inf
        return mean
    group = q * (int(rank.max(initial=0)) + 1) + rank[pairs[:, 1]]
    odds = np.exp(np.minimum(logits, 50.0))
    claimed = odds / (1.0 + np.bincount(group, weights=odds))[group]
    total = np.bincount(cell, weights=claimed, minlength=n.size).reshape(shape)
    total = np.clip(total, 1e-12, 1.0 - 1e-9)
    return np.where(n > 0, np.log(total) - np.log1p(-total), -np.inf)
