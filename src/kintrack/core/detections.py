"""Detections: every detection of one video, one row each, sorted by frame."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kintrack.core import boxes
from kintrack.errors import InputError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Skeleton:
    """The names of the keypoints and the pairs of them that are joined.

    ``edges`` are pairs of positions in ``names``; ``symmetries`` are the left and right twins, which change places
    when an image is mirrored.
    """

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...] = ()
    symmetries: tuple[tuple[int, int], ...] = ()
    name: str = "skeleton"


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video without opening it. ``shape`` is (Y, X); 0 or None where unknown."""

    path: str | None = None
    n_frames: int = 0
    shape: tuple[int, int] | None = None
    fps: float | None = None


class Row(NamedTuple):
    """One detection, for people. Code works on the columns."""

    row: int
    frame: int
    box: Floats
    score: float
    label: int
    keypoints: Floats | None


_COLUMNS: dict[str, Any] = {
    "frame": np.int32,
    "box": np.float64,
    "score": np.float64,
    "label": np.int64,
    "area": np.float64,
    "keypoints": np.float64,
    "keypoint_score": np.float64,
    "is_user": np.bool_,
}


@dataclass(frozen=True, eq=False)
class Detections:
    """Every detection of one video, one row each, sorted by frame.

    A row's index is the detection's only name. A column is there for the whole table or is None; an empty table has
    zero rows of the right shape. Missing values are nan. The arrays are read-only views: the caller's stay writable.

    Args:
        frame: (N,) int32, 0-based, never decreasing.
        box: (N, 2*ndim) float64 ``x0 y0 x1 y1`` in pixels, see `kintrack.core.boxes`. A point is a box of zero area.
        score: (N,) float64, the detector's confidence, higher is better.
        label: (N,) int64, the detection's pixel value in its frame of the label video; 0 is background.
        area: (N,) float64, pixels of the detection's mask.
        keypoints: (N, K, ndim) float64 in the same coordinates as boxes; nan where not seen.
        keypoint_score: (N, K) float64, the detector's confidence in each keypoint.
        is_user: (N,) bool, True where a person made or corrected the row, False where a detector did.
        extra: columns of the user's, (N, ...) each, carried along and never read by kintrack.
        skeleton: names and edges of the keypoints.
        video: the video that the rows belong to.
    """

    frame: NDArray[np.int32]
    box: Floats
    score: Floats | None = None
    label: Ints | None = None
    area: Floats | None = None
    keypoints: Floats | None = None
    keypoint_score: Floats | None = None
    is_user: Bools | None = None
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    skeleton: Skeleton | None = None
    video: VideoInfo | None = None

    def __post_init__(self) -> None:
        for name, dtype in _COLUMNS.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _frozen(value, dtype, name))
        object.__setattr__(self, "extra", {name: _frozen(value) for name, value in self.extra.items()})
        self._check()

    def _check(self) -> None:
        if self.frame.ndim != 1:
            raise InputError(f"frame has shape {self.frame.shape}; wanted one number for each detection, (N,)")
        if self.box.ndim != 2 or self.box.shape[1] not in (4, 6):
            raise InputError(f"box has shape {self.box.shape}; wanted (N, 4) as x0 y0 x1 y1, or (N, 6) in 3-D")
        self._check_shapes()
        n = len(self)
        if n and (np.diff(self.frame) < 0).any():
            first = int(np.flatnonzero(np.diff(self.frame) < 0)[0])
            raise InputError(
                f"rows are not sorted by frame (row {first} is of frame {self.frame[first]}, row {first + 1} of frame "
                f"{self.frame[first + 1]}); build the table with Detections.of(), which sorts"
            )
        if n and self.frame[0] < 0:
            raise InputError(f"frame {self.frame[0]} is negative; frames count from 0")
        for name in ("box", "keypoints"):
            column = getattr(self, name)
            if column is not None and np.isinf(column).any():
                row = int(np.argwhere(np.isinf(column))[0, 0])
                raise InputError(f"{name} in row {row} is infinite; wanted pixels, or nan where the place is not known")

    def _check_shapes(self) -> None:
        for name, column in self.columns().items():
            _check_length(name, column, len(self))
            if name in ("score", "label", "area", "is_user") and column.ndim != 1:
                raise InputError(f"{name} has shape {column.shape}; wanted one value for each detection, (N,)")
        if self.keypoints is None:
            if self.keypoint_score is not None:
                raise InputError("keypoint_score was given without keypoints; give both or neither")
            return
        k = self.keypoints.shape[1] if self.keypoints.ndim == 3 else 0
        if not k or self.keypoints.shape[2] != self.ndim:
            raise InputError(
                f"keypoints have shape {self.keypoints.shape}; wanted (N, K, {self.ndim}) with at least one keypoint, "
                "or None"
            )
        if self.keypoint_score is not None and self.keypoint_score.shape != (len(self), k):
            raise InputError(
                f"keypoint_score has shape {self.keypoint_score.shape}; wanted {(len(self), k)}, as keypoints have"
            )
        if self.skeleton is not None and len(self.skeleton.names) != k:
            raise InputError(f"the skeleton names {len(self.skeleton.names)} keypoints but the table holds {k}")

    @classmethod
    def of(cls, frame: ArrayLike, box: ArrayLike, **columns: Any) -> Self:
        """A table from columns in any order of frames. Rows of one frame keep their order.

        >>> Detections.of([1, 0], [[0, 0, 2, 2], [4, 4, 6, 6]]).frame
        array([0, 1], dtype=int32)
        """
        frame, box = np.asarray(frame), np.asarray(box, dtype=np.float64)
        if frame.ndim != 1:
            raise InputError(f"frame has shape {frame.shape}; wanted one number for each detection, (N,)")
        box = box if box.size or (box.ndim == 2 and box.shape[1]) else np.zeros((0, 4))
        order = np.argsort(frame, kind="stable")

        def sort(name: str, column: ArrayLike) -> NDArray[Any]:
            _check_length(name, column, len(order))
            return np.asarray(np.asarray(column)[order])

        extra = {name: sort(f"extra.{name}", value) for name, value in columns.pop("extra", {}).items()}
        rows: dict[str, Any] = {k: sort(k, v) if k in _COLUMNS and v is not None else v for k, v in columns.items()}
        return cls(frame=frame[order], box=sort("box", box), extra=extra, **rows)

    @classmethod
    def empty(cls, ndim: int = 2) -> Self:
        """A table without rows."""
        return cls(frame=np.zeros(0, np.int32), box=np.zeros((0, 2 * ndim)))

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, row: int) -> Row:
        """One detection, for a person to look at. Loops take columns instead."""
        i = range(len(self))[row]
        return Row(
            row=i,
            frame=int(self.frame[i]),
            box=self.box[i],
            score=float("nan") if self.score is None else float(self.score[i]),
            label=-1 if self.label is None else int(self.label[i]),
            keypoints=None if self.keypoints is None else self.keypoints[i],
        )

    def __iter__(self) -> Iterator[Row]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        what = ", ".join(name for name in self.columns() if name not in ("frame", "box"))
        span = f"frames {self.frame[0]}..{self.frame[-1]}" if len(self) else "no frames"
        return f"{type(self).__name__}({len(self)} rows, {span}, {self.ndim}-D{', ' if what else ''}{what})"

    @property
    def ndim(self) -> int:
        """2 or 3."""
        return int(self.box.shape[1]) // 2

    @property
    def n_frames(self) -> int:
        """Frames from 0 to the last detection, or of the video where its length is known and greater."""
        last = int(self.frame[-1]) + 1 if len(self) else 0
        return max(last, self.video.n_frames if self.video else 0)

    @property
    def centre(self) -> Floats:
        """(N, ndim) where each detection is: the mean of its visible keypoints, else the middle of its box."""
        middle = boxes.centre(self.box)
        if self.keypoints is None or not len(self):
            return middle
        seen = ~np.asarray(np.isnan(self.keypoints).any(axis=2))
        total = np.where(seen[..., None], self.keypoints, 0.0).sum(axis=1)
        mean = total / np.maximum(seen.sum(axis=1), 1)[:, None]
        return np.where(np.asarray(seen.any(axis=1))[:, None], mean, middle)

    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns that are there, by name; the user's own as ``extra.NAME``."""
        named = {name: getattr(self, name) for name in _COLUMNS if getattr(self, name) is not None}
        return named | {f"extra.{name}": value for name, value in self.extra.items()}

    def rows(self, start: int, stop: int) -> slice:
        """The rows of frames start <= frame < stop, as a slice."""
        first, last = np.searchsorted(self.frame, [start, stop])
        return slice(int(first), int(last))

    def take(self, rows: slice | Sequence[int] | Ints | Bools) -> Self:
        """The given rows of every column. The rows must stay sorted by frame."""
        picked: dict[str, Any] = {
            name: getattr(self, name)[rows] for name in _COLUMNS if getattr(self, name) is not None
        }
        return dataclasses.replace(self, extra={k: v[rows] for k, v in self.extra.items()}, **picked)

    def with_columns(self, **columns: Any) -> Self:
        """The same rows with some columns replaced, added, or (by None) taken away."""
        return dataclasses.replace(self, **columns)

    @classmethod
    def concat(cls, tables: Sequence[Self]) -> Self:
        """The rows of several tables of one video as one table, sorted by frame. All must have the same columns."""
        if not tables:
            return cls.empty()
        first = tables[0]
        for table in tables[1:]:
            if odd := sorted(table.columns().keys() ^ first.columns().keys()):
                raise InputError(
                    f"tables with different columns cannot be joined: {', '.join(odd)} only in one of them"
                )
            for name, column in table.columns().items():
                if column.shape[1:] != (wanted := first.columns()[name].shape[1:]):
                    raise InputError(
                        f"tables cannot be joined: a row of {name} has shape {column.shape[1:]} in one, "
                        f"{wanted} in another"
                    )
        order = np.argsort(np.concatenate([t.frame for t in tables]), kind="stable")
        joined: dict[str, Any] = {
            n: np.concatenate([getattr(t, n) for t in tables])[order] for n in _COLUMNS if getattr(first, n) is not None
        }
        extra = {n: np.concatenate([t.extra[n] for t in tables])[order] for n in first.extra}
        return dataclasses.replace(first, extra=extra, **joined)


def _check_length(name: str, column: ArrayLike, n: int) -> None:
    shape = np.shape(column)
    if shape[:1] != (n,):
        found = f"{shape[0]} rows" if shape else "a single value"
        raise InputError(f"column {name!r} has {found} but frame has {n}; give every column one row for each detection")


def _frozen(value: Any, dtype: Any = None, name: str = "") -> NDArray[Any]:
    """A read-only view of the value: the caller's own array stays as writable as it was."""
    given = np.asarray(value)
    with np.errstate(invalid="ignore"):  # nan as a whole number, which is refused below
        array = np.asarray(given, dtype=dtype).view()
    if array.dtype.kind == "i" and (lost := given != array).any():
        raise InputError(
            f"column {name!r} holds {given[lost][0]}, which is no {array.dtype} number; wanted whole numbers"
        )
    array.flags.writeable = False
    return array
