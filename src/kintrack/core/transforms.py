"""One transform for pixels and for every column at once: flip, turn, rescale, crop, and whatever they compose to. 2-D.

    mirror = flip(shape, "x")
    smaller, small = fit(rescale(0.5) @ mirror, shape)    # the mirror first, then the rescaling
    frame = apply_to_frame(frame, smaller, small)
    detections = apply_to_detections(detections, smaller, small)

Points are x y in the coordinates of `kintrack.core.boxes`, where pixel (i, j) covers ``[j, j+1) x [i, i+1)``: mirroring
an image X pixels wide takes x to X - x, and halving it takes x to x / 2, without the half pixel that indices need.
Shapes are (Y, X), as numpy orders them.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from kintrack.core.detections import Detections, Floats, Ints, Skeleton
from kintrack.errors import InputError

Shape = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Affine:
    """Where each point goes: ``[x', y'] = matrix @ [x, y, 1]``.

    Args:
        matrix: (2, 3) float64, invertible.
    """

    matrix: Floats

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (2, 3):
            raise InputError(f"an affine transform is a matrix of shape (2, 3), not {matrix.shape}")
        if not np.isfinite(matrix).all() or not _determinant(matrix):
            raise InputError(f"matrix {matrix.tolist()} cannot be inverted; a transform must not flatten the image")
        matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)

    def __call__(self, points: ArrayLike) -> Floats:
        """(..., 2) where the given points x y go; nan stays nan."""
        given = np.asarray(points, dtype=np.float64)
        return np.asarray(given @ self.matrix[:, :2].T + self.matrix[:, 2])

    def __matmul__(self, first: "Affine") -> "Affine":
        """``first``, then this one."""
        linear = self.matrix[:, :2] @ first.matrix[:, :2]
        return Affine(np.column_stack([linear, self(first.matrix[:, 2])]))

    @property
    def inverse(self) -> "Affine":
        """The way back. Exact for flips, quarter turns and crops at whole pixels."""
        (a, b, dx), (c, d, dy) = self.matrix
        # By Cramer's rule, for which a determinant of 1 or -1 is a division without rounding.
        back = np.array([[d, -b], [-c, a]]) / _determinant(self.matrix)
        return Affine(np.column_stack([back, -(back @ [dx, dy])]))

    @property
    def area_factor(self) -> float:
        """How many times larger an area becomes."""
        return abs(_determinant(self.matrix))

    @property
    def is_mirror(self) -> bool:
        """Whether left becomes right."""
        return _determinant(self.matrix) < 0

    @property
    def moves_whole_pixels(self) -> bool:
        """Whether every pixel lands on exactly one pixel: flips, quarter turns, shifts by whole pixels."""
        linear, whole = np.abs(self.matrix[:, :2]), self.matrix[:, 2] == np.round(self.matrix[:, 2])
        return bool(whole.all()) and linear.tolist() in ([[1, 0], [0, 1]], [[0, 1], [1, 0]])


def _determinant(matrix: Floats) -> float:
    return float(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])


def flip(shape: Shape, axis: Literal["x", "y"]) -> Affine:
    """Mirrors an image of this shape: left and right change places along "x", top and bottom along "y".

    >>> flip((10, 30), "x")([[1.0, 2.0]])
    array([[29.,  2.]])
    """
    if axis not in ("x", "y"):
        raise InputError(f"axis is {axis!r}; wanted 'x' (left and right change places) or 'y' (top and bottom)")
    height, width = shape
    return Affine(np.array([[-1, 0, width], [0, 1, 0]] if axis == "x" else [[1, 0, 0], [0, -1, height]], float))


def rotate(degrees: float, centre: Sequence[float] = (0.0, 0.0)) -> Affine:
    """Turns around a point x y, from the x axis towards the y axis: clockwise as an image is shown, y pointing down.

    Quarter turns are exact. `fit` brings an image that was turned around the origin back into view.

    >>> rotate(90)([[1.0, 0.0]])
    array([[0., 1.]])
    """
    quarters, rest = divmod(degrees, 90)
    if rest:
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    else:
        cos, sin = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarters) % 4]
    linear = np.array([[cos, -sin], [sin, cos]])
    middle = np.asarray(centre, dtype=np.float64)
    return Affine(np.column_stack([linear, middle - linear @ middle]))


def rescale(scale: float | tuple[float, float]) -> Affine:
    """Makes everything `scale` times as large (or by one factor along x and another along y), the origin staying.

    >>> rescale(0.5)([[8.0, 4.0]])
    array([[4., 2.]])
    """
    sx, sy = (scale, scale) if isinstance(scale, int | float) else scale
    if not (sx > 0 and sy > 0):
        raise InputError(f"scale is {scale}; wanted a factor greater than 0 (flip mirrors)")
    return Affine(np.array([[sx, 0, 0], [0, sy, 0]], float))


def crop(box: ArrayLike) -> tuple[Affine, Shape]:
    """The shift that makes a box ``x0 y0 x1 y1`` the whole image, and the shape (Y, X) of that image.

    >>> crop([10, 20, 40, 30])[1]
    (10, 30)
    """
    x0, y0, x1, y1 = np.asarray(box, dtype=np.float64).tolist()
    if not (x1 > x0 and y1 > y0):
        raise InputError(f"box {[x0, y0, x1, y1]} holds no pixel; a crop wants x0 < x1 and y0 < y1")
    return Affine(np.array([[1, 0, -x0], [0, 1, -y0]])), (math.ceil(y1 - y0), math.ceil(x1 - x0))


def fit(transform: Affine, shape: Shape) -> tuple[Affine, Shape]:
    """The transform shifted so that the whole image stays in view, and the shape (Y, X) that it then has.

    >>> fit(rotate(90), (10, 30))[1]
    (30, 10)
    """
    x0, y0, x1, y1 = _around_corners(np.array([[0, 0, shape[1], shape[0]]], float), transform)[0].tolist()
    # The hair that is taken off is rounding: 30 pixels times 0.1 must not need 4.
    shape = (max(1, math.ceil(y1 - y0 - 1e-9)), max(1, math.ceil(x1 - x0 - 1e-9)))
    return Affine(np.array([[1, 0, -x0], [0, 1, -y0]])) @ transform, shape


def apply_to_detections(detections: Detections, transform: Affine, shape: Shape) -> Detections:
    """The same rows where the transform puts them, in an image of ``shape`` (Y, X).

    * A box becomes the box around its four turned corners, so under a turn that is not a quarter it grows.
    * Keypoints move; when mirrored, left and right twins (`Skeleton.symmetries`) change places with their scores.
    * Areas grow with the transform. Labels, scores and the user's own columns stay.
    * The video keeps its length and rate and gets the new shape, but no path: the file there shows other pixels.

    No row is dropped and nothing is cut at the image's border; `in_view` says which rows are still to be seen.

    Raises:
        InputError: the detections are 3-D, or a twin is not a keypoint of the table.
    """
    if detections.ndim != 2:
        raise InputError(
            f"detections are {detections.ndim}-D; transforms move 2-D ones: take x and y of each box first"
        )
    columns: dict[str, Any] = {"box": _around_corners(detections.box, transform)}
    if detections.area is not None:
        columns["area"] = detections.area * transform.area_factor
    if detections.keypoints is not None:
        order = _twins(detections.skeleton if transform.is_mirror else None, detections.keypoints.shape[1])
        columns["keypoints"] = transform(detections.keypoints[:, order])
        if detections.keypoint_score is not None:
            columns["keypoint_score"] = detections.keypoint_score[:, order]
    if detections.video is not None:
        columns["video"] = dataclasses.replace(detections.video, path=None, shape=(int(shape[0]), int(shape[1])))
    return detections.with_columns(**columns)


def in_view(detections: Detections, shape: Shape) -> NDArray[np.bool_]:
    """(N,) whether the centre of each detection is inside an image of ``shape`` (Y, X); False where it is nan."""
    centre = detections.centre
    return np.asarray(((centre >= 0) & (centre < np.array(shape[::-1]))).all(axis=1))


def _around_corners(box: Floats, transform: Affine) -> Floats:
    """(N, 4) the box around the four transformed corners of each box."""
    turned = transform(box[:, [[0, 1], [2, 1], [2, 3], [0, 3]]])  # (N, 4 corners, x y)
    return np.concatenate([turned.min(axis=1), turned.max(axis=1)], axis=1)


def _twins(skeleton: Skeleton | None, n_keypoints: int) -> Ints:
    """(K,) which keypoint takes each one's place in a mirror."""
    order = np.arange(n_keypoints)
    for left, right in skeleton.symmetries if skeleton else ():
        if not (0 <= left < n_keypoints and 0 <= right < n_keypoints):
            raise InputError(
                f"the skeleton calls keypoints {left} and {right} twins, but there are only {n_keypoints}; "
                "give positions in its names"
            )
        order[[left, right]] = right, left
    return order


