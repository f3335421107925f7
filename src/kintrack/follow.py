"""From detections and a model to tracks: where pixels, windows, the model and the tracker meet.

video ── crops ─┐
detections ── Sightings ── Scorer.embed (tokens) ── Tracker, frame by frame ── Tracks

The model `motion` scores sightings as they are: with it nothing of this loads torch.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from queue import Queue
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from pydantic import Field

from kintrack.config import Config, TrackerConfig
from kintrack.config_data import AdmitConfig, CropConfig
from kintrack.config_dreem import AnyTracker, DreemCrops, DreemTrackerConfig
from kintrack.core.detections import Bools, Detections, Ints
from kintrack.core.tracks import REVIEW_FRAMES, Tracks
from kintrack.core.video import LabelVideo, Video
from kintrack.errors import ConfigError, InputError
from kintrack.io import check_against_video

if TYPE_CHECKING:
    from kintrack.core.records import FrameRecord, Watch
    from kintrack.core.sightings import Sightings
    from kintrack.loading import Model
    from kintrack.models import GlobalTrackingTransformer
    from kintrack.models.dreem import DreemTransformer
    from kintrack.tracking import Score, Tracker
    from kintrack.tracking.dreem import DreemTracker

_log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Is told what is being done, how many frames are done, and of how many."""

_CHUNK = 64  # frames after which the tracker says how far it is
_MOST_THREADS = 4  # a batch of crops gains nothing from more
T = TypeVar("T")


class TrackConfig(Config):
    """Everything that decides how detections become tracks. It is saved beside each result."""

    model: str = "general"
    """The model: a name that `kintrack info` lists, or the path of a checkpoint."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the model runs; `auto` takes a GPU if there is one."""
    batch: int = Field(default=256, ge=1)
    """Crops that the visual encoder sees at a time."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of the visual encoder; where not given half of the cores, at most 4: reading needs some, too."""
    precision: Literal["exact", "half"] = "exact"
    """Numbers of the network of a model of DREEM: `half` (bfloat16) takes half the time on processors that have them,
    and features differ in their third digit. Other models do not ask."""
    tracker: AnyTracker = TrackerConfig()
    """How scores become identities; or `dreem`, for the tracker of DREEM with options of its own."""
    frames: int | None = Field(default=None, ge=1)
    """For a try: so many frames are tracked, the first that hold detections. The rows of the others stay, untracked."""
    admit: AdmitConfig = AdmitConfig()
    """Which detections are tracked."""
    dreem: DreemCrops = DreemCrops()
    """How detections are shown to a model of DREEM; other models do not ask."""
    review: int = Field(default=REVIEW_FRAMES, ge=0)
    """Frames to look at first, at most: those of the least sure links and starts. A `.slp` suggests them."""
    made: dict[str, Any] = Field(default_factory=dict)
    """In the file saved beside a result: what it was made of and with. Not read."""


def follow(
    detections: Detections,
    model: "Model",
    video: Video | None = None,
    config: TrackConfig | None = None,
    progress: Progress | None = None,
    labels: LabelVideo | None = None,
    watch: "Watch | None" = None,
) -> Tracks:
    """The tracks of the detections of one video, by a model that is already on its device.

    Args:
        detections: of one video.
        model: in `eval()` mode; or a `Motion`.
        video: the pixels that the model looks at; None for geometry alone.
        config: batch, threads, frames, tracker, admit and dreem are used.
        progress: is told of "looking" at crops and of "tracking".
        labels: the masks, for crops that are centred on them or show nothing else.
        watch: is told of each frame what the tracker weighed.

    Raises:
        AlignmentError: the detections do not belong to the video.
        ConfigError: the model and the tracker do not go together, or a model of DREEM lacks what its crops need.
    """
    config = config or TrackConfig()
    told = progress or _nobody
    kept = np.flatnonzero(_admitted(detections, model, config))
    part = detections if len(kept) == len(detections) else detections.take(kept)
    n = detections.n_frames
    score, seen, tracker = _ready(model, part, video, config, told, labels)
    tracker.watch = None if watch is None else _of_whole(watch, kept)
    with cpu_threads(1):
        track, confidence = np.full(len(detections), -1, np.int64), np.full(len(detections), np.nan)
        frames = np.unique(part.frame)  # those that hold anything: a gap may be longer than the video is full
        for chunk in np.split(frames, range(_CHUNK, len(frames), _CHUNK)) if len(frames) else []:
            stop = int(chunk[-1]) + 1
            rows = part.rows(int(chunk[0]), stop)
            track[kept[rows]], confidence[kept[rows]] = tracker.update(score, seen.take(rows))
            told("tracking", n if stop > frames[-1] else stop, n)
    if flagged := getattr(tracker, "flagged", None):
        shown = ", ".join(map(str, flagged[:20])) + (", …" if len(flagged) > 20 else "")
        _log.warning("%d frames hold tracks that are less certain than was asked for: %s", len(flagged), shown)
    return Tracks(detections, track, confidence=confidence)


