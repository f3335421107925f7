"""Worlds: the truth is what the config says, and only that."""

import itertools

import numpy as np
import pytest

from kintrack.core import boxes
from kintrack.core.tracks import same_tracks
from kintrack.errors import ConfigError
from kintrack.sim import PRESETS, find_world, simulate, stage

FAMILIES = [
    "run_and_tumble", "ornstein_uhlenbeck", "brownian", "bouts", "flock", "follow", "formation", "circle", "trail",
]  # fmt: skip


def steps(tracks):
    """(E,) displacement in pixels of every link between neighbouring frames."""
    links, frame = tracks.links(), tracks.detections.frame
    links = links[frame[links[:, 1]] - frame[links[:, 0]] == 1]
    return np.linalg.norm(np.diff(tracks.detections.centre[links], axis=1)[:, 0], axis=1)


def same(a, b):
    columns_a, columns_b = a.detections.columns(), b.detections.columns()
    return (
        columns_a.keys() == columns_b.keys()
        and (a.track == b.track).all()
        and all(np.array_equal(columns_a[k], columns_b[k], equal_nan=True) for k in columns_a)
    )


@pytest.mark.parametrize("name", PRESETS)
def test_the_same_seed_gives_the_same_world_and_another_seed_another(name):
    world = find_world({"preset": name, "n_frames": 40})
    assert same(simulate(world, 3), simulate(world, 3))
    assert not np.array_equal(simulate(world, 3).detections.box, simulate(world, 4).detections.box)


@pytest.mark.parametrize("name", PRESETS)
def test_a_coarser_frame_rate_looks_at_the_same_world_less_often(name):
    fine = simulate({"preset": name, "n_frames": 90}, 1)
    coarse = simulate({"preset": name, "n_frames": 30, "stride": 3}, 1)
    left = fine.take(fine.detections.frame % 3 == 0)
    assert (left.detections.frame == 3 * coarse.detections.frame).all()
    assert np.array_equal(left.detections.box, coarse.detections.box)
    assert same_tracks(left.track, coarse.track)
    assert coarse.detections.video.fps == fine.detections.video.fps / 3


def test_half_the_frame_rate_doubles_the_displacement_of_ballistic_motion():
    straight = {"arena": (9000, 9000), "persistence": 1e9, "speed": 0.2, "n_frames": 50, "body": "box", "wobble": 0}
    single, double = (steps(simulate(straight | {"stride": stride}, 5)) for stride in (1, 2))
    assert np.median(double) == pytest.approx(2 * np.median(single), rel=0.05)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("speed", [0.05, 0.3])
def test_speed_is_in_sizes_per_frame(family, speed):
    world = {"family": family, "speed": speed, "n_individuals": 25, "n_frames": 600, "arena": (900, 900)}
    still = {"body": "point", "speed_spread": 0.0, "size_spread": 0.0, "size": 20}
    moved = steps(simulate(world | still, 2))
    assert np.sqrt((moved**2).mean()) / 20 == pytest.approx(speed, rel=0.12)


def test_unsteady_individuals_are_mostly_calm_and_sometimes_very_fast():
    world = {
        "n_individuals": 40,
        "n_frames": 400,
        "arena": (4000, 4000),
        "body": "point",
        "size": 20,
        "speed_spread": 0,
    }
    steady, unsteady = (steps(simulate(world | {"unsteadiness": spread}, 0)) for spread in (0.0, 1.0))
    assert np.quantile(steady, 0.99) < 2 * np.median(steady)
    assert np.quantile(unsteady, 0.99) > 6 * np.median(unsteady)
    assert np.sqrt((unsteady**2).mean()) == pytest.approx(np.sqrt((steady**2).mean()), rel=0.25)


def test_sizes_and_aspects_are_as_told():
    still = {"n_individuals": 400, "n_frames": 1, "body": "box", "wobble": 0, "arena": (90000, 90000)}
    tracks = simulate(still | {"size": 25, "aspect": 3.0, "size_spread": 0.2}, 0)
    side = boxes.sides(tracks.detections.box)
    size = np.sqrt(side.prod(axis=1))
    assert np.median(size) == pytest.approx(25, rel=0.05)
    assert np.log(size).std() == pytest.approx(0.2, rel=0.15)
    assert np.median(side[:, 1] / side[:, 0]) == pytest.approx(3.0, rel=0.05)


def test_walls_keep_everybody_in_view_in_every_frame():
    tracks = simulate({"n_individuals": 12, "n_frames": 200, "speed": 0.5, "arena": (200, 200)}, 0)
    assert len(tracks) == 12 * 200 and len(tracks.ids) == 12
    assert tracks.detections.box.min() >= 0 and tracks.detections.box.max() <= 200


def test_open_borders_let_individuals_leave_and_others_enter():
    world = {"n_individuals": 20, "n_frames": 400, "speed": 0.3, "arena": (300, 300), "border": "open"}
    tracks = simulate(world, 0)
    first, last = np.array(list(tracks.spans().values())).T
    assert len(tracks.ids) > 60
    assert (first > 0).sum() > 20 and (last < 399).sum() > 20
    assert len(tracks) / 400 == pytest.approx(20, rel=0.2)


