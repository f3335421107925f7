"""What is measured, by numbers that can be checked by eye."""

import numpy as np
import pytest

from kintrack.config import HISTORY_FEATURES, NEIGHBOUR_FEATURES, NODE_FEATURES, PAIR_FEATURES
from kintrack.core.detections import Detections
from kintrack.core.sightings import FAR, Memory, Sightings
from kintrack.windows.features import SOFT, history_features, neighbour_features, node_features, pair_features

RESIDUALS = ("residual_fast", "residual_slow", "residual_smooth", "residual_steady")


def sightings(centres, frame=0, side=10.0, **columns):
    centre = np.array(centres, float)
    half = np.broadcast_to(np.asarray(side, float), centre.shape) / 2
    box = np.concatenate([centre - half, centre + half], axis=1)
    return Sightings.of(Detections(frame=np.full(len(centre), frame), box=box, **columns))


def measured(query, memory, pairs=None):
    """The measures of pairs by name."""
    pairs = np.argwhere(np.ones((len(query), len(memory)))) if pairs is None else pairs
    values = pair_features(query, memory, np.asarray(pairs))
    return dict(zip(PAIR_FEATURES, values.T.astype(float), strict=True))


def memory_of(*frames, depth=1):
    memory = Memory.like(frames[0])
    for seen in frames:
        memory = memory.remember(seen, np.arange(len(seen)), depth)
    return memory


def test_a_pair_at_rest():
    found = measured(sightings([(50, 50)], frame=2), memory_of(sightings([(50, 50)])))
    at_rest = ("distance", "speed", "speed_smooth", "scatter", "along", "across", *RESIDUALS)
    assert all(found[name][0] == 0.0 for name in at_rest)
    assert found["gap"][0] == pytest.approx(np.log(3))
    assert found["overlap"][0] == found["overlap_moved"][0] == found["overlap_smooth"][0] == pytest.approx(1.0)
    assert found["size_change"][0] == found["aspect_change"][0] == 0.0
    assert found["sightings"][0] == pytest.approx(np.log(2))


def test_distances_are_in_sizes_and_compressed():
    found = measured(sightings([(80, 50)], frame=4), memory_of(sightings([(50, 50)])))
    assert found["distance"][0] == pytest.approx(np.log1p(3))
    assert found["distance_per_gap"][0] == pytest.approx(np.log1p(3 / 2))


def test_a_residual_is_what_the_motion_does_not_explain():
    memory = memory_of(sightings([(0, 50)]), sightings([(10, 50)], frame=1))
    found = measured(sightings([(24, 53)], frame=2), memory)
    assert found["speed"][0] == found["speed_smooth"][0] == pytest.approx(np.log1p(1.0))
    assert [found[name][0] for name in RESIDUALS] == pytest.approx([np.log1p(0.5)] * 4)
    assert found["along"][0] == pytest.approx(np.log1p(0.4))
    assert found["across"][0] == pytest.approx(np.log1p(0.3), rel=1e-4)
    assert measured(sightings([(16, 50)], frame=2), memory)["along"][0] == pytest.approx(-np.log1p(0.4))  # too slow


def test_after_a_jump_each_filter_expects_something_else():
    """At rest, then 10 pixels aside: the fast filter thinks that it goes on, the steady one that it was nothing."""
    memory = memory_of(*(sightings([(0, 50)], frame=t) for t in range(40)), sightings([(10, 50)], frame=40))
    back = measured(sightings([(0, 50)], frame=41), memory)
    assert [back[name][0] for name in RESIDUALS] == pytest.approx(
        [np.log1p(1.7), np.log1p(1.3), np.log1p(0.65), np.log1p(0.29)], rel=1e-3
    )


def test_it_is_also_measured_what_would_be_had_the_newest_sighting_not_been_or_the_newest_two():
    """At rest at 0, then taken for somebody at 30, once or twice; the query is where it has always been."""
    rest = [sightings([(0, 50)], frame=t) for t in range(10)]
    once = memory_of(*rest, sightings([(30, 50)], frame=10), depth=3)
    found = measured(sightings([(0, 50)], frame=11), once, [(0, int(once.last[0]))])
    assert found["residual_smooth"][0] > np.log1p(1.0) and found["overlap_smooth"][0] == 0.0
    assert found["residual_before"][0] == found["residual_before_that"][0] == 0.0
    assert found["overlap_before"][0] == found["overlap_before_that"][0] == pytest.approx(1.0)
    twice = memory_of(*rest, *(sightings([(30, 50)], frame=t) for t in (10, 11)), depth=3)
    found = measured(sightings([(0, 50)], frame=12), twice, [(0, int(twice.last[0]))])
    assert found["residual_before"][0] > np.log1p(1.0) and found["overlap_before"][0] == 0.0
    assert found["residual_before_that"][0] == 0.0 and found["overlap_before_that"][0] == pytest.approx(1.0)


def test_a_track_of_one_sighting_has_none_before_it():
    found = measured(sightings([(4, 50)], frame=1), memory_of(sightings([(0, 50)]), depth=3))
    assert found["residual_before"][0] == found["residual_before_that"][0] == pytest.approx(np.log1p(0.4))
    assert found["overlap_before"][0] == found["overlap_before_that"][0] == pytest.approx(found["overlap"][0])


