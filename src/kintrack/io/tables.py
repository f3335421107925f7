"""CSV tables: a line for each detection, a header, columns in any order.

======================  ==============================================================================================
column                  what it holds (also read under)
======================  ==============================================================================================
``track_id``            the track; empty or -1 is untracked (``track``, ``particle``, ``trajectory``, ``track_n°``)
``frame``               counted from 0 (``t``); or counted from 1, as ``slice`` or ``slice_n°``
``x, y[, z]``           the centre in pixels (``position_x``, ``pos_x``, ...); not needed where there is a box
``x0, y0, x1, y1``      the box (in 3-D also ``z0``, ``z1``); or ``width``, ``height``[, ``depth``] around the centre
``parent``              the track's parent, on all its lines; empty or -1 is none (``parent_track_id``)
``name``                what people call the track
``confidence``          of the link to the row before, or of the start, see `Tracks`
``score, label, area``  see `Detections`
``is_user``             1 where a person made the row, else 0
``KEY:x, KEY:y``        a keypoint (in 3-D also ``KEY:z``) and, as ``KEY:score``, its score
======================  ==============================================================================================

Upper and lower case and blanks in the header do not matter. Any other column is carried along in `Detections.extra`:
numbers as numbers, the rest as text. Coordinates are taken as they are. UTF-8, or UTF-16 where it begins with its
mark, else Latin-1; separated by comma, semicolon or tab.
"""

import csv
import io
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kintrack.core.detections import Detections, Floats, Ints, Skeleton
from kintrack.core.tracks import REVIEW_FRAMES, UNTRACKED, Tracks
from kintrack.core.video import LabelVideo
from kintrack.errors import FormatError, InputError
from kintrack.io.reading import MOST_FRAME, MOST_ID, WITHOUT_IDS, duplicates, existing_file

CARRIES = frozenset(
    {
        "frame",
        "box",
        "score",
        "label",
        "area",
        "keypoints",
        "keypoint_score",
        "is_user",
        "extra",
        "track",
        "parent",
        "names",
        "confidence",
    }
)

_WANTED = "a CSV table with a header that names at least frame, x and y"
_ALIASES = {
    "track": "track_id", "trackid": "track_id", "track_n°": "track_id",
    "particle": "track_id", "trajectory": "track_id",
    "t": "frame", "slice": "slice", "slice_n°": "slice",
    "position_x": "x", "pos_x": "x", "position_y": "y", "pos_y": "y", "position_z": "z", "pos_z": "z",
    "parent_track_id": "parent",
}  # fmt: skip
_FLOATS = ("score", "area", "confidence")
_BOX_COLUMNS = ("x0", "y0", "z0", "x1", "y1", "z1", "width", "height", "depth")
_WHOLE = re.compile(r"\s*-?\d{1,18}\s*")  # what int64 holds for certain
_OWN = {"track_id", "frame", "slice", "x", "y", "z", "parent", "name", "label", "is_user", *_FLOATS, *_BOX_COLUMNS}

Column = NDArray[Any]


