"""Detectors: they miss, jitter and invent as often as they are told to, and the identities say so."""

import numpy as np
import pytest

from kintrack.core import boxes
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks
from kintrack.errors import ConfigError, InputError
from kintrack.sim import NoiseConfig, observe, simulate
from kintrack.sim.hiding import covered_share, nearness
from kintrack.sim.observe import remembered


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


def test_in_a_blank_frame_nothing_is_seen_not_even_what_is_not_there(truth):
    seen = observe(truth, {"blank_frames": 0.2, "false_rate": 0.3}, 0).detections
    in_frame = np.bincount(seen.frame, minlength=400)
    assert (in_frame == 0).mean() == pytest.approx(0.2, abs=0.05)
    assert in_frame[in_frame > 0].min() >= 20  # the other frames are whole
    without = observe(truth, {"false_rate": 0.3}, 0).detections
    assert np.bincount(without.frame, minlength=400).min() >= 20


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


def errors(truth, noise, seed=0):
    """(frames, individuals, x and y) displacement in sizes of a truth in which everybody is always in view."""
    seen = observe(truth, noise, seed)
    a, b = matched(truth, seen)
    off = np.full((truth.detections.n_frames, len(truth.ids), 2), np.nan)
    shift = seen.detections.centre[b] - truth.detections.centre[a]
    off[seen.detections.frame[b], seen.identity[b]] = shift / boxes.size(truth.detections.box[a])[:, None]
    return off


@pytest.mark.parametrize("length", [5.0, 20.0])
def test_an_error_that_persists_has_the_spread_and_the_memory_that_are_told(truth, length):
    off = errors(truth, {"slow_jitter": 0.05, "slow_length": length})
    assert off.std() == pytest.approx(0.05, rel=0.1)
    for lag in (1, 5):
        memory = (off[lag:] * off[:-lag]).mean() / (off**2).mean()
        assert memory == pytest.approx(np.exp(-lag / length), abs=0.06)


def test_white_and_persistent_errors_add_up(truth):
    off = errors(truth, {"jitter": 0.04, "slow_jitter": 0.03})
    assert off.std() == pytest.approx(0.05, rel=0.1)


def test_persistent_errors_of_the_sides_leave_the_middle_alone(truth):
    seen = observe(truth, {"slow_scale_jitter": 0.1, "slow_length": 10.0}, 0)
    a, b = matched(truth, seen)
    change = np.log(boxes.sides(seen.detections.box[b]) / boxes.sides(truth.detections.box[a]))
    assert change.std() == pytest.approx(0.1, rel=0.1)
    assert np.allclose(seen.detections.centre[b], truth.detections.centre[a])


def test_what_is_remembered_fades_over_gaps_and_is_everyones_own():
    n = 4000
    track, frame = np.repeat(np.arange(n), 2), np.tile([0, 7], n)
    error = remembered(np.random.default_rng(0), track, frame, 1, 10.0).reshape(n, 2)
    assert np.corrcoef(error.T)[0, 1] == pytest.approx(np.exp(-0.7), abs=0.04)
    assert abs(np.corrcoef(error[:-1, 1], error[1:, 0])[0, 1]) < 0.05
    nobody = remembered(np.random.default_rng(0), np.full(2000, -1), np.arange(2000), 1, 1e6)[:, 0]
    assert nobody.std() == pytest.approx(1.0, abs=0.1) and abs(np.corrcoef(nobody[1:], nobody[:-1])[0, 1]) < 0.1


def test_keypoints_share_a_persistent_error():
    tracks = simulate("flies", 0)
    seen = observe(tracks, {"slow_jitter": 0.1}, 0)
    a, b = matched(tracks, seen)
    off = seen.detections.keypoints[b] - tracks.detections.keypoints[a]
    assert np.nanmax(np.nanstd(off, axis=1)) < 1e-9 and np.nanstd(off) > 1.0


