"""What an associator knows of detections, and the memory of tracks."""

import numpy as np
import pytest

from kintrack.core.detections import Detections
from kintrack.core.sightings import (
    DAMPING,
    FAR,
    FAST,
    SLOW,
    Memory,
    Sightings,
    candidates,
    gated_distance,
    neighbours,
    point_size,
    travel,
)


def seen_at(*centres, frame=0, size=10.0):
    """Sightings of one frame: boxes of `size` around the centres."""
    centre = np.array(centres, float).reshape(-1, 2)
    box = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    return Sightings.of(Detections(frame=np.full(len(centre), frame), box=box), size=size)


def remembered(*frames, depth=3):
    """The memory after frames of centres, each with the tracks 0, 1, 2, …"""
    memory = Memory.like(seen_at((0, 0)))
    for t, centres in enumerate(frames):
        if centres:
            memory = memory.remember(seen_at(*centres, frame=t), np.arange(len(centres)), depth)
    return memory


def test_a_box_is_as_large_as_the_square_of_its_area():
    seen = Sightings.of(Detections(frame=[0], box=[[0, 0, 20, 5]]))
    assert seen.size.tolist() == [10.0]


def test_a_point_is_as_large_as_the_tables_typical_object():
    seen = Sightings.of(Detections(frame=[0, 0, 0], box=[[0, 0, 10, 10], [50, 50, 50, 50], [90, 0, 110, 20]]))
    assert seen.size.tolist() == [10.0, 15.0, 20.0]


def test_points_alone_are_a_quarter_of_their_neighbours_distance():
    points = Detections(frame=[0, 0, 1, 1], box=[[0, 0, 0, 0], [40, 0, 40, 0], [0, 0, 0, 0], [0, 40, 0, 40]])
    assert point_size(points) == 10.0
    assert Sightings.of(points).size.tolist() == [10.0] * 4
    assert Sightings.of(points, size=7).size.tolist() == [7.0] * 4


def test_a_lonely_point_is_a_thirtieth_of_its_way():
    points = Detections(frame=[0, 1], box=[[0, 0, 0, 0], [300, 0, 300, 0]])
    assert point_size(points) == 10.0
    assert point_size(points.take([0])) == 1.0
    assert point_size(Detections.empty()) == 1.0


def test_a_detection_without_a_place_has_no_size_and_is_not_remembered():
    seen = Sightings.of(Detections(frame=[0, 0], box=[[0, 0, 10, 10], [np.nan] * 4]))
    assert np.isnan(seen.size).tolist() == [False, True]
    assert len(Memory.like(seen).remember(seen, np.array([0, 1]), depth=3)) == 1


def test_keypoints_without_a_box_are_nobodys_neighbour():
    lost = Detections(frame=[0, 0, 0], box=[[0, 0, 9, 9], [np.nan] * 4, [20, 0, 29, 9]], keypoints=[[[5, 5]]] * 3)
    seen = Sightings.of(lost)
    assert np.isnan(seen.centre[1]).all() and not np.isnan(seen.centre[[0, 2]]).any()
    assert 1 not in neighbours(seen.frame, seen.centre, 2)


def test_neighbours_are_the_nearest_of_the_same_frame():
    centre = np.array([[0, 0], [1, 0], [5, 0], [0.5, 0]], float)
    frame = np.array([0, 0, 0, 1])
    assert neighbours(frame, centre, 1).tolist() == [[0, 1], [1, 0], [2, 1]]
    assert sorted(map(tuple, neighbours(frame, centre, 9).tolist())) == [
        (a, b) for a in range(3) for b in range(3) if a != b
    ]


def test_coinciding_points_are_each_others_neighbours_and_never_their_own():
    pairs = neighbours(np.zeros(6, int), np.zeros((6, 2)), 2)
    assert len(pairs) == 12 and (pairs[:, 0] != pairs[:, 1]).all()


def test_crowding_is_the_distance_to_the_nearest_in_sizes():
    assert seen_at((0, 0), (30, 0), (1000, 0)).crowding.tolist() == [3.0, 3.0, FAR]
    assert seen_at((0, 0)).crowding.tolist() == [FAR]


