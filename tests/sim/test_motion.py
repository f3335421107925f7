"""Families of motion: speeds as told, persistence as told, nobody outside the arena."""

import numpy as np
import pytest

from kintrack.errors import InputError
from kintrack.sim.bodies import chains, ellipses, spines, turn_after
from kintrack.sim.motion import FAMILIES, Arena, Crowd, along, generator, kept_apart, smooth_noise


def crowd(n=40, side=2000.0, speed=3.0, is_open=False, persistence=20.0):
    return Crowd(
        Arena(np.zeros((n, 2)), np.full((n, 2), side), is_open), np.full((1, n), speed), np.full(n, 20.0), persistence
    )


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


def test_the_same_generator_state_gives_the_same_paths(family):
    a, b = (family(np.random.default_rng(5), 50, crowd()) for _ in range(2))
    assert (a.position == b.position).all() and (a.heading == b.heading).all()
    other = family(np.random.default_rng(6), 50, crowd())
    assert (other.position != a.position).any()


@pytest.mark.parametrize("is_open", [False, True])
def test_speed_is_the_root_mean_square_displacement(family, is_open):
    # Small enough for the dancers of `formation` to exchange places several times.
    paths = family(np.random.default_rng(1), 1500, crowd(side=600.0, is_open=is_open))
    step = np.diff(paths.position, axis=0)
    folded = Arena(np.zeros((40, 2)), np.full((40, 2), 600.0), is_open)
    assert np.sqrt((step**2).sum(axis=-1).mean()) == pytest.approx(3.0, rel=0.1)
    confined, _ = folded.confine(paths.position)
    assert confined.min() >= 0 and confined.max() <= 600


def test_paths_have_one_place_for_each_individual_in_each_frame(family):
    for n, n_frames in [(0, 7), (1, 7), (3, 1)]:
        paths = family(np.random.default_rng(0), n_frames, crowd(n))
        assert paths.position.shape == (n_frames, n, 2) and paths.heading.shape == (n_frames, n)
        assert np.isfinite(paths.position).all() and np.isfinite(paths.heading).all()


def test_nobody_moves_at_speed_zero(family):
    paths = family(np.random.default_rng(0), 30, crowd(5, speed=0.0))
    assert np.ptp(paths.position, axis=0).max() == 0


@pytest.mark.parametrize("name", ["run_and_tumble", "ornstein_uhlenbeck", "flock"])
def test_directions_last_longer_with_more_persistence(name):
    def memory(persistence):
        paths = FAMILIES[name](np.random.default_rng(2), 400, crowd(12, side=1e6, persistence=persistence))
        step = np.diff(paths.position, axis=0)
        return (step[10:] * step[:-10]).sum() / (step[10:] ** 2).sum()

    assert memory(3.0) < 0.5 < memory(200.0)


def test_brownian_steps_know_nothing_of_each_other():
    step = np.diff(FAMILIES["brownian"](np.random.default_rng(2), 2000, crowd(10)).position, axis=0)
    assert abs((step[1:] * step[:-1]).sum() / (step**2).sum()) < 0.03


def test_a_flock_is_of_one_mind_and_runners_are_not():
    def order(name):
        heading = FAMILIES[name](np.random.default_rng(3), 300, crowd(30, side=300.0, is_open=True)).heading[-100:]
        return np.linalg.norm(along(heading).mean(axis=1), axis=-1).mean()

    assert order("flock") > 0.7 > 0.5 > order("run_and_tumble")


def test_bouts_alternate_rest_and_speed():
    paths = FAMILIES["bouts"](np.random.default_rng(3), 1000, crowd(10, persistence=40.0))
    speed = np.linalg.norm(np.diff(paths.position, axis=0), axis=-1)
    assert np.median(speed) < 0.25 * np.sqrt((speed**2).mean())
    assert np.quantile(speed, 0.95) > 2 * np.sqrt((speed**2).mean())


def test_followers_stay_nearer_to_somebody_than_runners():
    def nearest(name):
        position = FAMILIES[name](np.random.default_rng(3), 600, crowd(8, side=1000.0)).position[300:]
        apart = np.linalg.norm(position[:, :, None] - position[:, None], axis=-1) + 1e9 * np.eye(8)
        return np.median(apart.min(axis=2))

    assert nearest("follow") < 0.6 * nearest("run_and_tumble")


def test_who_circles_comes_back_again_and_again():
    position = FAMILIES["circle"](np.random.default_rng(1), 900, crowd(20, side=3000.0, persistence=15.0)).position
    step = np.diff(position, axis=0)
    turn = np.angle(np.exp(1j * np.diff(np.arctan2(step[..., 1], step[..., 0]), axis=0)))
    assert (np.abs(turn.sum(axis=0)) > 4 * 2 * np.pi).all()  # at least four rounds, and never the other way
    assert (np.sign(turn) == np.sign(turn.sum(axis=0))).mean() > 0.99
    assert np.linalg.norm(position[-1] - position[0], axis=-1).max() < 0.3 * 3.0 * 900


def test_some_circles_are_mills_around_one_centre():
    def spread(seed):
        centre = FAMILIES["circle"](np.random.default_rng(seed), 2000, crowd(30)).position.mean(axis=0)
        return centre.std(axis=0).max()

    spreads = np.array([spread(seed) for seed in range(12)])
    assert (spreads < 100).any() and (spreads > 300).any()


