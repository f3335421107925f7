"""Detectors: they miss, jitter and invent as often as they are told to, and the identities say so."""

import numpy as np
import pytest

from kintrack.core import boxes
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks
from kintrack.errors import ConfigError, InputError
from kintrack.sim import NoiseConfig, observe, random_noise, random_world, simulate
from kintrack.sim.observe import covered_share, nearness


@pytest.fixture(scope="module")
def truth():
    return simulate({"n_individuals": 20, "n_frames": 400, "body": "box", "arena": (2000, 2000)}, 0)


def matched(truth, seen):
    """For each true detection that was seen: its row in the truth, and its row in the observation."""
    row = {
        (f, i): n for n, (f, i) in enumerate(zip(truth.detections.frame.tolist(), truth.track.tolist(), strict=True))
    }
    keys = zip(seen.detections.frame.tolist(), seen.identity.tolist(), strict=True)
    pairs = [(row[key], n) for n, key in enumerate(keys) if key[1] >= 0]
    return np.array(pairs).T


def test_without_noise_everything_is_seen_as_it_is_in_another_order(truth):
    seen = observe(truth, None, 0)
    a, b = matched(truth, seen)
    assert len(seen.detections) == len(truth) == len(a)
    assert np.allclose(truth.detections.box[a], seen.detections.box[b], atol=1e-9)
    assert (seen.identity != truth.track).mean() > 0.8


def test_the_same_seed_observes_the_same(truth):
    noise = {"miss": 0.1, "burst": 0.1, "jitter": 0.05, "false_rate": 0.1, "occlusion": 0.5}
    a, b, c = (observe(truth, noise, seed) for seed in (1, 1, 2))
    assert (a.identity == b.identity).all() and (a.detections.box == b.detections.box).all()
    assert (a.detections.score == b.detections.score).all()
    assert len(a.identity) != len(c.identity) or (a.detections.box != c.detections.box).any()


def test_the_truth_stays_as_it_was(truth):
    before = truth.detections.box.copy(), truth.track.copy()
    observe(truth, {"miss": 0.3, "jitter": 0.1, "false_rate": 0.2}, 0)
    assert (truth.detections.box == before[0]).all() and (truth.track == before[1]).all()


@pytest.mark.parametrize("share", [0.02, 0.2])
def test_misses_are_as_many_as_told(truth, share):
    assert 1 - len(observe(truth, {"miss": share}, 3).identity) / len(truth) == pytest.approx(share, rel=0.2)


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_bursts_take_the_share_they_are_told_and_last(truth, share):
    seen = observe(truth, {"burst": share, "burst_length": (10, 20)}, 3)
    assert 1 - len(seen.identity) / len(truth) == pytest.approx(share, rel=0.25)
    gaps = Tracks(seen.detections, seen.identity)
    skipped = np.diff(gaps.detections.frame[gaps.gaps()], axis=1)[:, 0] - 1
    assert skipped.min() >= 10 and (skipped > 20).mean() < 0.4  # longer only where bursts overlap


def test_a_burst_ends_with_its_track():
    frame = np.repeat(np.arange(50), 200)
    box = np.tile([0.0, 0, 1, 1], (len(frame), 1))
    tracks = Tracks(Detections(frame.astype(np.int32), box), np.tile(np.arange(200), 50))
    kept = observe(tracks, {"burst": 0.2, "burst_length": (500, 500)}, 0)
    complete = np.bincount(kept.identity, minlength=200)
    assert (complete == 50).sum() > 100  # a burst of 500 frames would else reach into the next ten tracks


@pytest.mark.parametrize("jitter", [0.02, 0.1])
def test_jitter_is_a_share_of_the_size(truth, jitter):
    seen = observe(truth, {"jitter": jitter}, 0)
    a, b = matched(truth, seen)
    off = (seen.detections.centre[b] - truth.detections.centre[a]) / boxes.size(truth.detections.box[a])[:, None]
    assert off.std() == pytest.approx(jitter, rel=0.05) and abs(off.mean()) < jitter / 20
    assert np.allclose(boxes.sides(seen.detections.box[b]), boxes.sides(truth.detections.box[a]))


