"""MOTChallenge text: one detection a line, ``frame, id, left, top, width, height, conf, ...``.

* Frames and corners count from 1, as in the benchmark; kintrack counts from 0. A file that has a frame 0 counts from 0
  throughout (GMOT-40 does), and is read so. Written files always count from 1.
* ``id`` -1 is a detection without identity. ``conf`` -1 in every line is no score.
* 9 columns are a truth file, with ``conf, class, visibility`` (kept as `score` and the extra columns ``class`` and
  ``visibility``: nothing is filtered here). 10 columns end in world coordinates (the extra column ``world``).
* ``seqinfo.ini`` beside the file, or one folder up, gives the video's length, shape and rate.
"""

import configparser
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kintrack.core.detections import Detections, Floats, VideoInfo
from kintrack.core.tracks import REVIEW_FRAMES, Tracks
from kintrack.core.video import LabelVideo
from kintrack.errors import FormatError, InputError
from kintrack.io.reading import MOST_FRAME, MOST_ID, WITHOUT_IDS, duplicates, existing_file

CARRIES = frozenset({"frame", "box", "score", "track", "extra.class", "extra.visibility", "extra.world", "video"})

_WANTED = "MOTChallenge text, a line for each detection: frame, id, left, top, width, height[, conf, ...]"


def read(path: Path, *, video: int | None = None, identities: bool = True) -> Tracks:
    """The detections and ids in a MOTChallenge text file, or in the one file of a sequence folder.

    Raises:
        InputError: no such file, or a sequence folder with both truth and detections.
        FormatError: naming the line that is not what it should be.
    """
    path = _text_file(path) if path.is_dir() else existing_file(path, _WANTED)
    table = _numbers(path)
    if not identities:
        table[:, 1] = -1
    _check(path, table)
    base = 0 if (table[:, 0] == 0).any() else 1
    order = np.argsort(table[:, 0], kind="stable")
    line, table = order, table[order]
    frame = table[:, 0].astype(np.int64) - base
    track = table[:, 1].astype(np.int64)
    twice = duplicates(frame, track)
    if len(twice):
        a, b = twice[0]
        first, second = sorted(_line_number(path, int(line[row])) for row in (a, b))
        raise FormatError(
            f"{path}, lines {first} and {second}: id {track[a]} is there twice in frame {frame[a] + base} "
            f"({len(twice)} such pairs in the file); an id is one individual, at most once in a frame: "
            f"correct the file, or {WITHOUT_IDS}"
        )
    corner = table[:, 2:4] - base
    info = sequence_info(path)
    detections = Detections(
        frame=frame.astype(np.int32), box=np.concatenate([corner, corner + table[:, 4:6]], axis=1), video=info
    )
    return Tracks(detections.with_columns(**_more_columns(table)), track)


def write(
    tracks: Tracks,
    path: Path,
    *,
    source: Path | None = None,
    labels: LabelVideo | None = None,
    review: int = REVIEW_FRAMES,
) -> None:
    """One line for each row, in order; rows without a track get the id -1. Coordinates keep 15 digits."""
    found = tracks.detections
    if found.ndim != 2:
        raise InputError("MOTChallenge text holds boxes in the plane, and these are 3-D; save them as csv")
    score = np.full(len(found), -1.0) if found.score is None else found.score
    width, height = found.box[:, 2] - found.box[:, 0], found.box[:, 3] - found.box[:, 1]
    columns = [found.frame + 1.0, tracks.track, found.box[:, 0] + 1, found.box[:, 1] + 1, width, height, score]
    if "class" in found.extra or "visibility" in found.extra:
        columns += [found.extra.get(name, np.full(len(found), 1.0)) for name in ("class", "visibility")]
    else:
        columns += list(np.asarray(found.extra.get("world", np.full((len(found), 3), -1.0))).T)
    template = ",".join(["%d", "%d"] + ["%.15g"] * (len(columns) - 2)) + "\n"
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.writelines(template % row for row in zip(*(c.tolist() for c in columns), strict=True))


def sequence_folder(path: Path) -> Path | None:
    """The folder of the sequence that a text file belongs to: the nearest one up that holds ``seqinfo.ini``."""
    for folder in (path, path.parent, path.parent.parent):
        if (folder / "seqinfo.ini").is_file():
            return folder
    return None


