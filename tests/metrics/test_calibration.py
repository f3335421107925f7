"""Confidences that are true are found to be true, and mistakes are found where they are."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kintrack.errors import InputError
from kintrack.metrics import Decisions, calibration, combine, evaluate, judge, review, risk_coverage

PROBABILITY = st.floats(0, 1)
DECISIONS = st.lists(st.tuples(PROBABILITY, st.booleans()), min_size=1, max_size=60)


def drawn(n, seed=0):
    """Confidences, mostly high, and decisions that are right exactly that often."""
    rng = np.random.default_rng(seed)
    confidence = rng.beta(6, 1, n)
    return confidence, rng.random(n) < confidence


def test_confidences_that_are_true_have_hardly_any_calibration_error():
    found = calibration(*drawn(100_000))
    assert found.ece < 0.01
    assert np.nanmax(abs(found.accuracy - found.confidence)[found.count > 1000]) < 0.03


def test_overconfidence_is_found_in_its_full_size():
    right = np.random.default_rng(0).random(50_000) < 0.7
    assert calibration(np.full(50_000, 0.95), right).ece == pytest.approx(0.25, abs=0.01)


def test_brier_and_nll_are_least_for_the_true_probability():
    confidence, right = drawn(50_000)
    true, bold, shy = (calibration(c, right) for c in (confidence, confidence**0.25, 0.5 + 0.5 * (confidence - 0.5)))
    assert true.brier < min(bold.brier, shy.brier)
    assert true.nll < min(bold.nll, shy.nll)


@given(DECISIONS, st.integers(1, 30))
def test_the_bins_hold_every_decision_once_and_the_errors_are_bounded(decisions, bins):
    confidence, right = map(np.array, zip(*decisions, strict=True))
    found = calibration(confidence, right, bins)
    assert found.count.sum() == found.n == len(confidence)
    assert found.n_wrong == (~right).sum()
    assert 0 <= found.ece <= 1 and 0 <= found.brier <= 1 and 0 <= found.nll < 28
    some = found.count > 0
    inside = found.confidence[some]
    assert (inside >= found.edges[:-1][some] - 1e-9).all() and (inside <= found.edges[1:][some] + 1e-9).all()
    assert np.isnan(found.accuracy[~some]).all()
    assert (found.accuracy[some] @ found.count[some]) == pytest.approx(right.sum())


@given(DECISIONS, PROBABILITY.filter(lambda share: share > 0), st.randoms())
def test_a_review_finds_a_share_and_does_not_depend_on_the_order_of_rows(decisions, share, shuffler):
    confidence, right = map(np.array, zip(*decisions, strict=True))
    found = review(confidence, right, share)
    if right.all():
        assert np.isnan(found)
        return
    assert 0 <= found <= 1
    assert review(confidence, right, 1.0) == pytest.approx(1.0)
    order = list(range(len(right)))
    shuffler.shuffle(order)
    assert review(confidence[order], right[order], share) == pytest.approx(found)


def test_a_review_by_random_confidence_finds_about_its_share_and_by_constant_confidence_its_share():
    rng = np.random.default_rng(0)
    right = rng.random(100_000) < 0.9
    assert review(rng.random(100_000), right, 0.1) == pytest.approx(0.1, abs=0.01)
    assert review(np.full(100_000, 0.9), right, 0.1) == pytest.approx(0.1)


def test_a_review_by_the_truth_itself_finds_all_that_it_has_room_for():
    right = np.arange(1000) % 100 > 0  # ten mistakes
    assert review(right.astype(float), right, 0.01) == 1.0
    assert review(right.astype(float), right, 0.005) == 0.5


def test_risk_falls_with_coverage_where_the_surest_are_right():
    confidence, right = drawn(20_000)
    coverage, risk = risk_coverage(confidence, right)
    assert (np.diff(coverage) > 0).all() and coverage[-1] == 1
    assert risk[-1] == pytest.approx((~right).mean())
    assert risk[np.searchsorted(coverage, 0.5)] < risk[-1] / 2


@pytest.mark.parametrize(
    ("confidence", "right", "words"),
    [
        (
            [0.5, 0.6],
            [True],
            r"confidence has shape \(2,\) and right has shape \(1,\); wanted one number and one truth",
        ),
        ([], [], "there are no decisions, so nothing can be said"),
        ([0.5, 1.5], [True, False], r"confidence\[1\] is 1.5; wanted probabilities between 0 and 1"),
        ([np.nan], [True], r"confidence\[0\] is nan; .*leave out the rows for which nothing was decided"),
        ([0.5], [2], "right holds values other than True and False"),
    ],
)
def test_what_is_no_confidence_or_no_truth_is_refused(confidence, right, words):
    for measure in (calibration, review, risk_coverage):
        with pytest.raises(InputError, match=words):
            measure(confidence, right)


def test_bins_and_shares_that_mean_nothing_are_refused():
    with pytest.raises(InputError, match="bins is 0; wanted a whole number from 1 on, like 15"):
        calibration([0.5], [True], bins=0)
    for share in (0, 1.5, float("nan")):
        with pytest.raises(InputError, match="share is .*; wanted a share of the decisions above 0 and at most 1"):
            review([0.5], [True], share)


def test_a_link_is_right_if_it_is_the_individual_that_its_track_had_last():
    identity = np.array([0, 1, 0, 1, 1, 0, 1, 0])
    rows, right, is_link = judge(identity, np.array([5, 6, 5, 6, 5, 6, 5, 6]))
    assert rows.tolist() == list(range(8))
    assert is_link.tolist() == [False, False, *[True] * 6]
    assert right.tolist() == [True] * 4 + [False, False, True, True]  # the exchange is wrong once, not for ever


def test_a_start_is_wrong_if_the_individual_was_seen_before():
    _, right, is_link = judge(np.array([0, 0, 0]), np.array([1, 1, 2]))
    assert right.tolist() == [True, True, False] and is_link.tolist() == [False, True, False]


def test_rows_that_are_nobody_are_not_judged_and_do_not_stand_between_two_sightings():
    identity, track = np.array([0, -1, 0, -1, 1, 1]), np.array([3, 3, 3, 4, 4, -1])
    rows, right, is_link = judge(identity, track)
    assert rows.tolist() == [0, 2]  # track 4 had been nobody, so there is nothing to be true to
    assert right.tolist() == [True, True] and is_link.tolist() == [False, True]


def test_an_evaluation_judges_the_confidence_of_the_prediction(draw):
    truth, prediction = draw("01 01 01"), draw("01 10 10")
    plain = evaluate(truth, prediction)
    assert len(plain.decisions) == 0 and plain.to_dict()["confidence"] is None
    sure = replace(prediction, confidence=[np.nan, np.nan, 0.2, 0.4, 0.9, 0.8])
    found = evaluate(truth, sure)
    assert found.decisions.confidence.tolist() == [0.2, 0.4, 0.9, 0.8]
    assert found.decisions.right.tolist() == [False, False, True, True]
    assert dict(found) == dict(plain)
    told = json.loads(found.to_json())["confidence"]
    assert told["n"] == told["links"] == 4 and told["starts"] == 0 and told["n_wrong"] == 2
    assert told["ece"] == pytest.approx(0.225) and told["found_in_least_sure_2_percent"] == 0.5


def test_decisions_of_several_sequences_are_pooled(draw):
    truth = draw("01 01")
    good = evaluate(truth, replace(draw("01 01"), confidence=[np.nan, np.nan, 0.9, 0.9]))
    bad = evaluate(truth, replace(draw("01 10"), confidence=[np.nan, np.nan, 0.3, 0.2]))
    silent = evaluate(truth, draw("01 01"))
    both = combine([good, silent, bad]).decisions
    assert both.confidence.tolist() == [0.9, 0.9, 0.3, 0.2] and both.right.tolist() == [True, True, False, False]
    assert len(Decisions.pooled([])) == 0


def test_confidences_without_a_mistake_have_no_share_to_be_found(draw):
    found = evaluate(draw("01 01"), replace(draw("01 01"), confidence=[np.nan, np.nan, 0.9, 0.9]))
    assert found.to_dict()["confidence"]["found_in_least_sure_2_percent"] is None
