"""What a crop is centred on, and which pixels of the picture it shows: for every model that looks at pixels. numpy."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kintrack.config_data import CropConfig
from kintrack.core import boxes
from kintrack.core.detections import Bools, Detections, Floats
from kintrack.core.transforms import Affine
from kintrack.core.video import LabelVideo
from kintrack.errors import ConfigError, InputError, nearest_name

_MIDDLES = ("box", "centroid")  # what every detection has; other anchors are names of keypoints


def needs_keypoints(config: CropConfig) -> bool:
    """Whether crops are made by keypoints: a named one in the middle, or discs around them."""
    return config.dilation_radius is not None or any(name not in _MIDDLES for name in config.anchors)


def anchor_points(detections: Detections, config: CropConfig, labels: LabelVideo | None = None) -> Floats:
    """(N, A, 2) x and y of the middle of each row's crop at each anchor; nan where there is none.

    The centroid is the mean of the keypoints seen; of masks their centre of mass, where the label video is given; else
    the middle of the box.

    Raises:
        ConfigError: an anchor is no keypoint of these detections.
    """
    centroid = None
    if "centroid" in config.anchors or (config.handle_missing == "centroid" and needs_keypoints(config)):
        has_masks = labels is not None and detections.label is not None and detections.keypoints is None
        centroid = mask_centres(detections, labels) if has_masks and labels is not None else detections.centre
    points = []
    for name in config.anchors:
        if name == "box":
            points.append(boxes.centre(detections.box))
        elif name == "centroid" and centroid is not None:
            points.append(centroid)
        else:
            place = _keypoint(detections, name)
            if centroid is not None and config.handle_missing == "centroid":
                place = np.where(np.isnan(place), centroid, place)
            points.append(place)
    return np.stack(points, axis=1)


def _keypoint(detections: Detections, name: str) -> Floats:
    """(N, 2) where a keypoint is; nan, both of it, where it is not seen."""
    names = detections.skeleton.names if detections.skeleton else ()
    if detections.keypoints is None or name not in names:
        has = nearest_name(name, [*_MIDDLES, *names])
        raise ConfigError(f"anchor {name!r} is no keypoint of these detections: {has}")
    place = detections.keypoints[:, names.index(name)]
    return np.where(np.isnan(place).any(axis=1, keepdims=True), np.nan, place)


def has_anchors(detections: Detections, config: CropConfig) -> Bools:
    """(N,) whether a row stays: all do, but with `handle_missing: drop` those of which an anchor is not seen."""
    if config.handle_missing != "drop":
        return np.ones(len(detections), np.bool_)
    return np.asarray(~np.isnan(anchor_points(detections, config)).any(axis=(1, 2)))


def mask_centres(detections: Detections, labels: LabelVideo) -> Floats:
    """(N, 2) the centre of mass of each row's mask.

    Of a row without one (a label of 0 or less) the middle of its box; nan where the label is not in the image.
    """
    out = detections.centre
    if detections.label is None:
        return out
    for frame in np.unique(detections.frame):
        rows = detections.rows(int(frame), int(frame) + 1)
        image = labels[int(frame)]
        values, index = np.unique(image, return_inverse=True)
        index = index.reshape(-1)
        area = np.bincount(index)
        y = np.bincount(index, weights=np.repeat(np.arange(image.shape[0]) + 0.5, image.shape[1])) / area
        x = np.bincount(index, weights=np.tile(np.arange(image.shape[1]) + 0.5, image.shape[0])) / area
        place = np.minimum(np.searchsorted(values, detections.label[rows]), len(values) - 1)
        found = values[place] == detections.label[rows]
        centre = np.where(found[:, None], np.stack([x[place], y[place]], axis=1), np.nan)
        out[rows] = np.where((detections.label[rows] > 0)[:, None], centre, out[rows])
    return out


@dataclass(frozen=True, eq=False)
class Shown:
    """Which pixels of the picture belong to each of N detections, as far as a config asks.

    Args:
        keypoints: (N, K, 2) around which there are discs, or None.
        radius: of the discs, in pixels.
        label: (N,) the value of each one's mask, 0 or less where it has none; or None.
        box: (N, 4), what is shown of those that should have a mask and have none.
        labels: the masks.
    """

    keypoints: Floats | None
    radius: float
    label: NDArray[np.int64] | None
    box: Floats
    labels: LabelVideo | None

    @classmethod
    def of(
        cls, detections: Detections, config: CropConfig, labels: LabelVideo | None = None, view: Affine | None = None
    ) -> Self | None:
        """What the config asks for; None where crops show everything.

        Args:
            detections: N rows.
            config: dilation_radius and own_mask are used.
            labels: the label video of the masks.
            view: from the picture's coordinates to those of the detections, where these were turned.

        Raises:
            ConfigError: the detections lack the keypoints or the masks that are asked for.
        """
        if config.dilation_radius is None and not config.own_mask:
            return None
        back = view.inverse if view is not None else None
        keypoints, radius, label, box = None, 0.0, None, detections.box
        if config.dilation_radius is not None:
            if detections.keypoints is None:
                raise ConfigError(
                    "dilation_radius is of discs around keypoints, and these detections have none; leave it out"
                )
            keypoints = detections.keypoints if back is None else back(detections.keypoints)
            radius = config.dilation_radius * (1.0 if back is None else back.area_factor**0.5)
        if config.own_mask:
            if detections.label is None or labels is None:
                raise ConfigError(
                    "own_mask shows a detection's own mask alone, and these detections have no label images; give a "
                    "folder of them (see formats), or leave it out"
                )
            label = detections.label
            box = box if back is None else boxes.around_points(back(box[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]))
        return cls(keypoints, radius, label, box, labels if config.own_mask else None)

    def mask_image(self, frame: int) -> NDArray[Any] | None:
        """The label image of a frame, if masks are asked for."""
        return None if self.labels is None else self.labels[frame]

    def pixels(self, row: int, down: slice, across: slice, masks: NDArray[Any] | None) -> Bools:
        """(Y, X) whether each pixel of a piece of the picture belongs to the row.

        Args:
            row: of the N.
            down: its rows of pixels.
            across: its columns of pixels.
            masks: the whole label image of the row's frame.

        Raises:
            InputError: the label image is smaller than the picture.
        """
        y, x = np.arange(down.start, down.stop) + 0.5, np.arange(across.start, across.stop) + 0.5
        shown = np.ones((len(y), len(x)), np.bool_)
        if self.keypoints is not None:
            seen = self.keypoints[row][~np.isnan(self.keypoints[row]).any(axis=1)]
            square = (y[:, None, None] - seen[:, 1]) ** 2 + (x[:, None] - seen[:, 0]) ** 2
            shown &= (square < self.radius**2).any(axis=2)
        if self.label is not None and masks is not None:
            if masks.shape[0] < down.stop or masks.shape[1] < across.stop:
                raise InputError(
                    f"the label images are {masks.shape[1]} x {masks.shape[0]} pixels, fewer than the picture's; give "
                    "those that were made of it"
                )
            if self.label[row] > 0:
                shown &= masks[down, across] == self.label[row]
            else:
                x0, y0, x1, y1 = self.box[row]
                shown &= ((y > y0) & (y < y1))[:, None] & (x > x0) & (x < x1)
        return shown


__all__ = ["Shown", "anchor_points", "has_anchors", "mask_centres", "needs_keypoints"]
