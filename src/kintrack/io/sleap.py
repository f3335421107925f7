"""SLEAP `.slp` files: their HDF5 tables as columns, in and out, without an object for each instance.

* SLEAP says where a point is in pixels whose *centres* are whole numbers; kintrack's pixel centres are at one half.
  So 0.5 is added when reading and taken away when writing (files before format 1.1 meant it as kintrack does).
* A point that is not visible is nan. A row's box is the smallest around its visible points, nan if there are none.
* A prediction that a person has corrected is still in the file beside the correction. SLEAP hides it, and so does
  `read`; `write` with `source` keeps it, on the track of its correction.
* An id is a track's position in the file; its name is in `Tracks.names`.

h5py reads the tables as they are stored, in arrays; the tests hold what comes out against what sleap-io reads.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kintrack.core import boxes
from kintrack.core.detections import Bools, Detections, Floats, Ints, Skeleton, VideoInfo
from kintrack.core.tracks import Tracks
from kintrack.errors import FormatError, InputError
from kintrack.io.reading import WITHOUT_IDS, duplicates, existing_file

CARRIES = frozenset(
    {
        "frame",
        "keypoints",
        "keypoint_score",
        "score",
        "is_user",
        "track",
        "names",
        "confidence",
        "skeleton",
        "skeleton edges",
        "video",
    }
)

USER, PREDICTED = 0, 1
NEWEST_FORMAT = 3.0  # from here on the tables are laid out in another way
CONFIDENCE_MARK = "kintrack_confidence"  # tracking_score is a probability only where kintrack has written it

_WANTED = "a SLEAP file (.slp)"


@dataclass(frozen=True)
class SlpTables:
    """The tables of a `.slp` file as they are stored; `frame` and `video` are given for each row of `instances`."""

    path: Path
    format_id: float
    instances: NDArray[Any]
    points: NDArray[Any]
    pred_points: NDArray[Any]
    frame: Ints
    video: Ints
    track_names: tuple[str, ...]
    skeletons: tuple[Skeleton, ...]
    videos: tuple[dict[str, Any], ...]
    has_confidence: bool

    @property
    def is_user(self) -> Bools:
        """(I,) which instances a person made."""
        return np.asarray(self.instances["instance_type"] == USER)

    @property
    def track(self) -> Ints:
        """(I,) position in `track_names`, -1 for none."""
        return self.instances["track"].astype(np.int64)


def read(path: Path, *, video: int | None = None, identities: bool = True) -> Tracks:
    """The instances of one video in a `.slp` file.

    Raises:
        InputError: no such file; several videos and none chosen.
        FormatError: not a `.slp` file, cut off, newer than this reader, or a track twice in a frame.
    """
    tables = read_tables(path)
    video = choose_video(tables, video)
    rows, _ = instance_rows(tables, video)
    detections = _detections(tables, rows, video)
    if not identities:
        return Tracks.untracked(detections)
    track = tables.track[rows]
    twice = duplicates(detections.frame.astype(np.int64), track)
    if len(twice):
        row = twice[0, 0]
        raise FormatError(
            f"{path}: track {tables.track_names[track[row]]!r} has two instances in frame {detections.frame[row]} "
            f"({len(twice)} such pairs in the file); a track is one individual, at most once in a frame: "
            f"correct the file in SLEAP, or {WITHOUT_IDS}"
        )
    confidence = tables.instances["tracking_score"][rows].astype(np.float64) if tables.has_confidence else None
    return Tracks(detections, track, names=dict(enumerate(tables.track_names)), confidence=confidence)


def read_tables(path: str | Path) -> SlpTables:
    """The tables of a `.slp` file."""
    path = existing_file(path, _WANTED)
    import h5py

    try:
        with h5py.File(path, "r") as file:
            format_id = float(file["metadata"].attrs["format_id"])
            if format_id >= NEWEST_FORMAT:
                raise FormatError(
                    f"{path} is in SLEAP format {format_id:g}; wanted a format before {NEWEST_FORMAT:g}: save it with "
                    "an older SLEAP"
                )
            metadata = _json(file["metadata"].attrs["json"])
            instances, frames = file["instances"][()], file["frames"][()]
            frame, video = _spread(frames, len(instances))
            return SlpTables(
                path=path,
                format_id=format_id,
                instances=instances,
                points=file["points"][()],
                pred_points=file["pred_points"][()],
                frame=frame,
                video=video,
                track_names=tuple(str(_json(row)[1]) for row in file["tracks_json"][()]),
                skeletons=_skeletons(metadata),
                videos=tuple(_video(_json(row), i, file) for i, row in enumerate(file["videos_json"][()])),
                has_confidence=CONFIDENCE_MARK in file["instances"].attrs,
            )
    except (OSError, KeyError, ValueError, TypeError, IndexError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path} cannot be read as a SLEAP file; is it complete, and is it one? ({error})") from error


def choose_video(tables: SlpTables, video: int | None) -> int:
    """The position of the wanted video; the only one if none is asked for."""
    n = len(tables.videos)
    if video is None and n > 1:
        listed = ", ".join(f"{i}: {v['filename']}" for i, v in enumerate(tables.videos[:8]))
        raise InputError(
            f"{tables.path} holds {n} videos ({listed}); tracks belong to one: choose it with --index 0..{n - 1} "
            "(video= in Python), or where a command has none, first make a table of one with kintrack convert --index"
        )
    if video is not None and not 0 <= video < max(n, 1):
        raise InputError(f"video {video} was asked for, but {tables.path} holds {n} (0..{n - 1}); choose one of them")
    return video or 0


def instance_rows(tables: SlpTables, video: int) -> tuple[Ints, dict[int, int]]:
    """The instances of a video that count, by frame; and those that do not, each with the correction that replaced it.

    A prediction does not count where a person's instance in the same frame came from it or is on its track.
    """
    rows = np.flatnonzero(tables.video == tables.videos[video]["id"]) if tables.videos else np.arange(len(tables.frame))
    user = rows[tables.is_user[rows]]
    replaced: dict[int, int] = {}
    if 0 < len(user) < len(rows):
        source = tables.instances["from_predicted"][user].astype(np.int64)
        position = {int(i): row for row, i in enumerate(tables.instances["instance_id"].tolist())}
        replaced = {position[s]: int(u) for s, u in zip(source.tolist(), user.tolist(), strict=True) if s in position}
        claimed = {(int(tables.frame[u]), int(tables.track[u])): int(u) for u in user if tables.track[u] >= 0}
        for row in rows[~tables.is_user[rows]].tolist():
            correction = claimed.get((int(tables.frame[row]), int(tables.track[row])))
            if correction is not None:
                replaced.setdefault(row, correction)
    kept = rows[~np.isin(rows, list(replaced))] if replaced else rows
    return kept[np.argsort(tables.frame[kept], kind="stable")], replaced


def _detections(tables: SlpTables, rows: Ints, video: int) -> Detections:
    instances = tables.instances[rows]
    is_user = tables.is_user[rows]
    skeleton = _one_skeleton(tables, np.unique(instances["skeleton"]))
    keypoints, keypoint_score = _keypoints(tables, instances, is_user, len(skeleton.names))
    return Detections(
        frame=tables.frame[rows].astype(np.int32),
        box=boxes.around_points(keypoints),
        score=None if is_user.all() else np.where(is_user, np.nan, instances["score"].astype(np.float64)),
        keypoints=keypoints,
        keypoint_score=None if is_user.all() else keypoint_score,
        is_user=is_user,
        skeleton=skeleton,
        video=_video_info(tables, video),
    )


def _one_skeleton(tables: SlpTables, used: NDArray[Any]) -> Skeleton:
    names = {tables.skeletons[i].names for i in used.tolist()}
    if len(names) > 1:
        raise FormatError(
            f"{tables.path} has instances of {len(names)} different skeletons; wanted one: save each kind of animal "
            "as a file of its own"
        )
    position = int(used[0]) if len(used) else 0
    return tables.skeletons[position] if tables.skeletons else Skeleton(())


def _keypoints(tables: SlpTables, instances: NDArray[Any], is_user: Bools, n_points: int) -> tuple[Floats, Floats]:
    """(N, K, 2) points and (N, K) scores; nan where not visible, and no score where a person placed the point."""
    start, end = instances["point_id_start"].astype(np.int64), instances["point_id_end"].astype(np.int64)
    if len(start) and (end - start != n_points).any():
        odd = int(np.flatnonzero(end - start != n_points)[0])
        raise FormatError(
            f"{tables.path}: instance {instances['instance_id'][odd]} has {end[odd] - start[odd]} points, its "
            f"skeleton {n_points}"
        )
    keypoints = np.full((len(instances), n_points, 2), np.nan)
    score = np.full((len(instances), n_points), np.nan)
    for kind, points in ((is_user, tables.points), (~is_user, tables.pred_points)):
        found = points[start[kind][:, None] + np.arange(n_points)]
        seen = found["visible"].astype(bool)
        keypoints[kind, :, 0] = np.where(seen, found["x"], np.nan)
        keypoints[kind, :, 1] = np.where(seen, found["y"], np.nan)
        if "score" in (points.dtype.names or ()):
            score[kind] = found["score"]
    return keypoints + (0.5 if tables.format_id >= 1.1 else 0.0), score


def _spread(frames: NDArray[Any], n: int) -> tuple[Ints, Ints]:
    """Frame and video id of each instance; -1 for an instance that no frame names."""
    start, end = frames["instance_id_start"].astype(np.int64), frames["instance_id_end"].astype(np.int64)
    length = end - start
    if (length < 0).any() or (end > n).any():
        raise ValueError(f"the frames name instances up to {end.max()}, but there are {n}")
    into = (
        np.repeat(start - np.r_[0, np.cumsum(length)[:-1]], length) + np.arange(length.sum())
        if len(frames)
        else np.zeros(0, int)
    )
    frame, video = np.full(n, -1), np.full(n, -1)
    frame[into] = np.repeat(frames["frame_idx"].astype(np.int64), length)
    video[into] = np.repeat(frames["video"].astype(np.int64), length)
    return frame, video


def _json(stored: Any) -> Any:
    """What a stored JSON text says, however the writer has stored it."""
    return json.loads(stored.tobytes() if isinstance(stored, np.ndarray) else stored)


def _skeletons(metadata: dict[str, Any]) -> tuple[Skeleton, ...]:
    """The skeletons in the metadata: networkx graphs, pickled to JSON, on one list of nodes for all of them."""
    names = [node["name"] if isinstance(node, dict) else str(node) for node in metadata["nodes"]]
    return tuple(_skeleton(stored.get("nx_graph", stored), names) for stored in metadata["skeletons"])


def _skeleton(graph: dict[str, Any], names: list[str]) -> Skeleton:
    place = {node["id"]: i for i, node in enumerate(graph["nodes"])}
    kinds: list[int] = []  # the first link of a kind spells it out; the later ones say "py/id": which it was
    joined: dict[int, list[tuple[int, int]]] = {1: [], 2: []}
    for link in graph["links"]:
        if "py/reduce" in link["type"]:
            kind = int(link["type"]["py/reduce"][1]["py/tuple"][0])
            kinds.append(kind)
        else:
            which = int(link["type"]["py/id"])
            kind = kinds[which - 1] if which <= len(kinds) else which
        joined[kind].append((place[link["source"]], place[link["target"]]))
    twins = sorted({(min(pair), max(pair)) for pair in joined[2]})
    title = graph["graph"].get("name") or "skeleton"
    return Skeleton(tuple(names[node] for node in place), tuple(joined[1]), tuple(twins), title)


def _video(stored: dict[str, Any], position: int, file: Any) -> dict[str, Any]:
    """What the file says of one video: its id in the frames table, name, shape and rate."""
    backend = stored.get("backend", {})
    name = str(backend.get("filename") or stored.get("filename") or "")
    dataset = str(backend.get("dataset") or "")
    group = dataset.split("/")[0]
    if name == "." and f"{group}/source_video" in file:
        name = str(_json(file[f"{group}/source_video"].attrs["json"]).get("backend", {}).get("filename", "."))
    return {
        # A file with the images inside numbers its videos by their groups, "video7", not by their order.
        "id": int(group[5:]) if group.startswith("video") and group[5:].isdigit() else position,
        "filename": name.replace("\\", "/"),
        "shape": backend.get("shape"),
        "fps": backend.get("fps"),
    }


def _video_info(tables: SlpTables, video: int) -> VideoInfo | None:
    if not tables.videos:
        return None
    stored = tables.videos[video]
    shape = stored["shape"] or (0, 0, 0)
    size = (int(shape[1]), int(shape[2])) if shape[1] else None
    return VideoInfo(path=stored["filename"] or None, n_frames=int(shape[0] or 0), shape=size, fps=stored["fps"])