def test_a_residual_is_also_measured_by_how_far_the_track_is_thrown_off_its_way():
    calm = memory_of(*(sightings([(10.0 * t, 50)], frame=t) for t in range(20)))
    shaky = memory_of(*(sightings([(10.0 * t, 50 + 4 * (-1) ** t)], frame=t) for t in range(20)))
    found = [measured(sightings([(200, 58)], frame=20), memory) for memory in (calm, shaky)]
    assert found[0]["scatter"][0] == 0.0 and found[1]["scatter"][0] > np.log1p(0.4)
    assert found[0]["residual_per_scatter"][0] == pytest.approx(np.log1p(0.8 / SOFT))
    assert found[1]["residual_per_scatter"][0] < 0.5 * found[0]["residual_per_scatter"][0]


def test_motion_says_nothing_of_what_was_not_moving():
    memory = memory_of(sightings([(0, 50)], frame=5))
    found = measured(sightings([(0, 50), (30, 50)], frame=4), memory)  # also backward in time
    assert (found["speed"] == 0.0).all()
    assert all(found[name] == pytest.approx(found["distance"]) for name in RESIDUALS)
    assert found["along"][1] == 0.0 and found["across"][1] == found["distance"][1]


def test_sizes_and_shapes():
    memory = memory_of(sightings([(50, 50)], side=(10, 10)))
    found = measured(sightings([(50, 50)], frame=1, side=(40, 10)), memory)
    assert found["size_change"][0] == pytest.approx(np.log(2))
    assert found["aspect_change"][0] == pytest.approx(np.log(4))
    assert found["overlap"][0] == 0.25


def test_shape_is_compared_side_by_side_with_the_tracks_mean():
    memory = memory_of(sightings([(50, 50)], side=(10, 10)), sightings([(50, 50)], frame=1, side=(40, 10)))
    found = measured(sightings([(50, 50)], frame=2, side=(40, 30)), memory)  # the track's mean is 20 by 10
    assert found["shape_change"][0] == pytest.approx(np.log(3))
    assert found["shape_change_least"][0] == pytest.approx(np.log(2))
    assert found["overlap_smooth"][0] == pytest.approx(20 * 10 / (40 * 30))


def test_mask_areas_count_where_both_are_known():
    a, b = sightings([(0, 0)], frame=1, area=np.array([50.0])), sightings([(0, 0)], area=np.array([100.0]))
    assert measured(a, memory_of(b))["area_change"][0] == pytest.approx(np.log(2))
    assert measured(a, memory_of(sightings([(0, 0)])))["area_change"][0] == 0.0
    assert measured(a, memory_of(sightings([(0, 0)], area=np.array([0.0]))))["area_change"][0] == 0.0


def test_margins_compare_with_the_best_rival_of_the_query_and_of_the_reference():
    query = sightings([(0, 0), (10, 0)], frame=1)
    memory = memory_of(sightings([(0, 0), (30, 0)]))
    found = measured(query, memory)  # pairs in order: 0-0, 0-1, 1-0, 1-1; distances 0, 3, 1, 2 sizes

    def log_ratio(a, b):
        return np.log((a + SOFT) / (b + SOFT))

    assert found["margin_query"] == pytest.approx([log_ratio(0, 3), log_ratio(3, 0), log_ratio(1, 2), log_ratio(2, 1)])
    assert found["margin_reference"] == pytest.approx(
        [log_ratio(0, 1), log_ratio(3, 2), log_ratio(1, 0), log_ratio(2, 3)]
    )


def test_only_who_was_seen_a_frame_ago_is_a_fresh_rival():
    query = sightings([(10, 0)], frame=5)
    old, new = sightings([(10, 0)], frame=2), sightings([(40, 0)], frame=4)
    memory = Memory.like(old).remember(old, np.array([0]), 1).remember(new, np.array([1]), 1)
    found = measured(query, memory)  # 0 sizes from the old one, 3 from the fresh one
    assert found["margin_fresh"] == pytest.approx([np.log((0 + SOFT) / (3 + SOFT)), np.log((3 + SOFT) / (FAR + SOFT))])


def test_two_that_are_equally_near_are_each_others_rivals():
    found = measured(sightings([(0, 0)], frame=1), memory_of(sightings([(10, 0), (-10, 0), (30, 0)])))
    assert found["margin_query"] == pytest.approx([0.0, 0.0, np.log((3 + SOFT) / (1 + SOFT))])


def test_without_a_rival_one_stands_far_away():
    found = measured(sightings([(10, 0)], frame=1), memory_of(sightings([(0, 0)])))
    assert found["margin_query"][0] == pytest.approx(np.log((1 + SOFT) / (20 + SOFT)))


def test_sightings_of_different_rank_are_no_rivals():
    seen = sightings([(0, 0)])
    memory = Memory.like(seen).remember(seen, np.array([0]), 2).remember(sightings([(0, 0)], frame=1), np.array([0]), 2)
    found = measured(sightings([(10, 0)], frame=2), memory)
    assert found["margin_query"] == pytest.approx([np.log((1 + SOFT) / (20 + SOFT))] * 2)


