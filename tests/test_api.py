"""The verbs from Python, and what the command line cannot show of them."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kintrack import api, follow, io, loading
from kintrack.config import TrackerConfig
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks, same_tracks
from kintrack.core.video import ArrayVideo
from kintrack.demo import owner_of, track_by_nearest
from kintrack.errors import AlignmentError, CheckpointError, ConfigError
from kintrack.follow import TrackConfig, cpu_threads
from kintrack.models import GlobalTrackingTransformer
from kintrack.models.checkpoint import save_model
from kintrack.sim import draw, observe, stage
from worlds import crossing, swap

VERBS = ("convert", "demo", "evaluate", "info", "load_model", "render", "segment", "track", "track_many", "train")


@pytest.fixture(scope="module")
def geometry() -> GlobalTrackingTransformer:
    torch.manual_seed(0)
    return GlobalTrackingTransformer({"dim": 16, "heads": 2}).eval()


@pytest.fixture(scope="module")
def looking() -> GlobalTrackingTransformer:
    torch.manual_seed(0)
    return GlobalTrackingTransformer({"dim": 16, "encoder": {"kind": "conv", "crop_size": 16, "width": 4}}).eval()


@pytest.fixture(scope="module")
def scene() -> tuple[Detections, ArrayVideo]:
    made = stage({"preset": "flies", "n_individuals": 4, "n_frames": 90, "arena": (160, 160)}, 1)
    detections, _ = observe(made.tracks, {"miss": 0.05, "false_rate": 0.05}, 1)
    return detections, ArrayVideo(np.stack(list(draw(made))))


def test_every_verb_of_the_command_line_is_there() -> None:
    assert all(callable(getattr(api, verb)) and getattr(api, verb).__doc__ for verb in VERBS)


def test_detections_and_a_model_in_memory_are_tracked_without_any_file(scene, geometry) -> None:
    detections, _ = scene
    tracks = api.track(detections, model=geometry)
    assert tracks.detections is detections
    assert (tracks.track >= 0).all()
    assert tracks.confidence is not None
    known = tracks.confidence[~np.isnan(tracks.confidence)]
    assert ((known > 0) & (known <= 1)).all()


def test_a_config_may_be_typed_and_arguments_go_before_it(scene, geometry) -> None:
    config = TrackConfig(tracker=TrackerConfig(max_tracks=5))
    assert len(api.track(scene[0], model=geometry, config=config, max_tracks=3).ids) == 3
    assert len(api.track(scene[0], model=geometry, config=config).ids) == 5


def test_progress_is_told_of_every_frame_and_changes_nothing(scene, looking) -> None:
    detections, video = scene
    told: list[tuple[str, int, int]] = []
    tracks = api.track(
        detections, model=looking, video=video, config={"batch": 50}, progress=lambda *news: told.append(news)
    )
    again = api.track(detections, model=looking, video=video)
    assert np.array_equal(tracks.track, again.track)
    assert [what for what, *_ in told] == sorted(what for what, *_ in told)  # first looking, then tracking
    for what in ("looking", "tracking"):
        done = [n for name, n, _ in told if name == what]
        assert done == sorted(done)
        assert done[-1] == detections.n_frames
    assert {total for *_, total in told} == {detections.n_frames}


def test_a_video_in_pieces_gives_the_same_tracks(scene, geometry, monkeypatch) -> None:
    whole = api.track(scene[0], model=geometry)
    monkeypatch.setattr(follow, "_CHUNK", 7)
    assert np.array_equal(api.track(scene[0], model=geometry).track, whole.track)


def test_an_endless_gap_takes_no_time(geometry) -> None:
    """Two billion frames: a step for each would take an hour."""
    seen = Detections.of([0, 1, 2**31 - 1], [[0, 0, 9, 9]] * 3)
    told: list[tuple[str, int, int]] = []
    tracks = api.track(seen, model=geometry, progress=lambda *news: told.append(news))
    assert tracks.track.tolist()[2] > 0
    assert told == [("tracking", 2**31, 2**31)]


def test_keypoints_without_a_box_do_not_disturb_the_others(geometry) -> None:
    box = np.tile([[0, 0, 9, 9], [20, 0, 29, 9], [np.nan] * 4], (2, 1))
    seen = Detections([0, 0, 0, 1, 1, 1], box, keypoints=np.full((6, 1, 2), 5.0))
    assert api.track(seen, model=geometry).track[[2, 5]].tolist() == [-1, -1]


def test_pixels_matter_to_a_model_that_looks(scene, looking) -> None:
    detections, video = scene
    seen = api.track(detections, model=looking, video=video)
    blind = api.track(detections, model=looking, video=ArrayVideo(np.zeros(video.shape, np.uint8)))
    assert not np.allclose(seen.confidence, blind.confidence, equal_nan=True)


def test_the_input_is_left_as_it_was(scene, geometry) -> None:
    before = {name: column.copy() for name, column in scene[0].columns().items()}
    api.track(scene[0], model=geometry)
    assert all(np.array_equal(column, scene[0].columns()[name], equal_nan=True) for name, column in before.items())


def test_no_detections_are_no_tracks(geometry, tmp_path: Path) -> None:
    tracks = api.track(Detections.empty(), tmp_path / "out.csv", model=geometry)
    assert len(tracks) == 0
    assert len(io.load(tmp_path / "out.csv")) == 0


def test_confidence_is_written_where_there_is_a_place_for_it(scene, geometry, tmp_path: Path, caplog) -> None:
    tracks = api.track(scene[0], tmp_path / "out.csv", model=geometry)
    assert np.allclose(io.load(tmp_path / "out.csv").confidence, tracks.confidence, equal_nan=True)
    boxes = Detections(scene[0].frame, scene[0].box)
    assert api.track(boxes, tmp_path / "out.txt", model=geometry).confidence is not None
    assert not [message for message in caplog.messages if "cannot hold confidence" in message]


# -------------------------------------------------------------------------------------------------------------- follow


def test_threads_are_put_back(scene, geometry) -> None:
    before = torch.get_num_threads()
    with cpu_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    api.track(scene[0], model=geometry, config={"threads": 1})
    assert torch.get_num_threads() == before


def test_devices_are_taken_as_asked_or_refused(monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert loading.choose_device("auto") == loading.choose_device("cpu") == "cpu"
    with pytest.raises(ConfigError, match="'cuda' was asked for, but torch sees none here; take one of: auto, cpu"):
        loading.choose_device("cuda")
    with pytest.raises(ConfigError, match="did you mean 'cuda'"):
        loading.choose_device("cud")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert loading.choose_device("auto") == loading.choose_device("cuda") == "cuda"


def test_configs_are_found_by_path_or_by_the_name_of_a_model(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(loading, "WEIGHTS", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "general.yaml").write_text("seed: 1\n")
    assert loading.find_config("general") == tmp_path / "general.yaml"
    assert loading.find_config("mine.yaml") == Path("mine.yaml")  # whether it is there is for its reader to say
    (tmp_path / "general").write_text("seed: 2\n")
    assert loading.find_config("general") == Path("general")


def test_what_is_read_ahead_comes_in_order_and_its_errors_come_through() -> None:
    assert list(follow._ahead(iter(range(100)))) == list(range(100))

    def broken() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    reader = follow._ahead(broken())
    assert next(reader) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(reader)


def test_reading_ahead_stops_when_nobody_wants_more() -> None:
    read = []

    def endless() -> Iterator[int]:
        for i in range(10**9):
            read.append(i)
            yield i

    reader = follow._ahead(endless(), depth=2)
    assert next(reader) == 0
    reader.close()
    assert len(read) <= 5
    assert not any(thread.name == "kintrack-crops" for thread in threading.enumerate())


# ------------------------------------------------------------------------------------------------------------ evaluate


def test_evaluate_gives_what_the_metrics_give(tmp_path: Path) -> None:
    from kintrack.metrics import evaluate

    io.save(swap(), tmp_path / "p.csv")
    io.save(replace(swap(), track=_unswapped(swap())), tmp_path / "t.csv")
    found = api.evaluate(tmp_path / "t.csv", tmp_path / "p.csv")
    direct = evaluate(replace(swap(), track=_unswapped(swap())), swap())
    assert list(found) == ["t"]
    assert dict(found["t"]) == pytest.approx(dict(direct), nan_ok=True)


def _unswapped(tracks: Tracks) -> np.ndarray:
    """Who is left stays left."""
    track = tracks.track.copy()
    for frame in np.unique(tracks.detections.frame):
        rows = np.arange(len(tracks))[tracks.detections.rows(int(frame), int(frame) + 1)]
        track[rows[np.argsort(tracks.detections.centre[rows, 0])]] = range(len(rows))
    return track


# ---------------------------------------------------------------------------------------------------------------- demo


def test_nearest_neighbour_follows_who_is_near_and_swaps_who_cross() -> None:
    still = Detections(np.repeat(np.arange(5), 2), np.tile([[0, 0, 4, 4], [20, 0, 24, 4]], (5, 1)))
    assert track_by_nearest(still).track.tolist() == [0, 1] * 5
    fast = crossing()  # they pass through each other between two frames
    found = track_by_nearest(fast.detections).track
    assert len(np.unique(found)) == 2
    assert not same_tracks(found, fast.track)


def test_nearest_neighbour_bridges_gaps_and_does_not_jump() -> None:
    frame, near, far = [0, 1, 2, 6, 7], [0, 0, 4, 4], [40, 0, 44, 4]
    assert track_by_nearest(Detections(frame, [near] * 5)).track.tolist() == [0] * 5
    assert track_by_nearest(Detections(frame, [near] * 3 + [far] * 2)).track.tolist() == [0, 0, 0, 1, 1]


def test_a_tracks_owner_is_whose_most_rows_it_has() -> None:
    identity = np.array([0, 1, 0, 1, 0, -1, 1])
    assert owner_of(identity, np.array([5, 6, 5, 6, 7, 9, -1])).tolist() == [0, 1, 0, 1, 0, -1, -1]
    assert owner_of(identity, np.array([5, 6, 5, 5, 6, 6, 6])).tolist() == [0, 1, 0, 0, 1, 1, 1]


def test_two_files_of_one_name_are_not_taken_for_one(tmp_path: Path) -> None:
    for folder in ("truth", "found"):
        io.save(crossing(), tmp_path / folder / "a.csv")
    io.save(crossing(), tmp_path / "found" / "a.txt")
    with pytest.raises(AlignmentError, match=r"a\.csv and .*a\.txt are both called a, so it is not clear"):
        api.evaluate(tmp_path / "truth", tmp_path / "found")


def test_a_training_takes_its_pixels_from_one_list_and_its_tracker_from_the_weights(tmp_path: Path, looking) -> None:
    looking.card = {"tracker": {"memory": 2, "candidates": 5}}
    save_model(looking, tmp_path / "begin.safetensors", card=looking.card)
    scene = stage({"preset": "crossing", "n_frames": 6, "n_individuals": 2, "arena": (96, 96), "size": 16}, 0)
    movies = []
    for name in ("learn", "check"):
        io.save(scene.tracks, tmp_path / f"{name}.csv")
        movies.append(tmp_path / "movies" / f"{name}.mp4")
        movies[-1].parent.mkdir(exist_ok=True)
        io.write_video(movies[-1], (frame for _, frame in draw(scene).frames()), 10.0)
    config = {"max_epochs": 1, "batch_size": 1, "data": {"clips": 1, "frames": 3, "simulated": 0}}
    fitted = api.train(
        [tmp_path / "learn.csv"], tmp_path / "run", val=[tmp_path / "check.csv"], videos=movies[::-1],
        model=tmp_path / "begin.safetensors", device="cpu", config=config,
    )  # fmt: skip
    assert fitted.model.visual_encoder is not None
    tracker = api.load_model(fitted.path, "cpu").card["tracker"]
    assert (tracker["memory"], tracker["candidates"]) == (2, 5)
    config |= {"model": {"encoder": {"kind": "conv", "crop_size": 16, "width": 4}}}
    fitted = api.train(
        [tmp_path / "learn.csv"], tmp_path / "eyes", videos=movies[:1], model="general", device="cpu", config=config
    )
    assert fitted.model.config.encoder.crop_size == 16 and fitted.model.visual_encoder is not None


def test_points_are_scored_by_their_distance_in_pixels(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("track_id,frame,x,y\n0,0,5,5\n0,1,6,5\n1,0,50,5\n1,1,51,5\n")
    (tmp_path / "found.csv").write_text("track_id,frame,x,y\n3,0,7,5\n3,1,8,5\n4,0,50,9\n4,1,51,25\n")
    found = api.evaluate(tmp_path / "truth.csv", tmp_path / "found.csv", match="centre", distance=10, unit="pixel")[
        "truth"
    ]
    assert (found["num_detections"], found["num_misses"], found["num_switches"]) == (3, 1, 0)


def test_the_folder_of_a_training_stands_for_its_weights(tmp_path: Path) -> None:
    path = save_model(GlobalTrackingTransformer({"dim": 16, "heads": 2}), tmp_path / "model.safetensors")
    assert loading.find_model(tmp_path) == path
    with pytest.raises(CheckpointError, match=r"there is no model '.*empty', by name or as a file"):
        loading.find_model(tmp_path / "empty")
