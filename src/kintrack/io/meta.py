"""What the tracker weighed, in a file: every candidate, score and decision of every frame, as HDF5 tables.

    /                attributes: format, layout, kintrack, tracker (its settings, JSON), model, input, …
    /rows            a line for each detection, in the order of time: frame, row, track, confidence, is_start
    /pairs           a line for each pair that was compared: frame, row, seen_row, seen_frame, track, logit
    /scores          a line for each detection and track that it may be: frame, row, track, its scores, probability,
                     chosen; the steps to a score are columns too, where a tracker has some (DREEM's)

A `row` is the detection's number in the table that was tracked (`Detections`: sorted by frame, otherwise in the order
of the file), whatever its track; `seen_row` that of the sighting it was compared with. Each group is of columns of one
length, so a table is `pandas.DataFrame({name: group[name][:] for name in group})`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kintrack._version import __version__
from kintrack.core.detections import Bools, Floats, Ints
from kintrack.core.records import FrameRecord, Watch
from kintrack.errors import FormatError, InputError, nearest_name
from kintrack.io.reading import existing_file
from kintrack.io.writing import new_file

FORMAT, LAYOUT = "kintrack meta", 1
_GROUPS = ("rows", "pairs", "scores")
_WAITING = 20_000  # in memory before they are written
_Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Meta:
    """What a tracker weighed, as columns.

    Args:
        about: what the file says of itself.
        rows: a line for each detection.
        pairs: a line for each pair of a detection and a remembered sighting that was compared.
        scores: a line for each detection and track that it may be.
    """

    about: Mapping[str, Any]
    rows: _Columns
    pairs: _Columns
    scores: _Columns

    def frame(self, frame: int) -> "Meta":
        """The lines of one frame."""
        parts = ({name: c[part["frame"] == frame] for name, c in part.items()} for part in self._parts())
        return Meta(self.about, *parts)

    def matrix(self, frame: int, column: str = "score") -> tuple[Ints, Ints, Floats]:
        """(Q,) the rows of a frame, (M,) the tracks that were looked for, and (Q, M) a column of `scores`.

        nan where a detection was not compared with a track.

        Raises:
            InputError: there is no such column.
        """
        here = self.frame(frame)
        if column not in here.scores or column in ("frame", "row", "track"):
            known = here.scores.keys() - {"frame", "row", "track"}
            raise InputError(f"there is no score {column!r}: {nearest_name(column, known)}")
        rows, tracks = here.rows["row"], np.unique(here.scores["track"])
        out = np.full((len(rows), len(tracks)), np.nan)
        place = np.searchsorted(rows, here.scores["row"]), np.searchsorted(tracks, here.scores["track"])
        out[place] = here.scores[column]
        return rows, tracks, out

    def _parts(self) -> tuple[_Columns, ...]:
        return self.rows, self.pairs, self.scores


def read_meta(path: str | Path) -> Meta:
    """What `kintrack track --save-meta` wrote.

    Raises:
        FormatError: the file is another one, damaged, or of a newer kintrack.
    """
    import h5py

    wanted = "a file that `kintrack track --save-meta` wrote"
    path = existing_file(path, wanted)
    try:
        with h5py.File(path, "r") as file:
            about = dict(file.attrs)
            if about.get("format") != FORMAT:
                raise FormatError(f"{path} is HDF5, but not {wanted}")
            if about["layout"] != LAYOUT:
                raise FormatError(f"{path} has layout {about['layout']}, and {LAYOUT} is known: update kintrack")
            return Meta(about, *({name: c[:] for name, c in file[group].items()} for group in _GROUPS))
    except (OSError, KeyError) as error:
        raise FormatError(f"{path} is no HDF5 file, or damaged ({error}); wanted {wanted}") from error


@contextmanager
def meta_file(path: str | Path, about: Mapping[str, str], overwrite: bool = False) -> Iterator[Watch]:
    """A file for what a tracker weighs: what is told to the watch that this gives is written, a few frames at a time.

    The file is there under its name when the block has ended well.

    Args:
        path: where to.
        about: what else the file should say of itself.
        overwrite: replace a file that is there.

    Raises:
        OutputExistsError, OutputError: as for any output.
    """
    import h5py

    with new_file(path, overwrite) as draft, h5py.File(draft, "w") as file:
        file.attrs.update({"format": FORMAT, "layout": LAYOUT, "kintrack": __version__, **about})
        waiting: dict[str, list[_Columns]] = {group: [] for group in _GROUPS}

        def write() -> None:
            for group, parts in waiting.items():
                _append(file.require_group(group), parts)
                parts.clear()

        def watch(record: FrameRecord) -> None:
            for group, columns in zip(_GROUPS, _lines(record), strict=True):
                waiting[group].append(columns)
            if sum(len(part["frame"]) for parts in waiting.values() for part in parts) > _WAITING:
                write()

        yield watch
        write()


def _lines(record: FrameRecord) -> tuple[_Columns, _Columns, _Columns]:
    """The lines of a frame in each group."""
    query, seen, weighed = record.query, record.memory, record.weighed
    known = np.isin(record.track, seen.track)
    is_start = (record.track >= 0) & ~known
    rows = {"row": query.row, "track": record.track, "confidence": record.confidence, "is_start": is_start}
    pair = weighed.pairs if weighed else np.zeros((0, 2), np.int64)
    pairs = {
        "row": query.row[pair[:, 0]],
        "seen_row": seen.sightings.row[pair[:, 1]],
        "seen_frame": seen.sightings.frame[pair[:, 1]],
        "track": seen.track[pair[:, 1]],
        "logit": np.asarray(weighed.logits if weighed else [], np.float64),
    }
    asked, columns = _asked(record)
    q, m = np.nonzero(asked)
    ids = weighed.ids if weighed else np.zeros(0, np.int64)
    scores = {"row": query.row[q], "track": ids[m]} | {name: c[q, m] for name, c in columns.items()}
    scores["chosen"] = record.track[q] == ids[m]
    frame = int(query.frame[0]) if len(query) else 0
    parts = ({"frame": np.full(len(part["row"]), frame, np.int32)} | part for part in (rows, pairs, scores))
    return tuple(parts)  # type: ignore[return-value]


def _asked(record: FrameRecord) -> tuple[Bools, dict[str, Floats]]:
    """(Q, M) which detections were compared with which tracks, and the matrices of their scores."""
    if (weighed := record.weighed) is None:
        return np.zeros((len(record.query), 0), bool), {}
    last = list(weighed.scores.values())[-1]
    return ~np.isneginf(last), {**weighed.scores, "probability": weighed.probability}


def _append(group: Any, parts: list[_Columns]) -> None:
    """Writes the lines of some frames below those that are there. A frame without a line may lack columns."""
    for name in dict.fromkeys(name for part in parts for name in part):
        column = np.concatenate([part[name] for part in parts if name in part])
        if name not in group:
            chunks: dict[str, Any] = {"maxshape": (None,), "chunks": (4096,), "compression": "gzip", "shuffle": True}
            group.create_dataset(name, data=column, **chunks)
        else:
            before = len(group[name])
            group[name].resize((before + len(column),))
            group[name][before:] = column


__all__ = ["Meta", "meta_file", "read_meta"]
