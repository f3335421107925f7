"""The model without weights: what it knows, what it does not care about, and that it starts without torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kintrack import api, follow, io, loading
from kintrack.core.detections import Detections
from kintrack.core.sightings import Memory, Sightings
from kintrack.core.tracks import Tracks, same_tracks
from kintrack.errors import CheckpointError, ConfigError
from kintrack.sim import observe, simulate
from kintrack.tracking import Tracker
from kintrack.tracking.motion import TRACKER, Motion, MotionConfig


def boxes_of(*centres, side=10.0, frame=None):
    centre = np.array(centres, float)
    box = np.concatenate([centre - side / 2, centre + side / 2], axis=1)
    return Detections.of(np.arange(len(centre)) if frame is None else frame, box)


def memory_of(seen, *, n=None):
    """One track that was seen at the first n rows."""
    memory = Memory.like(seen)
    for row in range(len(seen) if n is None else n):
        memory = memory.remember(seen.take([row]), np.zeros(1, np.int64), depth=1)
    return memory


def logit(model, memory, *centre, side=10.0, frame=4):
    query = Sightings.of(boxes_of(centre, side=side, frame=[frame]))
    return float(model(query, memory, np.zeros((1, 2), np.int64))[0])


@pytest.fixture
def walker():
    """One who went 5 pixels in each of four frames, to (15, 0)."""
    return memory_of(Sightings.of(boxes_of(*[(5.0 * t, 0.0) for t in range(4)])))


def test_the_likeliest_is_where_a_steady_walk_goes_on(walker):
    model = Motion()
    places = {x: logit(model, walker, x, 0.0) for x in (0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0)}
    assert max(places, key=places.get) == 20.0
    assert places[15.0] > places[0.0]
    assert places[30.0] > places[40.0]
    assert places[20.0] > 0.0


def test_a_change_of_size_of_shape_and_a_gap_speak_against_a_link(walker):
    model = Motion()
    same = logit(model, walker, 20.0, 0.0)
    assert logit(model, walker, 20.0, 0.0, side=14.0) < same
    assert logit(model, walker, 20.0, 0.0, side=7.0) < same
    assert logit(model, walker, 20.0, 0.0, frame=6) < same
    long = Sightings.of(Detections.of([4], np.array([[12.5, -10 / 3, 27.5, 10 / 3]])))  # of the same area
    assert float(model(long, walker, np.zeros((1, 2), np.int64))[0]) < same


NOTHING = dict.fromkeys(("base", "residual", "smoothed", "noise", "overlap", "size", "shape", "gap", "young"), 0)


def test_each_term_is_what_the_formula_says():
    memory = memory_of(Sightings.of(boxes_of((0.0, 0.0))), n=1)

    def of(*centre, side=10.0, frame=1, **numbers):
        return logit(Motion({**NOTHING, **numbers}), memory, *centre, side=side, frame=frame)

    far = {"sigma": 0.5, "spread": 0.5, "unknown": 3}
    rare = np.log1p((0.7 / (0.5 * 2 * 3)) ** 2)
    assert of(7.0, 0.0, frame=4, base=1.5, residual=2, **far) == pytest.approx(1.5 - 2 * rare)
    assert of(7.0, 0.0, frame=4, smoothed=2, **far) == pytest.approx(-2 * rare)
    assert of(5.0, 0.0, overlap=6) == pytest.approx(6 * 50 / 150)
    assert of(5.0, 0.0, frame=3, gap=2) == pytest.approx(-2 * np.log(3))
    assert of(0.0, 0.0, side=20.0, size=4) == pytest.approx(-4 * np.log(2))
    assert of(0.0, 0.0, side=20.0, shape=4) == pytest.approx(0.0)
    assert of(0.0, 0.0, young=3) == pytest.approx(-3.0)


def test_a_track_that_was_off_its_path_before_may_be_so_again():
    shaky = Sightings.of(boxes_of(*[(5.0 * t, 2.0 * (t % 2)) for t in range(8)]))
    steady = Sightings.of(boxes_of(*[(5.0 * t, 0.0) for t in range(8)]))
    model = Motion({**NOTHING, "residual": 1, "noise": 1})
    assert logit(model, memory_of(shaky), 40.0, 5.0, frame=8) > logit(model, memory_of(steady), 40.0, 5.0, frame=8)


def test_those_who_cross_in_the_simulated_world_keep_their_identity():
    kept = []
    for seed in range(6):
        seen, identity = observe(simulate("crossing", seed), None, seed)
        kept.append(same_tracks(api.track(seen, model="motion").track, identity))
    assert sum(kept) >= 5  # all individuals of a world, for 300 frames; some meet too closely for anybody


def test_two_who_run_through_each_other_keep_their_identity_and_nearest_neighbour_would_not():
    x = np.arange(-33.0, 34.0, 6.0)
    frame, who = np.repeat(np.arange(len(x)), 2), np.tile([0, 1], len(x))
    centre = np.stack([np.where(who, -x[frame], x[frame]), np.where(who, 2.0, -2.0)], axis=1)
    seen = boxes_of(*centre, frame=frame)
    assert same_tracks(api.track(seen, model="motion").track, who)

    def nearest(query, memory, pairs):
        apart = query.centre[pairs[:, 0]] - memory.sightings.centre[pairs[:, 1]]
        return 10.0 - np.linalg.norm(apart, axis=1)

    assert not same_tracks(Tracker(TRACKER)(nearest, seen).track, who)


def seen_with_noise(seed=4):
    world = {"preset": "flies", "n_individuals": 6, "n_frames": 60, "arena": (250, 250), "body": "ellipse"}
    noise = {"miss": 0.08, "jitter": 0.05, "scale_jitter": 0.05, "false_rate": 0.05}
    found = observe(simulate(world, seed), noise, seed).detections
    return Detections(found.frame, found.box)


@pytest.mark.parametrize("kind", ["boxes", "points"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda box: box + np.tile([1e4, -300.0], 2), id="shifted"),
        pytest.param(lambda box: box * 7.3, id="scaled"),
        pytest.param(lambda box: (box * [-1, 1, -1, 1])[:, [2, 1, 0, 3]], id="mirrored"),
        pytest.param(lambda box: box[:, [1, 0, 3, 2]], id="axes exchanged"),
    ],
)
def test_neither_place_nor_scale_nor_a_mirror_changes_the_tracks(change, kind):
    seen = seen_with_noise()
    if kind == "points":
        seen = seen.with_columns(box=np.tile(seen.centre, 2))
    before = api.track(seen, model="motion")
    after = api.track(seen.with_columns(box=change(seen.box)), model="motion")
    assert len(before.ids) > 6  # false boxes are there, and have ids of their own
    assert same_tracks(before.track, after.track)
    np.testing.assert_allclose(before.confidence, after.confidence, rtol=1e-6)


def test_points_in_space_are_tracked_too():
    t = np.arange(6)
    path = np.stack([np.stack([10 * t, 0 * t, 5 * t], axis=1), np.stack([0 * t, 40 + t, 9 * t], axis=1)], axis=1)
    frame, who = np.repeat(t, 2), np.tile([0, 1], 6)
    seen = Detections(frame, np.tile(path.reshape(-1, 3).astype(float), 2))
    assert same_tracks(api.track(seen, model="motion", config={"tracker": {"size": 8}}).track, who)


def test_every_link_has_a_probability():
    tracks = api.track(seen_with_noise(), model="motion")
    first = np.zeros(len(tracks), bool)
    first[np.unique(tracks.track, return_index=True)[1]] = True
    assert ((tracks.confidence[~first] > 0.0) & (tracks.confidence[~first] <= 1.0)).all()
    assert np.ptp(tracks.confidence[~first]) > 0.1


def test_the_card_of_the_model_sets_the_tracker_and_what_is_said_goes_before_it(tmp_path: Path):
    io.save(Tracks.untracked(seen_with_noise()), tmp_path / "seen.csv")
    api.track(tmp_path / "seen.csv", tmp_path / "a.csv", model="motion", config={"tracker": {"gate": 9.0}})
    saved = follow.TrackConfig.of(follow_yaml(tmp_path / "a.csv.kintrack.yaml"))
    assert saved.tracker.memory == TRACKER["memory"] == 1
    assert (saved.tracker.max_gap, saved.tracker.gate) == (TRACKER["max_gap"], 9.0)
    assert saved.made["model"] == "motion"
    assert "model_sha256" not in saved.made


def follow_yaml(path: Path) -> dict:
    from kintrack.config import read_yaml

    return read_yaml(path)


def test_python_and_the_command_line_track_by_it_without_torch(tmp_path: Path):
    seen, by_python, by_line = (tmp_path / f"{name}.csv" for name in ("seen", "python", "line"))
    io.save(Tracks.untracked(seen_with_noise()), seen)
    code = f"""
