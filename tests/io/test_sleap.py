"""SLEAP files: equal to what sleap-io reads and writes, nothing of the source lost, nothing made up."""

import json
import shutil
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from kintrack import io
from kintrack.core.detections import Detections, Skeleton
from kintrack.core.tracks import Tracks
from kintrack.errors import AlignmentError, FormatError, InputError


def sleap_io():
    return pytest.importorskip("sleap_io")


def eager(path: Path):
    return sleap_io().load_slp(str(path), open_videos=False)


REAL = [
    "flies/two_flies.slp",
    "flies/three_flies.slp",
    "flies/two_flies_noisy_detections.slp",
    "flies/centered_pair/centered_pair_predictions.slp",
    "fish/ten_zfish.slp",
    "formats/sleap/sleap-nn/tests/assets/datasets/minimal_instance.pkg.slp",
    "formats/sleap/tests/data/slp_hdf5/small_robot_minimal.slp",
]


@pytest.mark.parametrize("name", REAL)
def test_columns_equal_what_sleap_io_reads(shared_data: Path, name: str) -> None:
    tracks, labels = io.load(shared_data / name), eager(shared_data / name)
    found = tracks.detections
    frames = sorted(labels.labeled_frames, key=lambda f: f.frame_idx)
    instances = [(f.frame_idx, i) for f in frames for i in f.instances]
    assert len(found) == len(instances)
    np.testing.assert_array_equal(found.frame, [frame for frame, _ in instances])
    points = np.stack([i.numpy() for _, i in instances])
    np.testing.assert_allclose(found.keypoints, points + 0.5, rtol=1e-12)
    np.testing.assert_allclose(found.box[:, :2], np.nanmin(points, axis=1) + 0.5)
    names = [i.track.name if i.track else None for _, i in instances]
    assert [tracks.name(t) if t >= 0 else None for t in tracks.track.tolist()] == names
    predicted = [type(i).__name__ == "PredictedInstance" for _, i in instances]
    np.testing.assert_array_equal(found.is_user, ~np.array(predicted))
    skeleton = labels.skeletons[0]
    assert list(found.skeleton.names) == skeleton.node_names
    assert list(found.skeleton.edges) == [tuple(pair) for pair in skeleton.edge_inds]
    assert set(found.skeleton.symmetries) == {tuple(sorted(pair)) for pair in skeleton.symmetry_inds}
    if all(predicted):
        np.testing.assert_allclose(found.score, [i.score for _, i in instances])
        np.testing.assert_allclose(found.keypoint_score, [i.points["score"] for _, i in instances])
    else:
        assert found.score is None
        assert found.keypoint_score is None


def test_names_of_real_tracks_are_kept(shared_data: Path) -> None:
    tracks = io.load(shared_data / "flies" / "mating_pair" / "clip.slp")
    assert tracks.names == {0: "female", 1: "male"}


