"""TrackMate: the XML that it saves, and the tables of spots (and edges) that it exports.

A spot is a row. Positions are in the unit of the file's calibration, from the middle of the first pixel; rows are in
pixels, whose middles are at halves: ``x = POSITION_X / pixelwidth + 0.5``. A box is the spot's outline where it has
one, else the square of its radius. Frames are taken as they are numbered. Spots that were filtered out in TrackMate are
left out; spots without a track are kept.

TrackMate's tracks are graphs. One that splits is several tracks here, each with its parent; the first keeps the number.
Where tracks merge, the nearest one goes on and the others end, as a track here comes from one.

The XML is read by expat without anything that a document type could declare: such a file is refused, not expanded.
"""

import csv
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from kintrack.core import boxes
from kintrack.core.detections import Detections, Floats, Ints, VideoInfo
from kintrack.core.tracks import UNTRACKED, Tracks
from kintrack.errors import FormatError, InputError
from kintrack.io.reading import MOST_FRAME, WITHOUT_IDS, existing_file

CARRIES = frozenset({"frame", "box", "score", "track", "parent", "names", "video"})

POINT = "KINTRACK_POINT"  # a feature of our own: TrackMate wants a radius of every spot, a point has none
_XML = "a TrackMate file (.xml)"
_TABLE = "a table of spots that TrackMate exported (.csv)"
_TABLE_COLUMNS = {"ID", "TRACK_ID", "POSITION_X", "POSITION_Y", "FRAME"}
_TAKEN = {
    "ID", "FRAME", "POSITION_X", "POSITION_Y", "POSITION_Z", "RADIUS", "QUALITY", "VISIBILITY", "TRACK_ID", POINT,
    "ROI_N_POINTS", "name", "LABEL",
}  # fmt: skip
_log = logging.getLogger(__name__)


@dataclass
class _Session:
    """What a file says, as it says it."""

    path: Path
    spots: list[dict[str, str]] = field(default_factory=list)
    outlines: dict[int, str] = field(default_factory=dict)  # by the spot's position in the list
    edges: list[tuple[int, str, str]] = field(default_factory=list)  # track, source, target
    names: dict[int, str] = field(default_factory=dict)
    shown: set[int] = field(default_factory=set)  # tracks that are not filtered out; empty where none is named
    image: dict[str, str] = field(default_factory=dict)
    pixel: tuple[float, float, float] = (1.0, 1.0, 1.0)
    time_unit: str = ""


def read(path: Path, *, video: int | None = None, identities: bool = True, pixel_size: float | None = None) -> Tracks:
    """The spots and tracks of a TrackMate file or of a table of spots.

    Args:
        path: the ``.xml``, or the ``.csv``. Beside ``X_spots.csv``, ``X_edges.csv`` says how tracks split and merge.
        video: a file holds one.
        identities: False to leave out the tracks.
        pixel_size: side of a pixel in the unit of a table, which does not say so itself; the XML does.

    Raises:
        FormatError: naming the spot or line, what is there and what was wanted.
    """
    is_table = path.suffix.lower() == ".csv"
    if pixel_size is not None and not (is_table and 0 < pixel_size < float("inf")):
        known = "the XML says itself how large a pixel is" if not is_table else "wanted a length above 0"
        raise InputError(f"a pixel size of {pixel_size:g} was given for {path}: {known}; leave it out")
    session = _read_table(path, identities, pixel_size) if is_table else _read_xml(path)
    return _tracks(session, identities)