import sys
from kintrack import api, cli
api.track({str(seen)!r}, {str(by_python)!r}, model="motion")
sys.argv = ["kintrack", "track", {str(seen)!r}, "-o", {str(by_line)!r}, "--model", "motion"]
cli.app(prog_name="kintrack", standalone_mode=False)
assert not {{"torch", "pytorch_lightning"}} & set(sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert by_python.read_text() == by_line.read_text()


def test_an_unknown_name_of_a_model_names_the_nearest():
    with pytest.raises(CheckpointError, match="there is no model 'moton', by name or as a file; did you mean 'motion'"):
        api.load_model("moton")


def test_it_has_no_file_and_nothing_to_begin_a_training_with(tmp_path: Path):
    with pytest.raises(CheckpointError, match="the model 'motion' has no weights"):
        loading.find_model("motion")
    io.save(simulate("crossing", 0), tmp_path / "truth.csv")
    with pytest.raises(CheckpointError, match="nothing to begin a training with; give a model with weights"):
        api.train([tmp_path / "truth.csv"], tmp_path / "run", model="motion")


def test_it_runs_on_the_cpu_and_says_so():
    with pytest.raises(ConfigError, match="the model 'motion' runs on the cpu, but device 'cuda' was asked for"):
        api.load_model("motion", "cuda")
    assert api.load_model("motion", "cpu").visual_encoder is None


def test_it_is_listed_with_what_it_is():
    assert api.info()["models"]["motion"].startswith("no weights: ")


def test_an_unknown_number_is_an_error_that_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown option 'overlaps': did you mean 'overlap'"):
        Motion({"overlaps": 1})
    assert Motion(MotionConfig(gap=3.0)).config.gap == 3.0
