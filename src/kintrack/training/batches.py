"""From clips to what a model is asked about them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import numpy as np
import torch

from kintrack.config import ModelConfig, TrackerConfig
from kintrack.config_dreem import DreemTrackerConfig
from kintrack.core.clip import Clip, Frame, Instance
from kintrack.core.detections import Detections, Ints
from kintrack.core.sightings import Sightings
from kintrack.errors import ConfigError, InputError, nearest_name
from kintrack.models.checkpoint import Model
from kintrack.models.dreem import DreemTransformer, DreemWindow
from kintrack.models.dreem_config import DreemConfig
from kintrack.tracking import Tracker
from kintrack.tracking.dreem import DreemTracker
from kintrack.training.dreem import DreemBatch, tensors_to, tracked_by_dreem, window_of
from kintrack.windows.crops import in_batches
from kintrack.windows.scorer import Scorer
from kintrack.windows.window import Window, between, follow

Given = Clip | Detections | Sequence[Frame] | Sequence[Instance]
AnyModelConfig = ModelConfig | DreemConfig
AnyTrackerConfig = TrackerConfig | DreemTrackerConfig
AnyTracker = Tracker | DreemTracker
V = TypeVar("V")
_NOTE = "This happened in"


class Batch(list[Clip]):
    """Clips, with the window of their questions made already (in a process that prepares them).

    Attributes:
        window: of those clips that hold detections; None if none does.
    """

    window: Window | DreemBatch | None = None

    @classmethod
    def prepare(
        cls, clips: Sequence[Clip | Sequence[Frame]], model: AnyModelConfig, tracker: AnyTrackerConfig, easy: int = 1
    ) -> Self:
        """The batch of the clips, for a model and a tracker; `easy` as in `kintrack.windows.window.follow`."""
        batch = cls(as_clips(list(clips)))
        seen = [clip for clip in batch if len(clip.detections)]
        batch.window = questions(seen, model, tracker, easy) if seen else None
        return batch


def as_clips(batch: Any) -> list[Clip]:
    """The clips of a batch: a list of clips, each a `Clip` or a sequence of `Frame`s; or one such clip alone."""
    if isinstance(batch, Clip) or (isinstance(batch, Sequence) and batch and isinstance(batch[0], Frame)):
        return [Clip.of_frames(batch)]
    if not isinstance(batch, Sequence) or isinstance(batch, str | bytes):
        raise InputError(f"a batch is a list of clips; this one is a {type(batch).__name__}")
    for clip in batch:
        if not isinstance(clip, Sequence) or isinstance(clip, str | bytes):
            raise InputError(f"a clip is a Clip or a list of Frames; one in the batch is a {type(clip).__name__}")
    return [Clip.of_frames(clip) for clip in batch]


@contextmanager
def naming(clips: Sequence[Clip]) -> Iterator[None]:
    """Adds to whatever fails inside in which frames of which video it did; the error stays what it was."""
    try:
        yield
    except Exception as error:
        if not any(note.startswith(_NOTE) for note in getattr(error, "__notes__", ())):  # the innermost knows best
            error.add_note(f"{_NOTE} {', '.join(_place(clip) for clip in clips)}")
        raise


def _place(clip: Clip) -> str:
    if not len(clip):
        return f"a clip without frames of video {clip.video!r}"
    return f"frames {clip.frames[0]} to {clip.frames[-1]} of video {clip.video!r}"


def questions(
    clips: Sequence[Clip], model: AnyModelConfig, tracker: AnyTrackerConfig, easy: int = 1
) -> Window | DreemBatch:
    """The questions that a tracker asks while it goes through the clips, with the true answers.

    Detections without a place are left out, as the tracker leaves them out. The crops of those clips that have any are
    in the window if the model has a visual encoder. A model of DREEM is asked about all pairs; see `DreemBatch`.
    """
    if isinstance(model, DreemConfig):
        with naming(clips):
            return DreemBatch.of(clips)
    if not isinstance(tracker, TrackerConfig):
        raise ConfigError("a model of ours learns the questions of our tracker; leave tracker.kind=dreem out")
    windows = []
    for clip in clips:
        with naming([clip]):
            windows.append(_questions(clip, model, tracker, easy))
    return Window.collate(windows)


def _questions(clip: Clip, model: ModelConfig, tracker: TrackerConfig, easy: int) -> Window:
    known = np.flatnonzero(np.isfinite(clip.detections.box).all(axis=1))
    seen = Sightings.of(clip.detections.take(known), tracker.size)
    history = clip.identity if clip.history is None else clip.history
    crops = clip.crops[known] if clip.crops is not None and model.encoder.kind != "none" else None
    return follow(seen, clip.identity[known], model, tracker, history[known], crops, easy)


def tracked(model: Model, tracker: AnyTracker, clip: Clip) -> Clip:
    """The clip with the tracks that a model and a tracker predict. The model's mode stays as it was."""
    if isinstance(model, DreemTransformer):
        if not isinstance(tracker, DreemTracker):
            raise ConfigError("a model of DREEM goes with DREEM's tracker alone; give tracker.kind=dreem")
        return tracked_by_dreem(model, tracker, clip)
    if isinstance(tracker, DreemTracker):
        raise ConfigError("a model of ours learns the questions of our tracker; leave tracker.kind=dreem out")
    was_training = model.training
    model.eval()
    try:
        scorer = Scorer(model)
        seen = Sightings.of(clip.detections, tracker.config.size)
        crops = None if clip.crops is None or model.visual_encoder is None else in_batches(clip.crops)
        return clip.with_columns(predicted=tracker(scorer, clip.detections, scorer.embed(seen, crops)).track)
    finally:
        model.train(was_training)