def test_scale_jitter_and_rescale_change_sides_alone(truth):
    seen = observe(truth, {"scale_jitter": 0.1, "rescale": 0.8}, 0)
    a, b = matched(truth, seen)
    change = np.log(boxes.sides(seen.detections.box[b]) / boxes.sides(truth.detections.box[a]))
    assert change.std() == pytest.approx(0.1, rel=0.05) and change.mean() == pytest.approx(np.log(0.8), abs=0.01)
    assert np.allclose(seen.detections.centre[b], truth.detections.centre[a])


@pytest.mark.parametrize("length", [1.0, 5.0])
def test_false_detections_are_as_many_as_told_and_have_no_identity(truth, length):
    seen = observe(truth, {"false_rate": 0.1, "false_length": length}, 0)
    assert (seen.identity == -1).sum() / len(truth) == pytest.approx(0.1, rel=0.15)
    assert len(observe(truth, {"miss": 1.0, "false_rate": 0.1}, 0).identity) > 0


def test_false_detections_lie_near_true_ones_as_often_as_told(truth):
    def nearest(near):
        seen = observe(truth, {"false_rate": 0.05, "false_near": near}, 0)
        box, frame, false = seen.detections.box, seen.detections.frame, seen.identity < 0
        best = [boxes.iou(box[i : i + 1], box[(frame == frame[i]) & ~false]).max() for i in np.flatnonzero(false)]
        return (np.array(best) > 0).mean()

    assert nearest(0.0) < 0.1 and nearest(1.0) > 0.7


def test_scores_of_false_detections_tend_to_be_lower(truth):
    seen = observe(truth, {"false_rate": 0.2}, 0)
    false, true = seen.detections.score[seen.identity < 0], seen.detections.score[seen.identity >= 0]
    assert 0 < seen.detections.score.min() and seen.detections.score.max() < 1
    assert np.median(true) - np.median(false) > 0.3
    assert np.quantile(false, 0.9) > np.quantile(true, 0.1)  # but not so much that a threshold tells them


def test_an_occlusion_hides_the_body_that_lies_lower():
    box = np.array([[0.0, 0, 10, 10], [1.0, 0, 11, 10], [50.0, 50, 60, 60]])
    tracks = Tracks(Detections(np.zeros(3, np.int32), box), [0, 1, 2])
    lower = int(nearness(np.array([0, 1])).argmin())
    assert covered_share(tracks).tolist() == [0.9 * (lower == 0), 0.9 * (lower == 1), 0.0]
    assert sorted(observe(tracks, {"occlusion": 0.5}, 0).identity) == sorted({0, 1, 2} - {lower})
    assert len(observe(tracks, {"occlusion": 0.95}, 0).identity) == 3
    assert len(observe(tracks, None, 0).identity) == 3


def test_in_the_crossing_world_somebody_is_hidden_and_comes_back():
    tracks = simulate("crossing", 0)
    seen = observe(tracks, {"occlusion": 0.5}, 0)
    assert 0 < len(tracks) - len(seen.identity) < 0.3 * len(tracks)
    assert len(Tracks(seen.detections, seen.identity).gaps()) > 0


def test_crowded_frames_of_all_lengths_are_compared_frame_by_frame():
    rng = np.random.default_rng(0)
    frame = np.sort(rng.integers(0, 40, 600)).astype(np.int32)
    corner = rng.uniform(0, 100, (600, 2))
    tracks = Tracks(Detections(frame, np.concatenate([corner, corner + 20], axis=1)), np.arange(600))
    near, box = nearness(tracks.track), tracks.detections.box
    expected = [
        max(boxes.intersection(box[i], box[(frame == frame[i]) & (near > near[i])]).max(initial=0) / 400, 0)
        for i in range(600)
    ]
    assert covered_share(tracks) == pytest.approx(expected)


