"""What a model of DREEM is trained on: annotated videos in pieces of so many frames, shown as DREEM shows them.

A piece is varied as a whole: the picture is turned, and with it boxes, keypoints and masks, before anything is cut. So
boxes and pixels agree, and the frames of a clip, too. (DREEM turns each frame by an angle of its own, D-D8, and with
masks it cuts where a cell was before, D-D7.)
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from kintrack.config import EncoderConfig
from kintrack.config_dreem import DreemCrops
from kintrack.core.clip import Clip
from kintrack.core.detections import Ints
from kintrack.core.tracks import Tracks
from kintrack.core.transforms import Affine, Shape, apply_to_frame
from kintrack.core.video import Image, LabelImage, LabelVideo, Video
from kintrack.errors import InputError
from kintrack.training.annotated import load_annotated, load_masks, with_anchors
from kintrack.training.augment import left_out, random_view, seen_from, without_some_keypoints
from kintrack.training.dreem_config import DreemDataConfig, DreemTrainConfig
from kintrack.training.looks import in_another_light
from kintrack.windows.dreem import boxes_shown, boxes_tracked, is_byte, iter_dreem_crops

_KEPT = 2_000_000_000
"""Bytes of crops that are kept from one epoch to the next; what is more is cut anew."""
_MARGIN = 8  # pixels around what a piece shows that interpolation, and smoothing before pictures shrink, look at
_FEWEST = 2  # detections of a clip: one alone teaches nothing, and has no batch statistics


class DreemClips:
    """A dataset of clips, cut as they are asked for.

    Clip number i of epoch e is made from (seed, e, i) alone.

    Args:
        truth: annotated videos.
        videos: the pixels of each.
        labels: the masks of each; None where there are none.
        crops: how detections are shown.
        data: how clips are taken and varied; None: as they are, all of them.
        frames: most frames of a clip, where `data` is None.
        seed: what all chance is drawn from.

    Raises:
        InputError: there is no piece with two detections.
        ConfigError: the detections lack what `crops` asks for.
    """

    def __init__(
        self,
        truth: Sequence[Tracks],
        videos: Sequence[Video],
        labels: Sequence[LabelVideo | None],
        crops: DreemCrops,
        data: DreemDataConfig | None,
        frames: int = 32,
        seed: int = 0,
    ) -> None:
        self.truth = [_with_place(tracks, crops) for tracks in truth]
        self.videos, self.labels = videos, labels
        self.crops, self.data, self.seed, self.epoch = crops, data, seed, 0
        self._pieces = [piece for i, tracks in enumerate(self.truth) for piece in _pieces(i, tracks, frames)]
        self._order = np.arange(len(self._pieces))
        self._kept: dict[int, Clip] = {}
        self._room = _KEPT
        if not self._pieces:
            raise InputError("there is nothing to train on: no clip has two detections; give annotated tracks")
        self.set_epoch(0)

    def __len__(self) -> int:
        return len(self._order)

    def set_epoch(self, epoch: int) -> None:
        """The next clips are those of this epoch."""
        self.epoch = epoch
        if self.data is not None and self.data.clips is not None:
            rng = np.random.default_rng([self.seed, epoch])
            few = self.data.clips < len(self._pieces)
            self._order = np.sort(rng.choice(len(self._pieces), self.data.clips, replace=not few))

    def __getitem__(self, index: int) -> Clip:
        number = int(self._order[index])
        if self.data is None:
            return self._whole(number)
        video, rows = self._pieces[number]
        rng = np.random.default_rng([self.seed, self.epoch, index])
        seen = random_view(self.data.augment, self.data.other_light, self.videos[video].shape[1:3], rng)
        truth = self._thinned(self.truth[video].take(rows), rng)
        is_whole = seen is None and len(truth) == len(rows) and not self.data.keypoint_dropout.share
        clip = self._whole(number) if is_whole else self._cut(video, truth, seen)
        if rng.random() >= self.data.other_light or clip.crops is None:
            return clip
        top = np.float32(255 if is_byte(clip.detections, self.crops) else 1)
        return replace(clip, crops=in_another_light(clip.crops / top, rng, self.data.augment) * top)

    def _thinned(self, truth: Tracks, rng: Generator) -> Tracks:
        """Some rows without the detections and keypoints that are left out by chance; two rows are left at least."""
        assert self.data is not None
        gone = left_out(truth.detections, self.data.detection_dropout, rng)
        truth = truth.take(~gone) if (~gone).sum() >= _FEWEST else truth
        return replace(truth, detections=without_some_keypoints(truth.detections, self.data.keypoint_dropout, rng))

    def _whole(self, number: int) -> Clip:
        """A piece as it is; kept for the next time while there is room."""
        if number not in self._kept:
            video, rows = self._pieces[number]
            clip = self._cut(video, self.truth[video].take(rows))
            size = 0 if clip.crops is None else clip.crops.nbytes
            if size > self._room:
                return clip
            self._kept[number], self._room = clip, self._room - size
        return self._kept[number]

    def _cut(self, video: int, truth: Tracks, seen: tuple[Affine, Shape] | None = None) -> Clip:
        """The clip of some rows of a video, seen from elsewhere if that is wanted."""
        pixels, labels = self.videos[video], self.labels[video]
        truth = replace(truth, detections=truth.detections.with_columns(video=pixels.info))
        if seen is not None:
            truth, pixels = seen_from(truth, *seen), _TurnedVideo(pixels, *seen)
            labels = None if labels is None else _TurnedLabels(labels, *seen)
        rows = truth.detections
        shown = boxes_shown(rows, self.crops, labels)
        crops = [some for _, some in iter_dreem_crops(pixels, rows, shown, self.crops, len(rows), labels)]
        placed = rows.with_columns(box=boxes_tracked(rows, self.crops, shown))
        return Clip(placed, truth.track, crops=np.concatenate(crops), shown=shown, video=video)


def _pieces(video: int, tracks: Tracks, frames: int) -> list[tuple[int, Ints]]:
    """The rows of each stretch of a video that holds two detections or more."""
    seen, found = tracks.detections, []
    for start in range(0, seen.n_frames, frames):
        rows = np.arange(len(seen))[seen.rows(start, start + frames)]
        found += [(video, rows)] if len(rows) >= _FEWEST else []
    return found


def _with_place(tracks: Tracks, crops: DreemCrops) -> Tracks:
    """The rows that have a place, and the anchors that `handle_missing` asks for; the tracker leaves out the others."""
    tracks = with_anchors(tracks, crops)
    return tracks.take(np.asarray(np.isfinite(tracks.detections.box).all(axis=1)))


def _shift(x: float, y: float) -> Affine:
    return Affine(np.array([[1, 0, x], [0, 1, y]], float))


class _Pieces:
    """A frame seen through a transform, of which only those pieces are made that are looked at: most is in no crop."""

    def __init__(self, frame: Image, view: Affine, shape: Shape) -> None:
        self.frame, self.view, self.dtype = frame, view, frame.dtype
        self.shape = (*shape, frame.shape[2])

    def __getitem__(self, place: tuple[Any, slice]) -> Any:
        """Some channels of all, as ``[..., :n]``; or the pixels of a piece, as ``[y0:y1, x0:x1]``."""
        if place[0] is Ellipsis:
            return _Pieces(self.frame[place], self.view, self.shape[:2])
        down, across = place
        shape = down.stop - down.start, across.stop - across.start
        if not all(shape):
            return np.zeros((*shape, self.shape[2]), self.dtype)
        corners = [(x, y) for x in (across.start, across.stop) for y in (down.start, down.stop)]
        sources = self.view.inverse(corners)
        low = np.maximum(np.floor(sources.min(axis=0)).astype(int) - _MARGIN, 0)
        high = np.maximum(np.ceil(sources.max(axis=0)).astype(int) + _MARGIN, low + 1)
        part = self.frame[low[1] : high[1], low[0] : high[0]]
        if not part.size:
            return np.zeros((*shape, self.shape[2]), self.dtype)
        into, back = _shift(-across.start, -down.start), _shift(*low.tolist())
        return apply_to_frame(part, into @ self.view @ back, shape)

    def min(self) -> Any:
        """Of the whole frame, wherever its pixels are now."""
        return self.frame.min()

    def max(self) -> Any:
        """Of the whole frame."""
        return self.frame.max()


class _TurnedVideo(Video):
    """A video seen through a transform; its frames are `_Pieces`."""

    def __init__(self, video: Video, view: Affine, shape: Shape) -> None:
        self.video, self.view, self._shape = video, view, shape

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, Y, X, C)."""
        n, _, _, channels = self.video.shape
        return n, *self._shape, channels

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Image]]:
        for frame, image in self.video.frames(start, stop):
            yield frame, _Pieces(image, self.view, self._shape)  # type: ignore[misc]

    def _read(self, frame: int) -> Image:
        return _Pieces(self.video[frame], self.view, self._shape)  # type: ignore[return-value]


