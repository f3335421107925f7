"""Detections as a model of DREEM is shown them: its boxes, its crops, and the model as a tracker sees it.

DREEM's coordinates: an integer is the middle of a pixel, so they are ours less 0.5.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kintrack.config_dreem import DreemCrops
from kintrack.core.detections import Detections, Floats, Ints
from kintrack.core.sightings import Memory, Sightings
from kintrack.core.video import LabelVideo, Video
from kintrack.errors import ConfigError, InputError, nearest_name
from kintrack.models.dreem import DreemTransformer, DreemWindow
from kintrack.windows.crops import Crops, Pixels, frames_of


def anchors(detections: Detections, config: DreemCrops, labels: LabelVideo | None = None) -> Floats:
    """(N, 2) x and y of the middle of each row's square, in DREEM's coordinates; nan where there is none.

    Of poses the named keypoint, or the mean of those that are seen; of masks the centre of mass without its fraction,
    where the label video is given; of boxes the middle.

    Raises:
        ConfigError: there is no keypoint of that name.
    """
    if detections.keypoints is None:
        if labels is not None and detections.label is not None:
            return _mask_centres(detections, labels)
        return detections.centre - 0.5
    if config.anchor in ("centroid", "midpoint"):
        return detections.centre - 0.5
    names = detections.skeleton.names if detections.skeleton else ()
    if config.anchor not in names:
        has = nearest_name(config.anchor, ["centroid", *names])
        raise ConfigError(f"dreem.anchor is {config.anchor!r}, which is no keypoint of these detections: {has}")
    place = detections.keypoints[:, names.index(config.anchor)]
    if config.handle_missing == "centroid":
        place = np.where(np.isnan(place), detections.centre, place)
    return np.asarray(place - 0.5)


def _mask_centres(detections: Detections, labels: LabelVideo) -> Floats:
    """(N, 2) the centre of mass of each row's mask, its fraction cut off as DREEM does."""
    out = np.full((len(detections), 2), np.nan)
    assert detections.label is not None
    for frame in np.unique(detections.frame):
        rows = detections.rows(int(frame), int(frame) + 1)
        image = labels[int(frame)]
        values, index = np.unique(image, return_inverse=True)
        index = index.reshape(image.shape)
        area = np.bincount(index.reshape(-1))
        y = np.bincount(index.reshape(-1), weights=np.repeat(np.arange(image.shape[0]), image.shape[1])) / area
        x = np.bincount(index.reshape(-1), weights=np.tile(np.arange(image.shape[1]), image.shape[0])) / area
        place = np.minimum(np.searchsorted(values, detections.label[rows]), len(values) - 1)
        found = values[place] == detections.label[rows]
        out[rows] = np.where(found[:, None], np.trunc(np.stack([x[place], y[place]], axis=1)), np.nan)
    return out


def squares(middle: Floats, config: DreemCrops) -> Floats:
    """(N, 4) x0 y0 x1 y1 of each row's square, in DREEM's coordinates.

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
    box = np.concatenate([lower - config.padding, upper + config.padding], axis=1)
    return np.where(np.isnan(middle).any(axis=1, keepdims=True), np.nan, box)


def iter_dreem_crops(
    video: Video, detections: Detections, box: Floats, config: DreemCrops, batch: int = 256
) -> Iterator[tuple[Ints, Crops]]:
    """The pixels in every row's square: pairs of rows (B,) and crops (B, C, S, S); 0 beyond the image.

    Raises:
        InputError: the video has channels that are no colours.
    """
    byte = config.intensity == "byte" or (config.intensity == "auto" and detections.label is not None)
    channels = 1 if video.shape[3] == 1 else 3
    if video.shape[3] == 2:
        raise InputError("the video has 2 channels; a model of DREEM wants 1 (grey) or 3 (red, green, blue)")
    side = (config.crop_size or 0) + 2 * config.padding
    corner = np.rint(np.asarray(box[:, :2], np.float32))  # halves to the even side, as DREEM rounds
    known = np.asarray(~np.isnan(corner).any(axis=1))
    crops, start = np.zeros((0, channels, side, side), np.float32), 0
    for first, last, image in frames_of(video, detections.frame):
        bright = _bright(image[..., :channels], byte)
        for row in range(first, last):
            if row == start:
                crops = np.zeros((min(batch, len(box) - start), channels, side, side), np.float32)
            if known[row]:
                _cut(bright, corner[row].astype(np.int64), crops[row - start])
            if row + 1 - start == len(crops):
                yield np.arange(start, row + 1), crops
                start = row + 1


def _bright(image: Pixels, byte: bool) -> Crops:
    """(C, Y, X) float32: 8 bits as 0..1 or 0..255; 16 bits as 0..1, or from the darkest to the brightest pixel."""
    planes = np.moveaxis(image, 2, 0)
    if image.dtype == np.uint8:
        return np.asarray(planes, np.float32) if byte else np.asarray(planes / np.float32(255), np.float32)
    if not byte:
        top = np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else 1
        return np.asarray(planes / np.float32(top), np.float32)
    low, high = float(planes.min()), float(planes.max())
    scaled = (planes - low) / ((high - low) or 1.0) * 255
    return np.asarray(scaled.astype(np.uint8), np.float32)


def _cut(image: Crops, corner: Ints, crop: Crops) -> None:
    """Copies what of the image lies in a square into `crop`, in place."""
    x, y = int(corner[0]), int(corner[1])
    _, side, _ = crop.shape
    x0, x1 = max(x, 0), min(x + side, image.shape[2])
    y0, y1 = max(y, 0), min(y + side, image.shape[1])
    if x0 < x1 and y0 < y1:
        crop[:, y0 - y : y1 - y, x0 - x : x1 - x] = image[:, y0:y1, x0:x1]


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

    The boxes of sightings must be those of `squares`.

    Args:
        model: is used as it is: put it on its device and into `eval()` first.
        shape: (Y, X) of the image.
    """

    def __init__(self, model: DreemTransformer, shape: tuple[int, int]) -> None:
        self.model = model
        self.shape = shape
        self.device = next(model.parameters()).device

    @torch.inference_mode()
    def embed(self, seen: Sightings, crops: Iterable[tuple[Ints, Crops]]) -> Sightings:
        """The sightings with what each looks like; once for each, however often it is compared.

        Args:
            crops: batches of (rows, pixels) that together cover every row.
        """
        token = np.zeros((len(seen), self.model.visual_encoder.dim), np.float32)
        for rows, pixels in crops:
            token[rows] = self.model.encode(self._tensor(pixels)).float().cpu().numpy()
        return seen.with_columns(token=token)

    @torch.inference_mode()
    def __call__(self, query: Sightings, memory: Memory, pairs: Ints) -> NDArray[np.float32]:
        """(E,) the logit of each pair of a query's row and a memory's row."""
        known, n = memory.sightings, len(memory)
        if query.token is None or known.token is None:
            raise AssertionError("sightings without tokens: call embed() on them first")
        window = DreemWindow(
            boxes=self._tensor(np.concatenate([known.box, query.box]).astype(np.float32)[:, None]),
            frame=self._tensor(np.concatenate([known.frame, query.frame])),
            query=torch.arange(n, n + len(query), device=self.device),
            shape=self.shape,
            features=self._tensor(np.concatenate([known.token, query.token])),
        )
        logits = self.model(window)[-1].matrix.float().cpu().numpy()  # (Q, R + Q)
        return np.asarray(logits[pairs[:, 0], pairs[:, 1]])

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


__all__ = ["DreemScorer", "anchors", "crop_axes", "iter_dreem_crops", "squares"]