def test_keypoints_jitter_are_missed_and_their_box_follows():
    tracks = simulate("flies", 0)
    seen = observe(tracks, {"jitter": 0.05, "keypoint_miss": 0.3}, 0).detections
    missed = np.isnan(seen.keypoints).any(axis=2)
    assert missed.mean() == pytest.approx(0.3, abs=0.03)
    assert not missed.all(axis=1).any()
    assert np.array_equal(boxes.around_points(seen.keypoints), seen.box)
    assert seen.skeleton == tracks.detections.skeleton


def test_points_jitter_by_the_size_they_count_as():
    tracks = simulate("particles", 0)
    for noise, size in (({"point_size": 8.0}, 8.0), ({}, None)):
        seen = observe(tracks, {"jitter": 0.1} | noise, 0)
        a, b = matched(tracks, seen)
        spread = (seen.detections.centre[b] - tracks.detections.centre[a]).std()
        assert spread == pytest.approx(0.1 * size, rel=0.05) if size else 0.2 < spread < 5
        assert boxes.area(seen.detections.box).max() == 0


def test_nothing_of_the_truth_but_geometry_is_carried_over(truth):
    labelled = Tracks(truth.detections.with_columns(label=truth.track + 1, extra={"name": truth.track}), truth.track)
    seen = observe(labelled, None, 0).detections
    assert set(seen.columns()) == {"frame", "box", "score"} and seen.video == truth.detections.video


def test_rows_without_a_place_are_no_reason_to_fail():
    box = np.array([[0.0, 0, 10, 10], [np.nan] * 4, [1.0, 0, 11, 10]])
    tracks = Tracks(Detections(np.zeros(3, np.int32), box), [0, 1, 2])
    seen = observe(tracks, {"jitter": 0.1, "occlusion": 0.5, "false_rate": 5.0, "scale_jitter": 0.1}, 0)
    assert np.isnan(seen.detections.box[seen.identity == 1]).all()
    assert np.isfinite(seen.detections.box[seen.identity == -1]).all()
    assert 1 <= (np.isin(seen.identity, [0, 2])).sum() < 2


def test_untracked_rows_are_seen_without_an_identity():
    tracks = Tracks(Detections(np.zeros(2, np.int32), np.array([[0.0, 0, 1, 1], [5.0, 5, 6, 6]])), [-1, -1])
    assert observe(tracks, {"burst": 0.9, "occlusion": 0.5}, 0).identity.tolist() == [-1, -1]


@pytest.mark.parametrize(
    "noise", [{}, {"miss": 1.0}, {"false_rate": 1.0, "burst": 0.5, "occlusion": 0.5, "jitter": 0.1}]
)
def test_an_empty_truth_gives_an_empty_observation(noise):
    seen = observe(Tracks.untracked(Detections.empty()), noise, 0)
    assert len(seen.detections) == 0 and seen.identity.shape == (0,) and seen.detections.score.shape == (0,)


def test_missing_everything_leaves_an_empty_table(truth):
    seen = observe(truth, {"miss": 1.0}, 0)
    assert len(seen.detections) == 0 and seen.detections.box.shape == (0, 4)


def test_impossible_noise_is_refused(truth):
    with pytest.raises(ConfigError, match="unknown option 'jiter': did you mean 'jitter'"):
        observe(truth, {"jiter": 0.1})
    with pytest.raises(ConfigError, match=r"burst_length is \(5, 2\); wanted a least and a greatest length, from 1 up"):
        NoiseConfig.of({"burst_length": (5, 2)})
    with pytest.raises(InputError, match="seed is 'x'; wanted a whole number"):
        observe(truth, None, "x")


def test_random_noise_is_valid_and_of_all_kinds():
    rng = np.random.default_rng(0)
    noises = [random_noise(rng) for _ in range(200)]
    for name in ("miss", "burst", "jitter", "false_rate", "keypoint_miss", "scale_jitter"):
        share = np.mean([getattr(noise, name) > 0 for noise in noises])
        assert 0.2 < share < 0.8, name
    for seed, noise in enumerate(noises[:30]):
        tracks = simulate(random_world(rng, n_frames=20), seed)
        seen = observe(tracks, noise, seed)
        assert len(seen.identity) == len(seen.detections) and np.isfinite(seen.detections.box).all()
