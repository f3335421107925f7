"""DREEM's tracker: its formulas, and what is right here where it was wrong there."""

import numpy as np
import pytest

from kintrack.config_dreem import DreemTrackerConfig
from kintrack.core.detections import Detections, Skeleton
from kintrack.core.sightings import Sightings
from kintrack.core.tracks import same_tracks
from kintrack.errors import AlignmentError, ConfigError
from kintrack.tracking import dreem_scores as scores
from kintrack.tracking.dreem import DreemTracker


def by_distance(query, memory, pairs):
    """Stands for a model: certain of what is near, sure that what is far is another."""
    r = memory.sightings
    apart = np.linalg.norm(query.centre[pairs[:, 0]] - r.centre[pairs[:, 1]], axis=1)
    return 10.0 - apart


def table(places, **more):
    """Boxes of 20 pixels at (frame, x) on a line, or (frame, x, y)."""
    rows = np.array([(*p, 50.0) if len(p) == 2 else p for p in places], float)
    order = np.argsort(rows[:, 0], kind="stable")
    centre = rows[order, 1:]
    return Detections(frame=rows[order, 0], box=np.c_[centre - 10, centre + 10], **more)


def ids(places, config=None, **more):
    return DreemTracker(config)(by_distance, table(places, **more)).track.tolist()


# --- formulas, against the same arithmetic done by hand


def test_a_softmax_in_each_frame_leaves_room_for_none_of_them():
    p = scores.frame_probability(np.array([[1.0, 2.0, -800.0, 700.0]]), np.array([3, 3, 8, 9]))
    e, e2 = np.exp(1), np.exp(2)
    assert np.allclose(p, [[e / (1 + e + e2), e2 / (1 + e + e2), 0, 1]])


def test_scores_of_a_track_are_sums_over_its_sightings():
    p = np.array([[0.1, 0.2, 0.3, 0.4]])
    assert np.allclose(scores.summed(p, np.array([1, 0, 1, 1]), 3), [[0.2, 0.8, 0.0]])


def test_overlap_pulls_a_score_towards_itself_or_is_the_greater():
    t, box, last = np.array([[3.0]]), np.array([[0.0, 0, 10, 10]]), np.array([[0.0, 5, 10, 15]])
    overlap = 50 / 150
    assert np.allclose(scores.with_overlap(t, box, last, "mult"), 3 + (3 - overlap) * overlap)
    assert np.allclose(scores.with_overlap(t / 30, box, last, "max"), overlap)
    assert scores.with_overlap(t, box, last, None) is t


def test_a_penalty_costs_a_row_its_mean_score_in_proportion_to_the_violations():
    t, v = np.array([[2.0, 4.0], [1.0, 1.0]]), np.array([[0.0, 0.3], [0.1, 0.3]])
    assert np.allclose(scores.penalised(t, v, 1.0), [[2, 4 - 6], [1 - 0.5, 1 - 1.5]], atol=1e-6)
    assert np.array_equal(scores.penalised(t, 0 * v, 1.0), t)


def test_only_what_is_farther_than_allowed_is_too_far():
    a, b = np.array([[0.0, 0, 2, 2]]), np.array([[3.0, 4, 5, 6], [0, 0, 2, 2]])
    assert np.allclose(scores.too_far(a, b, 2.0, 10.0), [[0.3, 0.0]])


def test_certainty_is_a_softmax_over_tracks():
    log_p = scores.log_certainty(np.array([[1.0, 1.1]]), 0.1)
    assert np.allclose(np.exp(log_p), np.exp([10, 11]) / np.exp([10, 11]).sum())


def test_equal_chances_are_flagged_and_a_single_track_never_is():
    """DREEM divides by the logarithm of the number of detections, which is 0 for one: its defect T11."""
    equal, sure = scores.log_certainty(np.ones((1, 3)), 0.1), scores.log_certainty(np.array([[5.0, 0, 0]]), 0.1)
    assert scores.uncertain(equal, 0.1) and not scores.uncertain(sure, 0.9)
    assert not scores.uncertain(np.zeros((1, 1)), 0.9) and not scores.uncertain(equal, 0.0)


# --- axes


def test_the_axis_of_a_pose_without_front_is_its_long_side():
    """DREEM takes a column where the first row is meant: its defect T3, wrong for half of all poses."""
    rng = np.random.default_rng(0)
    for angle in rng.uniform(0, np.pi, 50):
        way = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-way[1], way[0]])
        pose = np.outer([-10, -5, 0, 5, 10], way) + np.outer([1, -1, 1, -1, 0], across)
        axis = scores.axes(pose[None], [], [])[0]
        assert abs(axis[:2] @ way) > 0.98 and axis[2] == 0