def test_on_a_trail_everybody_goes_where_others_went_in_both_directions():
    paths = FAMILIES["trail"](np.random.default_rng(0), 1500, crowd(40, side=1000.0, speed=5.0))
    place = paths.position[::10].reshape(-1, 2)
    cells = len(np.unique((place // 40).astype(int), axis=0))
    spread = FAMILIES["run_and_tumble"](np.random.default_rng(0), 1500, crowd(40, side=1000.0, speed=5.0))
    confined, _ = Arena(np.zeros((40, 2)), np.full((40, 2), 1000.0)).confine(spread.position[::10])
    assert cells < 0.6 * len(np.unique((confined.reshape(-1, 2) // 40).astype(int), axis=0))
    step = np.diff(paths.position, axis=0)
    ahead = (step * along(paths.heading[1:])).sum(axis=-1) / np.linalg.norm(step, axis=-1)
    assert np.median(ahead) > 0.98


def test_two_dancers_exchange_their_places():
    position = FAMILIES["formation"](np.random.default_rng(0), 600, crowd(2, side=300.0)).position
    between = position[:, 1] - position[:, 0]
    apart = np.linalg.norm(between, axis=-1)
    assert apart.min() < 0.2 * apart.max()
    side = between @ between[apart.argmax()] / apart.max() ** 2  # 1 where they were when farthest apart, -1 exchanged
    assert side.max() == 1.0 and side.min() < -0.8


def test_walls_reflect_and_a_torus_goes_around():
    lower, upper = np.zeros((1, 2)), np.full((1, 2), 10.0)
    outside = np.array([[-3.0, 25.0]])
    place, sign = Arena(lower, upper).confine(outside)
    assert place.tolist() == [[3.0, 5.0]] and sign.tolist()[0][0] == -1.0
    torus = Arena(lower, upper, is_open=True)
    assert torus.confine(outside)[0].tolist() == [[7.0, 5.0]]
    assert torus.rounds(outside).tolist() == [[-1, 2]]
    assert Arena(lower, upper).rounds(outside).tolist() == [[0, 0]]


def test_offsets_on_a_torus_lead_the_short_way():
    two = np.array([[1.0, 5.0], [9.0, 5.0]])
    lower, upper = np.zeros((2, 2)), np.full((2, 2), 10.0)
    assert Arena(lower, upper, is_open=True).offsets(two)[0][0, 1] == -2.0
    assert Arena(lower, upper).offsets(two)[0][0, 1] == 8.0


def test_who_is_too_near_is_pushed_apart_and_nobody_else_is():
    place = np.array([[[0.0, 0.0], [6.0, 0.0], [500.0, 0.0]]])
    there, reach = np.ones((1, 3), bool), np.full(3, 20.0)
    apart = kept_apart(place, reach, there)
    assert 12 < apart[0, 1, 0] - apart[0, 0, 0] <= 20 and (apart[..., 1] == 0).all()
    assert apart[0, 2].tolist() == [500.0, 0.0]
    assert apart[0].mean(axis=0) == pytest.approx(place[0].mean(axis=0))  # nobody is pushed more than pushing
    assert np.array_equal(kept_apart(place, reach, np.array([[True, False, True]])), place)
    assert np.array_equal(kept_apart(place, reach * 0.1, there), place)


def test_who_crosses_another_ones_path_does_so_without_a_leap():
    x = np.linspace(-50, 50, 401)
    place = np.stack([np.stack([x, np.full_like(x, 0.5)], axis=1), np.stack([-x, np.full_like(x, -0.5)], axis=1)], 1)
    apart = kept_apart(place, np.full(2, 20.0), np.ones((401, 2), bool))
    assert apart[0, 0, 0] < apart[0, 1, 0] and apart[-1, 0, 0] > apart[-1, 1, 0]
    assert np.linalg.norm(np.diff(apart, axis=0), axis=-1).max() < 0.25 * 20


def test_smooth_noise_is_standard_and_remembers():
    noise = smooth_noise(np.random.default_rng(0), 4000, (20,), 10.0)
    assert noise.std() == pytest.approx(1.0, abs=0.05)
    assert (noise[10:] * noise[:-10]).mean() == pytest.approx(np.exp(-1), abs=0.07)


def test_bodies_turn_no_faster_than_they_may():
    lying = turn_after(np.array([[0.0], [3.0], [-3.0], [-3.0]]), 0.5)
    assert lying[:, 0] == pytest.approx([0.0, 0.5, 1.0, 1.5])  # from 0.5 it is nearer to -3.0 by way of pi


def test_an_ellipse_fits_its_box_from_inside():
    a, b, h = 30.0, 10.0, 0.7
    shape = ellipses(np.array([[50.0, 40.0]]), np.array([2 * a]), np.array([2 * b]), np.array([h]))
    angle = np.linspace(0, 2 * np.pi, 5000)
    turn = np.array([[np.cos(h), np.sin(h)], [-np.sin(h), np.cos(h)]])
    rim = [50, 40] + np.stack([a * np.cos(angle), b * np.sin(angle)], axis=1) @ turn
    assert shape.box[0] == pytest.approx([*rim.min(axis=0), *rim.max(axis=0)], abs=1e-3)
    assert shape.area == pytest.approx(np.pi * a * b)


def test_a_spine_starts_at_the_head_and_has_its_middle_in_the_centre():
    spine = spines(np.array([[10.0, 10.0]]), np.array([8.0]), np.zeros((1, 2)))
    assert spine.tolist() == [[[14.0, 10.0], [10.0, 10.0], [6.0, 10.0]]]
    shape = chains(spine, np.array([6.0]), np.zeros((1, 2)))
    assert shape.box.round(6).tolist() == [[6.0, 7.0, 14.0, 13.0]]
    assert shape.keypoints.shape == (1, 5, 2)


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(InputError, match=r"seed is .*; wanted a whole number of at least 0, or a numpy Generator"):
        generator(seed)


def test_a_generator_as_seed_runs_on():
    rng = np.random.default_rng(0)
    assert generator(rng) is rng
