"""Pixels around boxes: what the visual encoder sees of each detection. numpy alone; `window.py` makes tensors."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kintrack.config import EncoderConfig
from kintrack.core.boxes import area, centre, sides
from kintrack.core.detections import Detections, Floats, Ints
from kintrack.core.transforms import Affine, apply_to_frame
from kintrack.core.video import LabelVideo, Video
from kintrack.errors import AlignmentError, InputError
from kintrack.windows.shown import Shown, anchor_points

Crops = NDArray[np.float32]
Pixels = NDArray[Any]
_Which = Callable[[slice, slice], NDArray[np.bool_]]  # of the pixels in these rows and columns of a frame

# Frames without a wanted row that are read and thrown away rather than jumped over: a jump costs a seek to the key
# frame before it, which is this far away or farther in most videos.
_JUMP = 32

# How bright red, green and blue look (ITU-R BT.601), as everybody's conversion to grey has it.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def crop_detections(
    video: Video,
    detections: Detections,
    rows: slice | Sequence[int] | NDArray[np.integer],
    config: EncoderConfig,
    *,
    min_side: float | None = None,
    labels: LabelVideo | None = None,
    view: Affine | None = None,
) -> Crops:
    """(N, A C, S, S) float32 in [0, 1]: the square around each row's anchors, ``config.crop_size`` pixels a side.

    A square's side is the longer side of its box and ``config.margin`` of it on either side. Each pixel of a crop is
    the mean of the picture over what it covers, at least one pixel wide and high: where the picture is enlarged this
    is linear interpolation, where it is shrunk nothing is skipped.

    Beyond the image's border, and of what is not to be shown, a crop shows the median of its frame, so that an animal
    ends where the image ends. (To repeat the border's pixels would smear an animal that is cut by it into a longer
    one.) An anchor is in the middle of its crop wherever it is.

    A point, a box without area, is shown with what is ``min_side`` pixels around it; an anchor without a place (nan)
    is all 0. Every frame is read once, in order, whatever the order of the rows.

    Args:
        video: where the detections were made.
        detections: 2-D.
        rows: N rows, in any order.
        config: crop_size, margin and channels are used, and what is in a `CropConfig`.
        min_side: side of the square around a point, in pixels of the video; ``crop_size`` where not given.
        labels: the masks, for crops that are centred on them or show nothing else.
        view: where the video's points are in the detections' coordinates, if these were turned or rescaled: the crops
            are then turned with them.

    Raises:
        AlignmentError: a row is of a frame that the video does not have.
        ConfigError: the detections lack the keypoints or masks that the crops are to show.
        InputError: the detections are 3-D, or the video's channels cannot make a colour crop.
    """
    wanted = np.arange(len(detections))[rows]
    sorted_rows, place = np.unique(wanted, return_inverse=True)
    crops = np.zeros((len(sorted_rows), *_shape(config)), np.float32)
    done = 0
    for _, some in _iter_crops(video, detections.take(sorted_rows), config, 256, min_side, labels, view):
        crops[done : done + len(some)] = some
        done += len(some)
    return crops if np.array_equal(wanted, sorted_rows) else crops[place]


def iter_crops(
    video: Video,
    detections: Detections,
    config: EncoderConfig,
    batch: int = 256,
    *,
    min_side: float | None = None,
    labels: LabelVideo | None = None,
) -> Iterator[tuple[Ints, Crops]]:
    """The crops of every row, in batches of at most ``batch``: pairs of rows (B,) and crops (B, A C, S, S).

    Batches are cut across frames. Memory holds one batch and one frame, however long the video is. See
    `crop_detections` for what a crop shows.
    """
    if batch < 1:
        raise InputError(f"batch is {batch}; wanted the number of crops in a batch, 1 or more")
    return _iter_crops(video, detections, config, batch, min_side, labels, None)


def in_batches(crops: Crops, n: int = 256) -> Iterator[tuple[Ints, Crops]]:
    """Crops that are there already, as `iter_crops` gives them: pairs of rows and crops, at most ``n`` at a time."""
    for start in range(0, len(crops), n):
        rows = np.arange(start, min(start + n, len(crops)))
        yield rows, crops[rows]


def _shape(config: EncoderConfig) -> tuple[int, int, int]:
    """(A C, S, S) of the crops of a detection."""
    return len(config.anchors) * config.channels, config.crop_size, config.crop_size


def _iter_crops(
    video: Video,
    detections: Detections,
    config: EncoderConfig,
    batch: int,
    min_side: float | None,
    labels: LabelVideo | None,
    view: Affine | None,
) -> Iterator[tuple[Ints, Crops]]:
    _, side = squares(detections.box, config, config.crop_size if min_side is None else min_side)
    corner = anchor_points(detections, config, labels) - 0.5 * side[:, None, None]  # (N, A, 2)
    known = np.isfinite(corner).all(axis=2) & (side > 0)[:, None]
    mix = _channel_mix(video.shape[3], config.channels)
    shown, shape, n = Shown.of(detections, config, labels, view), _shape(config), len(detections)
    start = 0
    crops = np.zeros((min(batch, n), *shape), np.float32)
    for first, last, image in frames_of(video, detections.frame):
        masks = shown.mask_image(int(detections.frame[first])) if shown else None
        background: Floats | None = None
        for i in range(first, last):
            for a in np.flatnonzero(known[i]):
                which = None if shown is None else partial(shown.pixels, i, masks=masks)
                crop, covered = _crop(image, _Square(corner[i, a], side[i], config.crop_size), mix, which, view)
                if covered.min() < 1 - 1e-5:  # less would be rounding
                    background = _median(image, mix) if background is None else background
                    crop += background[:, None, None] * (1 - covered)
                crops[i - start, a * config.channels : (a + 1) * config.channels] = crop
            if i + 1 - start == batch:
                yield np.arange(start, i + 1), np.clip(crops, 0, 1, out=crops)
                start = i + 1
                crops = np.zeros((min(batch, n - start), *shape), np.float32)
    if start < n:
        yield np.arange(start, n), np.clip(crops, 0, 1, out=crops)


def squares(box: Floats, config: EncoderConfig, min_side: float) -> tuple[Floats, Floats]:
    """Lower corner (N, 2) and side (N,) of the square around each box; a side of 0 where there is no position."""
    if box.shape[1] != 4:
        raise InputError("detections are 3-D; crops are cut around 2-D boxes: take x and y of each box first")
    if not min_side > 0:
        raise InputError(f"min_side is {min_side}; wanted pixels around a point, more than 0")
    known = np.asarray(np.isfinite(box).all(axis=1))
    box = np.where(known[:, None], box, 0.0)
    side = sides(box).max(axis=1, initial=0) * (1 + 2 * config.margin)
    side = np.where(area(box) > 0, side, np.maximum(side, min_side)) * known
    return centre(box) - 0.5 * side[:, None], side


def _channel_mix(given: int, wanted: int) -> Crops:
    """(C, given) how much of each channel of the video goes into each channel of a crop."""
    if given in (1, wanted):  # one channel fills three by itself
        return np.eye(given, dtype=np.float32)
    if wanted == 1 and given in (3, 4):  # a fourth channel is opacity
        return np.append(_LUMA, np.zeros(given - 3, np.float32))[None]
    if wanted == 1:
        return np.full((1, given), 1 / given, np.float32)
    if given == 4:
        return np.eye(3, 4, dtype=np.float32)
    raise InputError(
        f"the video has {given} channels, which are no colours; wanted 1 (grey), 3 (red, green, blue) or 4 (and "
        "opacity): set encoder.channels to 1, which takes their mean"
    )


def frames_of(video: Video, frame: NDArray[np.int32]) -> Iterator[tuple[int, int, Pixels]]:
    """For each frame that has rows: its first row, the row after its last one, and its pixels (Y, X, C)."""
    if len(frame) and frame[-1] >= len(video):
        raise AlignmentError(
            f"detections reach frame {frame[-1]}, but the video has only {len(video)} frames, counted from 0; give the "
            "video that they were made on"
        )
    needed, first = np.unique(frame, return_index=True)
    last = np.append(first[1:], len(frame))
    jumps = np.flatnonzero(np.diff(needed) > _JUMP) + 1
    for run in np.split(np.arange(len(needed)), jumps):
        if not len(run):
            continue
        wanted = {int(needed[k]): k for k in run}
        for index, image in video.frames(int(needed[run[0]]), int(needed[run[-1]]) + 1):
            if index in wanted:
                k = wanted[index]
                yield int(first[k]), int(last[k]), image


class _Square(NamedTuple):
    """Where in the picture a crop is, and its pixels along a side."""

    corner: Floats
    side: float
    size: int


def _crop(
    image: Pixels, square: _Square, mix: Crops, which: _Which | None = None, view: Affine | None = None
) -> tuple[Crops, Crops]:
    """(C, S, S) the picture in the square, 0 where there is none, and (S, S) the share of each pixel that it covers.

    Args:
        image: (Y, X, C) a frame.
        square: in coordinates of the frame, or of the view.
        mix: of the channels.
        which: pixels of the frame belong to the crop; all, where not given.
        view: from the frame's coordinates to the square's.
    """
    if view is not None:
        turned = view.matrix[:, :2]
        if turned[turned != 0].size > 2:
            return _turned_crop(image, square, mix, which, view)
        ends = view.inverse(np.array([square.corner, square.corner + square.side]))
        upright = _Square(ends.min(axis=0), float(np.ptp(ends[:, 0])), square.size)
        plain, share = _crop(image, upright, mix, which)
        return _lying(plain, turned), _lying(share, turned)
    across, columns, x_covered = _weights(square.corner[0], square.side, square.size, image.shape[1])
    down, rows, y_covered = _weights(square.corner[1], square.side, square.size, image.shape[0])
    bright = _bright(image[rows, columns], mix)
    covered: Crops = np.asarray(np.outer(y_covered, x_covered), np.float32)
    if which is not None:
        mine = which(rows, columns).astype(np.float32)
        bright, covered = bright * mine, np.asarray(down @ mine @ across.T, np.float32)
    return np.asarray(down @ bright @ across.T, np.float32), covered


def _lying(crop: Crops, turned: Floats) -> Crops:
    """(..., S, S) a crop mirrored and turned by right angles, as a matrix (2, 2) says."""
    crop = crop if turned[0, 0] else crop.swapaxes(-1, -2)
    crop = crop if turned[0].sum() > 0 else crop[..., ::-1]
    return crop if turned[1].sum() > 0 else crop[..., ::-1, :]


def _turned_crop(image: Pixels, square: _Square, mix: Crops, which: _Which | None, view: Affine) -> tuple[Crops, Crops]:
    """`_crop` of a frame that was turned by any angle: only that part of it is turned which the square shows."""
    x, y = square.corner
    zoom = square.size / square.side
    into = Affine(np.array([[zoom, 0, -zoom * x], [0, zoom, -zoom * y]])) @ view  # from the frame to the crop
    limit = np.array(image.shape[1::-1])
    reach = into.inverse(np.array([[0, 0], [square.size, 0], [0, square.size], [square.size, square.size]]))
    blur = 2 + 4 / min(zoom * view.area_factor**0.5, 1.0)  # pixels beyond, which linear interpolation and blur look at
    low = np.clip(np.floor(reach.min(axis=0) - blur), 0, limit).astype(int)
    high = np.clip(np.ceil(reach.max(axis=0) + blur), low, limit).astype(int)
    shape = (square.size, square.size)
    if (high <= low).any():
        return np.zeros((len(mix), *shape), np.float32), np.zeros(shape, np.float32)
    rows, columns = slice(low[1], high[1]), slice(low[0], high[0])
    mine = np.ones((high - low)[::-1], np.float32) if which is None else which(rows, columns).astype(np.float32)
    planes = np.concatenate([_bright(image[rows, columns], mix) * mine, mine[None]])
    from_part = into @ Affine(np.array([[1.0, 0, low[0]], [0, 1, low[1]]]))
    turned = np.moveaxis(apply_to_frame(np.moveaxis(planes, 0, 2), from_part, shape), 2, 0)
    return turned[:-1], turned[-1]


def _weights(start: float, side: float, size: int, limit: int) -> tuple[Crops, slice, Crops]:
    """Along one axis: (S, P) how much of each crop pixel is each pixel of the picture, which P pixels these are, and
    (S,) the share of each crop pixel that lies inside the picture.
    """
    step = side / size
    width = max(step, 1.0)
    low = start + (np.arange(size) + 0.5) * step - 0.5 * width
    first = min(max(math.floor(low[0]), 0), limit)
    last = min(max(math.ceil(low[-1] + width), first), limit)
    # The share of a crop pixel's span that is passed at each edge of a pixel of the picture.
    edge = (np.arange(last - first + 1) / width).astype(np.float32)
    passed = edge - ((low - first) / width).astype(np.float32)[:, None]
    np.minimum(np.maximum(passed, 0, out=passed), 1, out=passed)
    return np.diff(passed, axis=1), slice(first, last), passed[:, -1] - passed[:, 0]


def _bright(image: Pixels, mix: Crops) -> Crops:
    """(C, Y, X) the pixels of an image (Y, X, C) in the channels of a crop, in [0, 1]."""
    top = np.float32(np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else 1)
    if mix.shape == (1, 1):
        return np.asarray(image[None, ..., 0] * (1 / top), np.float32)
    return np.ascontiguousarray(np.moveaxis(image @ (mix.T / top), 2, 0), np.float32)


def _median(image: Pixels, mix: Crops) -> Floats:
    """(C,) the median colour of a frame, from every sixteenth pixel along both axes."""
    return np.asarray(np.median(_bright(image[::16, ::16], mix), axis=(1, 2)))
