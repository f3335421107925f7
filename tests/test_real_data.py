"""The weights in the package on real animals and cells with known identities; skipped where the data is missing."""

import numpy as np
import pytest

from kintrack import api, io
from kintrack.core.tracks import Tracks
from kintrack.demo import track_by_nearest
from kintrack.metrics import evaluate
from kintrack.sim import observe


@pytest.fixture(scope="module")
def model():
    return api.load_model("general", "cpu")


def shuffled(truth, every=1):
    """The rows of every n-th frame, in random order so that it tells nothing, and who they are."""
    part = truth.take(truth.detections.frame % every == 0)
    part = Tracks(part.detections.with_columns(frame=part.detections.frame // every), part.track)
    detections, identity = observe(part)
    return detections, Tracks(detections, identity)


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("name", ["flies/two_flies.slp", "flies/three_flies.slp", "fish/ten_zfish.slp"])
def test_flies_and_fish_keep_their_identities(shared_data, model, name, every):
    detections, truth = shuffled(io.load(shared_data / name), every)
    found = evaluate(truth, api.track(detections, model=model), match="rows")
    assert found["num_switches"] == 0
    assert found["assa"] == 1.0


def test_two_flies_are_told_apart_among_false_detections(shared_data, tmp_path, model):
    noisy = shared_data / "flies/two_flies_noisy_detections.slp"
    tracks = api.track(noisy, tmp_path / "tracked.slp", model=model)
    assert len(tracks) == 259  # three of them false, and none lost
    found = evaluate(io.load(shared_data / "flies/two_flies.slp"), io.load(tmp_path / "tracked.slp"))
    assert found["num_switches"] == 0 and found["recall"] == 1.0


def test_two_flies_stay_two_when_a_detector_sees_more(shared_data, model):
    given = io.load(shared_data / "flies/centered_pair/centered_pair_predictions.slp")
    tracks = api.track(given.detections, model=model, max_tracks=2)
    assert set(tracks.ids.tolist()) == {0, 1}
    rows = np.flatnonzero(np.isin(given.track, [0, 1]))  # the two flies; all other tracks in the file are spurious
    real = Tracks(given.detections.take(rows), given.track[rows])
    found = evaluate(real, Tracks(real.detections, tracks.track[rows]), match="rows")
    assert found["num_switches"] == 0
    assert found["assa"] == 1.0


@pytest.mark.parametrize("name", ["BEE2412", "BEE2413", "BEE2416"])
def test_bees_are_followed_better_than_by_nearest_neighbour(shared_data, model, name):
    detections, truth = shuffled(io.load(shared_data / "boxes/bee24" / name))
    ours = evaluate(truth, api.track(detections, model=model), match="rows")
    theirs = evaluate(truth, track_by_nearest(detections), match="rows")
    assert ours["assa"] > theirs["assa"]


def test_motchallenge_text_comes_back_line_by_line(shared_data, tmp_path, model):
    source = tmp_path / "det.txt"
    lines = (shared_data / "boxes/bee24/BEE2412/gt/gt.txt").read_text().splitlines()[:600]
    rng = np.random.default_rng(0)
    fields = [line.split(",") for line in lines]
    source.write_text("".join(",".join([f[0], "-1", *f[2:7], "-1,-1,-1"]) + "\n" for f in rng.permutation(fields)))
    api.track(source, tmp_path / "out.txt", model=model)
    written = np.loadtxt(tmp_path / "out.txt", delimiter=",")
    assert len(written) == 600 and (written[:, 1] > -1).all()


def test_nuclei_become_a_valid_result_folder(shared_data, tmp_path, model):
    source = shared_data / "cells/sim_nuclei"
    api.track(source, tmp_path / "01_RES", model=model)
    found = evaluate(io.load(source), io.load(tmp_path / "01_RES"))
    assert found["recall"] == found["precision"] == 1.0
    assert found["idf1"] > 0.8  # divisions are not told yet: one daughter goes on as its mother
    assert (tmp_path / "01_RES/res_track.txt").exists() and len(list((tmp_path / "01_RES").glob("mask*.tif"))) == 36


def test_what_a_model_answers_is_right_in_both_directions_of_time(shared_data, model):
    from kintrack.core.sightings import Sightings
    from kintrack.windows.window import between

    truth = io.load(shared_data / "flies/three_flies.slp")
    truth = truth.take(np.isin(truth.detections.frame, [10, 12, 14]))
    rows = np.arange(len(truth))
    window = between(Sightings.of(truth.detections), rows, rows, model.config, truth.track)
    matrix = model(window)[-1].matrix.detach().numpy()
    for frame in (10, 12, 14):  # in each frame, past or future, the likeliest is the same fly
        there = np.flatnonzero(truth.detections.frame == frame)
        assert np.array_equal(truth.track[there[matrix[:, there].argmax(axis=1)]], truth.track)


def test_a_loaded_model_tracks_as_its_name_does(shared_data, model):
    detections = io.load(shared_data / "flies/three_flies.slp").detections
    by_name, by_object = api.track(detections, model="general", device="cpu"), api.track(detections, model=model)
    assert np.array_equal(by_name.track, by_object.track)
    assert np.array_equal(by_name.confidence, by_object.confidence, equal_nan=True)
