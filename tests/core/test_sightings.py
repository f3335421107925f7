"""What an associator knows of detections, and the memory of tracks."""

import numpy as np
import pytest

from kintrack.core.detections import Detections
from kintrack.core.sightings import (
    DAMPING,
    FAR,
    FAST,
    FILTERS,
    SCATTER,
    SHAPES,
    SLOW,
    SMOOTH,
    STEADY,
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


def one_track(centres, frames=None, size=10.0):
    """The last sighting of a track that was seen at (n, 2) centres, in consecutive frames unless others are given."""
    memory = Memory.like(seen_at((0, 0), size=size))
    for t, centre in zip(range(len(centres)) if frames is None else frames, centres, strict=True):
        memory = memory.remember(seen_at(centre, frame=t, size=size), np.array([0]), depth=1)
    return memory.sightings


def test_before_a_track_is_known_a_detection_is_at_its_place_and_at_rest():
    seen = seen_at((3, 4), (50, 60))
    assert seen.level.tolist() == [[[3.0, 4.0]] * len(FILTERS), [[50.0, 60.0]] * len(FILTERS)]
    assert not seen.velocity.any() and not seen.scatter.any() and not seen.count.any()


def test_the_second_sighting_is_taken_whole_by_every_filter():
    last = one_track([(0, 0), (10, 4)])
    assert last.level[0].tolist() == [[10.0, 4.0]] * len(FILTERS)
    assert last.velocity[0].tolist() == [[10.0, 4.0]] * len(FILTERS)
    assert last.count.tolist() == [2] and last.scatter.tolist() == [0.0]


def test_velocity_counts_real_frames():
    assert one_track([(0, 0), (40, 0)], frames=[0, 4]).velocity[0].tolist() == [[10.0, 0.0]] * len(FILTERS)


def test_a_surprise_corrects_place_and_velocity_by_each_filters_shares():
    """Long after its start, when the shares are the filters' own; the surprise is 10 pixels, after 1 frame or 3."""
    for gap in (1, 3):
        path = [(5.0 * t, 0.0) for t in range(40)]
        before = one_track(path)
        assert before.velocity[0, :, 0] == pytest.approx([5.0] * len(FILTERS))
        expected = path[-1][0] + travel(before.velocity, np.array([gap]))[0, :, 0]
        last = one_track([*path, (expected[0] + 10.0, 0.0)], frames=[*range(40), 39 + gap])
        a, b = 1 - (1 - np.array(FILTERS).T) ** gap
        assert last.level[0, :, 0] == pytest.approx(expected + a * 10)
        assert last.velocity[0, :, 0] == pytest.approx(5.0 + b * 10 / gap)


def test_a_straight_line_is_followed_exactly_by_every_filter():
    line = np.array([3.0, -7.0]) + np.arange(30)[:, None] * [2.5, -1.25]
    for n in (2, 3, 4, 10, 30):
        last = one_track(line[:n])
        assert last.level[0] == pytest.approx(np.tile(line[n - 1], (len(FILTERS), 1)))
        assert last.velocity[0] == pytest.approx(np.tile([2.5, -1.25], (len(FILTERS), 1)))
        assert last.scatter[0] == pytest.approx(0.0, abs=1e-18)


def many_tracks(centres):
    """The last sightings of m tracks that were seen at (n, m, 2) centres in consecutive frames."""
    memory = Memory.like(seen_at((0, 0)))
    for t, found in enumerate(centres):
        memory = memory.remember(seen_at(*found, frame=t), np.arange(len(found)), depth=1)
    return memory.sightings


def jittered(n, sigma, m=200):
    """(n, m, 2) straight lines of m tracks, and what a detector makes of them."""
    rng = np.random.default_rng(0)
    line = np.arange(n)[:, None, None] * rng.normal(0, 3, (m, 2))
    return line, line + rng.normal(0, sigma, (n, m, 2))


def test_a_jittered_line_is_followed_better_than_by_its_last_step():
    """And the better, the more a filter trusts the past."""
    line, seen = jittered(31, sigma=2.0)
    last = many_tracks(seen[:-1])
    expected = last.level + travel(last.velocity, np.ones(len(last)))
    off = np.sqrt(((expected - line[-1][:, None]) ** 2).sum(axis=2).mean(axis=0))
    last_step = np.sqrt(((2 * seen[-2] - seen[-3] - line[-1]) ** 2).sum(axis=1).mean())
    assert last_step > off[FAST] > off[SLOW] > off[SMOOTH] > off[STEADY]
    assert off[SMOOTH] < 0.6 * last_step and off[STEADY] < 0.4 * last_step


@pytest.mark.parametrize("n", range(2, 12))
def test_a_young_track_is_the_line_that_fits_its_sightings_best(n):
    """The growing-memory gains against least squares, as long as the steady filter's own shares are smaller."""
    room = n * (n + 1)
    assert FILTERS[STEADY][0] <= (4 * n - 2) / room and FILTERS[STEADY][1] <= 6 / room
    seen = np.random.default_rng(n).normal(0, 5, (n, 2))
    last = one_track(seen)
    slope, intercept = np.polyfit(np.arange(n), seen, 1)
    assert last.velocity[0, STEADY] == pytest.approx(slope)
    assert last.level[0, STEADY] == pytest.approx(intercept + (n - 1) * slope)


def test_scatter_is_the_jitter_that_was_put_in():
    """On a line with white jitter of s pixels along each axis, the expected squared surprise is

        2 s^2 (1 + (2 a^2 + a b + 2 b) / (a (4 - 2 a - b)))

    for the shares a, b of an alpha-beta filter that has settled (Bar-Shalom, Li and Kirubarajan 2001, section 6.5).
    """
    a, b = FILTERS[SMOOTH]
    noise = 1 + (2 * a * a + a * b + 2 * b) / (a * (4 - 2 * a - b))
    for sigma in (0.5, 4.0):
        assert many_tracks(jittered(40, sigma)[1]).scatter.mean() == pytest.approx(2 * sigma**2 * noise, rel=0.1)


def test_scatter_is_a_mean_that_forgets():
    """Of the first surprises the plain mean; later ones weigh as much as SCATTER says. The first step says nothing."""
    seen = [(0, 0), (10, 0), (20, 3), (30, 0), (40, 5)]
    squares = []
    for n in range(3, 6):
        before = one_track(seen[: n - 1])
        expected = before.level[0, SMOOTH] + before.velocity[0, SMOOTH]
        squares.append(((np.array(seen[n - 1]) - expected) ** 2).sum())
        assert one_track(seen[:n]).scatter[0] == pytest.approx(np.mean(squares))
    line = [(10.0 * t, 0.0) for t in range(20)]
    assert one_track([*line, (200.0, 6.0)]).scatter[0] == pytest.approx(SCATTER * 36)
    assert one_track([*line, (400.0, 6.0)], frames=[*range(20), 21]).scatter[0] > 0  # per frame of the gap


def test_shape_is_a_mean_of_sides_in_logarithms_that_forgets():
    def shape(*sides):
        memory = Memory.like(seen_at((0, 0)))
        for t, (w, h) in enumerate(sides):
            seen = Sightings.of(Detections(frame=[t], box=[[-w / 2, -h / 2, w / 2, h / 2]]))
            memory = memory.remember(seen, np.array([0]), depth=1)
        return memory.sightings.shape[0, 0]

    assert shape((4, 9)) == pytest.approx(np.log([4, 9]))
    assert shape((4, 9), (16, 9), (8, 9)) == pytest.approx(np.log([8, 9]))  # the geometric mean
    assert shape(*[(4, 9)] * 30, (16, 9)) == pytest.approx(np.log([4 * 4 ** SHAPES[0], 9]))
    assert seen_at((0, 0), size=0.0).shape.tolist() == [[[0.0, 0.0]] * 2]


def test_history_leads_from_a_tracks_last_sighting_to_those_remembered_from_before():
    memory = remembered([(0, 0), (50, 0)], [(1, 0), (51, 0)], [(2, 0)], depth=3)
    frames = {
        (int(memory.track[a]), int(memory.sightings.frame[a]), int(memory.sightings.frame[b]))
        for a, b in memory.history()
    }
    assert frames == {(0, 2, 0), (0, 2, 1), (1, 1, 0)}
    of_one_frame = memory.history(frame=2)
    assert {int(memory.track[a]) for a, _ in of_one_frame} == {0} and len(of_one_frame) == 2
    assert memory.history(frame=0).shape == (0, 2)


def test_tracks_of_one_sighting_have_no_history():
    assert remembered([(0, 0), (50, 0)]).history().shape == (0, 2)
    assert remembered([(0, 0)], [(1, 0)], depth=1).history().shape == (0, 2)
    assert Memory.like(seen_at((0, 0))).history().shape == (0, 2)


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
    velocity = np.array([[2.0, 0.0], [0.0, 0.0]])
    assert travel(velocity, np.array([1, 1])) == pytest.approx(velocity)
    assert travel(velocity, np.array([3, 3]))[:, 0] == pytest.approx([2 * (1 + DAMPING + DAMPING**2), 0.0])
    assert travel(velocity, np.array([0, 0])).tolist() == [[0.0, 0.0]] * 2


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


def test_candidates_are_the_nearest_tracks_within_the_gate_by_their_last_sightings():
    memory = remembered([(0, 0), (30, 0), (500, 0)], [(0, 0), (30, 0), (500, 0)])
    query = seen_at((10, 0), (0, 900), frame=2)
    pairs = {k: candidates(query, memory, k, 6.0, 25) for k in (1, 2, 3)}
    tracks = {k: sorted(memory.track[found[:, 1]].tolist()) for k, found in pairs.items()}
    assert tracks == {1: [0], 2: [0, 1], 3: [0, 1]}
    assert all((found[:, 0] == 0).all() and not memory.rank[found[:, 1]].any() for found in pairs.values())


def test_if_asked_for_all_remembered_sightings_of_the_nearest_tracks_are_candidates():
    memory = remembered([(0, 0), (30, 0), (500, 0)], [(0, 0), (30, 0), (500, 0)])
    query = seen_at((10, 0), frame=2)
    pairs = {k: candidates(query, memory, k, 6.0, 25, every_sighting=True) for k in (1, 2, 3)}
    tracks = {k: sorted(memory.track[found[:, 1]].tolist()) for k, found in pairs.items()}
    assert tracks == {1: [0, 0], 2: [0, 0, 1, 1], 3: [0, 0, 1, 1]}


def test_no_memory_or_no_query_means_no_candidates():
    memory = remembered([(0, 0)])
    assert candidates(seen_at(frame=1), memory, 3, 6.0, 25).shape == (0, 2)
    assert candidates(seen_at((0, 0)), Memory.like(memory.sightings), 3, 6.0, 25).shape == (0, 2)


def test_sightings_in_three_dimensions():
    box = np.array([[0, 0, 0, 2, 2, 2], [5, 5, 5, 7, 7, 7]], float)
    seen = Sightings.of(Detections(frame=[0, 1], box=box))
    assert seen.size.tolist() == pytest.approx([2.0, 2.0])
    assert seen.velocity.shape == seen.level.shape == (2, len(FILTERS), 3) and seen.shape.shape == (2, 2, 3)
    memory = Memory.like(seen)
    for t in range(2):
        memory = memory.remember(seen.take([t]), np.array([0]), depth=2)
    assert memory.sightings.velocity[memory.last[0]].tolist() == [[5.0] * 3] * len(FILTERS)
