"""What the tracker weighed, in a file."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from kintrack.core.detections import Detections
from kintrack.core.sightings import Sightings
from kintrack.core.tracks import Tracks
from kintrack.errors import FormatError, InputError, OutputExistsError
from kintrack.io import meta
from kintrack.io.meta import meta_file, read_meta
from kintrack.tracking import Tracker
from kintrack.tracking.dreem import DreemTracker
from kintrack.tracking.motion import Motion
from worlds import crossing, gap


def _tracked(tracker, path: Path, truth: Tracks, score=None) -> Tracks:
    with meta_file(path, {"model": "motion"}) as tracker.watch:
        return tracker(score or Motion(), truth.detections)


@pytest.mark.parametrize("tracker", [Tracker(), DreemTracker()], ids=["kintrack", "dreem"])
def test_every_decision_is_in_the_file_and_is_the_tracks(tracker, tmp_path: Path):
    """DREEM fails here: without tracks in the input all its instances have one name (C5)."""
    tracks = _tracked(tracker, tmp_path / "m.h5", gap())
    found = read_meta(tmp_path / "m.h5")
    assert found.about["model"] == "motion" and found.about["format"] == "kintrack meta"
    order = np.argsort(found.rows["row"])
    assert np.array_equal(found.rows["track"][order], tracks.track)
    assert np.array_equal(found.rows["confidence"][order], tracks.confidence, equal_nan=True)
    assert found.rows["is_start"].sum() == len(tracks.ids)
    linked = found.rows["row"][~found.rows["is_start"] & (found.rows["track"] >= 0)]
    assert sorted(found.scores["row"][found.scores["chosen"]].tolist()) == sorted(linked.tolist())
    seen = found.pairs["seen_row"]
    assert np.array_equal(tracks.track[seen], found.pairs["track"])
    assert np.array_equal(tracks.detections.frame[seen], found.pairs["seen_frame"])
    assert (found.pairs["seen_frame"] < found.pairs["frame"]).all()


def test_the_scores_of_a_frame_are_a_matrix_of_rows_and_tracks(tmp_path: Path):
    def score(query: Sightings, memory, pairs):
        return query.row[pairs[:, 0]] - 10.0 * memory.track[pairs[:, 1]]

    truth = crossing()
    _tracked(Tracker(), tmp_path / "m.h5", truth, score)
    rows, ids, matrix = read_meta(tmp_path / "m.h5").matrix(1)
    assert rows.tolist() == [2, 3] and ids.tolist() == [0, 1]
    assert np.array_equal(matrix, np.where(np.isnan(matrix), np.nan, [[2.0, -8.0], [3.0, -7.0]]), equal_nan=True)
    assert matrix[0, 0] == 2.0 and matrix[1, 1] == -7.0
    share = read_meta(tmp_path / "m.h5").matrix(1, "probability")[2]
    assert ((share[~np.isnan(share)] > 0) & (share[~np.isnan(share)] < 1)).all()
    with pytest.raises(InputError, match="there is no score 'scores': did you mean 'score'"):
        read_meta(tmp_path / "m.h5").matrix(1, "scores")


def test_dreems_steps_from_logits_to_scores_are_columns(tmp_path: Path):
    tracker = DreemTracker({"max_center_dist": 1.0, "max_angle_diff": 0.0})
    _tracked(tracker, tmp_path / "m.h5", crossing())
    scores = read_meta(tmp_path / "m.h5").scores
    assert {"traj_score", "weight_iou", "max_center_dist", "score", "probability"} < scores.keys()
    assert (scores["max_center_dist"] <= scores["weight_iou"] + 1e-12).all()
    assert (scores["max_center_dist"] < scores["weight_iou"]).any()
    assert np.array_equal(scores["score"], scores["max_center_dist"])


def test_the_file_is_the_same_however_many_frames_are_in_memory(tmp_path: Path, monkeypatch):
    _tracked(Tracker(), tmp_path / "whole.h5", crossing())
    monkeypatch.setattr(meta, "_WAITING", 3)
    _tracked(Tracker(), tmp_path / "pieces.h5", crossing())
    a, b = read_meta(tmp_path / "whole.h5"), read_meta(tmp_path / "pieces.h5")
    for one, other in ((a.rows, b.rows), (a.pairs, b.pairs), (a.scores, b.scores)):
        assert one.keys() == other.keys() and len(one["frame"])
        assert all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)


def test_watching_changes_no_track(tmp_path: Path):
    watched = _tracked(Tracker(), tmp_path / "m.h5", crossing())
    assert np.array_equal(watched.track, Tracker()(Motion(), crossing().detections).track)


def test_an_empty_table_is_an_empty_file(tmp_path: Path):
    _tracked(Tracker(), tmp_path / "m.h5", Tracks.untracked(Detections.empty()))
    assert all(len(part) == 0 for part in (read_meta(tmp_path / "m.h5").rows, read_meta(tmp_path / "m.h5").pairs))


def test_after_a_failure_there_is_no_file(tmp_path: Path):
    def broken(query, memory, pairs):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        _tracked(Tracker(), tmp_path / "m.h5", crossing(), broken)
    assert not list(tmp_path.iterdir())
    (tmp_path / "m.h5").touch()
    with pytest.raises(OutputExistsError, match="exists; choose another name"):
        _tracked(Tracker(), tmp_path / "m.h5", crossing())


def test_other_files_are_refused(tmp_path: Path):
    (tmp_path / "a.h5").write_text("hello")
    with pytest.raises(FormatError, match="no HDF5 file, or damaged .* wanted a file that `kintrack track --save"):
        read_meta(tmp_path / "a.h5")
    h5py.File(tmp_path / "b.h5", "w").close()
    with pytest.raises(FormatError, match="is HDF5, but not a file that"):
        read_meta(tmp_path / "b.h5")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.attrs.update({"format": "kintrack meta", "layout": 9})
    with pytest.raises(FormatError, match="has layout 9, and 1 is known: update kintrack"):
        read_meta(tmp_path / "c.h5")


def test_it_is_written_beside_the_tracks(tmp_path: Path):
    from kintrack import api, io
    from kintrack.core.video import ArrayLabelVideo
    from worlds import painted

    io.save(Tracks.untracked(gap().detections), tmp_path / "a.csv")
    tracks = api.track(tmp_path / "a.csv", tmp_path / "b.csv", model="motion", save_meta=tmp_path / "b.h5")
    found = read_meta(tmp_path / "b.h5")
    assert found.about["model"] == "motion" and found.about["input"].endswith("a.csv")
    assert np.array_equal(found.rows["track"], tracks.track[found.rows["row"]])
    with pytest.raises(OutputExistsError, match=r"b\.h5 exists"):
        api.track(tmp_path / "a.csv", tmp_path / "c.csv", model="motion", save_meta=tmp_path / "b.h5")
    assert not (tmp_path / "c.csv").exists()
    io.save(crossing(), tmp_path / "d.csv")
    sources = [tmp_path / "a.csv", tmp_path / "d.csv"]
    with pytest.raises(InputError, match=r"2 files are to be tracked, but --save-meta \S*m\.h5 is one file"):
        api.track_many(sources, tmp_path / "out", model="motion", save_meta=tmp_path / "m.h5")
    api.track_many(sources, tmp_path / "out", model="motion", save_meta=tmp_path / "meta")
    assert sorted(p.name for p in (tmp_path / "meta").iterdir()) == ["a.csv.h5", "d.csv.h5"]
    masks = ArrayLabelVideo(painted(gap().detections))  # as DREEM: cells without tracks
    api.track(masks, tmp_path / "cells", model="motion", save_meta=tmp_path / "cells.h5")
    assert len(io.load(tmp_path / "cells")) == len(read_meta(tmp_path / "cells.h5").rows["row"])
