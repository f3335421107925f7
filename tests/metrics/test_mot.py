import itertools

import numpy as np
import pytest

from kintrack.metrics import evaluate
from kintrack.metrics.mot import _most_matches


def values(evaluation, *names):
    return tuple(evaluation[name] for name in names)


def test_a_perfect_prediction_has_no_mistakes(draw):
    truth = draw("01. 01. .01")
    found = evaluate(truth, truth)
    assert values(found, "mota", "motp", "idf1", "precision", "recall") == (1, 1, 1, 1, 1)
    assert values(found, "num_switches", "num_misses", "num_false_positives", "num_fragmentations") == (0, 0, 0, 0)
    assert values(found, "mostly_tracked", "partially_tracked", "mostly_lost") == (2, 0, 0)


def test_two_that_exchange_their_ids_are_two_switches_split_and_mixed(draw):
    found = evaluate(draw("01 01 01 01"), draw("01 01 10 10"))
    assert values(found, "num_switches", "num_split_objects", "num_mixed_tracks") == (2, 2, 2)
    assert values(found, "mota", "idf1", "switches_per_100k") == (1 - 2 / 8, 0.5, 25_000)


def test_a_switch_is_found_across_the_frames_in_which_the_individual_was_missed(draw):
    found = evaluate(draw("0.9 0.9 0.9 0.9"), draw("1.9 ..9 ..9 2.9"))
    assert values(found, "num_switches", "num_fragmentations", "num_misses") == (1, 1, 2)


def test_a_match_is_continued_even_where_another_fits_better(draw):
    truth = draw("0 0")
    near, nearer = draw("1 1", shift=2), draw("2 2", shift=1)
    both = type(truth)(type(near.detections).concat([near.detections, nearer.detections.take([1])]), [1, 1, 2])
    found = evaluate(truth, both, threshold=0.3)
    assert values(found, "num_switches", "num_detections", "num_false_positives") == (0, 2, 1)


def test_a_match_below_the_threshold_is_a_miss_and_a_false_detection(draw):
    truth, prediction = draw("0 0"), draw("0 0", shift=4)  # overlap 32 / 96
    assert values(evaluate(truth, prediction), "num_misses", "num_false_positives", "idtp") == (2, 2, 0)
    assert values(evaluate(truth, prediction, threshold=0.33), "num_misses", "num_false_positives", "idtp") == (0, 0, 2)


@pytest.mark.parametrize(
    ("seen", "which"), [(9, "mostly_tracked"), (8, "partially_tracked"), (2, "partially_tracked"), (1, "mostly_lost")]
)
def test_an_individual_is_mostly_tracked_above_80_percent_and_mostly_lost_below_20(draw, seen, which):
    found = evaluate(draw("0 " * 10), draw("0 " * seen))
    assert found[which] == 1
    assert (
        found["mostly_tracked"] + found["partially_tracked"] + found["mostly_lost"] == found["num_unique_objects"] == 1
    )


def test_the_best_assignment_of_identities_is_the_best_of_all_permutations():
    rng = np.random.default_rng(0)
    for _ in range(40):
        matrix = rng.integers(0, 9, (4, 6)) * (rng.random((4, 6)) < 0.5)
        who, by = np.nonzero(matrix)
        best = max(sum(matrix[i, j] for i, j in enumerate(order)) for order in itertools.permutations(range(6), 4))
        assert _most_matches(who, by, matrix[who, by]) == best


def test_one_of_many_fragments_is_the_identity(draw):
    found = evaluate(draw("0 0 0 0 0 0"), draw("1 1 2 2 2 3"))
    assert values(found, "idtp", "idfp", "idfn", "num_switches") == (3, 3, 3, 2)


def test_true_rows_that_got_no_track_are_not_taken_out_of_the_score(draw):
    """The incumbent drops an unassigned row together with its truth, so nothing is ever missed (D-M1)."""
    truth, prediction = draw("01 01 01 01"), draw("0? 0? 0? 0?")
    assert values(evaluate(truth, prediction, untracked="drop"), "num_misses", "recall", "mota") == (4, 0.5, 0.5)
    own = evaluate(truth, prediction)
    assert values(own, "num_objects", "num_misses", "num_switches") == (8, 0, 3)
    assert values(own, "idtp", "idfn") == (5, 3)


def test_a_detection_that_is_nobody_is_a_false_positive(draw):
    """The incumbent can match detection i to true row i only, so false detections do not exist for it (D-M1)."""
    found = evaluate(draw("0.. 0.. 0.."), draw("0.5 05. 0.."))
    assert values(found, "num_false_positives", "precision", "mota") == (2, 3 / 5, 1 / 3)


def test_an_untracked_row_on_nothing_is_a_false_positive_unless_dropped(draw):
    truth, prediction = draw("0.. 0.."), draw("0.? 0.?")
    assert values(evaluate(truth, prediction), "num_false_positives", "num_predictions", "idfp") == (2, 4, 2)
    assert values(evaluate(truth, prediction, untracked="drop"), "num_false_positives", "num_predictions") == (0, 2)


def test_true_rows_without_identity_are_no_individual_and_count_neither_way(draw):
    """The incumbent takes them all as one individual (D-M2)."""
    found = evaluate(draw("0?? 0?? 0.."), draw("034 03. 05."))
    assert values(found, "num_unique_objects", "num_objects", "num_predictions", "num_false_positives") == (1, 3, 4, 1)
    assert values(found, "mota", "assa", "num_switches") == (2 / 3, 1, 0)
    assert found.provenance["ignored_objects"] == 4
    assert found.provenance["ignored_predictions"] == 3
