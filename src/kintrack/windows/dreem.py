"""Detections as a model of DREEM is shown them: its boxes, its crops, and the model as a tracker sees it.

DREEM's coordinates: an integer is the middle of a pixel, so they are ours less 0.5.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kintrack.config_dreem import DreemCrops
from kintrack.core.detections import Detections, Floats, Ints
from kintrack.core.sightings import Memory, Sightings
from kintrack.core.video import LabelVideo, Video
from kintrack.errors import ConfigError, InputError
from kintrack.models.dreem import DreemTransformer, DreemWindow
from kintrack.models.dreem_encoder import quick
from kintrack.windows.crops import Crops, Pixels, frames_of
from kintrack.windows.shown import Shown, anchor_points

ON_CPU = 64
"""Crops that a CPU is given at a time, at most: what lies between the layers stays in its cache."""


def anchors(detections: Detections, config: DreemCrops, labels: LabelVideo | None = None) -> Floats:
    """(N, A, 2) x and y of the middle of each row's squares, in DREEM's coordinates; nan where there is none.

    See `kintrack.windows.shown.anchor_points`. Of masks the centre of mass loses its fraction, as in DREEM.

    Raises:
        ConfigError: there is no keypoint of that name.
    """
    points = anchor_points(detections, config, labels) - 0.5
    has_masks = labels is not None and detections.label is not None and detections.keypoints is None
    return np.trunc(points) if has_masks else points


def squares(middle: Floats, config: DreemCrops) -> Floats:
    """(..., 4) x0 y0 x1 y1 of the square around each middle (..., 2), in DREEM's coordinates.

    Odd (D-D13): a square that would begin left of the image or above it is moved inside, and its animal is off the
    middle; at the right and below it is not.

    Raises:
        ConfigError: nobody said how large the squares are.
    """
    if config.crop_size is None:
        raise ConfigError(
            "this is a model of DREEM, whose checkpoints do not say how large a piece of the image a detection is "
            "shown with; give it as in training, like --set dreem.crop_size=64"
        )
    s = config.crop_size
    lower = np.maximum(middle - (s + 1) // 2, 0.0)
    upper = np.where(lower == 0, float(s), middle + s // 2)
    box = np.concatenate([lower - config.padding, upper + config.padding], axis=-1)
    return np.where(np.isnan(middle).any(axis=-1, keepdims=True), np.nan, box)


def boxes_shown(detections: Detections, config: DreemCrops, labels: LabelVideo | None = None) -> Floats:
    """(N, A, 4) what each of a row's crops shows, in DREEM's coordinates: squares, or the box of the detection itself.

    A box ends in the middles of its last pixels, as DREEM has it; what is shown are these pixels, too (in DREEM they
    are cut off: D-D12).
    """
    middle = anchors(detections, config, labels)
    box = squares(middle, config)
    if not config.tight:
        return box
    lower, upper = np.split(detections.box, 2, axis=1)
    own = np.concatenate([lower, upper] if detections.keypoints is not None else [lower + 0.5, upper - 0.5], axis=1)
    is_seen = np.asarray(~np.isnan(middle).any(axis=2))
    has_extent = is_seen & np.asarray((upper > lower).all(axis=1))[:, None]
    return np.where(has_extent[..., None], own[:, None] - 0.5, box)


def boxes_tracked(detections: Detections, config: DreemCrops, shown: Floats) -> Floats:
    """(N, 4) by which rows overlap and are near to each other: the mean of what their crops show.

    A row without any anchor is where it is, though its crops are blank.
    """
    known = np.asarray(~np.isnan(shown).any(axis=2, keepdims=True))
    mean = np.where(known, shown, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.where(known.any(axis=1), mean, squares(detections.centre - 0.5, config))


def iter_dreem_crops(
    video: Video,
    detections: Detections,
    box: Floats,
    config: DreemCrops,
    batch: int = 256,
    labels: LabelVideo | None = None,
) -> Iterator[tuple[Ints, Crops]]:
    """The pixels in every row's boxes: pairs of rows (B,) and crops (B, A C, S, S); 0 beyond the image.

    Args:
        video: where the detections were made.
        detections: N rows.
        box: (N, A, 4) what the crops show, or (N, 4) where there is one.
        config: how.
        batch: crops at a time.
        labels: the masks, for `own_mask`.

    Raises:
        InputError: the video has channels that are no colours.
        ConfigError: the detections lack what the crops are to show.
    """
    byte = is_byte(detections, config)
    if video.shape[3] == 2:
        raise InputError("the video has 2 channels; a model of DREEM wants 1 (grey) or 3 (red, green, blue)")
    box = box.reshape(len(detections), -1, 4)
    n_anchors = box.shape[1]
    channels = 1 if video.shape[3] == 1 and n_anchors == 1 else 3  # grey is three equal colours beside other anchors
    cutter = _Cutter(np.asarray(box, np.float32), config, Shown.of(detections, config, labels))
    shape, start = (n_anchors * channels, cutter.side, cutter.side), 0
    crops = np.zeros((0, *shape), np.float32)
    for first, last, image in frames_of(video, detections.frame):
        image, bright = image[..., :channels], _brightness(image[..., :channels], byte)
        masks = cutter.shown.mask_image(int(detections.frame[first])) if cutter.shown else None
        for row in range(first, last):
            if row == start:
                crops = np.zeros((min(batch, len(box) - start), *shape), np.float32)
            cutter.cut(row, image, bright, masks, crops[row - start].reshape(n_anchors, channels, *shape[1:]))
            if row + 1 - start == len(crops):
                yield np.arange(start, row + 1), crops
                start = row + 1


def is_byte(detections: Detections, config: DreemCrops) -> bool:
    """Whether brightness goes from 0 to 255, not to 1."""
    return config.intensity == "byte" or (config.intensity == "auto" and detections.label is not None)


def _brightness(image: Pixels, byte: bool) -> Callable[[Pixels], Crops]:
    """What makes float32 of pieces of an image: 8 bits as 0..1 or 0..255; 16 bits as 0..1, or from the image's darkest
    pixel to its brightest. Most of an image is in no crop, and stays as it is."""
    if image.dtype == np.uint8 or not byte:
        top = np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else 1
        unit = np.float32(1 if byte else top)
        return lambda piece: np.asarray(piece / unit, np.float32)
    low, high = float(image.min()), float(image.max())
    span = (high - low) or 1.0
    return lambda piece: np.asarray(((piece - low) / span * 255).astype(np.uint8), np.float32)


class _Cutter:
    """Copies pixels of an image into crops.

    Args:
        box: (N, A, 4) what the crops show, in DREEM's coordinates.
        config: how.
        shown: which pixels belong to a row; None for all.
    """

    def __init__(self, box: Crops, config: DreemCrops, shown: Shown | None) -> None:
        self.shown = shown
        self.side = (config.crop_size or 0) + 2 * config.padding
        self.known = np.asarray(~np.isnan(box).any(axis=2))
        self.corner = np.rint(np.where(self.known[..., None], box[..., :2], 0)).astype(np.int64)  # halves to even
        extent = np.full(box.shape[:2] + (2,), self.side)
        if config.tight:
            sides = np.nan_to_num(box[..., 2:] - box[..., :2])  # from the first pixel to the last
            is_square = np.isclose(sides, self.side).all(axis=2, keepdims=True)
            extent = np.where(is_square, extent, np.rint(sides).astype(np.int64) + 1)
        self.extent = extent

    def cut(
        self, row: int, image: Pixels, bright: Callable[[Pixels], Crops], masks: NDArray[Any] | None, crops: Crops
    ) -> None:
        """Fills the crops (A, C, S, S) of a row, in place; what is smaller than they comes in the middle.

        Args:
            row: of the table.
            image: (Y, X, C) its frame.
            bright: makes float32 of its pixels.
            masks: the label image of the frame, if what is shown depends on it.
            crops: those of the row.
        """
        for anchor in np.flatnonzero(self.known[row]):
            place, into = [], []
            for axis in (1, 0):  # y, x
                n = int(self.extent[row, anchor, axis])
                inset = (self.side - n) // 2  # below 0 the piece is larger than the crop, which shows its middle
                start = int(self.corner[row, anchor, axis]) - inset
                low = max(start, start + inset, 0)
                high = min(start + self.side, start + inset + n, image.shape[1 - axis])
                place.append(slice(low, max(high, low)))
                into.append(slice(low - start, max(high, low) - start))
            piece = np.moveaxis(bright(image[place[0], place[1]]), 2, 0)
            if piece.size and self.shown is not None:
                piece = piece * self.shown.pixels(row, place[0], place[1], masks)
            if piece.size:
                crops[anchor][:, into[0], into[1]] = piece


def crop_axes(rows: Ints, crops: Crops, axis: Floats) -> None:
    """Writes into `axis` (see `kintrack.tracking.dreem_scores.axes`) along which line each crop's brightness runs.

    The direction in which it changes least: the eigenvector of the smaller eigenvalue of the structure tensor, the
    summed products of its gradients (Sobel's). What is of one brightness has none.
    """
    from scipy.ndimage import correlate1d

    image, step, smooth = crops.mean(axis=1), (-1, 0, 1), (1, 2, 1)
    across = correlate1d(correlate1d(image, step, axis=2), smooth, axis=1)
    down = correlate1d(correlate1d(image, step, axis=1), smooth, axis=2)
    xx, xy, yy = (
        (a * b).sum(axis=(1, 2), dtype=np.float64) for a, b in ((across, across), (across, down), (down, down))
    )
    size, vector = np.linalg.eigh(np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2))
    axis[rows] = np.where(size[:, 1:] > 0, np.column_stack([vector[:, :, 0], np.zeros(len(rows))]), np.nan)


class DreemScorer:
    """Scores pairs of a query and a remembered sighting with a model of DREEM; a `kintrack.tracking.Score`.

    What a sighting's crops show travels in its token, behind the feature; where it does not, it is the sighting's box.

    Args:
        model: is used as it is: put it on its device and into `eval()` first.
        shape: (Y, X) of the image.
        half: whether crops are encoded with numbers of half the length (bfloat16).
    """

    def __init__(self, model: DreemTransformer, shape: tuple[int, int], half: bool = False) -> None:
        self.model = model
        self.half = half
        self.shape = shape
        self.device = next(model.parameters()).device

    @torch.inference_mode()
    def embed(self, seen: Sightings, crops: Iterable[tuple[Ints, Crops]], shown: Floats | None = None) -> Sightings:
        """The sightings with what each looks like, and where; once for each, however often it is compared.

        Args:
            crops: batches of (rows, pixels) that together cover every row.
            shown: (N, A, 4) what the crops show, see `boxes_shown`; the sightings' boxes where not given.
        """
        dim, encode = self.model.visual_encoder.dim, quick(self.model.visual_encoder, self.half)
        token = np.zeros((len(seen), dim + (0 if shown is None else 4 * shown.shape[1])), np.float32)
        for rows, pixels in crops:
            # A black crop has no moments (nan), with which nobody in its window would have a score: in DREEM it fails.
            token[rows, :dim] = np.nan_to_num(encode(self._tensor(pixels)).float().cpu().numpy())
        if shown is not None:
            token[:, dim:] = shown.reshape(len(seen), -1)
        return seen.with_columns(token=token)

    @torch.inference_mode()
    def __call__(self, query: Sightings, memory: Memory, pairs: Ints) -> NDArray[np.float32]:
        """(E,) the logit of each pair of a query's row and a memory's row."""
        known, n, dim = memory.sightings, len(memory), self.model.visual_encoder.dim
        if query.token is None or known.token is None:
            raise AssertionError("sightings without tokens: call embed() on them first")
        token = np.concatenate([known.token, query.token])
        boxes = token[:, dim:] if token.shape[1] > dim else np.concatenate([known.box, query.box])
        window = DreemWindow(
            boxes=self._tensor(boxes.astype(np.float32).reshape(len(token), -1, 4)),
            frame=self._tensor(np.concatenate([known.frame, query.frame])),
            query=torch.arange(n, n + len(query), device=self.device),
            shape=self.shape,
            features=self._tensor(token[:, :dim]),
        )
        logits = self.model(window)[-1].matrix.float().cpu().numpy()  # (Q, R + Q)
        return np.asarray(logits[pairs[:, 0], pairs[:, 1]])

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


__all__ = [
    "ON_CPU",
    "DreemScorer",
    "anchors",
    "boxes_shown",
    "boxes_tracked",
    "crop_axes",
    "iter_dreem_crops",
    "squares",
]