def test_who_returns_in_time_is_the_same_and_who_stays_away_is_another():
    world = {"n_individuals": 20, "n_frames": 400, "speed": 0.3, "arena": (300, 300), "border": "open"}
    gap = {}
    for limit in (5, 25, None):
        tracks = simulate(world | {"max_absence": limit}, 0)
        gaps = tracks.gaps()
        skipped = np.diff(tracks.detections.frame[gaps], axis=1)[:, 0] - 1
        gap[limit] = skipped.max(initial=0)
    assert 0 < gap[5] <= 5 < gap[25] <= 25 < gap[None]


def test_nobody_jumps_within_a_track_when_the_world_is_a_torus():
    world = {"n_individuals": 20, "n_frames": 300, "speed": 1.0, "size": 20, "arena": (300, 300), "border": "open",
             "outside": 0.05, "drift": 0.5, "speed_spread": 0.0, "size_spread": 0.0}  # fmt: skip
    tracks = simulate(world, 0)
    links = tracks.links()
    frames = np.diff(tracks.detections.frame[links], axis=1)[:, 0]
    moved = np.linalg.norm(np.diff(tracks.detections.centre[links], axis=1)[:, 0], axis=1)
    assert (moved <= frames * 30 + 20).all()  # (1 + 0.5) sizes a frame, and a box that is cut off at the border


def test_lifetimes_make_individuals_vanish_and_appear_anywhere():
    world = {
        "n_individuals": 10,
        "n_frames": 300,
        "lifetime": 30,
        "speed": 0.05,
        "border": "walls",
        "arena": (500, 500),
    }
    tracks = simulate(world, 0)
    assert len(tracks.ids) == pytest.approx(10 + 10 * 300 / 30, rel=0.3)
    assert np.bincount(tracks.detections.frame).tolist() == [10] * 300
    assert steps(tracks).max() < 30


def test_a_drift_carries_everybody_the_same_way():
    world = {"preset": "particles", "n_frames": 60, "lifetime": None, "speed": 0.02, "drift": 0.5}
    tracks = simulate(world, 0)
    links = tracks.links()
    moved = np.diff(tracks.detections.centre[links], axis=1)[:, 0]
    assert np.linalg.norm(moved.mean(axis=0)) == pytest.approx(3.0, rel=0.1)  # half of 6 pixels
    assert moved.std(axis=0).max() < 0.5


def test_a_camera_moves_everybody_at_once():
    world = {"n_individuals": 10, "n_frames": 100, "speed": 0.0, "wobble": 0, "body": "box", "arena": (2000, 2000)}
    still, shaken = (simulate(world | {"camera": camera}, 0) for camera in (0.0, 0.3))
    assert steps(still).max() == 0
    links = shaken.links()
    moved = np.diff(shaken.detections.centre[links], axis=1)[:, 0]
    frame = shaken.detections.frame[links[:, 1]]
    for one in (7, 50):
        assert np.ptp(moved[frame == one], axis=0).max() < 1e-9 < np.abs(moved[frame == one]).min()


@pytest.mark.parametrize("seed", range(3))
def test_crossings_really_happen_in_the_crossing_world(seed):
    tracks = simulate("crossing", seed)
    met = set()
    for frame in range(tracks.detections.n_frames):
        rows = tracks.detections.rows(frame, frame + 1)
        i, j = np.nonzero(np.triu(boxes.iou(tracks.detections.box[rows], tracks.detections.box[rows]) > 0.3, 1))
        ids = tracks.track[rows]
        met |= {(min(a, b), max(a, b), frame) for a, b in zip(ids[i].tolist(), ids[j].tolist(), strict=True)}
    pairs = {(a, b) for a, b, _ in met}
    assert len(pairs) >= 2
    for a, b in pairs:  # they meet and part: no pair overlaps all the time
        assert sum((a, b) == pair[:2] for pair in met) < 200


def test_the_order_of_rows_in_a_frame_says_nothing_of_identities():
    tracks = simulate("fish", 0)
    order = [tracks.track[tracks.detections.rows(t, t + 1)].tolist() for t in range(30)]
    assert all(a != b for a, b in itertools.pairwise(order)) and sorted(order[0]) == sorted(order[1])


def test_limbs_stretch_boxes_outwards_and_leave_the_rest_as_it_is():
    world = {"n_individuals": 12, "n_frames": 200, "body": "box", "arena": (4000, 4000), "size": 40, "wobble": 0}
    rigid, moving = (simulate(world | {"limbs": limbs}, 0).detections for limbs in (0.0, 0.1))
    out = (moving.box - rigid.box) * [-1, -1, 1, 1] / boxes.size(rigid.box)[:, None]
    assert out.min() >= -1e-9 and (out < 0.01).mean() > 0.4  # at rest half of the time
    assert out.std() == pytest.approx(0.1, rel=0.15)


