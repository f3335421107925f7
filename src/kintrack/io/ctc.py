"""Cell Tracking Challenge folders: label images, and a table of the labels' first frames, last frames and parents.

`read` takes any of: a result (``mask000.tif`` ... and ``res_track.txt``); a truth (``01_GT/TRA`` or ``01_GT``); a
sequence of images (``01``) with ``01_GT``, ``01_ST`` or ``01_RES`` beside it; a folder with one such sequence; a folder
of label images without a table (then nothing has an identity).

The table has a line ``L B E P`` for each label: it is in every frame from B to E, and P is its parent or 0. A label
cannot have gaps: a track with one is written as several labels, each the child of the one before. A row without a
track is written as a label of one frame, so that nothing is lost.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kintrack.core.detections import Detections, Ints, VideoInfo
from kintrack.core.tracks import REVIEW_FRAMES, UNTRACKED, Tracks
from kintrack.core.video import LabelVideo
from kintrack.errors import AlignmentError, FormatError, InputError
from kintrack.io.images import TIFF, LabelFolder, numbered_images, read_image
from kintrack.io.reading import WITHOUT_IDS

CARRIES = frozenset({"frame", "box", "label", "area", "track", "parent", "video"})
RESULT_FILES = ("mask*.tif", "res_track.txt")  # what `write` makes: nothing else is ever overwritten

MAX_LABEL = 65535
_TABLES = ("man_track.txt", "res_track.txt")
_BESIDE = ("_GT/TRA", "_ST/TRA", "_ST/SEG", "_GT/SEG", "_RES")  # results last: they are not what to track


@dataclass(frozen=True)
class CtcFolder:
    """Where the parts of a sequence are: label images, the table of labels, the images."""

    labels: Path
    table: Path | None
    images: Path | None


def resolve(path: Path) -> CtcFolder:
    """The parts of the sequence that a path means.

    Raises:
        InputError: there is no such folder, no labels in it, or several sequences.
    """
    if not path.is_dir():
        raise InputError(
            f"{path} is not a folder; wanted a Cell Tracking Challenge folder, such as 01 beside 01_GT, 01_GT/TRA, or "
            "a result"
        )
    sequences = sequences_in(path)
    if len(sequences) > 1:
        listed = ", ".join(p.name for p in sequences)
        raise InputError(f"{path} holds {len(sequences)} sequences ({listed}); name one of them, like {sequences[0]}")
    if sequences:
        path = sequences[0]
    beside = [path.parent / f"{path.name}{end}" for end in _BESIDE]
    inside = [path, path / "TRA", path / "SEG"]
    for folder in inside if _has_labels(path) else [*beside, *inside]:
        if folder.is_dir() and _has_labels(folder):
            table = next((folder / name for name in _TABLES if (folder / name).is_file()), None)
            return CtcFolder(folder, table, _images_of(folder, path))
    raise InputError(
        f"{path} holds no label images; wanted mask000.tif or man_track000.tif files in it, or in {path.name}_GT/TRA "
        "beside it"
    )


def sequences_in(path: Path) -> list[Path]:
    """The folders of images in a folder that have labels beside them, such as 01 and 02."""
    inside = sorted(child for child in path.iterdir() if child.is_dir())
    return [child for child in inside if any((path / f"{child.name}{end}").is_dir() for end in _BESIDE)]


def read(path: Path, *, video: int | None = None, identities: bool = True) -> Tracks:
    """One row for each label in each frame: its box, area and label; tracks and parents if there is a table.

    Raises:
        FormatError: the label images and the table disagree, naming labels and frames.
    """
    where = resolve(path)
    files = numbered_images(where.labels, TIFF)
    detections = detections_from_labels(LabelFolder(files), list(files)).with_columns(video=_video_info(where))
    if where.table is None or not identities:
        return Tracks.untracked(detections)
    table = read_table(where.table)
    _check_agreement(where.table, table, detections)
    parent = table[table[:, 3] > 0][:, [0, 3]]
    label = detections.label
    assert label is not None
    try:
        return Tracks(detections, label, parent=parent)
    except InputError as error:
        raise FormatError(f"{where.table}: {error}") from None


def detections_from_labels(labels: LabelVideo, frames: list[int] | None = None) -> Detections:
    """Every object of a label video, with its box and area, a frame at a time."""
    found = [_objects(labels[frame]) for frame in (range(len(labels)) if frames is None else frames)]
    numbers = range(len(labels)) if frames is None else frames
    count = [len(label) for label, _, _ in found]
    return Detections(
        frame=np.repeat(np.asarray(list(numbers), np.int32), count),
        box=np.concatenate([box for _, box, _ in found] or [np.zeros((0, 4))]),
        label=np.concatenate([label for label, _, _ in found] or [np.zeros(0, np.int64)]),
        area=np.concatenate([area for _, _, area in found] or [np.zeros(0)]),
    )


def _objects(image: NDArray[np.integer]) -> tuple[Ints, NDArray[np.float64], NDArray[np.float64]]:
    """(M,) labels, (M, 4) boxes and (M,) areas of the objects in a label image."""
    from scipy.ndimage import find_objects

    if image.size and image.min() < 0:
        raise FormatError(
            f"a label image holds the label {image.min()}; wanted 0 for background and numbers above it for objects"
        )
    if image.size and image.max() > MAX_LABEL:  # sparse and huge: number them afresh, as the count goes by the largest
        values, image = np.unique(image, return_inverse=True)
        image = image + (values[0] != 0)
        names = values[values > 0].astype(np.int64)
    else:
        names = np.arange(1, (int(image.max()) if image.size else 0) + 1)
    area = np.bincount(image.reshape(-1), minlength=len(names) + 1)[1:]
    there = np.flatnonzero(area)
    slices = find_objects(image.astype(np.int32, copy=False))
    box = np.array([(s[1].start, s[0].start, s[1].stop, s[0].stop) for s in (slices[i] for i in there)], np.float64)
    return names[there], box.reshape(-1, 4), area[there].astype(np.float64)


def read_table(path: Path) -> Ints:
    """(L, 4) the lines ``L B E P`` of a man_track.txt or res_track.txt.

    Raises:
        FormatError: a line that is not four whole numbers, or a label with several lines.
    """
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        if not re.fullmatch(r"\s*(\d+\s+){3}\d+\s*", line):
            raise FormatError(
                f"{path}, line {number} ({line.strip()[:60]!r}): wanted four whole numbers, label, first frame, last "
                "frame, parent"
            )
        rows.append([int(part) for part in line.split()])
    if not rows:
        raise FormatError(f"{path} is empty; wanted a line for each label: label, first frame, last frame, parent")
    table = np.asarray(rows, dtype=np.int64)
    names, count = np.unique(table[:, 0], return_counts=True)
    if (count > 1).any():
        name = names[count > 1][0]
        spans = ", ".join(f"{b}-{e}" for label, b, e, _ in rows if label == name)
        raise FormatError(
            f"{path}: label {name} has {count[count > 1][0]} lines (frames {spans}), and {(count > 1).sum()} labels "
            "in all have several; "
            "a label is one stretch of frames without a gap: give each stretch its own label, with the one before as "
            "parent, "
            f"or {WITHOUT_IDS}"
        )
    return table


def write(
    tracks: Tracks,
    path: Path,
    *,
    source: Path | None = None,
    labels: LabelVideo | None = None,
    review: int = REVIEW_FRAMES,
) -> None:
    """Label images and res_track.txt, into an existing empty folder.

    Args:
        tracks: rows with a label each.
        path: the folder.
        source: the folder that the rows came from; its label images are used where `labels` is not given.
        labels: the label video that the rows' labels point into.

    Raises:
        InputError: no tracks, too many for 16 bits, or no label images to write them into.
        AlignmentError: a row's label is not in its frame.
    """
    from tifffile import imwrite

    found = tracks.detections
    if not len(tracks.ids):
        raise InputError(
            f"there is no track to write ({len(found)} detections, all untracked); a CTC result needs one at least"
        )
    if labels is None and source is not None and Path(source).is_dir():
        labels = LabelFolder(numbered_images(resolve(Path(source)).labels, TIFF))
    if labels is None or found.label is None:
        lacking = "none were given (labels=)" if labels is None else "the detections have no labels"
        raise InputError(
            f"a CTC result is made of label images, but {lacking}; save boxes and points as csv or MOT text"
        )
    name, table = _numbered(tracks)
    if len(found) and found.frame[-1] >= len(labels):
        raise AlignmentError(
            f"detections reach frame {found.frame[-1]}, but {labels!r} ends at frame {len(labels) - 1}; give the "
            "labels they came from"
        )
    digits = max(3, len(str(len(labels) - 1)))
    for frame, image in labels.frames():
        rows = found.rows(frame, frame + 1)
        drawn = _relabelled(image, found.label[rows], name[rows], frame)
        imwrite(path / f"mask{frame:0{digits}d}.tif", drawn, compression="zlib")
    np.savetxt(path / "res_track.txt", table, fmt="%d")


def _has_labels(folder: Path) -> bool:
    """Whether a folder holds label images: a table, or names that only label images have."""
    if any((folder / name).is_file() for name in _TABLES):
        return True
    # In its own place a label image may be called anything, as those that DREEM was given are.
    in_place = folder.name in ("TRA", "SEG") and folder.parent.name.endswith(("_GT", "_ST"))
    names = r".*\d+\.tiff?$" if in_place else r"(mask|man_seg|man_track)\d+\.tiff?$"
    return folder.is_dir() and any(re.match(names, p.name) for p in folder.iterdir())


def _images_of(labels: Path, asked: Path) -> Path | None:
    """The folder of images that label images belong to: the one without the ending ``_GT``, ``_ST`` or ``_RES``."""
    for folder in (asked, labels, labels.parent):
        plain = folder.parent / re.sub(r"_(GT|ST|RES)$", "", folder.name)
        if (
            plain.is_dir()
            and plain != labels
            and not _has_labels(plain)
            and any(p.suffix.lower() in TIFF for p in plain.iterdir())
        ):
            return plain
    return None


def _video_info(where: CtcFolder) -> VideoInfo | None:
    if where.images is None:
        return None
    files = numbered_images(where.images)
    if min(files) != 0:
        raise FormatError(
            f"{where.images} starts with image number {min(files)}; wanted a sequence from 0 on: rename the images "
            "and their labels"
        )
    shape = read_image(files[0]).shape
    return VideoInfo(path=str(where.images), n_frames=max(files) + 1, shape=(shape[0], shape[1]))


def _check_agreement(path: Path, table: Ints, detections: Detections) -> None:
    """Refuse a table that does not say what is in the images, naming the label and its frames."""
    assert detections.label is not None
    span = {label: (begin, end) for label, begin, end, _ in table.tolist()}
    order = np.argsort(detections.label, kind="stable")
    names, start = np.unique(detections.label[order], return_index=True)
    seen = dict(zip(names.tolist(), np.split(detections.frame[order], start[1:]), strict=True)) if len(names) else {}
    odd = []
    for label in sorted(span.keys() | seen.keys()):
        frames = seen.get(label, np.zeros(0, int))
        if label not in span:
            odd.append(f"label {label} is in the images of frames {_listed(frames)} but not in the table")
            continue
        wanted = np.arange(span[label][0], span[label][1] + 1)
        missing, excess = np.setdiff1d(wanted, frames), np.setdiff1d(frames, wanted)
        if len(missing):
            odd.append(
                f"label {label} should be in frames {wanted[0]}-{wanted[-1]} but is missing in {_listed(missing)}"
            )
        elif len(excess):
            odd.append(f"label {label} should end at frames {wanted[0]}-{wanted[-1]} but is also in {_listed(excess)}")
    if odd:
        raise FormatError(
            f"{path} and its label images disagree: {odd[0]} ({len(odd)} labels disagree in all); "
            f"correct the table or the images, or {WITHOUT_IDS}"
        )


def _listed(frames: NDArray[np.integer]) -> str:
    shown = ", ".join(str(frame) for frame in frames[:6].tolist())
    return shown + (f", … ({len(frames)} frames)" if len(frames) > 6 else "")


def _numbered(tracks: Tracks) -> tuple[Ints, Ints]:
    """(N,) the CTC label of each row, and the (L, 4) table.

    Ids stay as they are where they fit; further parts of a track with gaps, and rows without a track, get numbers
    above them.
    """
    frame, track = tracks.detections.frame.astype(np.int64), tracks.track
    order = np.lexsort((frame, track))
    new = np.r_[True, (np.diff(track[order]) != 0) | (np.diff(frame[order]) > 1) | (track[order][1:] < 0)]
    stretch = np.cumsum(new) - 1
    owner, begin = track[order][new], frame[order][new]
    end = frame[order][np.r_[np.flatnonzero(new)[1:] - 1, len(order) - 1]]
    if len(owner) > MAX_LABEL:
        raise InputError(
            f"{len(owner)} labels are needed (tracks, parts of tracks between gaps, and {(owner < 0).sum()} untracked "
            "detections), but a CTC label "
            f"image has 16 bits, 1..{MAX_LABEL}: cut the sequence into pieces, or save it as csv"
        )
    ids = tracks.ids
    first = np.r_[True, np.diff(owner) != 0] & (owner >= 0)
    further = len(owner) - len(ids)
    keeps = ids[0] >= 1 and ids[-1] + further <= MAX_LABEL
    value = np.empty(len(owner), np.int64)
    value[first] = ids if keeps else np.arange(1, len(ids) + 1)
    value[~first] = value[first].max() + 1 + np.arange(further)
    last = dict(zip(owner.tolist(), value.tolist(), strict=True))  # the later stretch of a track wins
    above = dict(tracks.parent.tolist())
    parent = [
        (last[above[o]] if o in above else 0) if is_first else (value[i - 1] if o >= 0 else 0)
        for i, (o, is_first) in enumerate(zip(owner.tolist(), first.tolist(), strict=True))
    ]
    name = np.full(len(frame), UNTRACKED)
    name[order] = value[stretch]
    table = np.stack([value, begin, end, np.asarray(parent, np.int64)], axis=1)
    return name, table[np.argsort(value)]


def _relabelled(image: NDArray[np.integer], old: Ints, new: Ints, frame: int) -> NDArray[np.uint16]:
    """The label image with the rows' new labels; objects that are no row become background."""
    lookup = np.zeros(max(int(image.max()) if image.size else 0, int(old.max()) if len(old) else 0) + 1, np.uint16)
    there = np.bincount(image.reshape(-1), minlength=len(lookup)) > 0
    lost = old[(old <= 0) | ~there[np.maximum(old, 0)]]
    if len(lost):
        raise AlignmentError(
            f"a detection in frame {frame} has the label {lost[0]}, which is not in the label image; give the labels "
            "they came from"
        )
    names, count = np.unique(old, return_counts=True)
    if (count > 1).any():
        raise AlignmentError(
            f"two detections in frame {frame} have the label {names[count > 1][0]}; wanted a label for each"
        )
    lookup[old] = new
    drawn: NDArray[np.uint16] = lookup[image]
    return drawn
