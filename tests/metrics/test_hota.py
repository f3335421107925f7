import math

import numpy as np
import pytest

from kintrack.metrics import evaluate
from kintrack.metrics.hota import ALPHAS

FAMILY = ("hota", "deta", "assa", "loca", "detre", "detpr", "assre", "asspr")


def test_alphas_are_the_19_of_the_paper():
    assert ALPHAS == pytest.approx([0.05 * i for i in range(1, 20)])


def test_a_perfect_prediction_is_one_in_everything(draw):
    truth = draw("01. 01. .01")
    found = evaluate(truth, truth)
    assert [found[name] for name in FAMILY] == [1.0] * 8


def test_a_track_cut_in_the_middle_is_followed_half(draw):
    found = evaluate(draw("0 0 0 0"), draw("1 1 2 2"))
    assert (found["deta"], found["assa"], found["assre"], found["asspr"]) == (1, 0.5, 0.5, 1)
    assert found["hota"] == pytest.approx(math.sqrt(0.5))


def test_one_track_over_two_individuals_mixes_them_but_splits_none(draw):
    found = evaluate(draw("0. 0. .1 .1"), draw("5. 5. .5 .5"))
    assert (found["assa"], found["assre"], found["asspr"]) == (0.5, 1, 0.5)


def test_misses_and_false_detections_lower_detection_but_not_association(draw):
    found = evaluate(draw("0.. 0.. 0.. 0.."), draw("0.. 0.. 0.7 0.."))
    assert (found["detre"], found["detpr"], found["deta"], found["assa"]) == pytest.approx((1, 0.8, 0.8, 1))


def test_a_match_counts_at_the_alphas_it_reaches(draw):
    found = evaluate(draw("0 0"), draw("0 0", shift=2))  # overlap 48 / 80 = 0.6
    assert found.by_alpha["hota"].tolist() == [1.0] * 12 + [0.0] * 7
    assert found["hota"] == found["deta"] == pytest.approx(12 / 19)
    assert found["loca"] == pytest.approx((12 * 0.6 + 7) / 19)
    assert (found["hota_0"], found["loca_0"], found["hota_loca_0"]) == pytest.approx((1, 0.6, 0.6))


def test_the_matching_prefers_the_track_that_agrees_over_the_whole_sequence(draw):
    """In frame 1 track 8 overlaps more, but track 7 is the one that stays."""
    truth, stays, passes = draw("0 0 0"), draw("7 7 7", shift=2), draw(". 8", shift=1)
    table = type(truth.detections).concat([stays.detections, passes.detections])
    found = evaluate(truth, type(truth)(table, [7, 7, 8, 7]))
    assert found.by_alpha["assa"][0] == 1.0


def test_where_nothing_matches_association_is_undefined_and_hota_is_zero(draw):
    found = evaluate(draw("0.. 0.."), draw("..5 ..5"))
    assert (found["hota"], found["deta"]) == (0, 0)
    assert all(math.isnan(found[name]) for name in ("assa", "assre", "asspr", "loca"))


def test_curves_cannot_be_written_on(draw):
    curve = evaluate(draw("0"), draw("0")).by_alpha["hota"]
    with pytest.raises(ValueError, match="read-only"):
        curve[0] = np.nan
