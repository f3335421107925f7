"""Confidences are probabilities, and the two numbers that calibrate them are found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kintrack.errors import InputError
from kintrack.tracking.assign import assign
from kintrack.tracking.confidence import confidence, decision_log_odds, fit_calibration

LOGIT = st.one_of(st.just(-np.inf), st.floats(-900, 900))
SCORES = arrays(np.float64, st.tuples(st.integers(0, 6), st.integers(0, 6)), elements=LOGIT)


@given(SCORES, st.floats(0.01, 100), st.floats(-20, 20))
def test_a_confidence_is_a_probability_wherever_there_was_a_candidate(scores, temperature, bias):
    found = confidence(scores, *assign(scores), temperature, bias)
    assert np.array_equal(np.isnan(found), np.isneginf(scores).all(axis=1))
    known = found[~np.isnan(found)]
    assert ((known >= 0) & (known <= 1)).all()


@given(SCORES, st.floats(0.1, 10), st.floats(1, 10))
def test_a_higher_temperature_brings_every_confidence_nearer_to_one_half(scores, temperature, factor):
    links = assign(scores)
    cold, warm = (abs(confidence(scores, *links, t) - 0.5) for t in (temperature, temperature * factor))
    known = ~np.isnan(cold)
    assert (warm[known] <= cold[known] + 1e-12).all()


@given(SCORES, st.integers(0, 2**32 - 1))
def test_the_order_of_detections_and_tracks_does_not_matter(scores, seed):
    rows, columns = assign(scores)
    rng = np.random.default_rng(seed)
    q, m = rng.permutation(scores.shape[0]), rng.permutation(scores.shape[1])
    shuffled = decision_log_odds(scores[q][:, m], np.argsort(q)[rows], np.argsort(m)[columns])
    assert shuffled == pytest.approx(decision_log_odds(scores, rows, columns)[q], nan_ok=True)


def test_log_odds_are_those_of_the_sum_over_all_alternatives():
    rng = np.random.default_rng(0)
    scores = np.where(rng.random((5, 6)) < 0.3, -np.inf, rng.normal(0, 3, (5, 6)))
    rows, columns = assign(scores)
    found, odds = decision_log_odds(scores, rows, columns), np.exp(scores)
    for q in range(5):
        here = np.flatnonzero(rows == q)
        if len(here):
            m = columns[here[0]]
            others = 1 + odds[q].sum() + odds[:, m].sum() - 2 * odds[q, m]
            assert np.exp(found[q]) == pytest.approx(odds[q, m] / others)
        else:
            assert np.exp(found[q]) == pytest.approx(1 / odds[q].sum())


def test_the_scores_are_left_as_they_were():
    scores = np.array([[1.0, -np.inf], [0.5, 2.0]])
    before = scores.copy()
    decision_log_odds(scores, np.array([0, 1]), np.array([0, 1]))
    assert np.array_equal(scores, before)


@pytest.mark.parametrize(("temperature", "bias"), [(0.5, 2.0), (1.0, 0.0), (3.0, -1.0)])
def test_the_fit_finds_the_temperature_and_bias_by_which_decisions_were_right(temperature, bias):
    rng = np.random.default_rng(1)
    z, is_link = rng.normal(1.0, 3.0, 200_000), rng.random(200_000) < 0.7
    chance = 1 / (1 + np.exp(-(z + np.where(is_link, bias, -bias)) / temperature))
    found = fit_calibration(z, is_link, rng.random(200_000) < chance)
    assert found == pytest.approx((temperature, bias), abs=0.05)


def test_decisions_that_are_all_right_have_a_calibration_too():
    z = np.linspace(3.0, 9.0, 500)
    temperature, bias = fit_calibration(z, np.ones(500, bool), np.ones(500, bool))
    fitted = 1 / (1 + np.exp(-(z + bias) / temperature))
    assert np.isfinite(temperature) and temperature > 0 and (fitted > 0.99).all()


def test_a_fit_needs_decisions():
    none = np.zeros(0)
    with pytest.raises(InputError, match="no decision to calibrate on; give sequences in which something was linked"):
        fit_calibration(none, none.astype(bool), none.astype(bool))


def test_a_model_that_errs_where_it_is_sure_is_refused():
    z = np.linspace(-3.0, 3.0, 400)
    with pytest.raises(InputError, match="the 400 decisions are not better where the model is surer"):
        fit_calibration(z, np.ones(400, bool), z < 0)
