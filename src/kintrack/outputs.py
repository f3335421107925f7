"""Where results go and which files belong together: decided, and refused, before any work is done."""

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from kintrack import io
from kintrack.config import Config, read_yaml
from kintrack.errors import AlignmentError, InputError, OutputError, OutputExistsError, nearest_name
from kintrack.io.writing import new_file

if TYPE_CHECKING:
    from kintrack.metrics import Evaluation


def choose_pairs(
    given: Sequence[str | Path] | None,
    videos: Sequence[str | Path] | None,
    named: Sequence[tuple[Path, Path | None]] = (),
) -> list[tuple[Path, Path | None]]:
    """Files of detections, each with its video: those that were given, else those that a config names."""
    if not given and not videos:
        return list(named)
    return io.find_pairs(list(given or [path for path, _ in named]), list(videos) if videos else None)


def choose_targets(
    pairs: Sequence[tuple[Path, Path | None]], output: Path, format: str | None
) -> dict[Path, tuple[Path, Path | None]]:
    """Where in the folder of results each source's is written: its source and video, by that path.

    Raises:
        InputError: the output is a file, or two results would have one name.
    """
    if output.suffix and not output.is_dir():
        raise InputError(f"{len(pairs)} files are to be tracked, but {output} is one file; give the name of a folder")
    targets: dict[Path, tuple[Path, Path | None]] = {}
    for path, video in pairs:
        target = output / _result_name(path, format)
        if target in targets:
            raise InputError(
                f"{targets[target][0]} and {path} would both be written to {target}; track them one by one, each to a "
                "name of its own"
            )
        targets[target] = path, video
    return targets


def choose_meta(targets: Iterable[Path], output: Path, save_meta: str | Path | bool | None) -> dict[Path, Path | None]:
    """Where what the tracker weighed is written, for each result: the file, one in the folder or beside it, or nowhere.

    Raises:
        InputError: there are several results, and one file.
    """
    listed = list(targets)
    if save_meta is None or isinstance(save_meta, bool):
        return {target: target.with_name(f"{target.name}.h5") if save_meta else None for target in listed}
    path = Path(save_meta)
    if listed == [output]:
        return {output: path}
    if path.suffix and not path.is_dir():
        raise InputError(
            f"{len(listed)} files are to be tracked, but --save-meta {path} is one file; give the name of a folder"
        )
    return {target: path / f"{target.name}.h5" for target in listed}


def _result_name(source: Path, format: str | None) -> str:
    """What the result of a source is called in a folder of results."""
    known = io.FORMATS.get(format or io.detect_format(source))
    if known is None:
        raise InputError(f"there is no format {format!r}: {nearest_name(str(format), io.FORMATS)}")
    return f"{sequence_name(source)}{known.suffixes[0]}" if known.suffixes else f"{sequence_name(source)}_RES"


def sequence_name(path: Path) -> str:
    """What a sequence is called: its file's stem; its folder's name where all are called gt.txt, as MOTChallenge's."""
    named = path.parent.parent if path.parent.name in ("det", "gt") and path.stem == path.parent.name else path
    return named.stem if named.is_file() else named.name


def check_target(output: Path, format: str | None, overwrite: bool, source: Path | None) -> None:
    """Before any work is done: is the output's format known, and may its name be taken?

    Raises:
        InputError: the format is not known.
        OutputExistsError: the output is there, or is the source itself.
    """
    if format is not None and format not in io.FORMATS:
        raise InputError(f"there is no format {format!r}: {nearest_name(format, io.FORMATS)}")
    if format is None:
        io.detect_format(output)
    if source is not None and output.exists() and output.samefile(source):
        raise OutputExistsError(f"{output} is the input itself; give the result another name")
    refuse_existing(output, overwrite)