class _Table:
    """The columns of a CSV file as text, by name; turned into numbers one by one, with an error that names the line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = _decoded(path.read_bytes())
        head = text.split("\n", 1)[0]
        mark = max((",", ";", "\t"), key=head.count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
        rows = [row for row in reader if row]
        if not rows:
            raise FormatError(f"{path} holds blank lines only; wanted {_WANTED}")
        header, body = [_canonical(name) for name in rows[0]], rows[1:]
        self._check_shape(header, body)
        columns: Iterable[tuple[str, ...]] = zip(*body, strict=True) if body else [()] * len(header)
        self.text = dict(zip(header, columns, strict=True))
        self.n = len(body)

    def _check_shape(self, header: list[str], body: list[list[str]]) -> None:
        if all(map(_is_number, header)):
            raise FormatError(
                f"{self.path} has no header: line 1 holds numbers; wanted {_WANTED}: put their names first"
            )
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise FormatError(f"{self.path} has two columns for {twice[0]!r}; take one of them away, or rename it")
        for i, row in enumerate(body):
            if len(row) != len(header):
                raise FormatError(
                    f"{self.path}, line {self.line(i)}: {len(row)} values, but the header names {len(header)} columns"
                )

    def line(self, row: int) -> int:
        """The line that a row of the table is on, counted from 1, the header included."""
        reader = csv.reader(io.StringIO(_decoded(self.path.read_bytes()), newline=""))
        return [reader.line_num for found in reader if found][row + 1]

    def numbers(self, name: str) -> Floats:
        """A column as float64; an empty cell is nan."""
        text = self.text[name]
        try:
            return np.fromiter(map(float, text), np.float64, self.n)
        except ValueError:  # an empty cell, mostly
            pass
        try:
            return np.fromiter((float(cell) if cell.strip() else np.nan for cell in text), np.float64, self.n)
        except ValueError:
            row = next(i for i, cell in enumerate(text) if not _is_number(cell))
            raise FormatError(
                f"{self.path}, line {self.line(row)}: {name} is {text[row]!r}; wanted a number, or nothing "
                "(decimals after a point, as in 1.5)"
            ) from None

    def places(self, name: str) -> Floats:
        """A column of coordinates or sides in pixels; an empty cell is nan."""
        values = self.numbers(name)
        endless = np.flatnonzero(np.isinf(values))
        if len(endless):
            row = int(endless[0])
            raise FormatError(
                f"{self.path}, line {self.line(row)}: {name} is {self.text[name][row]!r}; wanted pixels, or nothing "
                "where the place is not known"
            )
        return values

    def whole(self, name: str, lowest: int, highest: int = MOST_ID, empty: int | None = None) -> Ints:
        """A column as whole numbers in ``lowest..highest``; an empty cell is `empty` if that is allowed."""
        values = self.numbers(name)
        if empty is not None:
            values = np.where(np.isnan(values), empty, values)
        wrong = np.flatnonzero(~((values >= lowest) & (values <= highest)) | (values != np.round(values)))
        if len(wrong):
            row = int(wrong[0])
            given = self.text[name][row]
            range_ = f"of at most {highest}" if values[row] > highest else f"from {lowest} on"
            raise FormatError(
                f"{self.path}, line {self.line(row)}: {name} is {given!r}; wanted a whole number {range_}"
            )
        return values.astype(np.int64)


def read(path: Path, *, video: int | None = None, identities: bool = True) -> Tracks:
    """The detections, and the tracks if there are any, in a CSV table.

    Raises:
        FormatError: naming the line, what is there and what was wanted.
    """
    table = _Table(existing_file(path, _WANTED))
    frame = _frame(table)
    box = _box(table)
    columns, used = _columns(table)
    track = np.full(table.n, UNTRACKED)
    if identities and "track_id" in table.text:
        track = table.whole("track_id", lowest=-1, empty=UNTRACKED)
        _refuse_duplicates(table, frame, track)
    order = np.argsort(frame, kind="stable")
    known = {"track_id", "frame", "slice", "x", "y", "z", "parent", "name", *_BOX_COLUMNS, *used}
    confidence = columns.pop("confidence", None)
    columns["extra"] = {name: _typed(table, name) for name in table.text if name not in known}
    detections = Detections.of(frame, box, **columns)
    if not identities:
        return Tracks.untracked(detections)
    try:
        return Tracks(
            detections,
            track[order],
            parent=_parents(table, track),
            names=_names(table, track),
            confidence=None if confidence is None else confidence[order],
        )
    except FormatError:
        raise
    except InputError as error:
        raise FormatError(f"{path}: {error}") from None


def write(
    tracks: Tracks,
    path: Path,
    *,
    source: Path | None = None,
    labels: LabelVideo | None = None,
    review: int = REVIEW_FRAMES,
) -> None:
    """One line for each row, in order, numbers with all their digits."""
    found = tracks.detections
    axes = "xyz"[: found.ndim]
    columns: dict[str, Column] = {"track_id": tracks.track, "frame": found.frame}
    columns |= {axis: found.centre[:, i] for i, axis in enumerate(axes)}
    sides = [f"{axis}{end}" for end in "01" for axis in axes]
    columns |= {side: found.box[:, i] for i, side in enumerate(sides)}
    columns |= {
        name: getattr(found, name) for name in ("score", "label", "area", "is_user") if getattr(found, name) is not None
    }
    if tracks.confidence is not None:
        columns["confidence"] = tracks.confidence
    if len(tracks.parent):
        parents = dict(tracks.parent.tolist())
        columns["parent"] = np.array([parents.get(t, UNTRACKED) for t in tracks.track.tolist()])
    if tracks.names:
        columns["name"] = np.array([tracks.names.get(t, "") for t in tracks.track.tolist()], dtype=np.str_)
    columns |= _keypoint_columns(found, axes)
    columns |= _extra_columns(found, columns)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(_cells(column) for column in columns.values()), strict=True))


def _decoded(raw: bytes) -> str:
    """The text of a file: UTF-16 where it says so (a spreadsheet's "Unicode text"), else UTF-8, else Latin-1."""
    try:
        return raw.decode("utf-16" if raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _canonical(name: str) -> str:
    """A header's name as the table above has it; names of keypoints and of the user's columns stay as they are."""
    plain = name.strip().lower().replace(" ", "_")
    plain = _ALIASES.get(plain, plain)
    return plain if plain in _OWN else name.strip()


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip() or "nan")
    except ValueError:
        return False
    return True


def _frame(table: _Table) -> Ints:
    if "frame" in table.text:
        return table.whole("frame", 0, MOST_FRAME)
    if "slice" in table.text:
        return table.whole("slice", 1, MOST_FRAME) - 1
    raise FormatError(f"{table.path} has no column 'frame' (it has {', '.join(table.text)}); wanted {_WANTED}")


def _box(table: _Table) -> Floats:
    """(N, 2*ndim) from corners, from centre and sides, or from points."""
    given = set(table.text)
    for axes in ("xyz", "xy"):
        corners = [f"{axis}{end}" for end in "01" for axis in axes]
        if given.issuperset(corners):
            return np.stack([table.places(name) for name in corners], axis=1)
    axes = "xyz" if given.issuperset("xyz") else "xy"
    missing = sorted(set(axes) - given)
    if missing:
        raise FormatError(
            f"{table.path} has no column {missing[0]!r} (it has {', '.join(table.text)}); wanted {_WANTED}"
        )
    centre = np.stack([table.places(axis) for axis in axes], axis=1)
    sides = ("width", "height", "depth")[: len(axes)]
    half = np.zeros_like(centre)
    if given.issuperset(sides):
        half = 0.5 * np.stack([table.places(name) for name in sides], axis=1)
    return np.concatenate([centre - half, centre + half], axis=1)


def _columns(table: _Table) -> tuple[dict[str, Any], set[str]]:
    """The optional columns of Detections, and the names of the columns of the file that they came from."""
    columns: dict[str, Any] = {name: table.numbers(name) for name in _FLOATS if name in table.text}
    if "label" in table.text:
        columns["label"] = table.whole("label", lowest=0, empty=0)
    if "is_user" in table.text:
        columns["is_user"] = table.whole("is_user", lowest=0, empty=0) > 0
    used = set(columns)
    keys = [name[:-2] for name in table.text if name.endswith(":x") and f"{name[:-2]}:y" in table.text]
    if keys:
        axes = "xyz" if all(f"{key}:z" in table.text for key in keys) else "xy"
        points = [[table.places(f"{key}:{axis}") for axis in axes] for key in keys]
        columns["keypoints"] = np.moveaxis(np.array(points).reshape(len(keys), len(axes), table.n), 2, 0)
        columns["skeleton"] = Skeleton(tuple(keys))
        scores = [f"{key}:score" for key in keys]
        if any(name in table.text for name in scores):
            nothing = np.full(table.n, np.nan)
            columns["keypoint_score"] = np.stack(
                [table.numbers(s) if s in table.text else nothing for s in scores], axis=1
            )
        used |= {f"{key}:{end}" for key in keys for end in (*axes, "score")}
    return columns, used


def _refuse_duplicates(table: _Table, frame: Ints, track: Ints) -> None:
    twice = duplicates(frame, track)
    if not len(twice):
        return
    a, b = sorted(int(row) for row in twice[0])
    raise FormatError(
        f"{table.path}, lines {table.line(a)} and {table.line(b)}: track {track[a]} is there twice in frame {frame[a]} "
        f"({len(twice)} such pairs in the file); a track has at most one detection in a frame: "
        f"correct the file, or {WITHOUT_IDS}"
    )


def _parents(table: _Table, track: Ints) -> Ints:
    """(P, 2) child and parent of each track that has one."""
    if "parent" not in table.text or "track_id" not in table.text:
        return np.zeros((0, 2), np.int64)
    parent = table.whole("parent", lowest=-1, empty=UNTRACKED)
    pairs = np.unique(np.stack([track, parent], axis=1)[(parent >= 0) & (track >= 0)], axis=0)
    child, count = np.unique(pairs[:, 0], return_counts=True)
    if (count > 1).any():
        odd = child[count > 1][0]
        named = ", ".join(str(p) for c, p in pairs.tolist() if c == odd)
        raise FormatError(f"{table.path}: the lines of track {odd} name several parents ({named}); a track has one")
    return pairs


def _names(table: _Table, track: Ints) -> dict[int, str]:
    if "name" not in table.text or "track_id" not in table.text:
        return {}
    ids, first = np.unique(track, return_index=True)
    names = table.text["name"]
    return {int(i): names[row] for i, row in zip(ids, first, strict=True) if i >= 0 and names[row]}


def _typed(table: _Table, name: str) -> Column:
    """A column of the user's: numbers where every cell is a number or empty (and not all are), else text.

    Numbers written without a point stay whole: an id of 221 is not written as 221.0.
    """
    try:
        values = table.numbers(name)
    except FormatError:
        return np.asarray(table.text[name], dtype=np.str_)
    if table.n and all(map(_WHOLE.fullmatch, table.text[name])):
        return np.array(table.text[name]).astype(np.int64)
    return np.asarray(table.text[name], dtype=np.str_) if table.n and np.isnan(values).all() else values


def _keypoint_columns(found: Detections, axes: str) -> dict[str, Column]:
    if found.keypoints is None:
        return {}
    n = found.keypoints.shape[1]
    names = found.skeleton.names if found.skeleton else tuple(f"keypoint_{k}" for k in range(n))
    columns: dict[str, Column] = {}
    for k, name in enumerate(names):
        columns |= {f"{name}:{axis}": found.keypoints[:, k, i] for i, axis in enumerate(axes)}
        if found.keypoint_score is not None:
            columns[f"{name}:score"] = found.keypoint_score[:, k]
    return columns


def _extra_columns(found: Detections, taken: Mapping[str, Column]) -> dict[str, Column]:
    """The user's columns; one of several numbers a row becomes ``name.0``, ``name.1``, …"""
    columns: dict[str, Column] = {}
    for name, value in found.extra.items():
        flat = value.reshape(len(value), -1) if len(value) else value.reshape(0, 1)
        columns |= {name if value.ndim == 1 else f"{name}.{i}": flat[:, i] for i in range(flat.shape[1])}
    clash = sorted(taken.keys() & columns.keys())
    if clash:
        raise InputError(f"extra column {clash[0]!r} has the name of a column that a CSV table has already; rename it")
    return columns


def _cells(column: Column) -> list[Any]:
    """A column as the csv module writes it: floats shortest and exact, nan empty, booleans 0 and 1."""
    if column.dtype == np.bool_:
        column = column.astype(np.int64)
    values: list[Any] = column.tolist()
    if np.issubdtype(column.dtype, np.floating) and np.isnan(column).any():
        return [None if value != value else value for value in values]
    return values