def is_table(path: Path) -> bool:
    """Whether a ``.csv`` is a table of spots that TrackMate exported, by its header."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.readline(100_000).decode("utf-8-sig", errors="replace")
    return set(head.strip().split(",")) >= _TABLE_COLUMNS


# ----------------------------------------------------------------------------------------------------- what is in files


def _read_xml(path: Path) -> _Session:
    session = _Session(existing_file(path, _XML))
    reader = _Xml(session)
    try:
        with path.open("rb") as file:
            reader.parser.ParseFile(file)
    except expat.ExpatError as error:
        raise FormatError(f"{path} is no whole XML ({error}); wanted {_XML}: save it again in TrackMate") from error
    if not reader.is_trackmate:
        raise FormatError(f"{path} is XML, but has no <TrackMate>; wanted {_XML}: the one that TrackMate saves")
    sides = [float(session.image.get(name, 1)) for name in ("pixelwidth", "pixelheight", "voxeldepth")]
    session.pixel = (sides[0] or 1.0, sides[1] or 1.0, sides[2] or 1.0)
    return session


class _Xml:
    """Takes from the XML, element by element, what a session holds; the document is never in memory as a whole."""

    def __init__(self, session: _Session) -> None:
        self.session, self.is_trackmate = session, False
        self._frame = self._track = ""
        self._is_spot = False
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def _refuse(self, *_: Any) -> None:
        raise FormatError(
            f"{self.session.path} declares a document type, which may expand without end; it was refused: save it "
            "again in TrackMate, which declares none"
        )

    def _start(self, name: str, given: dict[str, str]) -> None:
        session = self.session
        if name == "TrackMate":
            self.is_trackmate = True
        elif name == "SpotsInFrame":
            self._frame = given.get("frame", "")
        elif name == "Spot":
            session.spots.append({"FRAME": self._frame} | given)
            self._is_spot = True
        elif name == "Track":
            self._track = given.get("TRACK_ID", "")
            if called := given.get("name"):
                session.names[_whole(session.path, self._track, "TRACK_ID")] = called
        elif name == "Edge":
            track = _whole(session.path, self._track, "TRACK_ID")
            session.edges.append((track, given.get("SPOT_SOURCE_ID", ""), given.get("SPOT_TARGET_ID", "")))
        elif name == "TrackID":
            session.shown.add(_whole(session.path, given.get("TRACK_ID", ""), "TRACK_ID"))
        elif name == "Model":
            session.time_unit = given.get("timeunits", "")
        elif name == "ImageData":
            session.image = given

    def _end(self, name: str) -> None:
        self._is_spot = False

    def _text(self, text: str) -> None:
        if self._is_spot and text.strip():
            place = len(self.session.spots) - 1
            self.session.outlines[place] = self.session.outlines.get(place, "") + text


def _read_table(path: Path, identities: bool, pixel_size: float | None) -> _Session:
    lines = list(_lines(existing_file(path, _TABLE)))
    if not lines or not lines[0].keys() >= _TABLE_COLUMNS:
        wanted = ", ".join(sorted(_TABLE_COLUMNS))
        raise FormatError(f"{path} lacks columns of {_TABLE}; wanted at least {wanted}")
    session = _Session(path, spots=[line for line in lines if _is_number(line["FRAME"])])
    unit = next((line["POSITION_X"].strip("()") for line in lines if line["POSITION_X"].startswith("(")), "pixel")
    if pixel_size is not None:
        session.pixel = (pixel_size,) * 3
    elif unit not in ("pixel", "pixels"):
        _log.warning(
            "%s: positions are in %s, and a table does not say how large a pixel is: taken as they are; where pixels "
            "are needed, give the XML, or `kintrack convert --pixel-size`", path, unit,
        )  # fmt: skip
        session.image["unit"] = unit
    if identities:
        session.edges = _table_edges(session)
    return session


def _lines(path: Path) -> Iterator[dict[str, str]]:
    """Each line of a table by the names of its columns; the lines below the header that describe these included."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        yield from csv.DictReader(file, restval="")


def _table_edges(session: _Session) -> list[tuple[int, str, str]]:
    """Who follows whom: as the table of edges beside it says, else by frame, where no track is twice in one."""
    stem = session.path.stem
    beside = [stem.replace(*names) for names in (("allspots", "edges"), ("spots", "edges"), ("Spots", "Links"))]
    for edges in (session.path.with_name(f"{name}.csv") for name in beside if name != stem):
        if edges.is_file():
            of = {spot["ID"]: spot["TRACK_ID"] for spot in session.spots}
            found = [(line.get("SPOT_SOURCE_ID", ""), line.get("SPOT_TARGET_ID", "")) for line in _lines(edges)]
            return [(_whole(edges, of.get(a, ""), f"the track of spot {a}"), a, b) for a, b in found if _is_number(a)]
    last: dict[str, dict[str, str]] = {}
    found_edges = []
    for spot in sorted(session.spots, key=lambda spot: float(spot["FRAME"])):
        track = spot["TRACK_ID"]
        if not _is_number(track):  # empty, or None: no track
            continue
        if track in last:
            if last[track]["FRAME"] == spot["FRAME"]:
                raise FormatError(
                    f"{session.path}: track {track} has several spots in frame {spot['FRAME']}, so it splits or "
                    "merges, and a table of spots does not say how; put the table of edges beside it as "
                    f"{beside[1]}.csv, give the XML, or {WITHOUT_IDS}"
                )
            found_edges.append((_whole(session.path, track, "TRACK_ID"), last[track]["ID"], spot["ID"]))
        last[track] = spot
    return found_edges


# -------------------------------------------------------------------------------------------------- what it means to us


