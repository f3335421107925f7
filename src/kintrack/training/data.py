"""What a model is trained on: short clips of real and simulated truth, seen by fallible detectors.

    truth ── a stretch, at some frame rate, forward or backward ── seen by a detector (sim.observe) ── Clip
                                                                   └ remembered with mistakes ─────── Clip.history

Clip number i of epoch e is made from (seed, e, i) alone: the same on every machine, in every order, by any number of
workers, and after any interruption.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kintrack.config import DataConfig, EncoderConfig
from kintrack.core.clip import Clip, Crops
from kintrack.core.detections import Detections, Ints
from kintrack.core.tracks import Tracks
from kintrack.core.video import LabelVideo, Video
from kintrack.errors import ConfigError, InputError
from kintrack.sim import NoiseConfig, Scene, observe, random_noise, random_world, stage
from kintrack.training.annotated import with_anchors
from kintrack.training.augment import left_out, random_view, seen_from, without_some_keypoints
from kintrack.training.looks import drawn_looks, each_turned, in_another_light
from kintrack.windows.crops import crop_detections
from kintrack.windows.shown import has_anchors, needs_keypoints


class Clips:
    """A dataset of clips, made as they are asked for.

    Args:
        truth: annotated videos.
        config: how clips are taken from them, and how many are simulated instead.
        videos: the pixels of each of `truth`, for a model with a visual encoder.
        encoder: how the model wants its crops; None for a model without a visual encoder.
        seed: what all chance is drawn from.
        labels: the masks of each of `truth`, None where it has none; for crops that show them.
    """

    def __init__(
        self,
        truth: Sequence[Tracks],
        config: DataConfig | None = None,
        videos: Sequence[Video] | None = None,
        encoder: EncoderConfig | None = None,
        seed: int = 0,
        labels: Sequence[LabelVideo | None] | None = None,
    ) -> None:
        self.config = DataConfig.of(config)
        self.truth = [t.take(t.track >= 0) for t in truth]
        if encoder is not None:
            self.truth = [with_anchors(t, encoder) for t in self.truth]
            _check_drawable(encoder, self.config)
        self.videos = videos
        self.labels = labels or [None] * len(self.truth)
        self.encoder = encoder
        self.seed = seed
        self.epoch = 0
        self._tracks: Callable[[Detections], Ints] | None = None
        if not self.config.simulated and not any(len(t) for t in self.truth):
            raise InputError("there is nothing to train on: no annotated track, and data.simulated is 0")
        if videos is not None and len(videos) != len(self.truth):
            raise InputError(f"{len(self.truth)} annotated videos but pixels of {len(videos)}; give one for each")
        # A video counts as much as it has links to teach, but a long one does not drown the others.
        weight = np.sqrt([len(t) for t in self.truth])
        self._weight = weight / weight.sum() if weight.any() else None

    def __len__(self) -> int:
        return self.config.clips

    def set_epoch(self, epoch: int) -> None:
        """The next clips are those of this epoch."""
        self.epoch = epoch

    def set_tracks(self, tracks: Callable[[Detections], Ints] | None) -> None:
        """Of the next clips a share of `DataConfig.own` is remembered by the tracks that a model finds for them."""
        self._tracks = tracks

    def __getitem__(self, index: int) -> Clip:
        rng = np.random.default_rng([self.seed, self.epoch, index])
        if self._weight is None or rng.random() < self.config.simulated:
            scene = self._world(rng)
            clip = self._observed(scene.tracks, rng)
            if self.encoder is None:
                return clip
            return self._lit(clip, drawn_looks(scene, clip.detections, self.encoder, rng), rng)
        video = int(rng.choice(len(self.truth), p=self._weight))
        truth = self._not_too_many(self.truth[video], rng)
        n_objects = len(truth) / max(len(np.unique(truth.detections.frame)), 1)
        stretch, timing = _stretch(truth, self._n_frames(n_objects), self.config.max_stride, rng)
        pixels = self.videos[video] if self.encoder is not None and self.videos is not None else None
        shape = pixels.shape[1:3] if pixels is not None else _shape(stretch.detections)
        chance = rng.spawn(1)[0]  # so that all else is the same, varied or not
        seen = random_view(self.config.augment, self.config.other_light, shape, chance, pixels is not None)
        stretch = stretch if seen is None else seen_from(stretch, *seen)
        clip = replace(self._observed(stretch, rng), video=video)
        if self.encoder is None or pixels is None:
            return clip
        # Backward in time the video's rows are the other way round: sorted for reading, and put back in place.
        shown = _shown(clip, stretch, timing)
        place = np.argsort(np.argsort(timing.start + timing.step * clip.detections.frame, kind="stable"))
        view, labels = None if seen is None else seen[0], self.labels[video]
        return self._lit(clip, crop_detections(pixels, shown, place, self.encoder, view=view, labels=labels), rng)

    def _lit(self, clip: Clip, crops: Crops, rng: Generator) -> Clip:
        """The clip with its crops, most often in another light."""
        if rng.random() < self.config.other_light:
            crops = in_another_light(crops, rng, self.config.augment)
        if (share := self.config.augment.turn_each) and rng.random() < share:
            crops = each_turned(crops, rng)
        return replace(clip, crops=crops)

    def _world(self, rng: Generator) -> Scene:
        world = random_world(rng, max_individuals=self.config.max_objects)
        n_frames = self._n_frames(world.n_individuals)
        return stage(world.model_copy(update={"n_frames": n_frames}), int(rng.integers(1 << 62)))

    def _n_frames(self, n_objects: float) -> int:
        """As long a clip as its detections allow: few individuals are watched for long, a crowd for a moment."""
        fewest = min(12, self.config.frames)
        return int(np.clip(self.config.max_rows / max(n_objects, 1.0), fewest, self.config.frames))

    def _not_too_many(self, truth: Tracks, rng: Generator) -> Tracks:
        """At most `max_objects` individuals: those around one of them, as a cut-out of the scene would show."""
        ids = truth.ids
        if len(ids) <= self.config.max_objects:
            return truth
        centre, column = truth.detections.centre, np.searchsorted(ids, truth.track)
        n = np.bincount(column)
        middle = np.stack([np.bincount(column, weights=np.nan_to_num(c)) / n for c in centre.T], axis=1)
        near = np.argsort(np.linalg.norm(middle - middle[rng.integers(len(ids))], axis=1))
        return truth.take(np.isin(column, near[: self.config.max_objects]))

    def _observed(self, truth: Tracks, rng: Generator) -> Clip:
        noise = random_noise(rng) if rng.random() < self.config.noisy else None
        if self.config.hidden and rng.random() < self.config.hidden:
            noise = _hiding(noise, truth.detections.n_frames)
        detections, identity = observe(truth, noise, rng)
        detections = without_some_keypoints(detections, self.config.keypoint_dropout, rng)
        kept = ~left_out(detections, self.config.detection_dropout, rng)
        if self.encoder is not None:
            kept &= has_anchors(detections, self.encoder)
        detections, identity = detections.take(kept), identity[kept]
        blank = {name: None for name in ("score", "area", "keypoints") if rng.random() < self.config.blank}
        if self.encoder is not None and needs_keypoints(self.encoder):
            blank.pop("keypoints", None)  # without them there are no crops
        if "keypoints" in blank:
            blank |= {"keypoint_score": None, "skeleton": None}
        detections = detections.with_columns(**blank)
        if self._tracks is not None and rng.random() < self.config.own:
            history = self._tracks(detections)
        else:
            history = _mistaken(identity, detections.frame, self.config, rng)
        return Clip(detections, identity, history=history, video=-1)


def _hiding(noise: NoiseConfig | None, n_frames: int) -> NoiseConfig:
    """The detector, past which everybody is out of sight for a third of the time: for up to half a clip at once."""
    longest = max(n_frames // 2, 2)
    length = (max(longest // 4, 1), longest)
    return (noise or NoiseConfig()).model_copy(update={"burst": 1 / 3, "burst_length": length})


def _check_drawable(encoder: EncoderConfig, config: DataConfig) -> None:
    """Raises where crops show what simulated worlds do not have."""
    if config.simulated and (needs_keypoints(encoder) or encoder.own_mask):
        raise ConfigError(
            "simulated worlds have neither masks nor the keypoints of your animals, by which this model's crops are "
            "made (model.encoder: anchors, dilation_radius, own_mask); set data.simulated to 0"
        )


def _shape(detections: Detections) -> tuple[int, int]:
    """(Y, X) of the video, or of all that is known to be in it."""
    if detections.video is not None and detections.video.shape is not None:
        return detections.video.shape
    upper = np.nan_to_num(detections.box[:, 2:4]).max(axis=0, initial=1.0)
    return math.ceil(upper[1]), math.ceil(upper[0])


def _shown(clip: Clip, truth: Tracks, timing: "_Timing") -> Detections:
    """The clip's detections in the frames of its video, each with the mask of whom it is a detection of."""
    seen, label, known = clip.detections, None, truth.detections
    if known.label is not None:
        place = {key: i for i, key in enumerate(zip(known.frame.tolist(), truth.track.tolist(), strict=True))}
        rows = [place.get(key, -1) for key in zip(seen.frame.tolist(), clip.identity.tolist(), strict=True)]
        label = np.append(known.label, 0)[rows]
    frame = timing.start + timing.step * seen.frame
    return Detections.of(frame, seen.box, keypoints=seen.keypoints, skeleton=seen.skeleton, label=label)


