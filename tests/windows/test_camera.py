"""The camera's motion, known from the detections alone."""

import numpy as np
import pytest

from kintrack.config import PAIR_FEATURES
from kintrack.core import boxes
from kintrack.core.detections import Detections
from kintrack.core.sightings import Memory, Sightings, candidates
from kintrack.windows.camera import PROPOSERS, STILL, jerk_of
from kintrack.windows.conditions import conditions_of
from kintrack.windows.features import pair_features

SIZE = 10.0


def frame_of(centre, frame):
    return Sightings.of(Detections.of([frame] * len(centre), boxes.from_centre(np.asarray(centre, float), SIZE)))


def standing(centre, frames=3):
    """The memory of those who stood there for some frames."""
    memory = None
    for t in range(frames):
        now = frame_of(centre, t)
        memory = (memory or Memory.like(now)).remember(now, np.arange(len(centre)), 8)
    return memory


def crowd(n, seed=0):
    """Places about one and a half sizes apart."""
    return np.random.default_rng(seed).uniform(0, 1.5 * SIZE * np.sqrt(n), (n, 2))


def jerk(centre, now, every_sighting=False):
    query, memory = frame_of(now, 3), standing(centre)
    return jerk_of(query, memory, candidates(query, memory, 10, 6.0, 4, every_sighting))


@pytest.mark.parametrize("n", [12, 40, 3 * PROPOSERS])
def test_a_jerk_of_a_size_and_a_half_is_seen_in_a_crowd_in_which_others_are_nearer(n):
    shift, centre = np.array([12.0, -9.0]), crowd(n)
    now = centre + shift + np.random.default_rng(1).normal(0, 0.4, (n, 2))
    nearest = np.linalg.norm(now[:, None] - centre, axis=2).argmin(axis=1)
    assert (nearest == np.arange(n)).mean() < 0.3
    found = jerk(centre, now)
    assert found.shift == pytest.approx(shift, abs=0.5)
    assert found.votes > 0.7 and found.gain > 1.0


def test_some_who_are_missing_and_some_who_are_false_do_not_hide_it():
    rng = np.random.default_rng(2)
    centre = crowd(40)
    now = np.concatenate([centre[rng.random(40) > 0.2] + [0.0, 14.0], rng.uniform(0, 90, (6, 2))])
    assert jerk(centre, now).shift == pytest.approx([0.0, 14.0], abs=0.5)


def test_a_still_camera_is_still_and_one_who_walks_does_not_move_it():
    centre = crowd(12)
    now = centre.copy()
    now[0] += [8.0, 0.0]
    found = jerk(centre, now)
    assert found.shift == pytest.approx([0.0, 0.0], abs=0.1)
    assert found.gain == pytest.approx(0.0, abs=0.05) and found.votes > 0.8


def test_of_equally_common_displacements_it_is_the_least():
    assert jerk([[0, 0], [100, 0]], [[6, 0], [103, 0]]).shift == pytest.approx([3.0, 0.0])


def test_without_candidates_nothing_is_known():
    assert jerk([[0, 0]], [[500, 500]]) == STILL


def test_the_order_of_rows_changes_nothing():
    centre = crowd(3 * PROPOSERS)
    now = centre + [7.0, 3.0] + np.random.default_rng(1).normal(0, 1.0, centre.shape)
    order = np.random.default_rng(3).permutation(len(now))
    one, other = jerk(centre, now), jerk(centre, now[order])
    assert other.shift == pytest.approx(one.shift, abs=1e-9)
    assert (other.votes, other.gain) == pytest.approx((one.votes, one.gain))


def test_earlier_sightings_of_a_track_have_no_vote():
    centre = crowd(12)
    one, other = jerk(centre, centre + [12.0, 0.0]), jerk(centre, centre + [12.0, 0.0], every_sighting=True)
    assert other.votes == pytest.approx(one.votes)


def test_a_pair_is_measured_as_if_the_camera_had_not_moved():
    centre, shift = crowd(40), np.array([12.0, -9.0])
    query, memory = frame_of(centre + shift, 3), standing(centre)
    pairs = candidates(query, memory, 10, 6.0, 4)
    values = dict(
        zip(PAIR_FEATURES, pair_features(query, memory, pairs, conditions_of(query, memory, pairs)).T, strict=True)
    )
    own = pairs[:, 0] == memory.track[pairs[:, 1]]
    assert values["residual_camera"][own] == pytest.approx(0.0, abs=0.02)
    assert values["residual_smooth"][own] == pytest.approx(np.log1p(1.5), abs=0.02)
    assert (values["margin_camera_query"][own] < 0).all() and (values["margin_camera_reference"][own] < 0).all()
    assert (values["margin_smooth_query"][own] > 0).any()
    assert values["camera_moved"] == pytest.approx(np.log1p(1.5), abs=0.02)
