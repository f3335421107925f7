"""What a body looks like to a detector: a box, and keypoints where it has them, from where it is and how it lies."""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kintrack.core.boxes import around_points, from_centre
from kintrack.core.detections import Skeleton
from kintrack.sim.motion import along, smooth_noise

Floats = NDArray[np.float64]


class Shapes(NamedTuple):
    """N bodies as their detector sees them."""

    box: Floats
    """(N, 4) x0 y0 x1 y1, pixels."""
    area: Floats | None = None
    """(N,) pixels of the mask."""
    keypoints: Floats | None = None
    """(N, K, 2) pixels."""


def turn_after(heading: Floats, max_turn: float) -> Floats:
    """(T, M) how bodies lie that follow the direction of travel (T, M), turning at most `max_turn` radians a frame.

    >>> turn_after(np.array([[0.0], [1.0], [1.0]]), 0.6).round(1).tolist()
    [[0.0], [0.6], [1.0]]
    """
    turned = np.array(heading, np.float64)
    for t in range(1, len(heading)):
        error = (heading[t] - turned[t - 1] + np.pi) % (2 * np.pi) - np.pi
        turned[t] = turned[t - 1] + np.clip(error, -max_turn, max_turn)
    return turned


def ellipses(centre: Floats, length: Floats, width: Floats, heading: Floats) -> Shapes:
    """The smallest upright boxes around rotated ellipses.

    Half a side is ``sqrt((a cos h)^2 + (b sin h)^2)`` for half axes a, b and heading h, and the same with sine and
    cosine exchanged.
    """
    a, b, c, s = length / 2, width / 2, np.cos(heading), np.sin(heading)
    half = np.stack([np.hypot(a * c, b * s), np.hypot(a * s, b * c)], axis=-1)
    return Shapes(from_centre(centre, 2 * half), area=np.pi * a * b)


def spines(centre: Floats, length: Floats, headings: Floats) -> Floats:
    """(N, K, 2) points from head to tail, evenly spaced and with their mean in the centre.

    Args:
        centre: (N, 2) the middle of the body.
        length: (N,) from head to tail when straight.
        headings: (N, K - 1) of the segments, head first.
    """
    segment = along(headings) * (length / headings.shape[1])[:, None, None]
    spine = np.concatenate([np.zeros_like(segment[:, :1]), -np.cumsum(segment, axis=1)], axis=1)
    return np.asarray(spine + (centre - spine.mean(axis=1))[:, None], np.float64)


def chains(spine: Floats, width: Floats, headings: Floats) -> Shapes:
    """Bodies of keypoints: the spine (N, K, 2), head first, with a left and a right point beside its middle.

    The box is around all of them. `width` (N,) is from the left to the right point.
    """
    middle = spine[:, spine.shape[1] // 2]
    aside = along(headings[:, headings.shape[1] // 2] + np.pi / 2) * (width / 2)[:, None]
    keypoints = np.concatenate([spine, (middle - aside)[:, None], (middle + aside)[:, None]], axis=1)
    return Shapes(around_points(keypoints), keypoints=keypoints)


def chain_skeleton(n_spine: int) -> Skeleton:
    """The names and edges of `chains` with a spine of `n_spine` keypoints.

    >>> chain_skeleton(3).names
    ('head', 'thorax', 'abdomen', 'left', 'right')
    """
    spine = {2: ("head", "tail"), 3: ("head", "thorax", "abdomen")}.get(
        n_spine, ("head", *(f"spine{i}" for i in range(1, n_spine - 1)), "tail")
    )
    middle, left, right = n_spine // 2, n_spine, n_spine + 1
    edges = (*((i, i + 1) for i in range(n_spine - 1)), (middle, left), (middle, right))
    return Skeleton((*spine, "left", "right"), edges, symmetries=((left, right),), name="chain")


def reaches(rng: Generator, n_frames: int, size: Floats, limbs: float, persistence: float) -> Floats:
    """(T, M, 4) by how many pixels limbs stretch each side of the box of each of M bodies, outwards.

    Most of the time a limb is at rest beside the body, and sometimes far out: the square of the positive half of a
    smooth normal noise, whose standard deviation is the square root of 5/4.
    """
    noise = smooth_noise(rng, n_frames, (len(size), 4), persistence)
    return np.asarray(np.maximum(noise, 0.0) ** 2 * (limbs / np.sqrt(1.25) * size)[:, None], np.float64)


def stretched(box: Floats, reach: Floats | None) -> Floats:
    """Boxes (N, 4) whose sides were pushed outwards by a number of pixels each; None: by nothing."""
    return box if reach is None else box + reach * [-1.0, -1.0, 1.0, 1.0]