class _TurnedLabels(LabelVideo):
    """A label video seen through a transform."""

    def __init__(self, labels: LabelVideo, view: Affine, shape: Shape) -> None:
        self.labels, self.view, self._shape = labels, view, shape

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, Y, X)."""
        return len(self.labels), *self._shape

    def _read(self, frame: int) -> LabelImage:
        return apply_to_frame(self.labels[frame], self.view, self._shape, order=0)


def dreem_clips(
    stack: ExitStack,
    learned: Sequence[Path],
    checked: Sequence[Path],
    videos: Sequence[str | Path] | None,
    config: DreemTrainConfig,
) -> tuple[DreemClips, DreemClips | None]:
    """What is learned from, and what is validated on, if anything.

    Args:
        stack: closes the videos.
        learned: files or folders of annotated tracks.
        checked: the same, to validate on.
        videos: their pixels, paired by stem; found by name where not given.
        config: of the training.
    """
    colours = EncoderConfig(kind="conv", channels=3)  # as many as the video has; a grey one stays grey
    paths = [*learned, *checked]
    truth, pixels = load_annotated(stack, paths, videos, colours)
    assert pixels is not None
    masks = load_masks(stack, paths, truth)
    n, frames = len(learned), config.data.frames
    train = DreemClips(truth[:n], pixels[:n], masks[:n], config.dreem, config.data, frames, config.seed)
    if not checked:
        return train, None
    return train, DreemClips(truth[n:], pixels[n:], masks[n:], config.dreem, None, frames)


__all__ = ["DreemClips", "dreem_clips"]
