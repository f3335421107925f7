"""The files that a DREEM config names: detections with their videos, where results go, and which model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kintrack import io
from kintrack.errors import AlignmentError, InputError, nearest_name
from kintrack.io.images import TIFF

Pairs = tuple[tuple[Path, Path | None], ...]
"""Files of detections, each with its video where the config names one."""


@dataclass(frozen=True)
class Files:
    """What a config names; each is used where the command was not told otherwise, and not looked for before.

    Args:
        datasets: DREEM's sections, by their names: first the one that a command is about, then the validation.
        output: the folder for results.
        format: the format of results.
        save_meta: whether beside each result a file of what the tracker weighed is written.
        model: the checkpoint.
    """

    datasets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    output: Path | None = None
    format: str | None = None
    save_meta: bool = False
    model: str | None = None

    @property
    def sources(self) -> Pairs:
        """What is tracked, evaluated or learned from; see `named_files`."""
        return self._named(0)

    @property
    def val(self) -> Pairs:
        """What a training is checked on."""
        return self._named(1)

    def _named(self, place: int) -> Pairs:
        given = list(self.datasets.items())[place : place + 1]
        return named_files(given[0][1], f"dataset.{given[0][0]}") if given else ()


def named_files(dataset: Mapping[str, Any], key: str) -> Pairs:
    """The files that one of DREEM's datasets names, each with its video, matched by stem and never by chance (D2).

    Args:
        dataset: its section.
        key: where that is in the config, for messages.

    Raises:
        InputError: a folder or file is not there, or a folder holds no file of the suffix.
        AlignmentError: the lists of labels and videos are of different length, and stems do not tell.
    """
    videos = [_there(path, f"{key}.video_files") for path in _paths(dataset.get("video_files"))]
    if sources := [_there(path, f"{key}.slp_files") for path in _paths(dataset.get("slp_files"))]:
        return _paired(sources, videos, key)
    folders = dataset.get("dir") or {}
    found: list[tuple[Path, Path | None]] = []
    for folder in _paths(folders.get("path")):
        found += _in_folder(_there(folder, f"{key}.dir.path"), folders, videos, key)
    return tuple(found)


def _in_folder(folder: Path, suffixes: Mapping[str, Any], videos: list[Path], key: str) -> Pairs:
    labels_suffix, vid_suffix = suffixes.get("labels_suffix") or ".slp", suffixes.get("vid_suffix") or ".mp4"
    if f".{labels_suffix.rsplit('.', 1)[-1]}".lower() in TIFF:
        return tuple((path, None) for path, _ in io.find_pairs(folder))  # the images are beside the labels
    io.detect_format(f"x{_dotted(labels_suffix)}")  # a suffix that is no format is an error, not an empty result (C8)
    sources = _ending(folder, labels_suffix)
    if not sources:
        there = sorted({path.suffix for path in folder.iterdir() if path.suffix}) if folder.is_dir() else []
        raise InputError(
            f"{folder} holds no file ending in {labels_suffix} ({key}.dir.path and labels_suffix); "
            + (f"there are files ending in {', '.join(there)}: correct the suffix" if there else "give another folder")
        )
    videos = videos or _ending(folder, vid_suffix)
    if len(sources) == len(videos) == 1:
        return ((sources[0], videos[0]),)
    by_stem = {path.stem: path for path in videos}
    return tuple((path, _of_stem(path, by_stem) or io.find_video(path)) for path in sources)


def _ending(folder: Path, suffix: str) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.name.lower().endswith(suffix.lower()) and not p.name.startswith("."))


def _dotted(suffix: str) -> str:
    return suffix if suffix.startswith(".") else f".{suffix}"


def _paired(sources: list[Path], videos: list[Path], key: str) -> Pairs:
    """Explicit lists: by stem where that tells, else as they stand."""
    if not videos:
        return tuple((path, io.find_video(path)) for path in sources)
    by_stem = {path.stem: path for path in videos}
    by_name = {path: video for path in sources if (video := _of_stem(path, by_stem))}
    if len(set(by_name.values())) == len(sources) and len(by_stem) == len(videos):
        return tuple(by_name.items())
    if len(sources) != len(videos):
        raise AlignmentError(
            f"{key} names {len(sources)} slp_files and {len(videos)} video_files, whose stems do not say which belong "
            "together; give a video for each, in the same order, or name them alike"
        )
    return tuple(zip(sources, videos, strict=True))


def _of_stem(source: Path, by_stem: Mapping[str, Path]) -> Path | None:
    """The video of a file's stem: `a.mp4` of `a.slp`, and of `a.predictions.slp`."""
    parts = source.name.split(".")
    stems = (".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1))
    return next((by_stem[stem] for stem in stems if stem in by_stem), None)


def _paths(given: Any) -> list[Path]:
    return [Path(path) for path in ([given] if isinstance(given, str | Path) else given or [])]


def _there(path: Path, key: str) -> Path:
    if path.exists():
        return path
    beside = [p.name for p in path.absolute().parent.iterdir()] if path.absolute().parent.is_dir() else []
    hint = f"; {nearest_name(path.name, beside)}" if beside and len(beside) < 50 else ""
    raise InputError(f"{path} does not exist, which {key} of the config names; correct the path{hint}")


Paths = Sequence[str | Path]


def choose_annotated(
    sources: Paths | None, val: Paths | None, videos: Paths | None, output: str | Path | None, files: Files
) -> tuple[Paths, Paths | None, Paths | None, str | Path]:
    """What a training learns from, what it is checked on, their videos, and its folder: as given, else as named.

    Raises:
        InputError: neither says what is learned from, or where to.
    """
    named = [*(() if sources else files.sources), *(() if val else files.val)]
    output = output or files.output
    if output is None or not (sources or named):
        what = "where the weights are written" if sources or named else "what is to be learned from"
        raise InputError(f"nothing says {what}; name it, or give a config that does")
    if not videos and any(video != io.find_video(path) for path, video in named):
        given = [video for _, video in io.find_pairs([*(sources or ()), *(val or ())])] if sources or val else []
        videos = [video for video in (*given, *(video for _, video in named)) if video is not None]
    return (
        sources or [path for path, _ in files.sources],
        val or [path for path, _ in files.val] or None,
        videos,
        output,
    )