def test_a_corrected_prediction_counts_once_and_is_kept_in_the_file(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "formats/sleap/multiview_session/min_session_user_labeled.slp"
    tracks = io.load(path, video=0)
    assert tracks.detections.is_user.all()
    swapped = Tracks(tracks.detections, 1 - tracks.track if tracks.track.max() == 1 else tracks.track)
    io.save(swapped, tmp_path / "a.slp", source=path)
    again, before = eager(tmp_path / "a.slp"), eager(path)
    assert len(again.labeled_frames) == len(before.labeled_frames)
    for frame in again.labeled_frames:
        if frame.video is not again.videos[0]:
            continue
        for instance in frame.instances:
            if instance.from_predicted is not None:
                assert instance.from_predicted.track is instance.track


def test_several_videos_are_chosen_by_number(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "formats/sleap/multiview_session/minimal_proofread.slp"
    with pytest.raises(
        InputError, match=r"minimal_proofread.slp holds 4 videos \(0: .*back.mp4, 1: .*choose it with --index 0..3"
    ):
        io.load(path)
    with pytest.raises(InputError, match=r"video 4 was asked for, but .* holds 4 \(0..3\); choose one of them"):
        io.load(path, video=4)
    parts = [io.load(path, video=i) for i in range(4)]
    assert sum(len(part) for part in parts) == 480
    assert parts[2].detections.video.path.endswith("minimal_side.mp4")
    # New tracks for one video leave the others' alone.
    one = Tracks(parts[2].detections, np.zeros(len(parts[2]), int), names={0: "new"})
    io.save(one, tmp_path / "a.slp", source=path)
    for i in (0, 1, 3):
        again = io.load(tmp_path / "a.slp", video=i)
        np.testing.assert_array_equal(again.track >= 0, parts[i].track >= 0)
        assert {again.name(t) for t in again.ids.tolist()} == {parts[i].name(t) for t in parts[i].ids.tolist()}
    again = io.load(tmp_path / "a.slp", video=2)
    assert {again.name(t) for t in again.ids.tolist()} == {"new"}
    with h5py.File(path) as before, h5py.File(tmp_path / "a.slp") as after:
        assert before["sessions_json"][0] == after["sessions_json"][0]


def test_a_copy_of_the_source_keeps_everything_else(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "flies" / "centered_pair" / "centered_pair_predictions.slp"
    tracks = io.load(path, identities=False)
    track = np.where(np.arange(len(tracks)) % 2, -1, np.arange(len(tracks)))
    confidence = np.linspace(0, 1, len(tracks))
    named = Tracks(tracks.detections, track, names={0: "α"}, confidence=confidence)
    io.save(named, tmp_path / "a.slp", source=path, review=0)
    with h5py.File(path) as before, h5py.File(tmp_path / "a.slp") as after:
        assert set(before) == set(after)
        for name in set(before) - {"metadata", "instances", "tracks_json"}:
            assert before[name][()].tobytes() == after[name][()].tobytes(), name
        assert before["metadata"].attrs["json"] == after["metadata"].attrs["json"]
        for column in set(before["instances"].dtype.names) - {"track", "tracking_score"}:
            np.testing.assert_array_equal(before["instances"][column], after["instances"][column])
    again = io.load(tmp_path / "a.slp")
    np.testing.assert_array_equal(again.track >= 0, track >= 0)
    assert again.name(0) == "α"
    assert again.name(1) == "track_2"
    np.testing.assert_allclose(again.confidence, confidence, atol=1e-7)
    labels = eager(tmp_path / "a.slp")
    assert [t.name for t in labels.tracks][:2] == ["α", "track_2"]
    assert labels[0].instances[1].track is None


def test_an_old_format_gets_the_column_of_confidences(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "flies" / "mating_pair" / "clip.slp"
    tracks = io.load(path)
    confident = Tracks(tracks.detections, tracks.track, names=tracks.names, confidence=np.full(len(tracks), 0.5))
    io.save(confident, tmp_path / "a.slp", source=path)
    with h5py.File(tmp_path / "a.slp") as file:
        assert file["metadata"].attrs["format_id"] == 1.2
    np.testing.assert_array_equal(io.load(tmp_path / "a.slp").confidence, confident.confidence)
    assert eager(tmp_path / "a.slp")[0].instances[0].tracking_score == 0.5


def test_tracking_scores_of_others_are_no_confidences(shared_data: Path) -> None:
    assert io.load(shared_data / "formats/predictions/CTMC_A-10-run03_dreem_predictions.slp").confidence is None


def doubtful(tracks: Tracks, **confidence: float) -> Tracks:
    """The tracks with full confidence, except for a row in each of the frames that are named, like f12."""
    sure = np.ones(len(tracks))
    for frame, value in confidence.items():
        sure[np.flatnonzero(tracks.detections.frame == int(frame[1:]))[0]] = value
    return Tracks(tracks.detections, tracks.track, names=tracks.names, confidence=sure)


def suggested(path: Path) -> list[tuple[int, int]]:
    labels = eager(path)
    return [(labels.videos.index(s.video), s.frame_idx) for s in labels.suggestions]


def test_the_frames_of_the_least_sure_links_are_suggestions_that_sleap_io_reads(
    shared_data: Path, tmp_path: Path
) -> None:
    source = shared_data / "flies" / "two_flies.slp"
    assert suggested(source) == []
    tracks = doubtful(io.load(source), f30=0.2, f7=0.89, f12=0.5, f40=0.95)
    for kept in (source, None):  # into a copy of the source, and into a new file
        out = tmp_path / f"{kept is None}.slp"
        io.save(tracks, out, source=kept)
        assert suggested(out) == [(0, 7), (0, 12), (0, 30)]
        io.save(tracks, out, source=kept, review=2, overwrite=True)
        assert suggested(out) == [(0, 12), (0, 30)]
        io.save(tracks, out, source=kept, review=0, overwrite=True)
        assert suggested(out) == []
        np.testing.assert_allclose(io.load(out).confidence, tracks.confidence, rtol=1e-6)


def test_what_people_have_suggested_stays_and_what_an_earlier_run_has_makes_way(
    shared_data: Path, tmp_path: Path
) -> None:
    sio, source = sleap_io(), tmp_path / "source.slp"
    labels = eager(shared_data / "flies" / "two_flies.slp")
    labels.suggestions = [sio.SuggestionFrame(labels.video, frame, {"group": 3}) for frame in (12, 5)]
    sio.save_slp(labels, str(source), verbose=False)
    io.save(doubtful(io.load(source), f30=0.2, f12=0.5), tmp_path / "a.slp", source=source)
    assert suggested(tmp_path / "a.slp") == [(0, 12), (0, 5), (0, 30)]
    assert [s.metadata["group"] for s in eager(tmp_path / "a.slp").suggestions] == [3, 3, 0]
    io.save(doubtful(io.load(source), f40=0.2), tmp_path / "b.slp", source=tmp_path / "a.slp")
    assert suggested(tmp_path / "b.slp") == [(0, 12), (0, 5), (0, 40)]
    io.save(doubtful(io.load(source)), tmp_path / "c.slp", source=tmp_path / "b.slp")
    assert suggested(tmp_path / "c.slp") == [(0, 12), (0, 5)]


def test_suggestions_are_for_the_video_that_was_tracked(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "formats/sleap/multiview_session/minimal_proofread.slp"
    first, third = io.load(source, video=0), io.load(source, video=2)
    last = int(third.detections.frame[-1])
    before = suggested(source)
    io.save(doubtful(third, **{f"f{last}": 0.1}), tmp_path / "a.slp", source=source)
    assert suggested(tmp_path / "a.slp") == [*before, (2, last)]
    zero = int(first.detections.frame[0])
    io.save(doubtful(first, **{f"f{zero}": 0.1}), tmp_path / "b.slp", source=tmp_path / "a.slp")
    assert suggested(tmp_path / "b.slp") == [*before, (2, last), (0, zero)]


def test_tracks_that_masks_or_boxes_of_the_source_name_keep_their_place(tmp_path: Path) -> None:
    io.save(Tracks(poses(6), np.array([0, 1] * 3), names={0: "Ada", 1: "Bob"}), tmp_path / "a.slp")

    def add_boxes(file) -> None:
        file["bboxes/track"] = np.array([1, 0])

    path = changed(tmp_path / "a.slp", tmp_path / "b.slp", add_boxes)
    io.save(Tracks(poses(6), np.array([1, 0] * 3), names={0: "x", 1: "y"}), tmp_path / "c.slp", source=path)
    assert io.load(tmp_path / "c.slp").names == {0: "Ada", 1: "Bob", 2: "x", 3: "y"}
    np.testing.assert_array_equal(io.load(tmp_path / "c.slp").track, [3, 2] * 3)


def test_a_source_with_other_rows_is_refused(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "flies" / "two_flies.slp"
    some = io.load(path).take(np.arange(10))
    with pytest.raises(AlignmentError, match=r"has 256 instances in this video and there are 10 rows to save"):
        io.save(some, tmp_path / "a.slp", source=path)
    assert list(tmp_path.iterdir()) == []
    io.save(some, tmp_path / "a.slp")
    assert len(io.load(tmp_path / "a.slp")) == 10


def poses(n: int, is_user: bool = False) -> Detections:
    rng = np.random.default_rng(0)
    points = rng.normal(50, 10, (n, 3, 2))
    points[::4, 1] = np.nan
    points[-1] = np.nan
    skeleton = Skeleton(("head", "left ear", "right ear"), ((0, 1), (0, 2)), ((1, 2),), "mouse")
    columns = {"keypoints": points, "skeleton": skeleton, "is_user": np.full(n, is_user)}
    if not is_user:
        columns |= {"score": rng.random(n), "keypoint_score": rng.random((n, 3))}
    box = np.concatenate([np.nanmin(points[:-1], axis=1), np.nanmax(points[:-1], axis=1)], axis=1)
    return Detections.of(np.arange(n) // 2, np.concatenate([box, np.full((1, 4), np.nan)]), **columns)


@pytest.mark.parametrize("is_user", [True, False])
def test_sleap_io_reads_what_is_written_without_a_source(tmp_path: Path, is_user: bool) -> None:
    found = poses(9, is_user)
    tracks = Tracks(found, np.array([4, 7] * 4 + [-1]), names={4: "Ada"}, confidence=np.full(9, 0.25))
    io.save(tracks, tmp_path / "a.slp")
    labels = eager(tmp_path / "a.slp")
    assert [t.name for t in labels.tracks] == ["Ada", "track_7"]
    instances = [i for frame in labels for i in frame.instances]
    np.testing.assert_allclose(np.stack([i.numpy() for i in instances]) + 0.5, found.keypoints)
    assert [i.track.name if i.track else None for i in instances] == ["Ada", "track_7"] * 4 + [None]
    assert {type(i).__name__ for i in instances} == {"Instance" if is_user else "PredictedInstance"}
    assert labels.skeletons[0].node_names == ["head", "left ear", "right ear"]
    assert labels.skeletons[0].edge_names == [("head", "left ear"), ("head", "right ear")]
    assert {frozenset(n.name for n in s.nodes) for s in labels.skeletons[0].symmetries} == {
        frozenset(("left ear", "right ear"))
    }
    if not is_user:
        np.testing.assert_allclose([i.score for i in instances], found.score, rtol=1e-6)
        np.testing.assert_allclose([i.points["score"] for i in instances], found.keypoint_score)
        np.testing.assert_allclose([i.tracking_score for i in instances], 0.25)


def test_a_row_without_any_visible_point_is_kept(tmp_path: Path) -> None:
    io.save(Tracks.untracked(poses(5)), tmp_path / "a.slp")
    tracks = io.load(tmp_path / "a.slp")
    assert len(tracks) == 5
    assert np.isnan(tracks.detections.box[-1]).all()


def test_boxes_without_poses_are_written_as_centres_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    io.save(Tracks(Detections.of([0], [[0, 0, 4, 2]]), np.array([0])), tmp_path / "a.slp")
    assert "a.slp: SLEAP labels cannot hold box; save as csv as well to keep it" in caplog.text
    tracks = io.load(tmp_path / "a.slp")
    np.testing.assert_array_equal(tracks.detections.keypoints, [[[2, 1]]])
    assert tracks.detections.skeleton.names == ("centroid",)


def test_one_point_an_animal_is_a_box_without_area(shared_data: Path) -> None:
    tracks = io.load(shared_data / "fish" / "ten_zfish.slp")
    box = tracks.detections.box
    np.testing.assert_array_equal(box[:, :2], box[:, 2:])
    assert len(tracks.ids) == 10


def changed(source: Path, path: Path, change) -> Path:
    """A copy of a file whose tables have been changed."""
    shutil.copyfile(source, path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def replace(file, name: str, rows: np.ndarray) -> None:
    del file[name]
    file[name] = rows


def test_frames_in_any_order_empty_ones_and_a_late_start_are_read(tmp_path: Path) -> None:
    io.save(Tracks(poses(6), np.array([0, 1] * 3)), tmp_path / "a.slp")
    straight = io.load(tmp_path / "a.slp")

    def shuffle(file) -> None:
        frames = np.append(file["frames"][()][[2, 0, 1]], file["frames"][()][:1])
        frames["frame_idx"] = [9, 7, 8, 3]
        frames["instance_id_end"][3] = frames["instance_id_start"][3]  # labelled, and empty
        replace(file, "frames", frames)

    tracks = io.load(changed(tmp_path / "a.slp", tmp_path / "b.slp", shuffle))
    np.testing.assert_array_equal(tracks.detections.frame, straight.detections.frame + 7)
    np.testing.assert_array_equal(tracks.detections.keypoints, straight.detections.keypoints)
    io.save(tracks, tmp_path / "c.slp", source=tmp_path / "b.slp")
    again = io.load(tmp_path / "c.slp")
    np.testing.assert_array_equal(again.track, tracks.track)
    np.testing.assert_array_equal(again.detections.keypoints, tracks.detections.keypoints)


def test_a_track_twice_in_a_frame_is_refused_by_name(tmp_path: Path) -> None:
    io.save(Tracks(poses(6), np.array([0, 1] * 3), names={0: "Ada"}), tmp_path / "a.slp")

    def double(file) -> None:
        instances = file["instances"][()]
        instances["track"][2:4] = 0
        replace(file, "instances", instances)

    path = changed(tmp_path / "a.slp", tmp_path / "b.slp", double)
    with pytest.raises(
        FormatError, match=r"b.slp: track 'Ada' has two instances in frame 1 \(1 such pairs .*identities=False"
    ):
        io.load(path)
    assert len(io.load(path, identities=False)) == 6


def test_files_that_are_no_slp_cut_off_or_too_new_are_refused(tmp_path: Path) -> None:
    io.save(Tracks(poses(400), np.full(400, -1)), tmp_path / "a.slp")
    raw = (tmp_path / "a.slp").read_bytes()
    (tmp_path / "cut.slp").write_bytes(raw[: len(raw) // 2])
    (tmp_path / "text.slp").write_text("not a labels file at all")
    (tmp_path / "empty.slp").touch()
    with h5py.File(tmp_path / "other.slp", "w") as file:
        file["something"] = [1, 2]
    for name in ("cut.slp", "text.slp", "other.slp"):
        with pytest.raises(
            FormatError, match=rf"{name} cannot be read as a SLEAP file; is it complete, and is it one\?"
        ):
            io.load(tmp_path / name)
    with pytest.raises(FormatError, match=r"empty.slp is empty \(0 bytes\); wanted a SLEAP file"):
        io.load(tmp_path / "empty.slp")
    new = changed(tmp_path / "a.slp", tmp_path / "new.slp", lambda f: f["metadata"].attrs.__setitem__("format_id", 3.0))
    with pytest.raises(FormatError, match=r"new.slp is in SLEAP format 3; wanted a format before 3"):
        io.load(new)


def test_tables_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    io.save(Tracks(poses(6), np.full(6, -1)), tmp_path / "a.slp")

    def shorter(file) -> None:
        instances = file["instances"][()]
        instances["point_id_end"][2] -= 1
        replace(file, "instances", instances)

    with pytest.raises(FormatError, match=r"b.slp: instance 2 has 2 points, its skeleton 3"):
        io.load(changed(tmp_path / "a.slp", tmp_path / "b.slp", shorter))

    def fewer(file) -> None:
        replace(file, "instances", file["instances"][()][:4])

    with pytest.raises(
        FormatError, match=r"c.slp cannot be read as a SLEAP file.*the frames name instances up to 6, but there are 4"
    ):
        io.load(changed(tmp_path / "a.slp", tmp_path / "c.slp", fewer))


def test_two_skeletons_in_use_are_refused(tmp_path: Path) -> None:
    io.save(Tracks(poses(6), np.full(6, -1)), tmp_path / "a.slp")

    def second(file) -> None:
        metadata = json.loads(file["metadata"].attrs["json"])
        other = {**metadata["skeletons"][0], "links": [], "nodes": [{"id": 2}, {"id": 1}, {"id": 0}]}
        metadata["skeletons"].append(other)
        file["metadata"].attrs["json"] = json.dumps(metadata)
        instances = file["instances"][()]
        instances["skeleton"][3] = 1
        replace(file, "instances", instances)

    with pytest.raises(
        FormatError, match=r"b.slp has instances of 2 different skeletons; wanted one: save each kind of animal"
    ):
        io.load(changed(tmp_path / "a.slp", tmp_path / "b.slp", second))


def test_an_empty_project_is_an_empty_table(tmp_path: Path) -> None:
    io.save(Tracks.untracked(poses(2).take(slice(0, 0))), tmp_path / "a.slp")
    tracks = io.load(tmp_path / "a.slp")
    assert len(tracks) == 0
    assert tracks.detections.keypoints.shape == (0, 3, 2)
    assert len(eager(tmp_path / "a.slp")) == 0


def test_volumes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="SLEAP files hold points in the plane, and these detections are 3-D; save them as csv"
    ):
        io.save(Tracks.untracked(Detections.of([0], [[0, 0, 0, 1, 1, 1]])), tmp_path / "a.slp")
    assert list(tmp_path.iterdir()) == []


def test_fifty_thousand_instances_are_read_and_written_without_an_object_each(tmp_path: Path) -> None:
    n, k = 50_000, 13
    rng = np.random.default_rng(0)
    points = rng.normal(500, 100, (n, k, 2))
    box = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    found = Detections.of(
        np.arange(n) // 10, box, keypoints=points, keypoint_score=rng.random((n, k)), score=rng.random(n)
    )
    start = time.perf_counter()
    io.save(Tracks(found, np.arange(n) % 10), tmp_path / "a.slp")
    middle = time.perf_counter()
    tracks = io.load(tmp_path / "a.slp")
    end = time.perf_counter()
    assert len(tracks) == n
    assert middle - start < 1.5
    assert end - middle < 1.0
