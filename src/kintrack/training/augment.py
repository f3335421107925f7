"""Clips varied: seen from elsewhere, pixels and places alike, and with some of it left out.

All is drawn once for each clip. What changed from frame to frame would be motion, and nobody moves like that.
"""

import math

import numpy as np
from numpy.random import Generator

from kintrack.config_data import AugmentConfig, DropoutConfig
from kintrack.core import boxes
from kintrack.core.detections import Bools, Detections, Floats
from kintrack.core.tracks import Tracks
from kintrack.core.transforms import Affine, Shape, apply_to_detections, fit, flip, rescale, rotate


def random_view(
    config: AugmentConfig, share: float, shape: Shape, rng: Generator, has_pixels: bool = True
) -> tuple[Affine, Shape] | None:
    """Mirrored, turned and rescaled by chance: where a video's points go, and the shape of all that is then in view.

    Args:
        config: flip, quarters, rotate and scale are used.
        share: of the clips that are seen from elsewhere; None is returned for the others.
        shape: (Y, X) of the video.
        rng: nothing is drawn from it where nothing is to be varied.
        has_pixels: False for a model of geometry alone, to which mirrors and quarter turns make no difference.
    """
    is_free = config.rotate > 0 or config.scale > 1
    if not is_free and not (has_pixels and (config.flip or config.quarters)):
        return None
    if rng.random() >= share:
        return None
    quarters, mirrored = int(rng.integers(4)) if config.quarters else 0, rng.random() < config.flip
    view = rotate(90.0 * quarters)
    if mirrored:
        view = flip(shape, "x") @ view
    if is_free:
        factor = math.exp(rng.uniform(-1, 1) * math.log(config.scale))
        view = rescale(factor) @ rotate(rng.uniform(-config.rotate, config.rotate)) @ view
    return fit(view, shape)


def seen_from(truth: Tracks, view: Affine, shape: Shape) -> Tracks:
    """The tracks where a view puts them, in an image of ``shape`` (Y, X).

    A box around keypoints is drawn around them anew. Any other is the box around the ellipse that fills it, turned:
    the corners of a box are seldom of its animal, and with them boxes would grow in every turn.
    """
    before = truth.detections
    after = apply_to_detections(before, view, shape)
    lower, upper = boxes.corners(before.box)  # not `sides`, which would call a nan box empty
    half = np.sqrt((0.5 * (upper - lower)) ** 2 @ (view.matrix[:, :2] ** 2).T)
    middle = view(0.5 * (lower + upper))
    box = np.concatenate([middle - half, middle + half], axis=1)
    if before.keypoints is not None and after.keypoints is not None:
        box = np.where(_is_around_keypoints(before)[:, None], boxes.around_points(after.keypoints), box)
    return Tracks(after.with_columns(box=box), truth.track, truth.parent, truth.names, truth.confidence)


def _is_around_keypoints(detections: Detections) -> Bools:
    """(N,) whether a row's box is that around its keypoints."""
    assert detections.keypoints is not None
    drawn = boxes.around_points(detections.keypoints)
    return np.asarray(np.isclose(drawn, detections.box, rtol=0, atol=1e-6, equal_nan=True).all(axis=1))


def left_out(detections: Detections, config: DropoutConfig, rng: Generator) -> Bools:
    """(N,) the rows that are left out by chance, of each frame at most so many."""
    n = len(detections)
    if not config.share:
        return np.zeros(n, np.bool_)
    luck = rng.random(n)
    gone = luck < config.share
    if config.most is None:
        return np.asarray(gone)
    order = np.lexsort((luck, detections.frame))  # the unluckiest of each frame first
    frame = detections.frame[order]
    place = np.empty(n, np.int64)
    place[order] = np.arange(n) - np.searchsorted(frame, frame)
    return np.asarray(gone & (place < config.most))


def without_some_keypoints(detections: Detections, config: DropoutConfig, rng: Generator) -> Detections:
    """The rows with some keypoints blanked by chance, of each at most so many; one of each row stays.

    Boxes around keypoints are drawn around those that are left.
    """
    if not config.share or detections.keypoints is None:
        return detections
    seen = ~np.isnan(detections.keypoints).any(axis=2)
    luck = np.where(seen, rng.random(seen.shape), np.inf)
    place = np.argsort(np.argsort(luck, axis=1), axis=1)
    most = seen.sum(axis=1) - 1 if config.most is None else np.minimum(seen.sum(axis=1) - 1, config.most)
    gone = (luck < config.share) & (place < most[:, None])
    keypoints: Floats = np.where(gone[..., None], np.nan, detections.keypoints)
    score = detections.keypoint_score
    around = _is_around_keypoints(detections)[:, None]
    return detections.with_columns(
        keypoints=keypoints,
        keypoint_score=None if score is None else np.where(gone, np.nan, score),
        box=np.where(around, boxes.around_points(keypoints), detections.box),
    )


__all__ = ["left_out", "random_view", "seen_from", "without_some_keypoints"]
