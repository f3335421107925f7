"""From logits of sightings to scores of tracks, and to pairs."""

import doctest

import numpy as np
import pytest

from kintrack.tracking import assign as assign_module
from kintrack.tracking import scores
from kintrack.tracking.assign import assign
from kintrack.tracking.scores import track_scores

PAIRS = np.array([[0, 0], [0, 1], [0, 2], [1, 2]])
TRACK = np.array([0, 0, 1])  # two sightings of the first track, one of the second
RANK = np.array([1, 0, 0])


def test_doctests():
    for module in (scores, assign_module):
        assert doctest.testmod(module).failed == 0


def test_the_mean_is_over_the_sightings_that_were_compared():
    found = track_scores(np.array([1.0, 3.0, -1.0, 5.0]), PAIRS, TRACK, RANK, (2, 2))
    assert found.tolist() == [[2.0, -1.0], [-np.inf, 5.0]]


def test_the_sum_is_gtrs_softmax_with_a_null_summed_over_ranks():
    found = track_scores(np.array([0.0, 0.0, 0.0, 0.0]), PAIRS, TRACK, RANK, (2, 2), "sum")
    # Rank 1: one answer and the null, 1/2. Rank 0: two and the null, 1/3 each. 1/2 + 1/3 = 5/6.
    expected = [[5 / 6, 1 / 3], [0.0, 1 / 2]]
    assert (1 / (1 + np.exp(-found))) == pytest.approx(np.array(expected))


def test_extreme_logits_stay_finite():
    found = track_scores(np.array([1e4, -1e4, 1e4, 0.0]), PAIRS, TRACK, RANK, (2, 2), "sum")
    assert not np.isnan(found).any()


def test_the_assignment_is_the_best_of_all():
    rng = np.random.default_rng(0)
    for _ in range(50):
        gain = rng.normal(size=(3, 3))
        rows, columns = assign(gain)
        best = max(
            sum(max(gain[i, p], 0) for i, p in enumerate(order))
            for order in [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
        )
        assert gain[rows, columns].sum() == pytest.approx(best)
        assert (gain[rows, columns] > 0).all()


def test_what_gains_nothing_stays_alone():
    rows, columns = assign(np.array([[-1.0, -np.inf]]))
    assert len(rows) == len(columns) == 0