def apply_to_frame(
    frame: NDArray[Any], transform: Affine, shape: Shape, order: Literal[0, 1] = 1, fill: float = 0
) -> NDArray[Any]:
    """The pixels of a frame where the transform puts them: an image of ``shape`` (Y, X), of the frame's dtype.

    Flips, quarter turns and whole-pixel crops copy pixels, whatever the order. Else an order of 1 interpolates
    linearly, after smoothing what is shrunk, and an order of 0 takes the nearest pixel, as label images need it.

    Args:
        frame: (Y, X) or (Y, X, C).
        transform: from coordinates of the frame to coordinates of the result.
        shape: (Y, X) of the result.
        order: 1 for images, 0 for labels.
        fill: what is seen where the frame has no pixel.
    """
    if frame.ndim not in (2, 3):
        raise InputError(f"frame has shape {frame.shape}; wanted (Y, X) or (Y, X, C)")
    if order not in (0, 1):
        raise InputError(f"order is {order!r}; wanted 1 (linear, for images) or 0 (nearest, for labels)")
    x, y = _sources(transform, shape)
    column, row = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    outside = (column < 0) | (column >= frame.shape[1]) | (row < 0) | (row >= frame.shape[0])
    if order == 0 or transform.moves_whole_pixels:
        result = np.asarray(frame[row.clip(0, frame.shape[0] - 1), column.clip(0, frame.shape[1] - 1)])
    else:
        result = _interpolated(frame, transform, x, y)
    result[outside] = fill
    return result