def test_the_first_keypoints_that_are_seen_say_where_front_is():
    nan = np.nan
    pose = np.array([[[0.0, 0], [nan, nan], [5, 0], [9, 1]], [[nan, nan], [3, 3], [3, 8], [1, 1]]])
    axis = scores.axes(pose, [2], [0, 1])
    assert np.allclose(axis, [[1, 0, 1], [0, 1, 1]])


def test_an_animal_that_changed_front_and_back_has_turned():
    """DREEM folds every turn to 90 degrees, and cannot see it: its defect T4."""
    east, west, line = [1.0, 0, 1], [-1.0, 0, 1], [-1.0, 0, 0]
    turned = scores.too_turned(np.array([east]), np.array([east, west, line, [np.nan] * 3]), 0.1)
    assert np.allclose(turned, [[0, np.pi - 0.1, 0, 0]])


def test_one_pose_without_an_axis_does_not_switch_the_others_off():
    """DREEM's defect T4: it skips the step for the whole frame."""
    skeleton = Skeleton(("head", "tail"))
    pose = np.array([[[10.0, 0], [0, 0]], [[0, 0], [10, 0]], [[np.nan] * 2, [5, 5]]])

    def config(max_angle):
        return {"front_nodes": ["head"], "back_nodes": ["tail"], "max_angle_diff": max_angle, "iou": None}

    # Two animals at the same place, pointing in opposite directions; a third that shows its tail alone.
    frame, box = [0, 0, 0, 1, 1, 1], np.tile([0.0, 0, 20, 20], (6, 1))
    keypoints = np.concatenate([pose, pose[[1, 0, 2]]])
    detections = Detections(frame=frame, box=box, keypoints=keypoints, skeleton=skeleton)

    def blind(query, memory, pairs):
        same = (pairs[:, 0] == 2) == (memory.sightings.row[pairs[:, 1]] == 2)
        return np.where(same, 2.0, -9.0)

    tracks = DreemTracker(config(30), skeleton=skeleton)(blind, detections)
    assert tracks.track.tolist() == [0, 1, 2, 1, 0, 2]


def test_a_keypoint_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="name 'hed', which is no keypoint here: did you mean 'head'"):
        DreemTracker({"front_nodes": ["hed"], "back_nodes": ["tail"]}, skeleton=Skeleton(("head", "tail")))
    with pytest.raises(ConfigError, match="front_nodes and back_nodes say together"):
        DreemTrackerConfig.of({"front_nodes": ["head"]})


# --- the tracker


def test_walkers_keep_their_ids():
    assert ids([(t, x + 2 * t) for t in range(20) for x in (0, 40, 80)]) == [0, 1, 2] * 20


def test_each_call_is_a_video_of_its_own():
    """DREEM resets on frame 0 alone, and goes on with the last video's tracks: its defect T1."""
    tracker = DreemTracker()
    first = tracker(by_distance, table([(0, 10), (1, 11)]))
    second = tracker(by_distance, table([(5, 10), (5, 80), (6, 11), (6, 81)]))
    assert first.track.tolist() == [0, 0] and second.track.tolist() == [0, 1, 0, 1]


def test_an_id_is_never_given_twice():
    """After all tracks are lost DREEM begins again with ids that others had: its defect T2."""
    assert ids([(0, 0), (0, 60), (50, 0), (50, 60)], {"max_gap": 10}) == [0, 1, 2, 3]


@pytest.mark.parametrize("frames", [(0, 1, 2), (30, 31, 40)])
def test_ids_count_from_0_whatever_the_input_says(frames):
    """DREEM takes the first ids from the input, and may give one to two animals: its defects T5 and T6."""
    assert ids([(t, x) for t in frames for x in (0, 60)], label=np.array([412, 37] * 3)) == [0, 1] * 3


def test_there_are_never_more_ids_than_individuals():
    """DREEM counts the tracks that are alive when a frame begins: its defect T7."""
    rng = np.random.default_rng(1)
    places = [(t, x) for t in range(30) for x in rng.uniform(0, 900, rng.integers(1, 7))]
    track = np.array(ids(places, {"max_tracks": 4, "max_gap": 3}))
    assert track.max() == 3
    first = DreemTracker({"max_tracks": 2})(by_distance, table([(0, 0), (0, 90), (0, 180)], score=np.array([1, 3, 2])))
    assert first.track.tolist() == [-1, 0, 1]  # the surest are the individuals