def _tracks(session: _Session, identities: bool) -> Tracks:
    linked = {end for edge in session.edges for end in edge[1:]}  # what is in a track is seen
    visible = [i for i, spot in enumerate(session.spots) if _is_visible(spot) or spot.get("ID") in linked]
    hidden = len(session.spots) - len(visible)
    if hidden:
        _log.warning("%s: %d spots are filtered out in TrackMate, and left out here", session.path, hidden)
    order = sorted(visible, key=lambda i: float(_cell(session, i, "FRAME")))
    frame = np.array([_frame(session, i) for i in order], dtype=np.int64)
    box, area = _places(session, order)
    columns: dict[str, Any] = {"extra": _features(session, order), "video": _video(session)}
    quality = np.array([float(session.spots[i].get("QUALITY") or "nan") for i in order])
    if len(quality) and not ((quality == -1) | np.isnan(quality)).all():  # -1: a person made it
        columns["score"] = quality
    if not np.isnan(area).all():
        columns["area"] = area
    detections = Detections.of(frame, box, **columns)
    if not identities or not session.edges:
        return Tracks.untracked(detections)
    row = {_cell(session, i, "ID"): place for place, i in enumerate(order)}
    return _linked(session, detections, row)


def _linked(session: _Session, detections: Detections, row: Mapping[str, int]) -> Tracks:
    """The tracks of the graph of edges."""
    shown = [edge for edge in session.edges if not session.shown or edge[0] in session.shown]
    if out := len({edge[0] for edge in session.edges} - {edge[0] for edge in shown}):
        _log.warning("%s: %d tracks are filtered out in TrackMate: their spots are untracked here", session.path, out)
    ends = np.array([[_row(session, row, end) for end in edge[1:]] for edge in shown], dtype=np.int64).reshape(-1, 2)
    of = np.array([edge[0] for edge in shown], dtype=np.int64)
    frame = detections.frame.astype(np.int64)
    if len(odd := np.flatnonzero(frame[ends[:, 0]] == frame[ends[:, 1]])):
        raise FormatError(
            f"{session.path}: spots {shown[odd[0]][1]} and {shown[odd[0]][2]} are linked, but both are in frame "
            f"{frame[ends[odd[0], 0]]}; wanted links that lead forward in time: correct it in TrackMate"
        )
    ends = np.where((frame[ends[:, 0]] > frame[ends[:, 1]])[:, None], ends[:, ::-1], ends)
    kept = _without_merges(session.path, detections, ends)
    graph = Tracks.from_links(detections, ends[kept])
    track, parent, names = _renamed(graph, ends, of, session.names)
    return Tracks(detections, track, parent=parent, names=names)


def _without_merges(path: Path, detections: Detections, ends: Ints) -> NDArray[np.bool_]:
    """Which edges stay so that each row has one predecessor: the nearest."""
    far = np.linalg.norm(detections.centre[ends[:, 0]] - detections.centre[ends[:, 1]], axis=1)
    order = np.lexsort((far, ends[:, 1]))
    again = np.r_[False, np.diff(ends[order, 1]) == 0] if len(ends) else np.zeros(0, bool)
    if again.any():
        _log.warning(
            "%s: tracks merge at %d spots (first in frame %d), which cannot be told here: the nearest goes on, the "
            "others end", path, len(np.unique(ends[order[again], 1])), detections.frame[ends[order[again], 1]].min(),
        )  # fmt: skip
    kept = np.ones(len(ends), bool)
    kept[order[again]] = False
    return kept


def _renamed(graph: Tracks, ends: Ints, of: Ints, names: Mapping[int, str]) -> tuple[Ints, Ints, dict[int, str]]:
    """Ids, parents and names: the first branch of each of TrackMate's tracks has its number, rows without one -1."""
    component = np.full(len(graph), UNTRACKED)
    component[ends[:, 0]] = component[ends[:, 1]] = of
    new: dict[int, int] = {}
    taken, above = set(), int(of.max(initial=-1)) + 1
    for old, first in zip(*np.unique(graph.track, return_index=True), strict=True):  # in the order of their first rows
        number = int(component[first])
        if number in taken:
            number, above = above, above + 1
        taken.add(number)
        new[int(old)] = number
    rename = np.vectorize(new.get, otypes=[np.int64])
    track = np.where(component >= 0, rename(graph.track), UNTRACKED) if len(graph) else graph.track
    parent = rename(graph.parent) if len(graph.parent) else graph.parent
    called = {track: name for track, name in names.items() if track in taken and name != f"Track_{track}"}
    return track, parent, called


