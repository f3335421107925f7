"""What a detector makes of the truth: it misses, it is inexact, it sees what is not there.

truth ── missed (singly, in bursts, behind others) ── jittered ── false ones added ── scored ── shuffled
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
import pydantic
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field

from kintrack.config import Config
from kintrack.core import boxes
from kintrack.core.detections import Detections
from kintrack.core.sightings import point_size
from kintrack.core.tracks import Tracks
from kintrack.sim.motion import generator

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class NoiseConfig(Config):
    """How a detector errs. Shares are of the true detections."""

    miss: float = Field(default=0.0, ge=0, le=1)
    """Share missed singly, each by itself."""
    burst: float = Field(default=0.0, ge=0, lt=1)
    """Share missed in bursts, several frames of one individual in a row."""
    burst_length: tuple[int, int] = (2, 25)
    """Least and greatest length of a burst, in frames."""
    occlusion: float | None = Field(default=None, gt=0, le=1)
    """Share of its box above which a body that lies behind one nearer body is missed; None: never."""
    jitter: float = Field(default=0.0, ge=0)
    """Standard deviation of a box's middle and of keypoints, in x and in y, in sizes of the object."""
    scale_jitter: float = Field(default=0.0, ge=0)
    """Standard deviation of a box's width and height, in their logarithm."""
    rescale: float = Field(default=1.0, gt=0)
    """What all boxes are larger by than the truth: detectors and annotators have their habits."""
    keypoint_miss: float = Field(default=0.0, ge=0, lt=1)
    """Share of the keypoints that are missed; a detection keeps at least one."""
    false_rate: float = Field(default=0.0, ge=0)
    """False detections, as a share of the true ones."""
    false_near: float = Field(default=0.5, ge=0, le=1)
    """Share of the false detections that lie on or beside a true one; the others are anywhere."""
    false_length: float = Field(default=1.0, ge=1)
    """Frames for which a false detection stays, on average."""
    point_size: float | None = Field(default=None, gt=0)
    """Size in pixels of an object given as a point; None: a quarter of the median distance to the nearest neighbour."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        if not 1 <= self.burst_length[0] <= self.burst_length[1]:
            raise ValueError(f"burst_length is {self.burst_length}; wanted a least and a greatest length, from 1 up")
        return self


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
    missed |= _in_bursts(truth, noise, rng)
    if noise.occlusion is not None:
        missed |= covered > noise.occlusion
    source = Detections(
        truth.detections.frame, truth.detections.box, area=truth.detections.area, keypoints=truth.detections.keypoints,
        skeleton=truth.detections.skeleton, video=truth.detections.video,
    )  # fmt: skip
    size = _sizes(source, noise)
    kept = ~missed
    seen = _jittered(source.take(kept), size[kept], noise, rng)
    # A logistic of a normal variable: most true detections above 0.8, most false ones below 0.7, with an overlap.
    seen = seen.with_columns(score=_logistic(rng.normal(2.5 - 2.0 * covered[kept], 1.0)))
    false = _false(source, size, truth.detections.n_frames, noise, rng)
    both = Detections.concat([seen, false])
    order = np.argsort(np.concatenate([seen.frame, false.frame]), kind="stable")
    identity = np.concatenate([truth.track[kept], np.full(len(false), -1)])[order]
    shuffled = np.lexsort((rng.random(len(both)), both.frame))
    return Observation(both.take(shuffled), identity[shuffled])


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


def _in_bursts(truth: Tracks, noise: NoiseConfig, rng: Generator) -> Bools:
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


def _sizes(detections: Detections, noise: NoiseConfig) -> Floats:
    """(N,) the unit of each row's jitter: its size, or for points the config's."""
    size = boxes.size(detections.box)
    points = ~(size > 0)
    if points.any():
        size[points] = noise.point_size or point_size(detections)
    return size


def _jittered(rows: Detections, size: Floats, noise: NoiseConfig, rng: Generator) -> Detections:
    """Every row a little off: in place, in its sides, and in its keypoints, around which its box is then drawn anew."""
    n, d = len(rows), rows.ndim
    shift = rng.standard_normal((n, d)) * noise.jitter * size[:, None]
    scale = noise.rescale * np.exp(noise.scale_jitter * rng.standard_normal((n, d)))
    if rows.keypoints is not None:
        keypoints = _jittered_keypoints(rows, size, scale, noise, rng)
        return rows.with_columns(keypoints=keypoints, box=boxes.around_points(keypoints))
    lower, upper = boxes.corners(rows.box)  # not `sides`, which would call a nan box empty
    middle = 0.5 * (lower + upper) + shift
    half = 0.5 * (upper - lower) * scale
    area = None if rows.area is None else rows.area * scale.prod(axis=1)
    return rows.with_columns(box=np.concatenate([middle - half, middle + half], axis=1), area=area)


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


def random_noise(rng: Generator) -> NoiseConfig:
    """Noise as training wants it: from none to strong, of several kinds at once, never the same twice."""
    length = int(rng.integers(3, 26))
    return NoiseConfig(
        miss=float(rng.choice([0.01, 0.03, 0.06, 0.1])) if rng.random() < 0.5 else 0.0,
        burst=float(rng.uniform(0.01, 0.1)) if rng.random() < 0.3 else 0.0,
        burst_length=(2, length),
        occlusion=float(rng.uniform(0.4, 0.95)) if rng.random() < 0.6 else None,
        jitter=float(rng.choice([0.01, 0.02, 0.04, 0.06, 0.08])) if rng.random() < 0.6 else 0.0,
        scale_jitter=float(rng.uniform(0.0, 0.1)) if rng.random() < 0.6 else 0.0,
        rescale=float(rng.uniform(0.55, 1.2)) if rng.random() < 0.3 else 1.0,
        keypoint_miss=float(rng.uniform(0.0, 0.3)) if rng.random() < 0.4 else 0.0,
        false_rate=float(rng.choice([0.01, 0.03, 0.06])) if rng.random() < 0.45 else 0.0,
        false_near=float(rng.uniform(0.0, 1.0)),
        false_length=float(rng.uniform(1.0, 6.0)) if rng.random() < 0.3 else 1.0,
    )