def test_poses_are_compared_as_shapes_and_in_place():
    def posed(x, frame, keypoints):
        points = np.array([keypoints], float) + [x, 0]
        return sightings([(x, 0)], frame=frame, side=10, keypoints=points)

    pose = [(-3, 0), (0, 0), (3, 0)]
    same = measured(posed(0, 1, pose), memory_of(posed(0, 0, pose)))
    assert same["has_pose"][0] == 1.0 and same["pose_distance"][0] == 0.0 and same["pose_similarity"][0] == 1.0
    beside = measured(posed(20, 1, pose), memory_of(posed(0, 0, pose)))
    assert beside["pose_distance"][0] == 0.0 and beside["pose_similarity"][0] < 1e-6
    turned = measured(posed(0, 1, [(0, -3), (0, 0), (0, 3)]), memory_of(posed(0, 0, pose)))
    assert turned["pose_distance"][0] == pytest.approx(np.log1p((0.3 * np.sqrt(2)) * 2 / 3))
    half_seen = [(-3, 0), (np.nan, np.nan), (3, 0)]
    assert measured(posed(0, 1, half_seen), memory_of(posed(0, 0, pose)))["pose_distance"][0] == 0.0
    unseen = measured(sightings([(0, 0)], frame=1), memory_of(posed(0, 0, pose)))
    assert unseen["has_pose"][0] == 0.0


def test_how_alike_two_look_is_left_to_the_model():
    """`kintrack.models.likeness` fills it in: in training only the model has the features."""
    looking = sightings([(0, 0)], frame=1).with_columns(appearance=np.array([[0.6, 0.8]], np.float32))
    found = measured(looking, memory_of(sightings([(0, 0)]).with_columns(appearance=np.array([[1, 0]], np.float32))))
    assert all(found[name] == 0.0 for name in PAIR_FEATURES if "appearance" in name)


def test_what_is_measured_of_a_detection():
    columns = {
        "score": np.array([0.7]),
        "area": np.array([10.0]),
        "keypoints": np.array([[[0.0, 0], [np.nan, np.nan]]]),
    }
    seen = sightings([(0, 0)], side=(10, 4), **columns)
    found = dict(zip(NODE_FEATURES, node_features(seen)[0].astype(float), strict=True))
    assert found == pytest.approx(
        {"aspect": np.log(2.5), "score": 0.7, "has_score": 1, "fill": 0.25, "has_pose": 0.5, "crowding": np.log1p(FAR)}
    )


def test_points_and_rows_without_a_place_have_finite_measures():
    box = np.array([[5, 5, 5, 5], [np.nan] * 4, [9, 9, 9, 9]])
    seen = Sightings.of(Detections(frame=[0, 0, 0], box=box))
    assert np.isfinite(node_features(seen)).all()


def test_what_is_measured_of_neighbours():
    seen = sightings([(0, 0), (20, 0)], side=[[10, 10], [40, 40]])
    found = dict(zip(NEIGHBOUR_FEATURES, neighbour_features(seen, np.array([[0, 1]]))[0].astype(float), strict=True))
    assert found == pytest.approx({"distance": np.log1p(1), "overlap": 50 / 1650, "size_ratio": np.log(4)})


def looked_back(*frames):
    """What the last sighting of track 0 has of the earlier ones, oldest first, by name."""
    memory = memory_of(*frames, depth=9)
    values = history_features(memory.sightings, memory.history())
    return dict(zip(HISTORY_FEATURES, values.T.astype(float), strict=True))


def test_what_is_measured_of_a_track_and_its_earlier_sightings():
    found = looked_back(
        sightings([(0, 0)], side=(40, 10)), sightings([(10, 0)], frame=1), sightings([(20, 5)], frame=4)
    )
    assert found["gap"] == pytest.approx(np.log1p([4, 3]))
    distance = np.hypot([20, 10], 5) / 10
    assert found["distance"] == pytest.approx(np.log1p(distance))
    assert found["distance_per_gap"] == pytest.approx(np.log1p(distance / np.sqrt([4, 3])))
    assert found["size_ratio"] == pytest.approx([np.log(2), 0.0])
    assert found["aspect_change"] == pytest.approx([np.log(4), 0.0])
    assert found["overlap"] == pytest.approx([25 / 475, 0.0])


def test_the_past_lies_along_the_way_of_a_track():
    found = looked_back(*(sightings([(0, 10.0 * t)], frame=t) for t in range(4)))
    assert found["along"] == pytest.approx(np.log1p([3, 2, 1]))
    assert found["across"] == pytest.approx([0.0] * 3, abs=1e-6)


def test_no_pairs_no_measures():
    seen = sightings([(0, 0)])
    assert history_features(seen, np.zeros((0, 2), int)).shape == (0, len(HISTORY_FEATURES))
    assert pair_features(seen, Memory.like(seen), np.zeros((0, 2), int)).shape == (0, len(PAIR_FEATURES))