@pytest.mark.parametrize("max_gap", [1, 3, 7, 8, 12])
def test_a_track_is_looked_for_as_long_as_was_said(max_gap):
    """DREEM raises what is below the window's size to it: its defect T8."""
    other = [(t, 300) for t in range(20)]
    at_last = ids([(0, 0), (max_gap, 0), *other], {"max_gap": max_gap})
    too_late = ids([(0, 0), (max_gap + 1, 0), *other], {"max_gap": max_gap})
    assert max(at_last) == 1 and max(too_late) == 2


def test_gaps_are_counted_in_frames_also_where_nothing_was_seen():
    """DREEM counts the frames that it was given (D6)."""
    assert ids([(0, 0), (100, 0)], {"max_gap": 50}) == [0, 1]


def test_no_limits_are_allowed():
    """`null` ends in a TypeError in DREEM (T8)."""
    assert ids([(0, 0), (9000, 0)], {"max_gap": None, "max_tracks": None}) == [0, 0]


def test_memory_does_not_grow_with_every_id_that_there_ever_was():
    """DREEM's default forgets nobody, and each frame takes longer than the one before: its defect T9."""
    remembered = {}
    for max_gap in (500, None):
        tracker = DreemTracker({"max_gap": max_gap})
        for t in range(0, 4000, 40):
            tracker.update(by_distance, Sightings.of(table([(t, 1000.0 * t)])))
        remembered[max_gap] = len(tracker._memory)
    assert remembered == {500: 500 // 40 + 1, None: 100}
    assert DreemTrackerConfig().max_gap == 500


def test_a_window_is_the_last_sightings_of_each_track():
    seen = []

    def watch(query, memory, pairs):
        seen.append(np.bincount(memory.track).max())
        return by_distance(query, memory, pairs)

    DreemTracker({"window_size": 3})(watch, table([(t, 0) for t in range(9)]))
    assert seen == [1, 2, 3, 3, 3, 3, 3, 3]


def test_a_threshold_for_each_sighting_or_for_all():
    far = [(t, 0) for t in range(4)] + [(4, 12)]  # e^-2 / (1 + e^-2) = 0.12 for each of four sightings
    assert ids(far, {"iou": None, "overlap_thresh": 0.2})[-1] == 1
    assert ids(far, {"iou": None, "overlap_thresh": 0.2, "mult_thresh": False})[-1] == 0


def test_certainty_is_a_probability_and_nan_where_a_track_begins():
    """DREEM gives its logarithm, and -1 for a new track: its defect O1."""
    tracks = DreemTracker()(by_distance, table([(t, x) for t in range(5) for x in (0, 300)]))
    assert np.isnan(tracks.confidence[:2]).all()
    assert ((tracks.confidence[2:] > 0.99) & (tracks.confidence[2:] <= 1)).all()


def test_uncertain_frames_are_flagged():
    tracker = DreemTracker({"confidence_threshold": 0.9, "iou": None})
    tracker(by_distance, table([(0, 0), (0, 8), (1, 0), (1, 8), (2, 4)]))
    assert 2 in tracker.flagged


def test_what_has_no_place_is_left_alone():
    """A nan among the boxes ends DREEM's run where `iou` is max (T13)."""
    places = [(t, x) for t in range(3) for x in (0.0, 60.0)]
    detections = table(places)
    box = detections.box.copy()
    box[3] = np.nan
    tracks = DreemTracker({"iou": "max"})(by_distance, detections.with_columns(box=box))
    assert tracks.track.tolist() == [0, 1, 0, -1, 0, 1]


def test_chunks_make_no_difference():
    rng = np.random.default_rng(3)
    detections = table([(t, x) for t in range(40) for x in rng.uniform(0, 400, 5)])
    seen = Sightings.of(detections)
    whole = DreemTracker()(by_distance, detections)
    tracker = DreemTracker()
    parts = [tracker.update(by_distance, seen.take(detections.rows(a, a + 7)))[0] for a in range(0, 40, 7)]
    assert np.array_equal(np.concatenate(parts), whole.track)


def test_the_order_of_detections_makes_no_difference():
    """DREEM shuffles them, without a seed (T15): there ids differ from run to run."""
    rng = np.random.default_rng(4)
    detections = table([(t, 30 * k + rng.normal()) for t in range(15) for k in range(6)])
    order = np.lexsort((rng.random(len(detections)), detections.frame))
    back = np.argsort(order)
    one, other = (DreemTracker()(by_distance, d) for d in (detections, detections.take(order)))
    assert same_tracks(one.track, other.track[back])


def test_a_step_back_in_time_is_refused():
    tracker = DreemTracker()
    tracker.update(by_distance, Sightings.of(table([(3, 0)])))
    with pytest.raises(AlignmentError, match="was given frame 3 after frame 3"):
        tracker.update(by_distance, Sightings.of(table([(3, 5)])))