class _Timing(NamedTuple):
    """Frame t of a clip is frame ``start + step * t`` of its video."""

    start: int
    step: int


def _stretch(truth: Tracks, n_frames: int, max_stride: int, rng: Generator) -> tuple[Tracks, _Timing]:
    """Some frames of a video at some lower frame rate, forward or backward."""
    frame = truth.detections.frame
    step = int(rng.integers(1, max_stride + 1))
    last = int(frame[-1])
    start = int(rng.integers(int(frame[0]), max(last - n_frames * step + 1, int(frame[0])) + 1))
    stop = min(start + (n_frames - 1) * step, start + (last - start) // step * step)
    part = truth.take(truth.detections.rows(start, stop + 1))
    part = part.take((part.detections.frame - start) % step == 0)
    timing = _Timing(start, step) if rng.random() < 0.5 else _Timing(stop, -step)
    return _retimed(part, timing), timing


def _retimed(truth: Tracks, timing: _Timing) -> Tracks:
    """The same rows with the clip's frame numbers, in the clip's order of time; how long the video is, says nothing."""
    seen = truth.detections
    video = None if seen.video is None else replace(seen.video, n_frames=0, fps=None)
    frame = (seen.frame - timing.start) // timing.step
    order = np.argsort(frame, kind="stable")
    columns: dict[str, Any] = {
        n: c[order] for n, c in seen.columns().items() if n != "frame" and not n.startswith("extra.")
    }
    return Tracks(replace(seen, frame=frame[order], video=video, extra={}, **columns), truth.track[order])


def _mistaken(identity: Ints, frame: NDArray[np.int32], config: DataConfig, rng: Generator) -> Ints:
    """The tracks of a tracker that errs: from some frame on, two are exchanged, or one goes on under a new number.

    False detections keep -1: each is a track of its own.
    """
    track = identity.copy()
    next_id = int(identity.max(initial=0)) + 1
    for t in np.unique(frame):
        later = frame >= t
        present = np.unique(track[(frame == t) & (identity >= 0)])
        if len(present) >= 2 and rng.random() < config.swap:
            a, b = rng.choice(present, 2, replace=False)
            was_a, was_b = later & (track == a), later & (track == b)
            track[was_a], track[was_b] = b, a
        for broken in present[rng.random(len(present)) < config.fragment]:
            track[later & (track == broken)] = next_id
            next_id += 1
    return track
