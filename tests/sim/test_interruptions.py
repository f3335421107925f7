"""What interrupts a path: it happens as often as told, and changes nothing else."""

import numpy as np
import pytest

from kintrack.core import boxes
from kintrack.errors import ConfigError
from kintrack.sim import simulate
from kintrack.sim.interruptions import rest
from kintrack.sim.motion import Paths

WALKERS = {
    "n_individuals": 15, "n_frames": 600, "arena": (600, 600), "size": 20, "body": "point", "speed": 0.1,
    "size_spread": 0.0, "speed_spread": 0.0,
}  # fmt: skip


def places(tracks, n):
    """(T, n, 2) positions of individuals who are all in view in every frame."""
    order = np.lexsort((tracks.track, tracks.detections.frame))
    return tracks.detections.centre[order].reshape(-1, n, 2)


def step_lengths(tracks):
    """(E,) displacement in sizes of 20 pixels of every link between neighbouring frames."""
    links, frame = tracks.links(), tracks.detections.frame
    links = links[frame[links[:, 1]] - frame[links[:, 0]] == 1]
    return np.linalg.norm(np.diff(tracks.detections.centre[links], axis=1)[:, 0], axis=1) / 20


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_individuals_rest_for_the_share_of_the_time_that_is_told(share):
    steps = step_lengths(simulate(WALKERS | {"rests": share, "n_frames": 1500}, 0))
    assert (steps == 0).mean() == pytest.approx(share, abs=0.05)
    moving = steps[steps > 0]
    assert np.sqrt((moving**2).mean()) == pytest.approx(0.1, rel=0.1)  # who moves is as fast as ever


def test_rests_last_as_long_as_told():
    line = np.arange(5000.0)[:, None, None] * np.ones((1, 10, 2))
    rested = rest(np.random.default_rng(0), Paths(line, np.zeros((5000, 10))), 0.5, 25.0).position[..., 0]
    still = np.diff(rested, axis=0) == 0
    n_rests = (np.diff(still.astype(int), axis=0) == 1).sum()
    assert still.sum() / n_rests == pytest.approx(25, rel=0.15)
    assert np.isin(np.diff(rested, axis=0), [0.0, 1.0]).all()


def test_flights_are_as_many_and_as_far_as_told():
    world = WALKERS | {"n_frames": 1000, "speed": 0.0, "arena": (20000, 20000), "family": "run_and_tumble"}
    steps = step_lengths(simulate(world | {"flights": 10.0, "flight_speed": 2.0, "flight_length": (4, 4)}, 0))
    assert (steps > 0).mean() == pytest.approx(10 / 1000 * 4, rel=0.25)
    alone = steps[(steps > 0) & (steps < 3.0)]
    assert alone.min() > 0.9 and np.median(alone) == pytest.approx(2.0, rel=0.15)
    assert (step_lengths(simulate(world, 0)) == 0).all()


@pytest.mark.parametrize("border", ["walls", "open"])
def test_nobody_leaps_on_the_way_to_a_meeting_or_a_nest(border):
    world = WALKERS | {"border": border, "meetings": 0.3, "nests": 2, "nest_visits": 8, "lifetime": 200}
    assert step_lengths(simulate(world, 1)).max() < 0.6  # both in a meeting move, and the way is taken twice as fast


def test_meetings_bring_two_together_and_part_them_again():
    def together(meetings):
        tracks = simulate(WALKERS | {"meetings": meetings, "meeting_length": (10, 60), "n_frames": 1200}, 0)
        place = places(tracks, 15)
        apart = np.linalg.norm(place[:, :, None] - place[:, None], axis=-1)[:, *np.triu_indices(15, 1)]
        return apart < 0.6 * 20

    often, seldom = together(0.3), together(0.0)
    assert often.mean() > 3 * seldom.mean()
    begins = (np.diff(often.astype(int), axis=0) == 1).sum()
    assert begins > 20 and 10 < often.sum() / begins < 90  # frames of a meeting
    assert not often.all(axis=0).any()


def test_meetings_change_neither_who_is_there_nor_how_large():
    plain, met = (
        simulate(WALKERS | {"body": "box", "wobble": 0.0, "aspect": 1.0, "meetings": share}, 3) for share in (0, 0.3)
    )
    assert len(plain) == len(met) == 15 * 600 and len(met.ids) == 15
    assert np.median(boxes.size(met.detections.box)) == pytest.approx(20.0)


def test_who_meets_somebody_is_hidden_for_a_while_and_comes_back_as_itself():
    from kintrack.core.tracks import Tracks
    from kintrack.sim import observe

    tracks = simulate("stage", 0)
    seen, identity = observe(tracks, {"occlusion": 0.6}, 0)
    found = Tracks(seen, identity)
    skipped = np.diff(seen.frame[found.gaps()], axis=1)[:, 0] - 1
    assert len(skipped) > 10 and (skipped >= 10).any() and skipped.max() < 200
    assert set(found.ids.tolist()) == set(tracks.ids.tolist())


def test_individuals_vanish_into_nests_and_come_out_of_them():
    world = WALKERS | {"speed": 0.3, "nests": 1, "nest_visits": 15, "nest_stay": 40, "max_absence": None}
    tracks = simulate(world, 0)
    gaps = tracks.gaps()
    assert len(gaps) > 50 and len(tracks.ids) == 15  # closed walls, and who comes out is who went in
    centre = tracks.detections.centre
    doors = centre[gaps].reshape(-1, 2)
    nest = np.median(doors, axis=0)
    assert np.quantile(np.linalg.norm(doors - nest, axis=1), 0.9) < 3 * 20
    assert (np.abs(nest - 300) < 0.36 * 600).all()  # not at the border
    skipped = np.diff(tracks.detections.frame[gaps], axis=1)[:, 0] - 1
    assert skipped.mean() == pytest.approx(40, rel=0.4)


def test_who_stays_in_a_nest_for_long_comes_out_as_another():
    world = WALKERS | {"speed": 0.3, "nests": 1, "nest_visits": 15, "nest_stay": 40, "max_absence": 25}
    tracks = simulate(world, 0)
    skipped = np.diff(tracks.detections.frame[tracks.gaps()], axis=1)[:, 0] - 1
    assert 0 < skipped.max() <= 25 and len(tracks.ids) > 30


def test_through_two_near_nests_one_may_go_in_here_and_come_out_there():
    world = WALKERS | {"speed": 0.5, "nests": 2, "nest_visits": 15, "nest_stay": 200, "max_absence": None}
    tracks = simulate(world | {"n_frames": 1500}, 0)
    doors = tracks.detections.centre[tracks.gaps()]
    moved = np.linalg.norm(doors[:, 1] - doors[:, 0], axis=1)
    assert (moved < 60).any() and (moved > 100).any()


def test_one_individual_alone_meets_nobody():
    alone = WALKERS | {"n_individuals": 1}
    assert np.array_equal(
        simulate(alone | {"meetings": 0.9}, 0).detections.centre, simulate(alone, 0).detections.centre
    )


@pytest.mark.parametrize("name", ["flight_length", "meeting_length"])
def test_lengths_the_wrong_way_round_are_refused(name):
    with pytest.raises(ConfigError, match=rf"{name} is \(9, 2\); wanted a least and a greatest length, from 1 up"):
        simulate({name: (9, 2)})