def by_mode(given: Mapping[str, V] | None, default: Mapping[str, V], what: str) -> dict[str, V]:
    """What was given for each mode, train, val or test, and the default for the others."""
    for mode in given or {}:
        if mode not in default:
            raise ConfigError(f"{what} are given for the mode {mode!r}: {nearest_name(mode, default)}")
    return {**default, **(given or {})}


def relation(
    references: Given, queries: Given | None, model: AnyModelConfig, device: torch.device | str = "cpu"
) -> Window | DreemWindow:
    """The window in which every query may be any reference; without queries, the references ask themselves.

    A query that is among the references (same frame, same box) is one detection with it.

    Raises:
        InputError: a model of DREEM is asked of queries that are not among the references.
    """
    if isinstance(model, DreemConfig):
        return tensors_to(_dreem_window(references, queries), device)
    clip, reference = _rows(references)
    query = reference
    if queries is not None:
        asking, query = _rows(queries)
        clip, moved, added = _united(clip, asking)
        reference, query = moved[reference], added[query]
    seen = Sightings.of(clip.detections)
    # A copy, because torch does not know of arrays that must not be written to.
    crops = clip.crops.copy() if clip.crops is not None and model.encoder.kind != "none" else None
    return between(seen, query, reference, model, crops=crops).to(device)


def _dreem_window(references: Given, queries: Given | None) -> DreemWindow:
    """The references, in the order given, and which of them ask."""
    clip, reference = _rows(references)
    place = {key: i for i, key in enumerate(_keys(clip, reference))}
    asking = list(place.values())
    if queries is not None:
        wanted = _keys(*_rows(queries))
        if strangers := sum(key not in place for key in wanted):
            raise InputError(
                f"{strangers} queries are not among the references, where a model of DREEM looks for them, too; give "
                "all detections of the window as references"
            )
        asking = [place[key] for key in wanted]
    whole, rows = window_of(clip), torch.from_numpy(reference)
    return DreemWindow(
        boxes=whole.boxes[rows],
        frame=whole.frame[rows],
        query=torch.tensor(asking, dtype=torch.int64),
        shape=whole.shape,
        crops=None if whole.crops is None else whole.crops[rows],
    )


def _keys(clip: Clip, rows: Ints) -> list[bytes]:
    """What tells detections apart: frame and box."""
    seen = clip.detections
    return [key.tobytes() for key in np.column_stack([seen.frame, seen.box])[rows]]


def _rows(given: Given) -> tuple[Clip, Ints]:
    """A clip, and the row in it of each of the detections that were given, in the order in which they were."""
    if isinstance(given, Detections):
        given = Clip.untracked(given)
    if not isinstance(given, Clip) and len(given) and isinstance(given[0], Instance):
        return Clip.of_instances(given)  # type: ignore[arg-type]
    clip = Clip.of_frames(given)  # type: ignore[arg-type]
    return clip, np.arange(len(clip.detections))


def _united(first: Clip, second: Clip) -> tuple[Clip, Ints, Ints]:
    """Both clips as one, without what is in both, and the new rows of the first and of the second."""
    key_a, key_b = (_keys(clip, np.arange(len(clip.detections))) for clip in (first, second))
    same = {key: row for row, key in enumerate(key_a)}
    twin = np.array([same.get(key, -1) for key in key_b], np.int64)
    new = np.flatnonzero(twin < 0)
    instances = [first.instance(row) for row in range(len(key_a))] + [second.instance(int(row)) for row in new]
    clip, rows = Clip.of_instances(instances)
    row_of_second = np.empty(len(key_b), np.int64)
    row_of_second[new] = rows[len(key_a) :]
    row_of_second[twin >= 0] = rows[twin[twin >= 0]]
    return clip, rows[: len(key_a)], row_of_second
