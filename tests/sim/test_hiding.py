"""Objects in the way, and pairs that are seen as one."""

import numpy as np
import pytest

from kintrack.core import boxes
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks
from kintrack.errors import ConfigError
from kintrack.sim import observe, simulate

WALK = {"n_individuals": 10, "n_frames": 400, "arena": (500, 500), "size": 20, "speed": 0.2, "max_absence": None}
ONE_OBJECT = {"occluders": 1, "occluder_size": (5.0, 5.0), "occluder_share": 0.5}


def pair(n_frames=40, apart=5.0):
    """Two squares of 20 pixels that stand beside each other, and one far from them."""
    box = np.array([[0.0, 0, 20, 20], [apart, 0, 20 + apart, 20], [200.0, 200, 220, 220]])
    frame = np.repeat(np.arange(n_frames), 3).astype(np.int32)
    return Tracks(Detections(frame, np.tile(box, (n_frames, 1))), np.tile([0, 1, 2], n_frames))


@pytest.mark.parametrize("body", ["point", "box", "ellipse", "articulated"])
def test_who_vanishes_behind_an_object_comes_out_as_itself(body):
    truth = simulate(WALK | {"body": body}, 0)
    seen, identity = observe(truth, ONE_OBJECT, 1)
    found = Tracks(seen, identity)
    skipped = np.diff(seen.frame[found.gaps()], axis=1)[:, 0] - 1
    assert len(skipped) > 3 and skipped.max() >= 10  # an object hides for many frames in a row
    assert set(found.ids.tolist()) <= set(truth.ids.tolist()) and (identity >= 0).all()
    assert 0.01 < 1 - len(seen) / len(truth) < 0.4


def test_an_object_hides_one_place_and_nothing_else():
    truth = simulate(WALK | {"body": "box", "wobble": 0.0, "n_frames": 1000}, 0)
    seen, identity = observe(truth, ONE_OBJECT, 1)
    kept = set(zip(seen.frame.tolist(), identity.tolist(), strict=True))
    keys = zip(truth.detections.frame.tolist(), truth.track.tolist(), strict=True)
    hidden = np.array([key not in kept for key in keys])
    centre = truth.detections.centre
    assert np.ptp(centre[hidden], axis=0).max() < 5 * 20 + 20
    middle = 0.5 * (centre[hidden].min(axis=0) + centre[hidden].max(axis=0))
    assert hidden[np.abs(centre - middle).max(axis=1) < 40].all()  # whoever is behind it, at any time


def test_objects_never_hide_everybody():
    truth = simulate(WALK | {"body": "box"}, 0)
    seen = observe(truth, {"occluders": 1, "occluder_size": (1000.0, 1000.0)}, 0)
    assert len(seen.identity) > 0.6 * len(truth)


def test_objects_do_not_change_what_they_do_not_hide():
    truth = simulate(WALK, 0)
    seen, identity = observe(truth, ONE_OBJECT, 1)
    row = {key: n for n, key in enumerate(zip(truth.detections.frame.tolist(), truth.track.tolist(), strict=True))}
    rows = [row[key] for key in zip(seen.frame.tolist(), identity.tolist(), strict=True)]
    assert np.allclose(seen.box, truth.detections.box[rows])


def test_a_merged_detection_removes_exactly_one_row():
    truth = pair()
    seen, identity = observe(truth, {"merge": 1.0, "merge_owned": 1.0}, 0)
    assert np.bincount(seen.frame).tolist() == [2] * 40
    assert (identity == 2).sum() == 40 and np.isin(identity, [0, 1, 2]).all()
    assert {0, 1} <= set(identity.tolist())  # sometimes it is one of them, sometimes the other
    assert (seen.box[identity != 2] == [0, 0, 25, 20]).all()
    assert np.allclose(seen.box[identity == 2], [200, 200, 220, 220])


@pytest.mark.parametrize("owned", [0.0, 0.5])
def test_some_merged_detections_are_nobodys(owned):
    _, identity = observe(pair(2000), {"merge": 1.0, "merge_owned": owned}, 0)
    assert (identity == -1).sum() / 2000 == pytest.approx(1 - owned, abs=0.1)


def test_pairs_are_merged_as_often_as_told_and_for_some_frames_in_a_row():
    seen, _ = observe(pair(4000), {"merge": 0.3}, 0)
    merged = np.bincount(seen.frame) == 2
    assert merged.mean() == pytest.approx(0.3, abs=0.05)
    begins = (np.diff(merged.astype(int)) == 1).sum()
    assert merged.sum() / begins > 5


def test_pairs_that_overlap_less_are_never_merged():
    assert len(observe(pair(apart=15.0), {"merge": 1.0}, 0).identity) == 120  # IoU 1/7
    assert len(observe(pair(apart=15.0), {"merge": 1.0, "merge_overlap": 0.1}, 0).identity) == 80


@pytest.mark.parametrize("body", ["point", "box", "ellipse", "articulated"])
def test_merged_bodies_of_all_kinds_are_boxes_around_both(body):
    truth = simulate({"preset": "huddle", "body": body, "n_frames": 200}, 0)
    seen, identity = observe(truth, {"merge": 1.0, "merge_overlap": 0.2, "point_size": 50.0}, 0)
    assert 0.02 < 1 - len(seen) / len(truth) < 0.5 and np.isfinite(seen.box).all()
    assert (seen.keypoints is None) == (truth.detections.keypoints is None)
    if seen.keypoints is not None:
        assert np.array_equal(boxes.around_points(seen.keypoints), seen.box)
    if seen.area is not None:
        assert (seen.area <= boxes.area(seen.box) + 1e-6).all()
    lost = len(truth) - len(seen)
    assert (np.bincount(truth.detections.frame) - np.bincount(seen.frame) >= 0).all() and lost > 0
    assert (identity == -1).sum() <= lost


def test_a_third_one_stays_out_of_a_pair():
    box = np.array([[0.0, 0, 20, 20], [2.0, 0, 22, 20], [6.0, 0, 26, 20]])
    truth = Tracks(Detections(np.zeros(3, np.int32), box), [0, 1, 2])
    seen, identity = observe(truth, {"merge": 1.0, "merge_owned": 1.0}, 0)
    assert len(seen) == 2 and 2 in identity  # 0 and 1 overlap most; 2 has nobody left


@pytest.mark.parametrize("noise", [ONE_OBJECT, {"merge": 1.0}])
def test_nothing_to_hide_is_no_reason_to_fail(noise):
    assert len(observe(Tracks.untracked(Detections.empty()), noise, 0).identity) == 0
    lost = Tracks(Detections(np.zeros(2, np.int32), np.full((2, 4), np.nan)), [0, 1])
    assert len(observe(lost, noise, 0).identity) == 2


def test_objects_without_a_size_are_refused():
    with pytest.raises(
        ConfigError, match=r"occluder_size is \(0.0, 2.0\); wanted a least and a greatest side, above 0"
    ):
        observe(pair(), {"occluder_size": (0.0, 2.0)})