def sequence_info(path: Path) -> VideoInfo | None:
    """What ``seqinfo.ini`` says of the video, if there is one.

    Raises:
        FormatError: ``seqinfo.ini`` is there and cannot be understood.
    """
    folder = sequence_folder(path)
    if folder is None:
        return None
    ini = folder / "seqinfo.ini"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(ini.read_text(encoding="utf-8-sig"))
        section = parser["Sequence"]
        length, rate = section.getint("seqLength", 0), section.getfloat("frameRate", 0.0)
        width, height = section.getint("imWidth", 0), section.getint("imHeight", 0)
    except (configparser.Error, KeyError, ValueError) as error:
        raise FormatError(
            f"{ini}: wanted [Sequence] with seqLength, frameRate, imWidth and imHeight as numbers; {error}"
        ) from None
    images = folder / section.get("imDir", "img1")
    shape = (height, width) if width and height else None
    return VideoInfo(path=str(images) if images.is_dir() else None, n_frames=length, shape=shape, fps=rate or None)


def is_sequence(path: Path) -> bool:
    """Whether a folder is a MOTChallenge sequence: it holds ``gt/gt.txt`` or ``det/det.txt``."""
    return any((path / kind / f"{kind}.txt").is_file() for kind in ("gt", "det"))


def _text_file(folder: Path) -> Path:
    """The one text file of a sequence folder."""
    found = [folder / kind / f"{kind}.txt" for kind in ("gt", "det") if (folder / kind / f"{kind}.txt").is_file()]
    if len(found) != 1:
        what = "both gt/gt.txt and det/det.txt" if found else "neither gt/gt.txt nor det/det.txt"
        raise InputError(f"{folder} holds {what}; name the file that is meant")
    return existing_file(found[0], _WANTED)


def _numbers(path: Path) -> Floats:
    """(N, columns) the numbers in the file."""
    raw = path.read_bytes()
    first = next((line for line in raw.splitlines() if line.strip()), b"")
    if not first:
        raise FormatError(f"{path} holds blank lines only; wanted {_WANTED}")
    delimiter = next((mark for mark in (",", ";", "\t") if mark.encode() in first), None)
    try:
        table = np.loadtxt(raw.decode("utf-8-sig").splitlines(), delimiter=delimiter, ndmin=2, comments=None)
    except (ValueError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}{_odd_line(path, delimiter)}: wanted {_WANTED}; {error}") from None
    if not 6 <= table.shape[1] <= 10:
        raise FormatError(f"{path} has {table.shape[1]} columns; wanted 6 to 10: {_WANTED}")
    return np.asarray(table, dtype=np.float64)


def _odd_line(path: Path, delimiter: str | None) -> str:
    """Where the first line is that does not hold as many numbers as the first one."""
    width = None
    for number, text in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not text.strip():
            continue
        try:
            values = [float(part) for part in text.removeprefix("\ufeff").split(delimiter)]
        except ValueError:
            return f", line {number} ({text.strip()[:60]!r})"
        width = width or len(values)
        if len(values) != width:
            return f", line {number} ({len(values)} numbers, the first line has {width})"
    return ""


def _check(path: Path, table: NDArray[np.float64]) -> None:
    """Refuse frames and ids that are no whole numbers or too large to be told apart, and boxes that are none."""
    frame, track, box = table[:, 0], table[:, 1], table[:, 2:6]
    problems: list[tuple[NDArray[np.bool_], str, Floats, str]] = [
        ((frame != np.round(frame)) | ~(frame >= 0), "frame", frame, "a whole number from 1 on"),
        (frame > MOST_FRAME, "frame", frame, f"a whole number of at most {MOST_FRAME}"),
        ((track != np.round(track)) | ~(track >= -1), "id", track, "a whole number, or -1 for no identity"),
        (track > MOST_ID, "id", track, f"a whole number of at most {MOST_ID}"),
        (box[:, 2] < 0, "width", box[:, 2], "a width of 0 or more"),
        (box[:, 3] < 0, "height", box[:, 3], "a height of 0 or more"),
    ]
    for name, values in zip(("left", "top", "width", "height"), box.T, strict=True):
        problems.append((np.isinf(values), name, values, "pixels"))
    for wrong, name, values, wanted in problems:
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise FormatError(
                f"{path}, line {_line_number(path, row)}: {name} is {values[row]:.17g}; wanted {wanted}: correct the "
                "file"
            )


def _line_number(path: Path, row: int) -> int:
    """The line, counted from 1, that a row of the table came from; blank lines are no rows."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [number for number, text in enumerate(lines, start=1) if text.strip()][row]


def _more_columns(table: Floats) -> dict[str, Any]:
    """Score and extra columns, as far as the file has them and they say anything."""
    n = table.shape[1]
    columns: dict[str, Any] = {}
    if n >= 7 and (table[:, 6] != -1).any():
        columns["score"] = table[:, 6]
    if n in (8, 9):
        columns["extra"] = {name: table[:, 7 + i] for i, name in enumerate(("class", "visibility")[: n - 7])}
    elif n == 10 and (table[:, 7:] != -1).any():
        columns["extra"] = {"world": table[:, 7:]}
    return columns