def test_individuals_who_avoid_each_other_overlap_less_and_are_the_same_ones():
    world = {"preset": "bees", "n_individuals": 30, "arena": (400, 300), "size": 40, "n_frames": 100, "body": "box"}
    near, apart = (simulate(world | {"avoidance": room}, 0) for room in (0.0, 1.2))

    def overlap(tracks):
        box, frame = tracks.detections.box, tracks.detections.frame
        shared = [boxes.iou(b, b) - np.eye(len(b)) for b in (box[frame == t] for t in range(0, 100, 10))]
        return np.mean([s.max(axis=1).mean() for s in shared])

    assert overlap(apart) < 0.7 * overlap(near)
    assert (near.track == apart.track).all() and (near.detections.frame == apart.detections.frame).all()


def test_avoidance_is_the_same_at_every_frame_rate():
    world = {"preset": "bees", "avoidance": 1.5, "nests": 1, "arena": (300, 300)}
    fine, coarse = (simulate(world | {"n_frames": 90 // k, "stride": k}, 1) for k in (1, 3))
    left = fine.take(fine.detections.frame % 3 == 0)
    assert np.array_equal(left.detections.box, coarse.detections.box) and same_tracks(left.track, coarse.track)


def test_sides_are_remembered_as_long_as_told():
    world = {"n_individuals": 30, "n_frames": 400, "body": "box", "arena": (9000, 9000), "wobble": 0.1}

    def memory(persistence):
        tracks = simulate(world | {"wobble_persistence": persistence}, 0)
        side = np.log(boxes.sides(tracks.detections.box[tracks.links()]))
        return np.diff(side, axis=1).std() / 0.1

    for persistence in (3.0, 30.0):  # the spread of x[t+1] - x[t] of the autoregression
        assert memory(persistence) == pytest.approx(np.sqrt(2 - 2 * np.exp(-1 / persistence)), rel=0.1)


def test_articulated_bodies_have_keypoints_inside_their_boxes_and_a_skeleton():
    detections = simulate("flies", 0).detections
    assert detections.keypoints.shape[1:] == (5, 2)
    assert detections.skeleton.names == ("head", "thorax", "abdomen", "left", "right")
    assert detections.skeleton.symmetries == ((3, 4),)
    assert np.array_equal(boxes.around_points(detections.keypoints), detections.box)


def test_heads_go_ahead():
    world = {"preset": "flies", "persistence": 1e9, "family": "run_and_tumble", "arena": (5000, 5000)}
    tracks = simulate(world, 0)
    links = tracks.links()
    moved = np.diff(tracks.detections.centre[links], axis=1)[:, 0]
    body = tracks.detections.keypoints[links[:, 0]]
    assert np.median((moved * (body[:, 0] - body[:, 2])).sum(axis=1)) > 0


@pytest.mark.parametrize("body", ["point", "box", "ellipse", "articulated"])
def test_a_world_without_individuals_is_an_empty_table(body):
    tracks = simulate({"n_individuals": 0, "n_frames": 5, "body": body, "border": "open"}, 0)
    assert len(tracks) == 0 and tracks.detections.box.shape == (0, 4) and tracks.detections.n_frames == 5


@pytest.mark.parametrize("body", ["point", "box", "ellipse", "articulated"])
def test_a_world_of_one_individual_and_one_frame(body):
    assert len(simulate({"n_individuals": 1, "n_frames": 1, "body": body}, 0)) == 1


def test_points_have_boxes_of_no_area_and_ellipses_have_mask_areas():
    points, ellipse = (simulate(name, 0).detections for name in ("particles", "fish"))
    assert boxes.area(points.box).max() == 0
    share = ellipse.area / boxes.area(ellipse.box)
    assert share.max() <= np.pi / 4 + 1e-9 and share.min() > 0.1


def test_the_scene_knows_the_bodies_of_every_row():
    for name in ("flies", "dancers", "particles"):
        scene = stage(find_world({"preset": name, "n_frames": 20}), 0)
        n = len(scene.tracks)
        assert scene.centre.shape == (n, scene.length.shape[1], 2) and len(scene.camera) == 20
        assert scene.length.shape == scene.width.shape == scene.heading.shape


def test_an_unknown_world_names_the_nearest():
    with pytest.raises(ConfigError, match="there is no world named 'dancer': did you mean 'dancers'"):
        simulate("dancer")
    with pytest.raises(ConfigError, match="there is no world named 'bee': did you mean 'bees'"):
        simulate({"preset": "bee"})


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown option 'n_individual': did you mean 'n_individuals'"):
        simulate({"n_individual": 3})


def test_impossible_worlds_are_refused():
    with pytest.raises(ConfigError, match="drift carries everybody into a wall; set border to 'open', or drift to 0"):
        simulate({"drift": 0.1})
    with pytest.raises(ConfigError, match=r"arena is \(0, 5\); wanted a width and a height of at least 1 pixel"):
        simulate({"arena": (0, 5)})
