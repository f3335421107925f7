"""How a track has looked so far: one sighting may be blurred, in the shade or half hidden; many together are not."""

import numpy as np
from numpy.typing import NDArray

Looks = NDArray[np.float32]

FORGETTING = 0.1  # share of the newest sighting in the look of a track that was seen often


def mixed_appearance(old: Looks, new: Looks, count: NDArray[np.integer]) -> Looks:
    """(N, A) the looks of N tracks after one more sighting of each: a running mean, which slowly forgets.

        look <- look + w (new - look),   w = max(1 / count, FORGETTING)

    Of the first ten sightings it is the plain mean. It is not scaled to length one: then it would no longer be a sum of
    sightings, and how long it is says how much they agree. Who compares two looks scales them (`likeness`).

    Args:
        old: (N, A) the looks so far; 0 where the track was never looked at.
        new: (N, A) features of length one; 0 where this sighting was not looked at, which leaves the look as it was.
        count: (N,) sightings of the track, this one included, from 1 up.
    """
    share = np.maximum(1.0 / np.maximum(count, 1), FORGETTING).astype(np.float32)
    share = np.where(_seen(old), share, np.float32(1.0)) * _seen(new)
    return np.asarray(old + share[:, None] * (new - old), np.float32)


def likeness(a: Looks, b: Looks) -> Looks:
    """(N,) cosine of the angle between two looks each; 0 where one of them was never seen."""
    length = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray(np.einsum("nd,nd->n", a, b) / np.maximum(length, 1e-6), np.float32)


def _seen(look: Looks) -> NDArray[np.bool_]:
    """(N,) whether anything is known of each."""
    return np.asarray((look != 0).any(axis=1))
