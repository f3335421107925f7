"""Writing `.slp` files: into a copy of the file that the rows came from, or a new file.

With a source everything it holds is kept (images, suggestions, sessions, other videos, corrected predictions, points
not visible): the copy gets new tracks and confidences, and nothing else. Without one the columns are written.

The frames of the least sure links and starts are added to the suggestions, where SLEAP's users find what to look at.
Those that an earlier run has added for this video make way for them.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kintrack.core.detections import Detections, Floats, Ints, Skeleton
from kintrack.core.tracks import REVIEW_FRAMES, UNTRACKED, Tracks
from kintrack.core.video import LabelVideo
from kintrack.errors import AlignmentError, InputError
from kintrack.io.sleap import (
    CONFIDENCE_MARK,
    PREDICTED,
    USER,
    SlpTables,
    instance_rows,
    read_tables,
)

REVIEW_MARK = "kintrack_review"  # how many of the last suggestions kintrack has made

_INSTANCE = np.dtype(
    [
        ("instance_id", "i8"), ("instance_type", "u1"), ("frame_id", "u8"), ("skeleton", "u4"), ("track", "i4"),
        ("from_predicted", "i8"), ("score", "f4"), ("point_id_start", "u8"), ("point_id_end", "u8"),
        ("tracking_score", "f4"),
    ]
)  # fmt: skip
_FRAME = np.dtype(
    [("frame_id", "u8"), ("video", "u4"), ("frame_idx", "u8"), ("instance_id_start", "u8"), ("instance_id_end", "u8")]
)
_POINT = np.dtype([("x", "f8"), ("y", "f8"), ("visible", "?"), ("complete", "?")])
_PRED_POINT = np.dtype([*_POINT.descr, ("score", "f8")])


def write(
    tracks: Tracks,
    path: Path,
    *,
    source: Path | None = None,
    labels: LabelVideo | None = None,
    review: int = REVIEW_FRAMES,
) -> None:
    """The tracks as a `.slp` file; with `source`, as a copy of it with these tracks.

    Raises:
        AlignmentError: the rows are not those of the source.
        InputError: the detections are 3-D.
    """
    if tracks.detections.ndim != 2:
        raise InputError("SLEAP files hold points in the plane, and these detections are 3-D; save them as csv")
    if source is not None and Path(source).suffix.lower() == ".slp":
        _write_copy(tracks, path, Path(source), review)
    else:
        _write_new(tracks, path, review)


def _write_copy(tracks: Tracks, path: Path, source: Path, review: int) -> None:
    tables = read_tables(source)
    video = _video_of(tables, tracks)
    rows, replaced = instance_rows(tables, video)
    _check_rows(tracks, tables, rows)
    others = _others_have_tracks(source)
    here = np.isin(np.arange(len(tables.frame)), [*rows.tolist(), *replaced])
    kept_ids = np.arange(len(tables.track_names)) if others else np.unique(tables.track[~here & (tables.track >= 0)])
    place = {int(old): new for new, old in enumerate(kept_ids)}
    ids = tracks.ids.tolist()
    mine = {track: len(kept_ids) + i for i, track in enumerate(ids)}

    column = np.array([place.get(int(t), UNTRACKED) for t in tables.track], dtype=np.int64)
    column[rows] = [mine.get(t, UNTRACKED) for t in tracks.track.tolist()]
    for prediction, correction in replaced.items():
        column[prediction] = column[correction]
    instances = np.zeros(len(tables.instances), _INSTANCE)
    for name in tables.instances.dtype.names or ():
        instances[name] = tables.instances[name]
    instances["track"] = column
    if tracks.confidence is not None:
        instances["tracking_score"][rows] = tracks.confidence
    names = [tables.track_names[old] for old in kept_ids.tolist()] + [track_name(tracks, track) for track in ids]

    shutil.copyfile(source, path)
    import h5py

    with h5py.File(path, "r+") as file:
        marks = {k: v for k, v in file["instances"].attrs.items() if k != CONFIDENCE_MARK}
        del file["instances"], file["tracks_json"]
        file.create_dataset("instances", data=instances)
        file["instances"].attrs.update(marks)
        _finish(file, tracks, names)
        _suggest(file, tracks, video, review)
        # Format 1.2 is 1.1 with a tracking score, which the table has now.
        if 1.1 <= tables.format_id < 1.2:
            file["metadata"].attrs["format_id"] = 1.2


def _others_have_tracks(source: Path) -> bool:
    """Whether something beside the instances (masks, boxes, centroids of newer files) names tracks by position."""
    found = []

    def look(name: str, stored: Any) -> None:
        fields = getattr(getattr(stored, "dtype", None), "names", None) or ()
        found.append(name != "instances" and ("track" in fields or name.endswith("/track")))

    import h5py

    with h5py.File(source, "r") as file:
        file.visititems(look)
    return any(found)


def _video_of(tables: SlpTables, tracks: Tracks) -> int:
    """Which video of the source the rows are of: the only one, or the one of that name, or the one whose frames fit."""
    if len(tables.videos) <= 1:
        return 0
    info = tracks.detections.video
    named = [i for i, v in enumerate(tables.videos) if info is not None and v["filename"] == info.path]
    if len(named) == 1:
        return named[0]
    frame = tracks.detections.frame
    fitting = [i for i in range(len(tables.videos)) if np.array_equal(tables.frame[instance_rows(tables, i)[0]], frame)]
    if len(fitting) == 1:
        return fitting[0]
    raise AlignmentError(
        f"{tables.path} holds {len(tables.videos)} videos, and it cannot be told to which of them the tracks belong; "
        "read them with load(path, video=i), which notes the video's name"
    )


def _check_rows(tracks: Tracks, tables: SlpTables, rows: Ints) -> None:
    found = tracks.detections
    if not np.array_equal(tables.frame[rows], found.frame):
        raise AlignmentError(
            f"{tables.path} has {len(rows)} instances in this video and there are {len(found)} rows to save, or their "
            "frames differ; "
            "a copy of the source gets new tracks for the same rows: save without source to write these rows alone"
        )


def track_name(tracks: Tracks, track: int) -> str:
    """The name of a track in a `.slp` file: its own, else ``track_7``, as SLEAP names them."""
    return tracks.names.get(track, f"track_{track}")


def _write_new(tracks: Tracks, path: Path, review: int) -> None:
    found = tracks.detections
    keypoints = found.centre[:, None] if found.keypoints is None else found.keypoints
    skeleton = found.skeleton or Skeleton(tuple(f"keypoint_{k}" for k in range(keypoints.shape[1])))
    if found.keypoints is None:
        skeleton = Skeleton(("centroid",))
    is_user = np.zeros(len(found), bool) if found.is_user is None else found.is_user
    score = np.full(keypoints.shape[:2], np.nan) if found.keypoint_score is None else found.keypoint_score
    names = {track: i for i, track in enumerate(tracks.ids.tolist())}
    instances, frames = _instances(tracks, is_user, keypoints.shape[1], names)
    import h5py

    with h5py.File(path, "w") as file:
        metadata = file.create_group("metadata")
        metadata.attrs["format_id"] = 1.2
        metadata.attrs["json"] = np.bytes_(json.dumps(_metadata(skeleton)))
        file["frames"] = frames
        file["instances"] = instances
        file["points"] = _points(keypoints[is_user], None)
        file["pred_points"] = _points(keypoints[~is_user], score[~is_user])
        file["videos_json"] = _texts([_video(found)])
        file["suggestions_json"] = _texts([])
        _finish(file, tracks, [track_name(tracks, track) for track in names])
        _suggest(file, tracks, 0, review)


def _finish(file: Any, tracks: Tracks, names: list[str]) -> None:
    file["tracks_json"] = _texts([[0, name] for name in names])
    if tracks.confidence is not None:
        file["instances"].attrs[CONFIDENCE_MARK] = True


def _suggest(file: Any, tracks: Tracks, video: int, review: int) -> None:
    """Adds the frames of the least sure decisions to the suggestions; what people have suggested stays as it is."""
    stored = file.get("suggestions_json")
    rows = [json.loads(row) for row in stored] if stored is not None and stored.shape else []
    n = len(rows) - int(stored.attrs.get(REVIEW_MARK, 0) if rows else 0)
    theirs, ours = rows[:n], [row for row in rows[n:] if int(row["video"]) != video]
    known = {row["frame_idx"] for row in theirs if int(row["video"]) == video}
    frames = np.unique(tracks.detections.frame[tracks.doubtful(review)]).tolist()
    ours += [{"video": str(video), "frame_idx": frame, "group": 0} for frame in frames if frame not in known]
    if not ours and n == len(rows):
        return  # nothing to add, nothing to take away
    if stored is not None:
        del file["suggestions_json"]
    file["suggestions_json"] = _texts(theirs + ours)
    file["suggestions_json"].attrs[REVIEW_MARK] = len(ours)


def _instances(
    tracks: Tracks, is_user: NDArray[np.bool_], n_points: int, place: dict[int, int]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The tables of instances and of frames."""
    found = tracks.detections
    numbers, first, count = np.unique(found.frame, return_index=True, return_counts=True)
    frames = np.zeros(len(numbers), _FRAME)
    frames["frame_id"], frames["frame_idx"] = np.arange(len(numbers)), numbers
    frames["instance_id_start"], frames["instance_id_end"] = first, first + count
    instances = np.zeros(len(found), _INSTANCE)
    instances["instance_id"] = np.arange(len(found))
    instances["instance_type"] = np.where(is_user, USER, PREDICTED)
    instances["frame_id"] = np.repeat(np.arange(len(numbers)), count)
    instances["track"] = [place.get(track, UNTRACKED) for track in tracks.track.tolist()]
    instances["from_predicted"] = -1
    instances["score"] = np.nan if found.score is None else found.score
    instances["tracking_score"] = 0.0 if tracks.confidence is None else tracks.confidence
    for kind in (is_user, ~is_user):  # people's points and predicted ones are counted in a table each
        instances["point_id_start"][kind] = np.arange(kind.sum()) * n_points
    instances["point_id_end"] = instances["point_id_start"] + np.uint64(n_points)
    return instances, frames