def _sources(transform: Affine, shape: Shape) -> tuple[Floats, Floats]:
    """Where in the frame the middle of each pixel of the result comes from: x and y, which broadcast to ``shape``.

    Under a flip or a quarter turn each depends on one axis alone and stays one line of numbers, which saves most of
    the work.
    """
    new = np.arange(shape[1])[None, :] + 0.5, np.arange(shape[0])[:, None] + 0.5
    lines = transform.inverse.matrix
    x, y = (sum((k * at for k, at in zip(line, new, strict=False) if k), start=line[2]) for line in lines)
    return x, y


def _interpolated(frame: NDArray[Any], transform: Affine, x: Floats, y: Floats) -> NDArray[Any]:
    """Linear interpolation at the points x y, channel by channel; beyond the border, the border's pixels."""
    # How many new pixels an old one becomes, along y and x: below 1, neighbours must be mixed or they flicker.
    stretch = np.linalg.norm(transform.matrix[:, 1::-1], axis=0)
    blur = np.maximum(1 / stretch - 1, 0) / 2
    at = np.stack(np.broadcast_arrays(y, x)) - 0.5  # from coordinates to indices
    channels = []
    for channel in np.moveaxis(frame.reshape(*frame.shape[:2], -1), -1, 0):
        smooth = ndimage.gaussian_filter(channel, blur, mode="nearest", output=np.float64) if blur.any() else channel
        channels.append(ndimage.map_coordinates(smooth, at, frame.dtype, order=1, mode="nearest"))
    return np.asarray(np.stack(channels, axis=-1).reshape(*at.shape[1:], *frame.shape[2:]))