def test_velocity_is_a_fast_and_a_slow_running_mean():
    memory = remembered([(0, 0)], [(10, 0)], [(30, 0)])
    last = memory.sightings.take(memory.last)
    assert last.velocity[0, :, 0] == pytest.approx([FAST * 20 + (1 - FAST) * 10, SLOW * 20 + (1 - SLOW) * 10])
    assert last.count.tolist() == [3]


def test_velocity_counts_real_frames():
    memory = remembered([(0, 0)], [], [], [], [(40, 0)])
    assert memory.sightings.velocity[memory.last][0, 0].tolist() == [10.0, 0.0]


def test_a_memory_keeps_the_last_few_sightings_of_each_track():
    memory = remembered([(0, 0), (50, 0)], [(1, 0), (51, 0)], [(2, 0)], [(3, 0)], depth=2)
    rows = sorted(zip(memory.track.tolist(), memory.rank.tolist(), memory.sightings.frame.tolist(), strict=True))
    assert rows == [(0, 0, 3), (0, 1, 2), (1, 0, 1), (1, 1, 0)]


def test_tracks_are_given_up_after_max_gap_and_sooner_when_seldom_seen():
    memory = remembered([(0, 0), (50, 0)], [(1, 0)], [(2, 0)])  # track 0 seen three times, track 1 once, in frame 0
    assert set(memory.live(10, max_gap=60, gap_per_sighting=4).track.tolist()) == {0}
    assert set(memory.live(4, max_gap=60, gap_per_sighting=4).track.tolist()) == {0, 1}
    assert set(memory.live(6, max_gap=4).track.tolist()) == {0}
    assert memory.live(3, max_gap=60) is memory


def test_an_expectation_is_damped_frame_by_frame():
    velocity = np.array([[2.0, 0.0], [np.nan, np.nan]])
    assert travel(velocity, np.array([1, 1])).tolist() == [[2.0, 0.0], [0.0, 0.0]]
    assert travel(velocity, np.array([3, 3]))[0, 0] == pytest.approx(2 * (1 + DAMPING + DAMPING**2))
    assert travel(velocity, np.array([0, 0]))[0, 0] == 0.0


def test_the_gate_is_in_sizes_and_widens_with_the_root_of_the_gap():
    memory = remembered([(0, 0)])
    last = memory.sightings
    assert gated_distance(seen_at((60, 0), frame=1), last, 25).tolist() == [[6.0]]
    assert gated_distance(seen_at((60, 0), frame=4), last, 25).tolist() == [[3.0]]
    assert gated_distance(seen_at((60, 0), frame=100), last, 25)[0, 0] == pytest.approx(6 / 5)


def test_a_moving_track_is_looked_for_where_it_is_expected():
    memory = remembered([(0, 0)], [(50, 0)])
    last = memory.sightings.take(memory.last)
    assert gated_distance(seen_at((100, 0), frame=2), last, 25)[0, 0] == pytest.approx(0.0)


def test_candidates_are_all_sightings_of_the_nearest_tracks_within_the_gate():
    memory = remembered([(0, 0), (30, 0), (500, 0)], [(0, 0), (30, 0), (500, 0)])
    query = seen_at((10, 0), frame=2)
    tracks = {k: sorted(memory.track[candidates(query, memory, k, 6.0, 25)[:, 1]].tolist()) for k in (1, 2, 3)}
    assert tracks == {1: [0, 0], 2: [0, 0, 1, 1], 3: [0, 0, 1, 1]}


def test_no_memory_or_no_query_means_no_candidates():
    memory = remembered([(0, 0)])
    assert candidates(seen_at(frame=1), memory, 3, 6.0, 25).shape == (0, 2)
    assert candidates(seen_at((0, 0)), Memory.like(memory.sightings), 3, 6.0, 25).shape == (0, 2)


def test_sightings_in_three_dimensions():
    box = np.array([[0, 0, 0, 2, 2, 2], [5, 5, 5, 7, 7, 7]], float)
    seen = Sightings.of(Detections(frame=[0, 1], box=box))
    assert seen.size.tolist() == pytest.approx([2.0, 2.0])
    assert seen.velocity.shape == (2, 2, 3)
