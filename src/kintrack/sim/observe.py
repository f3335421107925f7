"""What a detector makes of the truth: it misses, it is inexact, it sees what is not there.

truth ── annotated ── missed (singly, in bursts, in blank frames, behind others and objects) ── merged ── jittered
      ── false ones added ── scored ── shuffled
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kintrack.core import boxes
from kintrack.core.detections import Detections
from kintrack.core.sightings import point_size
from kintrack.core.tracks import Tracks
from kintrack.sim.hiding import behind_objects, covered_share, in_bursts, merge, nearness
from kintrack.sim.motion import generator
from kintrack.sim.noise import NoiseConfig

__all__ = ["NoiseConfig", "Observation", "covered_share", "nearness", "observe"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Observation(NamedTuple):
    """What was detected, and who it really was."""

    detections: Detections
    """N rows, those of a frame in random order, with scores."""
    identity: Ints
    """(N,) the true track of each row; -1 for false detections."""


def observe(
    truth: Tracks, noise: NoiseConfig | Mapping[str, Any] | None = None, seed: int | Generator = 0
) -> Observation:
    """Detections as a fallible detector would give them, and the identity of each, -1 for false ones.

    Rows of a frame are in random order, so their order says nothing. Columns that a detector does not give (labels,
    extra, who made a row) are left out, because they would belong to the truth. The same truth, noise and seed give the
    same detections.
    """
    noise = NoiseConfig.of(noise)
    rng = generator(seed)
    covered = covered_share(truth) if noise.occlusion is not None else np.zeros(len(truth))
    missed = rng.random(len(truth)) < noise.miss
    missed |= in_bursts(truth, noise, rng)
    blank = np.zeros(truth.detections.n_frames, bool)
    if noise.blank_frames:
        blank = rng.random(len(blank)) < noise.blank_frames
        missed |= blank[truth.detections.frame]
    if noise.occlusion is not None:
        missed |= covered > noise.occlusion
    source = Detections(
        truth.detections.frame, truth.detections.box, area=truth.detections.area, keypoints=truth.detections.keypoints,
        skeleton=truth.detections.skeleton, video=truth.detections.video,
    )  # fmt: skip
    size = _sizes(source, noise)
    if noise.keyframes is not None:
        source = _annotated(source, truth.track, noise.keyframes, noise.held_sides, rng)
    if noise.occluders:
        missed |= behind_objects(source, size, noise, rng)
    kept = np.flatnonzero(~missed)
    seen, known = source.take(kept), truth.track[kept]
    if noise.merge:
        seen, known, single = merge(seen, known, size[kept], noise, rng)
        kept = kept[single]
    seen = _jittered(seen, size[kept], noise, rng, truth.track[kept])
    # A logistic of a normal variable: most true detections above 0.8, most false ones below 0.7, with an overlap.
    seen = seen.with_columns(score=_logistic(rng.normal(2.5 - 2.0 * covered[kept], 1.0)))
    false = _false(source, size, truth.detections.n_frames, noise, rng)
    false = false.take(np.flatnonzero(~blank[false.frame]))
    both = Detections.concat([seen, false])
    order = np.argsort(np.concatenate([seen.frame, false.frame]), kind="stable")
    identity = np.concatenate([known, np.full(len(false), -1)])[order]
    shuffled = np.lexsort((rng.random(len(both)), both.frame))
    return Observation(_rounded(both, noise.grid).take(shuffled), identity[shuffled])


def _sizes(detections: Detections, noise: NoiseConfig) -> Floats:
    """(N,) the unit of each row's jitter: its size, or for points the config's."""
    size = boxes.size(detections.box)
    points = ~(size > 0)
    if points.any():
        size[points] = noise.point_size or point_size(detections)
    return size


def _jittered(
    rows: Detections, size: Floats, noise: NoiseConfig, rng: Generator, track: Ints | None = None
) -> Detections:
    """Every row a little off: in place, in its sides, and in its keypoints, around which its box is then drawn anew.

    What is off for a while belongs to a track (N,); without tracks nothing is.
    """
    n, d = len(rows), rows.ndim
    shift = rng.standard_normal((n, d)) * noise.jitter * size[:, None]
    stretch = noise.scale_jitter * rng.standard_normal((n, d))
    slow = np.zeros((n, d))
    if track is not None and (noise.slow_jitter or noise.slow_scale_jitter):
        error = remembered(rng, track, rows.frame, 2 * d, noise.slow_length)
        slow = error[:, :d] * noise.slow_jitter * size[:, None]
        stretch += error[:, d:] * noise.slow_scale_jitter
    scale = noise.rescale * np.exp(stretch)
    if rows.keypoints is not None:
        keypoints = _jittered_keypoints(rows, size, scale, noise, rng) + slow[:, None]
        return rows.with_columns(keypoints=keypoints, box=boxes.around_points(keypoints))
    lower, upper = boxes.corners(rows.box)  # not `sides`, which would call a nan box empty
    middle = 0.5 * (lower + upper) + shift + slow
    half = 0.5 * (upper - lower) * scale
    area = None if rows.area is None else rows.area * scale.prod(axis=1)
    return rows.with_columns(box=np.concatenate([middle - half, middle + half], axis=1), area=area)


def remembered(rng: Generator, track: Ints, frame: NDArray[np.integer], n_columns: int, length: float) -> Floats:
    """(N, C) standard normal errors that each track remembers for `length` frames, however many it was not seen in.

    The autoregression of `kintrack.sim.motion.smooth_noise`, with ``k^g`` across a gap of g frames. Rows of nobody
    (-1) remember nothing.
    """
    error = rng.standard_normal((len(track), n_columns))
    order = np.lexsort((frame, track))
    order = order[track[order] >= 0]
    new = np.r_[True, np.diff(track[order]) != 0][: len(order)]
    starts = np.flatnonzero(new)
    place = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    turns = np.argsort(place, kind="stable")  # first everyone's first row, then everyone's second one ...
    for now in np.split(turns, np.flatnonzero(np.diff(place[turns])) + 1)[1:]:
        row, before = order[now], order[now - 1]
        keep = np.exp(-(frame[row] - frame[before]) / length)[:, None]
        error[row] = keep * error[before] + np.sqrt(1.0 - keep**2) * error[row]
    return error


def _annotated(rows: Detections, track: Ints, every: tuple[int, int], held_sides: bool, rng: Generator) -> Detections:
    """Rows as an annotator draws them: in key frames, with boxes and keypoints on straight lines between.

    Each uninterrupted stretch of a track has its own interval, and its first and last row are always drawn. Sides that
    are held are those of the last key frame; a body of keypoints has no sides of its own to be held.
    """
    order = np.lexsort((rows.frame, track))
    if not len(order):
        return rows
    begins = np.r_[True, (np.diff(track[order]) != 0) | (np.diff(rows.frame[order]) != 1) | (track[order][1:] < 0)]
    stretch = np.cumsum(begins) - 1
    place = np.arange(len(order)) - np.flatnonzero(begins)[stretch]
    interval = rng.integers(every[0], every[1] + 1, int(stretch[-1]) + 1)[stretch]
    key = np.flatnonzero((place % interval == 0) | np.r_[begins[1:], True])

    def between(column: Floats) -> Floats:
        flat = column.reshape(len(column), -1)[order]
        drawn = np.empty_like(flat)
        for c in range(flat.shape[1]):
            drawn[order, c] = np.interp(np.arange(len(order)), key, flat[key, c])
        drawn = drawn.reshape(column.shape)
        return np.where(np.isnan(drawn) | np.isnan(column), column, drawn)  # who is not visible stays so

    keypoints = None if rows.keypoints is None else between(rows.keypoints)
    box = between(rows.box) if keypoints is None else boxes.around_points(keypoints)
    if held_sides and keypoints is None:
        last = np.empty(len(order), np.int64)
        last[order] = order[key[np.searchsorted(key, np.arange(len(order)), side="right") - 1]]
        box = boxes.from_centre(boxes.centre(box), boxes.sides(rows.box)[last])
    return rows.with_columns(box=box, keypoints=keypoints, area=None if rows.area is None else between(rows.area))


def _rounded(rows: Detections, grid: float) -> Detections:
    """Boxes, and keypoints where there are, on multiples of `grid` pixels; a side of a box that has one keeps one."""
    if not grid:
        return rows
    if rows.keypoints is not None:
        keypoints = np.round(rows.keypoints / grid) * grid
        return rows.with_columns(keypoints=keypoints, box=boxes.around_points(keypoints))
    lower, sides = np.round(boxes.corners(rows.box)[0] / grid) * grid, boxes.sides(rows.box)
    upper = lower + np.where(sides > 0, np.maximum(np.round(sides / grid), 1.0), 0.0) * grid
    return rows.with_columns(box=np.concatenate([lower, upper], axis=1))


def _jittered_keypoints(rows: Detections, size: Floats, scale: Floats, noise: NoiseConfig, rng: Generator) -> Floats:
    assert rows.keypoints is not None
    keypoints = rows.keypoints + rng.standard_normal(rows.keypoints.shape) * (noise.jitter * size)[:, None, None]
    middle = rows.centre[:, None]
    keypoints = middle + (keypoints - middle) * scale[:, None]
    lost = rng.random(keypoints.shape[:2])
    visible = ~np.isnan(keypoints).any(axis=2)
    luckiest = np.where(visible, lost, -1.0).argmax(axis=1)
    gone = lost < noise.keypoint_miss
    gone[np.arange(len(gone)), luckiest] = False
    return np.asarray(np.where(gone[..., None], np.nan, keypoints), np.float64)


def _false(source: Detections, size: Floats, n_frames: int, noise: NoiseConfig, rng: Generator) -> Detections:
    """Detections of nothing: each takes its form from a true one, and lies near it or anywhere."""
    models = np.flatnonzero(np.isfinite(source.box).all(axis=1))
    n = int(rng.poisson(noise.false_rate * len(models) / noise.false_length))
    model = rng.choice(models, n) if n else np.zeros(0, np.int64)
    near = rng.random(n) < noise.false_near
    lower, upper = _extent(source)
    centre = source.centre[model]
    beside = centre + rng.standard_normal((n, source.ndim)) * 0.6 * size[model][:, None]
    anywhere = rng.uniform(lower, upper, (n, source.ndim))
    shift = np.where(near[:, None], beside, anywhere) - centre
    begin = np.where(near, source.frame[model], rng.integers(0, max(n_frames, 1), n))
    length = rng.geometric(1.0 / noise.false_length, n)
    which = np.repeat(np.arange(n), length)
    frame = begin[which] + np.arange(len(which)) - np.repeat(np.cumsum(length) - length, length)
    which, frame = which[frame < n_frames], frame[frame < n_frames]
    order = np.argsort(frame, kind="stable")
    which, frame = which[order], frame[order]
    rows, moved = model[which], shift[which]
    form = replace(
        source,
        frame=frame.astype(np.int32),
        box=source.box[rows] + np.tile(moved, 2),
        area=None if source.area is None else source.area[rows],
        keypoints=None if source.keypoints is None else source.keypoints[rows] + moved[:, None],
    )
    form = _jittered(form, size[rows], noise.model_copy(update={"scale_jitter": noise.scale_jitter + 0.25}), rng)
    return form.with_columns(score=_logistic(rng.normal(0.0, 1.0, len(form))))


def _extent(detections: Detections) -> tuple[Floats, Floats]:
    """Lower and upper corner of where anything can be: the picture where its shape is known, else what was seen."""
    info = detections.video
    if info is not None and info.shape is not None and detections.ndim == 2:
        return np.zeros(2), np.asarray(info.shape[::-1], np.float64)
    lower, upper = boxes.corners(detections.box)
    if not np.isfinite(lower).all(axis=1).any():
        return np.zeros(detections.ndim), np.ones(detections.ndim)
    return np.nanmin(lower, axis=0), np.nanmax(upper, axis=0)


def _logistic(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-x)), np.float64)
