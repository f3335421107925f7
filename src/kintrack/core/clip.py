"""Clip: consecutive frames of one video as columns, with truth and prediction; Frame and Instance to look at them.

A `Clip` is what a model is trained and tested on. People, and the interface of `GTRRunner`, see it as a sequence of
`Frame` objects with their `Instance` objects: read-only views, made when they are asked for. It also goes the other
way: frames made by hand are gathered into columns by `Clip.of_frames`.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kintrack.core import boxes
from kintrack.core.detections import Detections, Floats, Ints, _frozen
from kintrack.core.tracks import UNTRACKED, Tracks
from kintrack.errors import InputError

Crops = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Instance:
    """One detection, for people: a row of a `Clip`, or made by hand to become one.

    Args:
        box: (2*ndim,) ``x0 y0 x1 y1``; around the keypoints where it is not given.
        keypoints: (K, ndim), nan where not seen.
        score: the detector's confidence; nan where unknown.
        area: pixels of the mask; nan where unknown.
        gt_track_id: who it is, -1 where nobody knows.
        pred_track_id: who it is predicted to be, -1 for nobody.
        crop: (C, S, S) pixels around it, in [0, 1].
        frame_id: the frame in which it is seen; in a `Frame`, that one's.
    """

    box: Floats = field(default=None)  # type: ignore[arg-type]  # filled below
    keypoints: Floats | None = None
    score: float = float("nan")
    area: float = float("nan")
    gt_track_id: int = UNTRACKED
    pred_track_id: int = UNTRACKED
    crop: Crops | None = None
    frame_id: int = 0

    def __post_init__(self) -> None:
        if self.keypoints is not None:
            object.__setattr__(self, "keypoints", _frozen(self.keypoints, np.float64))
        if self.box is None and self.keypoints is None:
            raise InputError("an instance without a box and without keypoints is nowhere; give one of them")
        box = (
            boxes.around_points(self.keypoints[None])[0]
            if self.box is None and self.keypoints is not None
            else self.box
        )
        object.__setattr__(self, "box", _frozen(box, np.float64))
        if self.box.shape not in ((4,), (6,)):
            raise InputError(
                f"box of an instance has shape {self.box.shape}; wanted (4,) as x0 y0 x1 y1, or (6,) in 3-D"
            )
        if self.crop is not None:
            object.__setattr__(self, "crop", _frozen(self.crop, np.float32))

    @property
    def centroid(self) -> Floats:
        """(ndim,) the mean of the visible keypoints, else the middle of the box."""
        keypoints = None if self.keypoints is None else self.keypoints[None]
        return np.asarray(Detections(np.zeros(1, np.int32), self.box[None], keypoints=keypoints).centre[0])

    @property
    def has_gt_track_id(self) -> bool:
        """Whether it is known who it is."""
        return self.gt_track_id >= 0

    @property
    def has_pred_track_id(self) -> bool:
        """Whether it was given a track."""
        return self.pred_track_id >= 0


class Frame:
    """One time point with its detections: a clip's rows of one frame, read-only.

    Args:
        frame_id: the frame, counted from 0.
        instances: its detections.
        video_id: the video that it belongs to.

    Attributes:
        frame_id: the frame, counted from 0.
        video_id: the video that it belongs to.
    """

    __slots__ = ("_clip", "_rows", "frame_id", "video_id")
    frame_id: int
    video_id: str | int
    _clip: "Clip"
    _rows: slice

    def __init__(self, frame_id: int, instances: Iterable[Instance] = (), video_id: str | int = 0) -> None:
        gathered = _of_instances(int(frame_id), list(instances), video_id)
        self._set(gathered, int(frame_id), slice(0, len(gathered.detections)))

    def _set(self, clip: "Clip", frame_id: int, rows: slice) -> None:
        for name, value in (("_clip", clip), ("_rows", rows), ("frame_id", frame_id), ("video_id", clip.video)):
            object.__setattr__(self, name, value)

    @classmethod
    def _view(cls, clip: "Clip", frame_id: int) -> Self:
        """A clip's frame."""
        self = cls.__new__(cls)
        self._set(clip, frame_id, clip.detections.rows(frame_id, frame_id + 1))
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Frame is read-only; make another one instead of setting {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return Frame._view, (self._clip._part(self), self.frame_id)  # its own rows alone, not those of the whole clip

    def __len__(self) -> int:
        return int(self._rows.stop - self._rows.start)

    def __bool__(self) -> bool:
        return True  # a frame without detections is still a frame

    def __repr__(self) -> str:
        return f"Frame({self.frame_id}, {len(self)} instances, video {self.video_id!r})"

    @property
    def has_instances(self) -> bool:
        """Whether anything was detected."""
        return len(self) > 0

    @property
    def detections(self) -> Detections:
        """The rows, as a table."""
        return self._clip.detections.take(self._rows)

    @property
    def instances(self) -> tuple[Instance, ...]:
        """The detections one by one, for people. Code works on the columns of the clip."""
        return tuple(self._clip.instance(row) for row in range(self._rows.start, self._rows.stop))

    @property
    def gt_track_ids(self) -> Ints:
        """(n,) who each is; -1 where nobody knows."""
        return self._clip.identity[self._rows]

    @property
    def pred_track_ids(self) -> Ints:
        """(n,) who each is predicted to be; -1 for nobody."""
        predicted = self._clip.predicted
        return np.full(len(self), UNTRACKED) if predicted is None else predicted[self._rows]


@dataclass(frozen=True, eq=False)
class Clip(Sequence[Frame]):
    """Consecutive frames of one video, as columns; as a sequence, its frames.

    Args:
        detections: N rows.
        identity: (N,) int64, who each is; -1 where nobody knows, or for a false detection.
        history: (N,) int64, the tracks by which sightings are remembered in training, where they are not the truth
            (a tracker's tracks, or the truth with mistakes).
        crops: (N, C, S, S) float32, pixels around each in [0, 1].
        shown: (N, A, 4) what the crops around each of A anchors show, for a model that is told (one of DREEM).
        predicted: (N,) int64, the track each was given; -1 for none.
        video: which video it is a part of. Where this changes, a tracker forgets.
        frames: (T,) int64, the frames, increasing; those with detections where not given.
    """

    detections: Detections
    identity: Ints
    history: Ints | None = None
    crops: Crops | None = None
    shown: Floats | None = None
    predicted: Ints | None = None
    video: str | int = 0
    frames: Ints = field(default=None)  # type: ignore[arg-type]  # filled below

    def __post_init__(self) -> None:
        n = len(self.detections)
        for name in ("identity", "history", "predicted"):
            column = getattr(self, name)
            if column is None:
                continue
            object.__setattr__(self, name, _frozen(column, np.int64))
            if getattr(self, name).shape != (n,):
                raise InputError(
                    f"{name} has shape {np.shape(column)} but the clip has {n} detections; give one id a row"
                )
        if self.crops is not None:
            object.__setattr__(self, "crops", _frozen(self.crops, np.float32))
            if self.crops.ndim != 4 or len(self.crops) != n:
                raise InputError(f"crops have shape {self.crops.shape}; wanted ({n}, C, S, S), one for each detection")
        if self.shown is not None:
            object.__setattr__(self, "shown", _frozen(self.shown, np.float64))
            if self.shown.ndim != 3 or len(self.shown) != n or self.shown.shape[2] != 4:
                raise InputError(
                    f"shown has shape {self.shown.shape}; wanted ({n}, A, 4), a box for each anchor's crop"
                )
        seen = np.unique(self.detections.frame)
        object.__setattr__(self, "frames", _frozen(seen if self.frames is None else self.frames, np.int64))
        if (np.diff(self.frames) <= 0).any():
            raise InputError("frames of a clip must increase, each there once; sort them")
        if not np.isin(seen, self.frames).all():
            missing = seen[~np.isin(seen, self.frames)][0]
            raise InputError(
                f"there are detections in frame {missing}, but the clip does not list it; give every frame"
            )

    @classmethod
    def untracked(cls, detections: Detections, video: str | int = 0, crops: Crops | None = None) -> Self:
        """Detections of which nobody knows who is who."""
        return cls(detections, np.full(len(detections), UNTRACKED), video=video, crops=crops)

    @classmethod
    def of_frames(cls, frames: Sequence[Frame]) -> "Clip":
        """The columns of frames of one video, in the order of time. A column that only some have is nan in the others.

        Raises:
            InputError: if a frame is there twice, frames are of several videos, or their columns cannot be joined.
        """
        if isinstance(frames, Clip):
            return frames
        for frame in frames:
            if not isinstance(frame, Frame):
                raise InputError(f"a clip is made of Frames, but one of them is a {type(frame).__name__}")
        ordered = sorted(frames, key=lambda frame: frame.frame_id)
        videos = {frame.video_id for frame in ordered}
        if len(videos) > 1:
            raise InputError(
                f"frames of several videos ({', '.join(map(repr, sorted(videos, key=str)))}); a clip is of one"
            )
        ids = np.array([frame.frame_id for frame in ordered], np.int64)
        twice = np.flatnonzero(np.diff(ids) == 0)
        if len(twice):
            raise InputError(f"frame {ids[twice[0]]} is there twice; give each frame of a clip once")
        whole = ordered[0]._clip if ordered else None
        if whole is not None and all(f._clip is whole for f in ordered) and np.array_equal(ids, whole.frames):
            return whole
        return _joined([frame._clip._part(frame) for frame in ordered], ids, videos.pop() if videos else 0)

    @classmethod
    def of_instances(cls, instances: Sequence[Instance]) -> tuple["Clip", Ints]:
        """The columns of instances of any frames in any order, and each one's row in them."""
        frame = np.array([instance.frame_id for instance in instances], np.int64)
        order = np.argsort(frame, kind="stable")
        ids, starts = np.unique(frame[order], return_index=True)
        groups = np.split(order, starts[1:])
        frames = [Frame(int(t), [instances[i] for i in rows]) for t, rows in zip(ids, groups, strict=False)]
        return cls.of_frames(frames), np.argsort(order)

    def _part(self, frame: Frame) -> "Clip":
        """The clip of one of its frames."""
        rows = frame._rows
        names = ("history", "crops", "shown", "predicted")
        columns = {n: None if (c := getattr(self, n)) is None else c[rows] for n in names}
        ids = np.array([frame.frame_id])
        return Clip(self.detections.take(rows), self.identity[rows], video=self.video, frames=ids, **columns)

    def __len__(self) -> int:
        """Frames."""
        return len(self.frames)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        if isinstance(index, slice):
            return [Frame._view(self, int(i)) for i in self.frames[index]]
        return Frame._view(self, int(self.frames[range(len(self))[index]]))

    def __repr__(self) -> str:
        return f"Clip({len(self)} frames, {len(self.detections)} detections, video {self.video!r})"

    def instance(self, row: int) -> Instance:
        """One row, for people."""
        seen = self.detections
        return Instance(
            box=seen.box[row],
            keypoints=None if seen.keypoints is None else seen.keypoints[row],
            score=float("nan") if seen.score is None else float(seen.score[row]),
            area=float("nan") if seen.area is None else float(seen.area[row]),
            gt_track_id=int(self.identity[row]),
            pred_track_id=UNTRACKED if self.predicted is None else int(self.predicted[row]),
            crop=None if self.crops is None else self.crops[row],
            frame_id=int(seen.frame[row]),
        )

    @property
    def truth(self) -> Tracks:
        """Who was who."""
        return Tracks(self.detections, self.identity)

    @property
    def prediction(self) -> Tracks:
        """Who was predicted to be who; nobody, where nothing was predicted."""
        if self.predicted is None:
            return Tracks.untracked(self.detections)
        return Tracks(self.detections, self.predicted)

    def with_columns(self, **columns: Any) -> Self:
        """The same rows with some columns replaced, added, or (by None) taken away."""
        return dataclasses.replace(self, **columns)


def _of_instances(frame_id: int, instances: list[Instance], video: str | int) -> Clip:
    """The one-frame clip of instances that were made by hand."""
    for instance in instances:
        if not isinstance(instance, Instance):
            raise InputError(f"frame {frame_id} is made of Instances, but one of them is a {type(instance).__name__}")
    if not instances:
        return Clip(Detections.empty(), np.zeros(0, np.int64), video=video, frames=np.array([frame_id]))
    where = f"frame {frame_id}"
    score, area = np.array([i.score for i in instances]), np.array([i.area for i in instances])
    predicted = np.array([i.pred_track_id for i in instances])
    crops = [i.crop for i in instances if i.crop is not None]
    seen = Detections(
        np.full(len(instances), frame_id),
        _same_shapes([i.box for i in instances], "boxes", where),
        score=None if np.isnan(score).all() else score,
        area=None if np.isnan(area).all() else area,
        keypoints=_keypoints([i.keypoints for i in instances], where),
    )
    if crops and len(crops) < len(instances):
        raise InputError(
            f"{len(crops)} of {len(instances)} instances of {where} have a crop; give all of them one, or none"
        )
    return Clip(
        seen,
        np.array([i.gt_track_id for i in instances]),
        crops=_same_shapes(crops, "crops", where) if crops else None,
        predicted=None if (predicted < 0).all() else predicted,
        video=video,
    )


def _keypoints(given: list[Floats | None], where: str) -> Floats | None:
    """(n, K, ndim) with nan for instances without keypoints; None where none has any."""
    known = [k for k in given if k is not None]
    if not known:
        return None
    return np.asarray(
        _same_shapes([np.full_like(known[0], np.nan) if k is None else k for k in given], "keypoints", where)
    )


def _same_shapes(arrays: Sequence[ArrayLike], what: str, where: str) -> NDArray[Any]:
    shapes = {np.shape(a) for a in arrays}
    if len(shapes) > 1:
        raise InputError(
            f"{what} of {where} have different shapes ({', '.join(map(str, sorted(shapes)))}); give them all one"
        )
    return np.stack([np.asarray(a) for a in arrays])


def _joined(parts: list[Clip], frames: Ints, video: str | int) -> Clip:
    """One-frame clips as one."""
    filled = [part for part in parts if len(part.detections)]
    if not filled:
        return Clip(Detections.empty(), np.zeros(0, np.int64), video=video, frames=frames)
    detections = Detections.concat([_completed(part.detections, filled) for part in filled])
    pixels = {}
    for name in ("crops", "shown"):
        known = [column for part in filled if (column := getattr(part, name)) is not None]
        if known and len(known) < len(filled):
            raise InputError(
                f"{len(known)} of {len(filled)} frames have {name}; give {name} to all of them, or to none"
            )
        pixels[name] = np.concatenate(known) if known else None
    ids = {}
    for name in ("history", "predicted"):
        columns = [getattr(part, name) for part in filled]
        unknown = [np.full(len(part.detections), UNTRACKED) for part in filled]
        given = any(c is not None for c in columns)
        merged = [u if c is None else c for c, u in zip(columns, unknown, strict=True)]
        ids[name] = np.concatenate(merged) if given else None
    identity = np.concatenate([part.identity for part in filled])
    return Clip(detections, identity, video=video, frames=frames, **pixels, **ids)


def _completed(table: Detections, parts: list[Clip]) -> Detections:
    """A table with every column that another one has: nan (0 in columns without nan) where it has none of its own."""
    own, missing = table.columns(), {}
    for part in parts:
        for name, column in part.detections.columns().items():
            if name in own or name.startswith("extra."):
                continue
            empty = np.nan if column.dtype.kind == "f" else 0
            missing[name] = np.full((len(table), *column.shape[1:]), empty, column.dtype)
    return table.with_columns(**missing) if missing else table