def _of_whole(watch: "Watch", kept: Ints) -> "Watch":
    """The same watch, told of the rows as they are numbered in the table of which `kept` were tracked."""

    def tell(record: "FrameRecord") -> None:
        query, memory = record.query, record.memory
        seen = replace(memory.sightings, row=kept[memory.sightings.row])
        watch(replace(record, query=replace(query, row=kept[query.row]), memory=replace(memory, sightings=seen)))

    return tell


def _admitted(detections: Detections, model: "Model", config: TrackConfig) -> Bools:
    """(N,) which rows are tracked; says how many are not, and why."""
    from kintrack.tracking.admit import set_aside

    aside, first = set_aside(detections, config.admit), in_first_frames(detections, config.frames)
    reasons = [
        (~first, f"lie after the first {config.frames} frames (frames)"),
        (aside.overlapping, f"overlap a better one by more than {config.admit.max_overlap} (admit.max_overlap)"),
        (aside.excess, f"are more than {config.admit.max_objects} in their frame (admit.max_objects)"),
    ]
    kept = first & ~(aside.overlapping | aside.excess)
    if (crops := _crops(model, config)) is not None and crops.handle_missing == "drop":
        from kintrack.windows.shown import has_anchors

        lacking = kept & ~has_anchors(detections, crops)
        reasons += [(lacking, f"lack {' or '.join(crops.anchors)}, which their crops show (handle_missing)")]
        kept &= ~lacking
    if not kept.all():
        said = ", ".join(f"{int(rows.sum()):,} {why}" for rows, why in reasons if rows.any())
        left = (
            f"{int((~kept).sum()):,} of {len(kept):,} detections are not tracked and stay in the result without a track"
        )
        _log.warning("%s: %s", left, said)
    return kept


def in_first_frames(detections: Detections, frames: int | None) -> Bools:
    """(N,) which rows lie in the first so many frames that hold any; all of them where no number is given."""
    there = np.unique(detections.frame)
    if frames is None or frames >= len(there):
        return np.ones(len(detections), bool)
    return np.asarray(detections.frame < there[frames])


def _crops(model: "Model", config: TrackConfig) -> CropConfig | None:
    """What the model's crops show of a detection; None if it does not look at any."""
    from kintrack.tracking.motion import Motion

    if isinstance(model, Motion) or model.visual_encoder is None:
        return None
    from kintrack.models.dreem import DreemTransformer

    return config.dreem if isinstance(model, DreemTransformer) else model.config.encoder


def _ready(
    model: "Model",
    detections: Detections,
    video: Video | None,
    config: TrackConfig,
    told: Progress,
    labels: LabelVideo | None,
) -> "tuple[Score, Sightings, Tracker | DreemTracker]":
    """The model as a score, the sightings as it wants to see them, and the tracker."""
    from kintrack.core.sightings import Sightings
    from kintrack.tracking import Tracker
    from kintrack.tracking.dreem import DreemTracker
    from kintrack.tracking.motion import Motion

    score: Score
    size = config.tracker.size if isinstance(config.tracker, TrackerConfig) else None
    seen = Sightings.of(detections, size)
    if isinstance(model, Motion):
        score = model
    else:
        from kintrack.models.dreem import DreemTransformer

        if isinstance(model, DreemTransformer):
            return _shown_to_dreem(model, detections, video, config, told, labels)
        score, seen = _embedded(model, detections, seen, video, config, told, labels)
    if isinstance(config.tracker, TrackerConfig):
        return score, seen, Tracker(config.tracker, persistent_tracking=True)
    shape = detections.video.shape if detections.video else None
    return score, seen, DreemTracker(config.tracker, shape=shape, skeleton=detections.skeleton)


