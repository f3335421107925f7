import numpy as np
import pytest

from kintrack.core.tracks import Tracks
from kintrack.errors import InputError
from kintrack.metrics import evaluate, mot_challenge


@pytest.fixture
def street(draw):
    """A pedestrian, a statue, a marked pedestrian and a car, side by side for two frames."""
    drawn = draw("0123 0123")
    kind, mark = np.array([1, 7, 1, 3] * 2), np.array([1.0, 1.0, 0.0, 1.0] * 2)
    return Tracks(drawn.detections.with_columns(extra={"class": kind}, score=mark), drawn.track)


def test_only_unmarked_pedestrians_are_scored(street):
    truth, _ = mot_challenge(street, street)
    assert truth.track.tolist() == [0, 0]


def test_a_distractor_may_be_found_or_not(street, draw):
    for prediction in (draw("0... 0..."), draw("01.. 01..")):
        _, kept = mot_challenge(street, prediction)
        assert kept.track.tolist() == [0, 0]


def test_what_is_marked_or_of_another_class_may_not_be_found(street, draw):
    found = evaluate(*mot_challenge(street, draw("0.23 0.23")))
    assert (found["num_detections"], found["num_false_positives"]) == (2, 4)


def test_classes_can_be_chosen(street, draw):
    truth, kept = mot_challenge(street, draw("0.23 0.23"), scored=3, distractors=[1])
    assert truth.track.tolist() == [3, 3]
    assert kept.track.tolist() == [3, 3]


def test_truth_without_classes_is_refused(draw):
    with pytest.raises(
        InputError, match=r"truth has no column 'class' \(its columns: frame, box\).*gt.txt with 9 columns"
    ):
        mot_challenge(draw("0"), draw("0"))