def _places(session: _Session, order: list[int]) -> tuple[Floats, Floats]:
    """(N, 2 ndim) boxes in pixels and (N,) areas of outlines, nan where there is none."""
    flat = len({session.spots[i].get("POSITION_Z", "0") for i in order}) <= 1
    names = ("POSITION_X", "POSITION_Y") if flat else ("POSITION_X", "POSITION_Y", "POSITION_Z")
    pixel = np.array(session.pixel[: len(names)])
    half_pixel = 0.0 if "unit" in session.image else 0.5
    centre = np.array([[_number(session, i, name) for name in names] for i in order]).reshape(-1, len(names)) / pixel
    radius = np.array([0.0 if POINT in session.spots[i] else _number(session, i, "RADIUS", "0") for i in order])
    side = 2 * radius[:, None] / pixel
    box, area = boxes.from_centre(centre + half_pixel, side), np.full(len(order), np.nan)
    for place, i in enumerate(order):
        if flat and i in session.outlines:
            outline = _outline(session, i) / pixel + centre[place] + half_pixel
            box[place] = [*outline.min(axis=0), *outline.max(axis=0)]
            x, y = outline.T
            area[place] = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    return box, area


def _outline(session: _Session, i: int) -> Floats:
    """(K, 2) corners of a spot's outline, from its middle, in the file's unit."""
    try:
        flat = np.array(session.outlines[i].split(), dtype=np.float64)
        return flat.reshape(int(session.spots[i]["ROI_N_POINTS"]), -1)[:, :2]
    except (KeyError, ValueError):
        raise FormatError(
            f"{session.path}: the outline of spot {session.spots[i].get('ID')} is not as long as ROI_N_POINTS says; "
            "save it again in TrackMate"
        ) from None


def _features(session: _Session, order: list[int]) -> dict[str, NDArray[Any]]:
    """What else TrackMate knows of the spots, and their numbers there as ``SPOT_ID``."""
    names = list(dict.fromkeys(name for spot in session.spots for name in spot if name and name not in _TAKEN))
    ids = [_whole(session.path, _cell(session, i, "ID"), "ID") for i in order]
    found: dict[str, NDArray[Any]] = {"SPOT_ID": np.array(ids, np.int64)}
    for name in names:
        cells = [session.spots[i].get(name) or "" for i in order]
        if any(cells):
            is_numeric = all(_is_number(cell) for cell in cells if cell)
            found[name] = np.array([float(cell or "nan") for cell in cells]) if is_numeric else np.array(cells)
    return found


def _video(session: _Session) -> VideoInfo | None:
    image = session.image
    if not image.get("filename"):
        return None
    shape = int(float(image.get("height", 0))), int(float(image.get("width", 0)))
    named = Path(image.get("folder", "")) / image["filename"]
    interval = float(image.get("timeinterval") or 0)
    fps = 1 / interval if interval > 0 and session.time_unit.lower() in ("s", "sec", "second", "seconds") else None
    return VideoInfo(str(named), int(float(image.get("nframes", 0))), shape if all(shape) else None, fps)


def _is_visible(spot: Mapping[str, str]) -> bool:
    return not _is_number(spot.get("VISIBILITY", "")) or float(spot["VISIBILITY"]) != 0


def _cell(session: _Session, i: int, name: str, default: str | None = None) -> str:
    value = session.spots[i].get(name) or default
    if value is None:
        raise FormatError(
            f"{session.path}: spot {session.spots[i].get('ID', f'number {i + 1}')} has no {name}; wanted one: save it "
            "again in TrackMate"
        )
    return value


def _number(session: _Session, i: int, name: str, default: str | None = None) -> float:
    cell = _cell(session, i, name, default)
    if not _is_number(cell):
        raise FormatError(f"{session.path}: {name} of spot {session.spots[i].get('ID')} is {cell!r}; wanted a number")
    return float(cell)


def _frame(session: _Session, i: int) -> int:
    value = _number(session, i, "FRAME")
    if not 0 <= value <= MOST_FRAME or value != int(value):
        raise FormatError(f"{session.path}: FRAME of spot {session.spots[i].get('ID')} is {value:g}; wanted 0, 1, 2, …")
    return int(value)


def _row(session: _Session, row: Mapping[str, int], spot: str) -> int:
    if spot not in row:
        raise FormatError(
            f"{session.path}: an edge names spot {spot!r}, which is not there; wanted one of the {len(row)} spots: "
            "save it again in TrackMate"
        )
    return row[spot]


def _whole(path: Path, text: str, what: str) -> int:
    if not _is_number(text) or float(text) != int(float(text)) or float(text) < 0:
        raise FormatError(f"{path}: {what} is {text!r}; wanted a whole number from 0 on")
    return int(float(text))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


__all__ = ["CARRIES", "POINT", "is_table", "read"]
