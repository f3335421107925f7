"""Equality with numbers from outside, kept in tests/golden, and with TrackEval itself where it is installed."""

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest

from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks
from kintrack.metrics import combine, evaluate, evaluate_many, mot_challenge

GOLDEN = Path(__file__).parents[1] / "golden"
WORLDS = json.loads((GOLDEN / "mot_worlds.json").read_text())
MOT17 = json.loads((GOLDEN / "mot17.json").read_text())["sequences"]
TUD = json.loads((GOLDEN / "tud.json").read_text())["sequences"]


def assert_equal(evaluation, said):
    """Every measure to 1e-6. Where ours is undefined, TrackEval says 0, or 1 for LocA."""
    for name, value in said.items():
        if name == "by_alpha":
            for curve, values in value.items():
                both = [(a, b) for a, b in zip(evaluation.by_alpha[curve], values, strict=True) if not math.isnan(a)]
                assert [a for a, _ in both] == pytest.approx([b for _, b in both], abs=1e-6), curve
        elif math.isnan(evaluation[name]):
            assert value == (1.0 if name == "loca_0" or name == "loca" else 0.0), name
        else:
            assert evaluation[name] == pytest.approx(value, abs=1e-6), name


def mot_text(path: Path) -> Tracks:
    """MOTChallenge text, corners as they are in the file: the numbers only, no validation."""
    table = np.loadtxt(path, delimiter=",", ndmin=2)
    table = table[np.argsort(table[:, 0], kind="stable")]
    box = np.concatenate([table[:, 2:4], table[:, 2:4] + table[:, 4:6]], axis=1)
    extra = {"class": table[:, 7]} if table.shape[1] == 9 else {}
    found = Detections((table[:, 0] - 1).astype(np.int32), box, score=table[:, 6], extra=extra)
    return Tracks(found, table[:, 1].astype(np.int64))


@pytest.mark.parametrize("threshold", ["0.5", "0.3"])
@pytest.mark.parametrize("name", WORLDS["worlds"])
def test_worlds_score_as_trackeval_scored_them(golden, name, threshold):
    world = WORLDS["worlds"][name]
    found = evaluate(golden.tracks(world["truth"]), golden.tracks(world["prediction"]), threshold=float(threshold))
    assert_equal(found, WORLDS["thresholds"][threshold][name])


def test_the_golden_worlds_hold_every_kind_of_mistake(golden):
    found = [WORLDS["thresholds"]["0.5"][name] for name in WORLDS["worlds"] if name.startswith(("walk", "grid"))]
    for kind in ("num_switches", "num_fragmentations", "num_misses", "num_false_positives", "idfn", "idfp"):
        assert all(world[kind] > 0 for world in found), kind
    for name, world in WORLDS["worlds"].items():
        if name.startswith(("walk", "grid")):
            truth, prediction = golden.tracks(world["truth"]), golden.tracks(world["prediction"])
            assert (prediction.track < 0).any()
            frames = set(range(truth.detections.n_frames))
            assert frames - set(truth.detections.frame.tolist())
            assert frames - set(prediction.detections.frame.tolist())


@pytest.mark.parametrize("threshold", ["0.5", "0.3"])
def test_all_worlds_together_score_as_trackeval_combined_them(golden, threshold):
    pairs = {
        name: (golden.tracks(world["truth"]), golden.tracks(world["prediction"]))
        for name, world in WORLDS["worlds"].items()
    }
    _, together = evaluate_many(pairs, threshold=float(threshold))
    assert_equal(together, WORLDS["thresholds"][threshold]["COMBINED"])


def test_mot17_scores_as_trackeval_scored_it(shared_data):
    root = shared_data / "metrics" / "mot17_trackeval"
    found = {}
    for name in (name for name in MOT17 if name != "COMBINED"):
        truth = mot_text(root / "gt" / "mot_challenge" / "MOT17" / name.replace("-SDP", "-DPM") / "gt" / "gt.txt")
        prediction = mot_text(root / "trackers" / "mot_challenge" / "MOT17" / "MPNTrack" / "data" / f"{name}.txt")
        found[name] = evaluate(*mot_challenge(truth, prediction))
        assert_equal(found[name], MOT17[name])
    assert len(found) == 7
    assert_equal(combine(found), MOT17["COMBINED"])


@pytest.mark.parametrize("name", TUD)
def test_tud_scores_as_py_motmetrics_published_it(shared_data, name):
    root = shared_data / "metrics" / "tud" / name
    found = evaluate(mot_text(root / "gt.txt"), mot_text(root / "test.txt"))
    for measure, value in TUD[name].items():
        assert round(found[measure], 3) == value, measure


@pytest.fixture(scope="module")
def oracle(golden):
    if importlib.util.find_spec("trackeval") is None:
        pytest.skip("the oracle is not installed: pip install --no-deps trackeval==1.3.0")
    return golden


@pytest.mark.parametrize("grid", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("seed", range(100, 106))
def test_new_random_worlds_score_as_trackeval_scores_them(oracle, seed, grid):
    truth, prediction = oracle.random_world(seed, n=2 + seed % 10, n_frames=40, grid=grid)
    for threshold in (0.5, 0.25):
        said = oracle.trackeval_says({"it": oracle.trackeval_data(truth, prediction)}, threshold)
        assert_equal(evaluate(truth, prediction, threshold=threshold), said["it"])


def test_the_golden_file_is_what_the_oracle_says_today(oracle):
    data = {
        name: oracle.trackeval_data(oracle.tracks(world["truth"]), oracle.tracks(world["prediction"]))
        for name, world in WORLDS["worlds"].items()
    }
    said = oracle.trackeval_says(data, 0.5)
    for name, measures in WORLDS["thresholds"]["0.5"].items():
        now, then = dict(said[name]), dict(measures)
        assert now.pop("by_alpha").keys() == then.pop("by_alpha").keys()
        assert now == pytest.approx(then)
