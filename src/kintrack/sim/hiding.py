"""Who is not seen, and why: behind another one, behind an object, in a burst of misses, or in one box with another."""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kintrack.core import boxes
from kintrack.core.detections import Detections
from kintrack.core.sightings import neighbours
from kintrack.core.tracks import Tracks
from kintrack.sim.noise import NoiseConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LARGEST_OCCLUDER = 1 / 3
"""What an occluder covers at most of the width and of the height of where anything can be."""


def nearness(track: Ints) -> Floats:
    """(N,) in [0, 1) how near to the camera each individual is: of two that overlap, the nearer one hides the other.

    A fixed property of the identity (the fractional part of its number times the golden ratio), so that what is drawn
    and what is detected agree; it has nothing to do with the order in which individuals appear.
    """
    return np.asarray((np.asarray(track) * 0.6180339887498949) % 1.0, np.float64)


def covered_share(truth: Tracks) -> Floats:
    """(N,) the largest share of each row's box that lies behind the box of one nearer individual in its frame."""
    frame, box = truth.detections.frame, truth.detections.box
    covered = np.zeros(len(truth))
    near, area = nearness(truth.track), boxes.area(box)
    if not (area > 0).any():
        return covered
    lower, upper = (corner.T for corner in boxes.corners(box))
    starts = np.flatnonzero(np.r_[True, np.diff(frame) != 0])
    counts = np.diff(np.r_[starts, len(frame)])
    for n in np.unique(counts[counts > 1]).tolist():  # frames with equally many rows make one dense block
        rows = starts[counts == n][:, None] + np.arange(n)
        for some in np.array_split(rows, max(1, rows.size * n // 200_000)):
            shared = (near[some][:, None, :] > near[some][:, :, None]).astype(np.float64)
            for low, high in zip(lower[:, some], upper[:, some], strict=True):
                side = np.minimum(high[:, :, None], high[:, None, :]) - np.maximum(low[:, :, None], low[:, None, :])
                shared *= np.maximum(side, 0.0)
            covered[some] = np.nan_to_num(shared).max(axis=2) / np.maximum(np.nan_to_num(area[some]), 1e-9)
    return covered


def in_bursts(truth: Tracks, noise: NoiseConfig, rng: Generator) -> Bools:
    """Which rows fall into a burst.

    Bursts start by chance in any frame of a track and overlap freely; the chance makes the share of rows that no burst
    covers equal to ``exp(-chance * mean length)``.
    """
    missed = np.zeros(len(truth), bool)
    if not noise.burst:
        return missed
    order = np.lexsort((truth.detections.frame, truth.track))
    order = order[truth.track[order] >= 0]
    track, frame = truth.track[order], truth.detections.frame[order].astype(np.int64)
    low, high = noise.burst_length
    chance = -np.log1p(-noise.burst) / (0.5 * (low + high))
    begins = rng.random(len(order)) < chance
    until = np.where(begins, frame + rng.integers(low, high + 1, len(order)), 0)
    # Tracks are laid end to end on one axis, so a running maximum never reaches from one into the next.
    apart = track * (int(frame.max(initial=0)) + high + 2)
    reach = np.maximum.accumulate(np.where(begins, until + apart, -1))
    missed[order] = reach > frame + apart
    return missed


def behind_objects(rows: Detections, size: Floats, noise: NoiseConfig, rng: Generator) -> Bools:
    """Which rows lie behind objects that stand still, each placed where somebody passes at some time.

    A row is hidden when `noise.occluder_share` of its box is behind one of them; a point, when it is.
    """
    hidden = np.zeros(len(rows), bool)
    placed = np.flatnonzero(np.isfinite(rows.box).all(axis=1))
    if not noise.occluders or not len(placed):
        return hidden
    lower, upper = boxes.corners(rows.box)
    largest = LARGEST_OCCLUDER * (upper[placed].max(axis=0) - lower[placed].min(axis=0))
    sides = np.median(size[placed]) * rng.uniform(*noise.occluder_size, (noise.occluders, rows.ndim))
    objects = boxes.from_centre(rows.centre[rng.choice(placed, noise.occluders)], np.minimum(sides, largest))
    area = boxes.area(rows.box)
    for thing in objects:
        within = ((rows.centre >= thing[: rows.ndim]) & (rows.centre < thing[rows.ndim :])).all(axis=1)
        share = boxes.intersection(rows.box, thing) / np.maximum(area, 1e-9)
        hidden |= np.where(area > 0, share > noise.occluder_share, within)
    return hidden


class Merged(NamedTuple):
    """Rows of which some stand for two individuals."""

    rows: Detections
    identity: Ints
    kept: Bools
    """Of the rows before: False for those that vanished into another one."""


def merge(rows: Detections, identity: Ints, size: Floats, noise: NoiseConfig, rng: Generator) -> Merged:
    """Close pairs seen as one, for some frames in a row: the first row becomes both, and the second one vanishes.

    The box is the union of both, in the place of points is their middle, and of two bodies each keypoint is taken from
    either. The identity is that of one of the two or, in a share of 1 - `noise.merge_owned` of the cases, nobody's.
    """
    pairs = _mergers(rows, identity, size, noise, rng)
    piece, first, second = pairs
    lucky, coin = rng.random((2, int(piece.max(initial=-1)) + 1))
    owner = np.where(coin[piece] < 0.5, identity[first], identity[second])
    identity = identity.copy()
    identity[first] = np.where(lucky[piece] < noise.merge_owned, owner, -1)
    kept = np.ones(len(rows), bool)
    kept[second] = False
    if not len(first):
        return Merged(rows, identity, kept)
    box = rows.box.copy()
    d = rows.ndim
    union = np.concatenate(
        [np.minimum(box[first, :d], box[second, :d]), np.maximum(box[first, d:], box[second, d:])], axis=1
    )
    point = ~(boxes.area(box[first]) + boxes.area(box[second]) > 0)
    box[first] = np.where(point[:, None], 0.5 * (box[first] + box[second]), union)
    keypoints, area = rows.keypoints, rows.area
    if area is not None:
        area = area.copy()
        area[first] = np.minimum(area[first] + area[second], boxes.area(box[first]))
    if keypoints is not None:
        keypoints = keypoints.copy()
        other = rng.random(keypoints[first].shape[:2]) < 0.5
        keypoints[first] = np.where(other[..., None], keypoints[second], keypoints[first])
        box[first] = boxes.around_points(keypoints[first])
    merged = rows.with_columns(box=box, area=area, keypoints=keypoints)
    return Merged(merged.take(kept), identity[kept], kept)


def _mergers(
    rows: Detections, identity: Ints, size: Floats, noise: NoiseConfig, rng: Generator
) -> tuple[Ints, Ints, Ints]:
    """Encounter, first row and second row of each pair that is seen as one.

    Candidates are each other's nearest by overlap. An encounter of two individuals is decided as a whole, but broken
    with a chance of a tenth in each frame, so that pairs that stay together are seen apart at times.
    """
    nobody = (np.zeros(0, np.int64),) * 3
    found = neighbours(rows.frame, rows.centre, 3)
    if not len(found):
        return nobody
    row, other = found.T
    solid = boxes.area(rows.box) > 0
    extended = np.where(solid[:, None], rows.box, boxes.from_centre(rows.centre, size[:, None]))
    shared = boxes.paired_iou(extended[row], extended[other])
    best, order = np.full(len(rows), -1), np.argsort(shared, kind="stable")
    order = order[shared[order] > noise.merge_overlap]
    best[row[order]] = other[order]  # the last one written overlaps most
    first = np.flatnonzero((best >= 0) & (best[best] == np.arange(len(rows))) & (best > np.arange(len(rows))))
    if not len(first):
        return nobody
    ids = np.sort(np.stack([identity[first], identity[best[first]]]), axis=0)
    order = np.lexsort((rows.frame[first], ids[1], ids[0]))
    first, ids = first[order], ids[:, order]
    going_on = (np.diff(ids, axis=1) == 0).all(axis=0) & (np.diff(rows.frame[first]) == 1)
    broken = rng.random(len(first)) < 0.1
    broken[1:] |= ~going_on
    piece = np.cumsum(broken) - broken[0]
    chosen = (rng.random(int(piece[-1]) + 1) < noise.merge)[piece]
    return piece[chosen], first[chosen], best[first[chosen]]