def test_between_key_frames_boxes_are_on_straight_lines(truth):
    seen = observe(truth, {"keyframes": (8, 8)}, 0)
    a, b = matched(truth, seen)
    true, drawn = np.empty((2, 400, 20, 4))
    true[truth.detections.frame[a], truth.track[a]] = truth.detections.box[a]
    drawn[seen.detections.frame[b], seen.identity[b]] = seen.detections.box[b]
    assert np.allclose(drawn[::8], true[::8])
    bend = np.diff(drawn, n=2, axis=0)
    kinks = np.abs(bend).max(axis=(1, 2)) > 1e-6
    assert np.flatnonzero(kinks).min() == 7 and ((np.flatnonzero(kinks) + 1) % 8 == 0).sum() >= kinks.sum() - 1
    assert 0 < np.abs(drawn - true).max() < 40


def test_an_interrupted_track_is_annotated_to_its_ends():
    frame = np.r_[np.arange(0, 10), np.arange(30, 37)].astype(np.int32)
    wild = np.random.default_rng(0).uniform(0, 100, (17, 2))
    tracks = Tracks(Detections(frame, np.concatenate([wild, wild + 10], axis=1)), np.zeros(17, int))
    seen = observe(tracks, {"keyframes": (4, 4)}, 0).detections
    same = np.isclose(seen.box, tracks.detections.box).all(axis=1)
    assert frame[same].tolist() == [0, 4, 8, 9, 30, 34, 36]


def test_sides_that_are_held_change_in_key_frames_only(truth):
    noise = {"keyframes": (6, 6), "held_sides": True}
    seen = observe(truth, noise, 0)
    tracks = Tracks(seen.detections, seen.identity)
    links = tracks.links()
    resized = np.abs(np.diff(boxes.sides(seen.detections.box[links]), axis=1)).max(axis=(1, 2)) > 1e-9
    assert (seen.detections.frame[links[:, 1]][resized] % 6 == 0).mean() > 0.98  # all but each track's last frame
    assert resized.mean() == pytest.approx(1 / 6, abs=0.02)
    plain = observe(truth, {"keyframes": (6, 6)}, 0).detections.centre
    assert np.allclose(np.sort(plain, axis=0), np.sort(seen.detections.centre, axis=0))


def test_keypoints_are_annotated_with_their_boxes_around_them():
    tracks = simulate("flies", 0)
    seen = observe(tracks, {"keyframes": (3, 10), "held_sides": True}, 0).detections
    assert np.array_equal(boxes.around_points(seen.keypoints), seen.box)
    assert (np.isnan(seen.keypoints).sum()) == np.isnan(tracks.detections.keypoints).sum()


@pytest.mark.parametrize("grid", [1.0, 4.0])
def test_a_grid_rounds_boxes_and_lets_none_vanish(grid):
    tracks = simulate({"n_frames": 30, "size": 5, "body": "box", "n_individuals": 30}, 0)
    box = observe(tracks, {"grid": grid}, 0).detections.box
    assert np.allclose(box / grid, np.round(box / grid)) and boxes.sides(box).min() >= grid
    points = observe(simulate("particles", 0), {"grid": grid}, 0).detections.box
    assert np.allclose(points / grid, np.round(points / grid)) and boxes.area(points).max() == 0


def test_a_box_that_only_moves_keeps_its_sides_on_the_grid():
    x = np.linspace(0, 30, 100)
    tracks = Tracks(Detections(np.arange(100, dtype=np.int32), np.stack([x, x, x + 7.4, x + 9.3], axis=1)), [0] * 100)
    assert (boxes.sides(observe(tracks, {"grid": 1.0}, 0).detections.box) == [7, 9]).all()


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
    with pytest.raises(ConfigError, match=r"keyframes is \(0, 3\); wanted a least and a greatest number of frames"):
        NoiseConfig.of({"keyframes": (0, 3)})
    with pytest.raises(ConfigError, match="held_sides is about key frames; set keyframes, or held_sides to False"):
        NoiseConfig.of({"held_sides": True})
    with pytest.raises(InputError, match="seed is 'x'; wanted a whole number"):
        observe(truth, None, "x")