def _shown_to_dreem(
    model: "DreemTransformer",
    detections: Detections,
    video: Video | None,
    config: TrackConfig,
    told: Progress,
    labels: LabelVideo | None,
) -> "tuple[Score, Sightings, DreemTracker]":
    """A model of DREEM, what it is shown, and the tracker that it was made for."""
    from kintrack.core.sightings import Sightings
    from kintrack.tracking.dreem import DreemTracker
    from kintrack.windows.dreem import ON_CPU, DreemScorer, boxes_shown, boxes_tracked, crop_axes, iter_dreem_crops

    if not isinstance(config.tracker, DreemTrackerConfig):
        raise ConfigError("a model of DREEM goes with DREEM's tracker alone; give --set tracker.kind=dreem")
    if (n_anchors := model.config.n_anchors) not in (None, len(config.dreem.anchors)):
        raise ConfigError(
            f"this model of DREEM was made for {n_anchors} anchors of a detection, and dreem.anchors names "
            f"{len(config.dreem.anchors)} ({', '.join(config.dreem.anchors)}); name those of its training, in order"
        )
    if video is None:
        raise InputError("a model of DREEM looks at pixels, but no video was given; give it with --video")
    check_against_video(detections, video)
    box = boxes_shown(detections, config.dreem, labels)
    seen = Sightings.of(detections.with_columns(box=boxes_tracked(detections, config.dreem, box)))
    shape, axis = video.shape[1:3], None
    scorer = DreemScorer(model, shape, half=config.precision == "half")
    batch = min(config.batch, ON_CPU) if scorer.device.type == "cpu" else config.batch
    batches = _ahead(iter_dreem_crops(video, detections, box, config.dreem, batch, labels))
    if config.tracker.max_angle_diff > 0 and (detections.keypoints is None or detections.keypoints.shape[1] == 1):
        axis = np.full((len(detections), 3), np.nan)
        batches = _telling(batches, lambda batch: crop_axes(*batch, axis))
    n, frame = detections.n_frames, detections.frame
    crops = _telling(batches, lambda batch: told("looking", int(frame[batch[0][-1]]) + 1, n))
    with cpu_threads(config.threads):
        seen = scorer.embed(seen, crops, box)
    return scorer, seen, DreemTracker(config.tracker, shape=shape, axis=axis, skeleton=detections.skeleton)


def _embedded(
    model: "GlobalTrackingTransformer",
    detections: Detections,
    seen: "Sightings",
    video: Video | None,
    config: TrackConfig,
    told: Progress,
    labels: LabelVideo | None,
) -> "tuple[Score, Sightings]":
    """The model as a score, and the sightings with what it makes of them and of their pixels."""
    from kintrack.windows.crops import iter_crops
    from kintrack.windows.scorer import Scorer

    scorer, crops = Scorer(model), None
    if video is not None:
        check_against_video(detections, video)
        batches = iter_crops(video, detections, model.config.encoder, config.batch, labels=labels)
        n, frame = detections.n_frames, detections.frame
        crops = _telling(_ahead(batches), lambda batch: told("looking", int(frame[batch[0][-1]]) + 1, n))
    # A step of the tracker is too small to be shared among threads.
    with cpu_threads(1 if crops is None else config.threads):
        return scorer, scorer.embed(seen, crops)


@contextmanager
def cpu_threads(wanted: int | None) -> Iterator[None]:
    """torch with as many CPU threads as wanted, or half of what this process may use; put back at the end.

    Threads that have to wait for a core cost many times what they save, so some are left to others.
    """
    torch = sys.modules.get("torch")
    if torch is None:  # nothing to hold back: the model is one without weights
        yield
        return
    before = torch.get_num_threads()
    may_use = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(wanted or max(1, min(may_use // 2, _MOST_THREADS)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _nobody(what: str, done: int, total: int) -> None:
    """Who is told where nobody asked."""


def _telling(items: Iterable[T], tell: Callable[[T], None]) -> Iterator[T]:
    for item in items:
        yield item
        tell(item)


def _ahead(items: Iterator[T], depth: int = 2) -> Iterator[T]:
    """The same items, made by a thread of its own while the ones before are used: reading and computing overlap.

    Whatever goes wrong there is raised here. When this is no longer read, the thread ends with the item it is at.
    """
    queue: Queue[tuple[T | None, BaseException | None, bool]] = Queue(depth)
    enough = threading.Event()

    def make() -> None:
        try:
            for item in items:
                queue.put((item, None, False))
                if enough.is_set():
                    return
            queue.put((None, None, True))
        except BaseException as error:  # handed over, not hidden
            queue.put((None, error, True))

    worker = threading.Thread(target=make, daemon=True, name="kintrack-crops")
    worker.start()
    try:
        while True:
            item, error, over = queue.get()
            if error is not None:
                raise error
            if over:
                return
            yield item  # type: ignore[misc]
    finally:
        enough.set()
        while worker.is_alive():
            if not queue.empty():
                queue.get_nowait()  # makes room, in case it waits for some
            worker.join(0.01)