def _points(keypoints: Floats, score: Floats | None) -> NDArray[Any]:
    flat = keypoints.reshape(-1, 2) - 0.5
    points = np.zeros(len(flat), _POINT if score is None else _PRED_POINT)
    points["x"], points["y"] = flat.T
    points["visible"] = ~np.isnan(flat).any(axis=1)
    if score is not None:
        points["score"] = score.reshape(-1)
    return points


def _metadata(skeleton: Skeleton) -> dict[str, Any]:
    """The metadata that SLEAP expects, the skeleton as it spells it."""
    links = []
    for kind, pairs in ((1, skeleton.edges), (2, skeleton.symmetries)):
        spelt: dict[str, Any] = {"py/reduce": [{"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [kind]}]}
        # Later links refer to the first of their kind by its place among those spelt out.
        again = {"py/id": kind if skeleton.edges else 1}
        for i, (source, target) in enumerate(pairs):
            order = {"edge_insert_idx": i} if kind == 1 else {}
            links.append({**order, "key": 0, "source": source, "target": target, "type": again if i else spelt})
    graph = {
        "directed": True,
        "graph": {"name": skeleton.name, "num_edges_inserted": len(skeleton.edges)},
        "links": links,
        "multigraph": True,
        "nodes": [{"id": i} for i in range(len(skeleton.names))],
    }
    nodes = [{"name": name, "weight": 1.0} for name in skeleton.names]
    empty: dict[str, Any] = {"videos": [], "tracks": [], "suggestions": [], "negative_anchors": {}, "provenance": {}}
    return {"version": "2.0.0", "skeletons": [graph], "nodes": nodes, **empty}


def _video(found: Detections) -> dict[str, Any]:
    info = found.video
    backend: dict[str, Any] = {
        "filename": (info.path if info else None) or "",
        "grayscale": False,
        "bgr": True,
        "dataset": "",
        "input_format": "",
    }
    if info is not None and info.shape is not None and info.n_frames:
        backend["shape"] = [info.n_frames, *info.shape, 3]
    if info is not None and info.fps:
        backend["fps"] = info.fps
    return {"filename": backend["filename"], "backend": backend}


def _texts(rows: list[Any]) -> NDArray[Any]:
    return np.array([json.dumps(row).encode() for row in rows], dtype=None if rows else "S1")
