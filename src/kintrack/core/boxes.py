"""Pure functions on boxes, (N, 2*ndim) arrays of pixels.

Two sentences fix the coordinates of the whole package:

* A box is ``x0 y0 x1 y1`` (in 3-D ``x0 y0 z0 x1 y1 z1``): the lower corner, then the upper.
* The pixel of row i and column j covers ``[j, j+1) x [i, i+1)``, so a box of one pixel at the origin is ``0 0 1 1``.

Formats that mean otherwise (SLEAP's pixel centres, MOTChallenge's 1-based corners) are converted where they are read.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def n_dims(box: NDArray[np.floating]) -> int:
    """2 for ``x0 y0 x1 y1``, 3 for ``x0 y0 z0 x1 y1 z1``."""
    return int(box.shape[-1]) // 2


def corners(box: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """The lower and the upper corner, each (N, ndim)."""
    d = n_dims(box)
    return box[..., :d], box[..., d:]


def centre(box: NDArray[np.floating]) -> Floats:
    """(N, ndim) middle of each box.

    >>> centre(np.array([[0.0, 0.0, 4.0, 2.0]]))
    array([[2., 1.]])
    """
    lower, upper = corners(box)
    return np.asarray(0.5 * (lower + upper), dtype=np.float64)


def sides(box: NDArray[np.floating]) -> Floats:
    """(N, ndim) lengths of the sides, never negative."""
    lower, upper = corners(box)
    return np.maximum(np.asarray(upper - lower, dtype=np.float64), 0.0)


def area(box: NDArray[np.floating]) -> Floats:
    """(N,) area in pixels (in 3-D the volume); 0 for a point.

    >>> area(np.array([[0.0, 0.0, 4.0, 2.0]]))
    array([8.])
    """
    return _product(sides(box))


def size(box: NDArray[np.floating]) -> Floats:
    """(N,) the side of the square (cube) of the same area: the unit in which kintrack measures distance.

    >>> size(np.array([[0.0, 0.0, 8.0, 2.0]]))
    array([4.])
    """
    return np.asarray(area(box) ** (1.0 / n_dims(box)), dtype=np.float64)


def _product(sides: Floats) -> Floats:
    """The product along the last axis; one axis at a time, as numpy's `prod` is slow where there are two or three."""
    product = sides[..., 0] * sides[..., 1]
    for axis in range(2, sides.shape[-1]):
        product *= sides[..., axis]
    return np.asarray(product)


def from_centre(centre: ArrayLike, sides: ArrayLike) -> Floats:
    """Boxes of the given sides (broadcast) around the given centres (N, ndim)."""
    middle = np.asarray(centre, dtype=np.float64)
    half = 0.5 * np.broadcast_to(np.asarray(sides, dtype=np.float64), middle.shape)
    return np.concatenate([middle - half, middle + half], axis=-1)


def around_points(points: NDArray[np.floating]) -> Floats:
    """(N, 2*ndim) the smallest box around each row's points (N, K, ndim); points that are nan do not count.

    A row without any visible point gives a box of nan.

    >>> around_points(np.array([[[1.0, 5.0], [3.0, 2.0], [np.nan, np.nan]]]))
    array([[1., 2., 3., 5.]])
    """
    visible = ~np.isnan(points).any(axis=-1, keepdims=True)
    lower = np.where(visible, points, np.inf).min(axis=1, initial=np.inf)
    upper = np.where(visible, points, -np.inf).max(axis=1, initial=-np.inf)
    box = np.concatenate([lower, upper], axis=-1)
    return np.where(visible.any(axis=1), box, np.nan)


def intersection(a: NDArray[np.floating], b: NDArray[np.floating]) -> Floats:
    """Area shared by boxes that broadcast against each other (..., 2*ndim)."""
    a_lower, a_upper = corners(a)
    b_lower, b_upper = corners(b)
    shared = np.minimum(a_upper, b_upper) - np.maximum(a_lower, b_lower)
    return _product(np.maximum(np.asarray(shared, np.float64), 0.0))


def paired_iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> Floats:
    """Intersection over union of boxes that broadcast against each other; 0 where both are empty.

    >>> paired_iou(np.array([0.0, 0.0, 2.0, 2.0]), np.array([1.0, 0.0, 3.0, 2.0])).round(4)
    np.float64(0.3333)
    """
    shared = intersection(a, b)
    union = area(a) + area(b) - shared
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> Floats:
    """(N, M) intersection over union of every box of a (N, 2*ndim) with every box of b (M, 2*ndim)."""
    return paired_iou(a[:, None], b[None, :])


def clip(box: NDArray[np.floating], shape: tuple[int, ...]) -> Floats:
    """The part of each box inside an image of ``shape`` (Y, X) or a volume (Z, Y, X), as numpy orders shapes."""
    limit = np.asarray(shape[::-1], dtype=np.float64)
    lower, upper = corners(box)
    return np.concatenate([np.clip(lower, 0, limit), np.clip(upper, 0, limit)], axis=-1)
