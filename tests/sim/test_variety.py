"""Worlds and detectors at random: valid, of all kinds, fast to make, and half of the detectors nearly perfect."""

import time
from typing import get_args

import numpy as np
import pytest

from kintrack.core.tracks import Tracks
from kintrack.sim import NoiseConfig, WorldConfig, observe, random_noise, random_world, simulate
from kintrack.sim.worlds import Family


@pytest.fixture(scope="module")
def worlds():
    rng = np.random.default_rng(0)
    return [random_world(rng, n_frames=12) for _ in range(300)]


@pytest.fixture(scope="module")
def noises():
    rng = np.random.default_rng(0)
    return [random_noise(rng) for _ in range(400)]


def test_random_worlds_are_of_all_kinds(worlds):
    assert {w.family for w in worlds} == set(get_args(Family))
    assert {w.body for w in worlds} == {"point", "box", "ellipse", "articulated"}
    assert {w.border for w in worlds} == {"walls", "open"}
    counts = np.array([w.n_individuals for w in worlds])
    assert counts.min() == 2 and 40 < counts.max() <= 60


def test_some_worlds_are_of_particles_that_live_for_a_few_frames(worlds):
    brief = [w for w in worlds if w.lifetime is not None and w.lifetime < 30 and w.body == "point"]
    assert 5 < len(brief) < 60
    tracks = simulate(brief[0].model_copy(update={"n_frames": 60}), 0)
    seen = np.unique(tracks.track, return_counts=True)[1]
    assert np.median(seen) < 20 and len(seen) > brief[0].n_individuals


@pytest.mark.parametrize("name", ["rests", "flights", "meetings", "nests", "limbs", "avoidance", "camera", "drift"])
def test_what_happens_in_some_worlds_happens_in_some_only(worlds, name):
    assert 0.05 < np.mean([getattr(w, name) > 0 for w in worlds]) < 0.7


def test_every_random_world_can_be_made_and_written_down(worlds):
    for seed, world in enumerate(worlds[:60]):
        tracks = simulate(world, seed)
        assert np.isfinite(tracks.detections.box).all()
        assert WorldConfig.of(world.to_dict()) == world


def test_the_same_seed_draws_the_same_world_and_detector():
    for draw in (random_world, random_noise):
        a, b, c = (draw(np.random.default_rng(seed)) for seed in (4, 4, 5))
        assert a == b != c


def test_random_worlds_can_be_crowded():
    rng = np.random.default_rng(1)
    assert max(random_world(rng, max_individuals=300).n_individuals for _ in range(100)) > 200


@pytest.mark.parametrize(
    "name",
    ["miss", "burst", "blank_frames", "jitter", "scale_jitter", "slow_jitter", "slow_scale_jitter", "merge",
     "occluders", "grid", "keypoint_miss", "false_rate"],
)  # fmt: skip
def test_every_kind_of_error_is_made_by_some_detectors_only(noises, name):
    assert 0.05 < np.mean([getattr(noise, name) > 0 for noise in noises]) < 0.8


def test_half_of_the_detectors_hardly_err_and_none_errs_beyond_measure(noises):
    missed, jitter, false = np.array([[n.miss + n.burst, n.jitter, n.false_rate] for n in noises]).T
    faint = (missed <= 0.02) & (jitter <= 0.012) & (false <= 0.01)
    assert 0.45 < faint.mean() < 0.65
    assert 0.1 < missed.max() <= 0.12 and 0.06 < jitter.max() <= 0.08 and 0.06 < false.max() <= 0.08


def test_random_detectors_see_random_worlds(noises):
    rng = np.random.default_rng(0)
    share = []
    for seed, noise in enumerate(noises[:60]):
        truth = simulate(random_world(rng, n_frames=20), seed)
        seen, identity = observe(truth, noise, seed)
        assert len(identity) == len(seen) and np.isfinite(seen.box).all()
        real = identity >= 0
        Tracks(seen.take(real), identity[real])  # nobody twice in a frame
        assert NoiseConfig.of(noise.to_dict()) == noise
        share.append(real.sum() / max(len(truth), 1))
    assert np.median(share) > 0.8


def test_a_clip_for_training_is_made_in_a_few_milliseconds():
    rng = np.random.default_rng(0)
    some = [(random_world(rng, 40).model_copy(update={"n_individuals": 20}), random_noise(rng)) for _ in range(40)]
    begin = time.process_time()
    for seed, (world, noise) in enumerate(some):
        observe(simulate(world, seed), noise, seed)
    # 15 ms are wanted and about 8 taken; twice of that is a slow machine, more is a loop over rows.
    assert (time.process_time() - begin) / len(some) < 0.03
