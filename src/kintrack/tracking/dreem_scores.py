"""How DREEM's tracker gets from logits to scores of tracks, as pure functions on matrices (Q detections, M tracks).

logits ── softmax in each frame ── sums over each track ── overlap ── distance ── turn ── scores
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kintrack.core.boxes import centre, iou
from kintrack.core.detections import Bools, Floats, Ints

_LEAST = 1e-8  # keeps a row in which nothing is penalised from being divided by 0


def frame_probability(logits: NDArray[np.floating], frame: Ints) -> Floats:
    """(Q, R) the probability of each reference among those of its frame, where "none of them" has logit 0.

    Args:
        logits: (Q, R).
        frame: (R,) of each reference.
    """
    frames, column = np.unique(frame, return_inverse=True)
    out = np.empty(logits.shape)
    for i in range(len(frames)):
        mine = np.asarray(logits[:, column == i], np.float64)
        top = np.maximum(mine.max(axis=1, keepdims=True, initial=0.0), 0.0)
        odds = np.exp(mine - top)
        out[:, column == i] = odds / (np.exp(-top) + odds.sum(axis=1, keepdims=True))
    return out


def summed(probability: Floats, column: Ints, n: int) -> Floats:
    """(Q, M) the probabilities of each track's sightings, summed: between 0 and their number.

    Args:
        probability: (Q, R).
        column: (R,) each reference's track, as a position 0..M-1.
        n: M.
    """
    onto = np.zeros((len(column), n))
    onto[np.arange(len(column)), column] = 1.0
    return np.asarray(probability @ onto)


def with_overlap(score: Floats, box: Floats, last: Floats, how: Literal["mult", "max"] | None) -> Floats:
    """(Q, M) the scores, told how much each box (Q, 4) overlaps the track's last one (M, 4).

    ``mult``: T + |IoU - T| IoU. ``max``: the greater of the two.
    """
    if how is None:
        return score
    overlap = iou(box, last)
    return np.maximum(score, overlap) if how == "max" else score + np.abs(overlap - score) * overlap


def too_far(box: Floats, last: Floats, max_distance: float, diagonal: float = 1.0) -> Floats:
    """(Q, M) by how much the centres are farther apart than allowed, in diagonals of the image."""
    apart = np.linalg.norm(centre(box)[:, None] - centre(last)[None, :], axis=2)
    return np.asarray(np.maximum(apart / diagonal - max_distance / diagonal, 0.0))


def too_turned(axis: Floats, last: Floats, max_angle: float) -> Floats:
    """(Q, M) by how much the axes differ more than allowed, in radians; 0 where one of them is not known.

    An axis points somewhere where front and back are known; then a full turn round is π. Others have no front, and
    differ by π / 2 at most. (DREEM folds all of them, and cannot see that an animal changed front and back: its defect
    T4; one unknown axis switches the step off for the whole frame there.)

    Args:
        axis: (Q, 3) x, y of a unit vector, nan where not known, and 1 where it points somewhere, else 0.
        last: (M, 3).
        max_angle: in radians.
    """
    a, b = axis[:, None], last[None, :]
    cross = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    dot = a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1]
    turn = np.abs(np.arctan2(cross, dot))
    pointing = (a[..., 2] > 0) & (b[..., 2] > 0)
    turn = np.where(pointing, turn, np.minimum(turn, np.pi - turn))
    return np.nan_to_num(np.maximum(turn - max_angle, 0.0))


def penalised(score: Floats, violation: Floats, weight: float) -> Floats:
    """(Q, M) the scores less what each violation costs.

    A row's penalties are in proportion to its violations, and their mean is `weight` times the row's mean |score|: so
    one violation alone costs the same whether it is small or large (DREEM's D-T10, which is how it was tuned).
    """
    unit = np.abs(score).mean(axis=1) / (violation.mean(axis=1) + _LEAST)
    return np.asarray(score - weight * unit[:, None] * violation)


def log_certainty(score: Floats, temperature: float) -> Floats:
    """(Q, M) the log of the softmax over tracks of the scores divided by the temperature."""
    level = score / temperature
    level = level - level.max(axis=1, keepdims=True)
    return np.asarray(level - np.log(np.exp(level).sum(axis=1, keepdims=True)))


def uncertain(log_p: Floats, threshold: float) -> bool:
    """Whether a detection's track is so unclear that a person should look: entropy / ln(M) > 1 - threshold.

    M tracks can be confused at most so much as M equal chances are; a single one is certain. (DREEM divides by the log
    of the number of detections, which is 0 for one: its defect T11.)
    """
    n = log_p.shape[1]
    if n < 2 or threshold <= 0:
        return False
    entropy = -(np.exp(log_p) * log_p).sum(axis=1) / np.log(n)
    return bool((entropy > 1.0 - threshold).any())


def axes(keypoints: Floats, front: Ints | list[int], back: Ints | list[int]) -> Floats:
    """(N, 3) where each detection points; see `too_turned`.

    From the first keypoint of `back` that is seen to the first of `front`; where there are none, the long axis of the
    keypoints that are seen (their first principal component), which has no front.

    Args:
        keypoints: (N, K, 2), nan where not seen.
        front: positions among the K.
        back: positions among the K.
    """
    out = np.full((len(keypoints), 3), np.nan)
    to, to_known = _first_seen(keypoints, front)
    start, start_known = _first_seen(keypoints, back)
    way = to - start
    length = np.linalg.norm(way, axis=1)
    pointing = to_known & start_known & (length > 0)
    out[pointing, :2] = way[pointing] / length[pointing, None]
    out[pointing, 2] = 1.0
    for row in np.flatnonzero(~pointing):
        seen = keypoints[row][~np.isnan(keypoints[row]).any(axis=1)]
        if len(seen) > 1 and (spread := seen - seen.mean(axis=0)).any():
            # The first row of Vᵀ. (DREEM takes a column of it, which is another axis: its defect T3.)
            out[row] = (*np.linalg.svd(spread, full_matrices=False)[2][0], 0.0)
    return out


def _first_seen(keypoints: Floats, wanted: Ints | list[int]) -> tuple[Floats, Bools]:
    """(N, 2) the first of the wanted keypoints that is seen, and (N,) whether there is one."""
    place = np.full((len(keypoints), 2), np.nan)
    known = np.zeros(len(keypoints), bool)
    for k in wanted:
        here = ~known & ~np.isnan(keypoints[:, k]).any(axis=1)
        place[here] = keypoints[here, k]
        known |= here
    return place, known
