"""Files: `load` and `save` by suffix or by a format's name, videos, label videos, and what belongs together.

Importing this imports numpy and nothing heavier: each format brings in its library when it is first used.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kintrack.core.boxes import around_points
from kintrack.core.tracks import REVIEW_FRAMES, Tracks
from kintrack.core.video import LabelVideo
from kintrack.errors import AlignmentError, InputError, nearest_name
from kintrack.io import ctc, mot, sleap, slp_writing, tables, trackmate, trackmate_writing
from kintrack.io.videos import MOVIES, check_against_video, find_video, load_labels, load_video, write_video
from kintrack.io.writing import new_file, new_folder

__all__ = [
    "FORMATS",
    "Format",
    "check_against_video",
    "detect_format",
    "find_pairs",
    "find_video",
    "load",
    "load_labels",
    "load_video",
    "save",
    "write_video",
]

_log = logging.getLogger(__name__)


class _Read(Protocol):
    def __call__(self, path: Path, *, video: int | None = None, identities: bool = True) -> Tracks: ...


class _Write(Protocol):
    def __call__(
        self,
        tracks: Tracks,
        path: Path,
        *,
        source: Path | None = None,
        labels: LabelVideo | None = None,
        review: int = REVIEW_FRAMES,
    ) -> None: ...


@dataclass(frozen=True)
class Format:
    """A format of detections and tracks.

    Args:
        name: what it is called in options.
        suffixes: the file endings that mean it; a folder where there are none.
        about: what it is, for people.
        read: path to tracks.
        write: tracks to a path that does not exist yet (an empty folder where the format is one).
        carries: the columns that survive writing and reading.
    """

    name: str
    suffixes: tuple[str, ...]
    about: str
    read: _Read
    write: _Write
    carries: frozenset[str]


FORMATS: dict[str, Format] = {
    "sleap": Format("sleap", (".slp",), "SLEAP labels", sleap.read, slp_writing.write, sleap.CARRIES),
    "ctc": Format("ctc", (), "Cell Tracking Challenge folder", ctc.read, ctc.write, ctc.CARRIES),
    "mot": Format("mot", (".txt",), "MOTChallenge text", mot.read, mot.write, mot.CARRIES),
    "csv": Format("csv", (".csv",), "CSV table", tables.read, tables.write, tables.CARRIES),
    "trackmate": Format(
        "trackmate", (".xml",), "TrackMate file", trackmate.read, trackmate_writing.write, trackmate.CARRIES
    ),
}


def detect_format(path: str | Path) -> str:
    """The name of a path's format: by suffix; a folder is `mot` where it holds gt/gt.txt or det/det.txt, else `ctc`.

    >>> detect_format("poses.slp"), detect_format("result/")
    ('sleap', 'ctc')

    Raises:
        InputError: no format has this suffix.
    """
    path = Path(path)
    if path.is_dir():
        return "mot" if mot.is_sequence(path) else "ctc"
    suffix = path.suffix.lower()
    if not suffix:
        return "ctc"
    for known in FORMATS.values():
        if suffix in known.suffixes:
            return known.name
    listed = ", ".join(f"{' '.join(f.suffixes) or 'a folder'} ({f.name})" for f in FORMATS.values())
    raise InputError(f"{path} ends in {suffix}, which is no format of detections; wanted {listed}, or name the format")


def load(
    path: str | Path,
    format: str | None = None,
    *,
    video: int | None = None,
    identities: bool = True,
    pixel_size: float | None = None,
) -> Tracks:
    """The detections in a file or folder, and their tracks; every track is -1 where the file has no identities.

    Args:
        path: the file or folder.
        format: a name in `FORMATS`; found by `detect_format` where not given, and a table that TrackMate exported by
            its header.
        video: which video's rows, where a file holds several.
        identities: False to leave out the ids, and with them the checks of ids: a tracker's input.
        pixel_size: side of a pixel in the unit of a table that TrackMate exported, as that does not say it.

    Raises:
        InputError: no such file, unknown format, several videos and none chosen.
        FormatError: the file does not hold what its format wants; the message names the line, label or frame.
    """
    path = Path(path)
    known = _format(format or ("trackmate" if trackmate.is_table(path) else detect_format(path)))
    if not path.exists():
        raise InputError(f"{path} does not exist; wanted {known.about}: check the path")
    if video and known.name != "sleap":
        raise InputError(
            f"video {video} was asked for, but {path} is {known.about}, which holds one; leave "
            "--index (video= in Python) away"
        )
    if pixel_size is not None:
        if known.name != "trackmate":
            raise InputError(
                f"a pixel size of {pixel_size:g} was given for {path}, which is {known.about}, where all is in pixels; "
                "leave --pixel-size (pixel_size= in Python) away"
            )
        return trackmate.read(path, identities=identities, pixel_size=pixel_size)
    return known.read(path, video=video, identities=identities)


def save(
    tracks: Tracks,
    path: str | Path,
    format: str | None = None,
    *,
    overwrite: bool = False,
    source: str | Path | None = None,
    labels: LabelVideo | None = None,
    review: int = REVIEW_FRAMES,
) -> None:
    """Write tracks to a file or folder, which is there under its name only when it is complete.

    What the format cannot hold is named in a warning of the logger ``kintrack.io``.

    Args:
        tracks: the rows and their ids.
        path: where to.
        format: a name in `FORMATS`; found by `detect_format` where not given.
        overwrite: replace what is there.
        source: the file the rows came from; of a `.slp` everything else in it is kept, of a CTC folder the masks.
        labels: the label video the rows' labels point into, for formats made of masks.
        review: frames to suggest for a first look, at most; see `Tracks.doubtful`. A `.slp` has a place for them.

    Raises:
        OutputExistsError: the path is there, and `overwrite` is not given.
        OutputError: the system refuses to write.
        InputError: the format cannot hold these tracks.
    """
    path = Path(path)
    known = _format(format or detect_format(path))
    _say_what_is_lost(tracks, path, known)
    source = None if source is None else Path(source)
    if known.suffixes:
        with new_file(path, overwrite) as draft:
            known.write(tracks, draft, source=source, labels=labels, review=review)
    else:
        with new_folder(path, overwrite, own=ctc.RESULT_FILES) as draft:
            known.write(tracks, draft, source=source, labels=labels, review=review)


def find_pairs(
    detections: str | Path | Sequence[str | Path], videos: str | Path | Sequence[str | Path] | None = None
) -> list[tuple[Path, Path | None]]:
    """Each file of detections with its video, matched by stem, never by position.

    Args:
        detections: files, folders that are a sequence, or a folder with several of them.
        videos: movies, or a folder of them; where not given, `find_video` looks beside the detections, and None is
            what it does not find.

    Raises:
        InputError: a folder without detections.
        AlignmentError: a file without a video of its stem among `videos`, or two videos of one stem.
    """
    found = [path for given in _listed(detections) for path in _detection_files(given)]
    if videos is None:
        return [(path, find_video(path)) for path in found]
    given_videos = [v for given in _listed(videos) for v in _video_files(given)]
    if len(found) == len(given_videos) == 1:
        return [(found[0], given_videos[0])]
    by_stem: dict[str, Path] = {}
    for video in given_videos:
        if video.stem in by_stem:
            raise AlignmentError(
                f"{by_stem[video.stem]} and {video} have the same stem; wanted one video for each file: name the one "
                "that is meant"
            )
        by_stem[video.stem] = video
    pairs: list[tuple[Path, Path | None]] = []
    for path in found:
        stems = [".".join(path.name.split(".")[:n]) for n in range(path.name.count(".") or 1, 0, -1)]
        match = next((by_stem[stem] for stem in stems if stem in by_stem), None)
        if match is None:
            raise AlignmentError(
                f"no video has the stem of {path} ({stems[-1]!r}; there are {', '.join(sorted(by_stem))}); name files "
                "alike, or give them one by one"
            )
        pairs.append((path, match))
    return pairs


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise InputError(f"there is no format {name!r}: {nearest_name(name, FORMATS)}")
    return FORMATS[name]


def _listed(given: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(given)] if isinstance(given, str | Path) else [Path(path) for path in given]


def _detection_files(path: Path) -> list[Path]:
    """The path itself, or the files of detections in a folder that is none."""
    if not path.exists():
        raise InputError(f"{path} does not exist; wanted a file or folder of detections: check the path")
    if not path.is_dir() or mot.is_sequence(path):
        return [path]
    sequences = ctc.sequences_in(path)
    if len(sequences) > 1:
        return sequences
    if _is_ctc(path):
        return [path]
    suffixes = {suffix for known in FORMATS.values() for suffix in known.suffixes}
    inside = sorted(p for p in path.iterdir() if not p.name.startswith("."))
    found = [p for p in inside if (p.suffix.lower() in suffixes if p.is_file() else mot.is_sequence(p))]
    if not found:
        raise InputError(
            f"{path} holds no detections; wanted files ending in {', '.join(sorted(suffixes))}, sequences, or a CTC "
            "folder"
        )
    return found


def _is_ctc(path: Path) -> bool:
    try:
        ctc.resolve(path)
    except InputError:
        return False
    return True


def _video_files(path: Path) -> list[Path]:
    if not path.exists():
        raise InputError(f"{path} does not exist; wanted a video, or a folder of them: check the path")
    movies = [p for p in sorted(path.iterdir()) if p.suffix.lower() in MOVIES] if path.is_dir() else []
    return movies or [path]


def _say_what_is_lost(tracks: Tracks, path: Path, known: Format) -> None:
    """Log the columns that are there and that the format has no place for."""
    found = tracks.detections
    if not len(found):
        return
    there = set(found.columns())
    there |= {name for name, value in (("parent", len(tracks.parent)), ("names", tracks.names)) if value}
    there |= {"confidence"} if tracks.confidence is not None else set()
    there |= {"skeleton edges"} if found.skeleton and (found.skeleton.edges or found.skeleton.symmetries) else set()
    if "box" not in known.carries:
        points = found.centre[:, None] if found.keypoints is None else found.keypoints
        differs = abs(around_points(points) - found.box) > 1e-6
        there -= set() if differs.any() else {"box"}
    extras = {name for name in there if name.startswith("extra.")} if "extra" in known.carries else set()
    lost = sorted(there - known.carries - extras)
    if lost:
        what, other = ", ".join(lost), _keeper(lost)
        _log.warning("%s: %s cannot hold %s; save as %s as well to keep it", path, known.about, what, other)


def _keeper(lost: Sequence[str]) -> str:
    """The ending of a format that holds these columns, a table if it does, or of the two that do so together."""
    columns = {"extra" if name.startswith("extra.") else name for name in lost}
    files = (known for known in (FORMATS["csv"], *reversed(FORMATS.values())) if known.suffixes)
    return next((known.suffixes[0][1:] for known in files if columns <= known.carries), "slp and csv")