def refuse_existing(output: Path, overwrite: bool) -> None:
    """Whether an output's name may be taken, and can be. An empty folder counts as not there.

    Raises:
        OutputExistsError: the output is there, and may not be overwritten.
        OutputError: nothing can be written where it is to be.
    """
    if not overwrite and output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise OutputExistsError(
            f"{output} exists; choose another name, or allow overwriting (overwrite=True, --overwrite)"
        )
    folder = next(parent for parent in output.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise OutputError(f"cannot write {output}: {folder} is a file, not a folder; give a path in a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(
            f"cannot write {output}: no permission to write into {folder}; write somewhere else, or change its "
            "permissions"
        )


def pair_sequences(truth: Path, prediction: Path) -> dict[str, tuple[Path, Path]]:
    """The files of truth and prediction that belong together, by the name of the sequence.

    Raises:
        AlignmentError: a sequence is only in one of the two, or there twice.
    """
    true, predicted = _by_name(truth), _by_name(prediction)
    if len(true) == len(predicted) == 1:
        return {next(iter(true)): (next(iter(true.values())), next(iter(predicted.values())))}
    for known, wanted, what in ((predicted, true, truth), (true, predicted, prediction)):
        lonely = sorted(wanted.keys() - known.keys())
        if lonely:
            raise AlignmentError(
                f"{', '.join(lonely)} in {what}: no counterpart of that name (there are {', '.join(sorted(known))}); "
                "truth and prediction are paired by stem: name them alike"
            )
    return {name: (path, predicted[name]) for name, path in true.items()}


def _by_name(given: Path) -> dict[str, Path]:
    """The files in a folder, or the one that is given, by the names of their sequences."""
    found: dict[str, Path] = {}
    for path, _ in io.find_pairs(given):
        name = sequence_name(path)
        if name in found:
            raise AlignmentError(
                f"{found[name]} and {path} are both called {name}, so it is not clear which is meant; take one of them "
                "away, or give single files"
            )
        found[name] = path
    return found


def check_report(output: Path, overwrite: bool) -> None:
    """Before any work is done: can results be written there?

    Raises:
        InputError: the suffix is neither .json nor .csv.
        OutputExistsError: the output is there.
    """
    if output.suffix not in (".json", ".csv"):
        raise InputError(f"{output} ends in {output.suffix or 'nothing'}; results are written as .json or .csv")
    refuse_existing(output, overwrite)


def check_movie(output: Path, fps: float | None, overwrite: bool) -> None:
    """Before any work is done: can a movie be written there, of so many frames a second?

    Raises:
        InputError: the suffix is not .mp4, or the rate is not above 0.
        OutputExistsError: the output is there.
    """
    if output.suffix.lower() != ".mp4":
        raise InputError(f"{output} ends in {output.suffix or 'nothing'}; movies are written as .mp4")
    if fps is not None and not 0 < fps < float("inf"):
        raise InputError(f"a movie of {fps:g} frames a second cannot be written; give a rate above 0, like --fps 25")
    refuse_existing(output, overwrite)


def report_text(results: "Mapping[str, Evaluation]", suffix: str) -> str:
    """The results of all sequences, as JSON with everything in it, or as CSV with a line for each."""
    if suffix == ".json":
        return json.dumps({name: result.to_dict() for name, result in results.items()}, indent=2)
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(next(iter(results.values())))
    writer.writerow(["sequence", *names])
    writer.writerows([sequence, *(result[name] for name in names)] for sequence, result in results.items())
    return text.getvalue()


def config_beside(result: Path) -> Path:
    """Where the config that a result was made with is saved."""
    return result.with_name(f"{result.name}.kintrack.yaml")


def save_config(config: Config, result: Path) -> None:
    """The resolved config, beside the result, in a form that ``--config`` takes."""
    head = "# How this result was made. `kintrack track INPUT -o OUTPUT --config THIS_FILE` makes it again.\n"
    with new_file(config_beside(result), overwrite=True) as draft:
        draft.write_text(head + yaml.safe_dump(config.to_dict(), sort_keys=False), encoding="utf-8")


def video_of(tracks: Path) -> Path | None:
    """The video beside a file of tracks, or beside what it was tracked from, as the config saved with it says."""
    saved = config_beside(tracks)
    source = read_yaml(saved).get("made", {}).get("input") if saved.is_file() else None
    return io.find_video(tracks) or (io.find_video(source) if source and Path(source).exists() else None)
