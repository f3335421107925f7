import numpy as np
import pytest

from kintrack.core import boxes
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks
from kintrack.errors import AlignmentError, InputError
from kintrack.metrics import evaluate, matching
from kintrack.metrics.matching import Matcher, find_candidates


def points(frame, place, track):
    """Tracks of points on a line."""
    place = np.asarray(place, dtype=float)
    corner = np.column_stack([place, np.zeros(len(place))])
    return Tracks(Detections(np.asarray(frame), np.concatenate([corner, corner], axis=1)), track)


def scattered(seed, n, ndim=2, n_frames=6):
    rng = np.random.default_rng(seed)
    frame = np.sort(rng.integers(0, n_frames, n))
    box = boxes.from_centre(rng.uniform(0, 40, (n, ndim)), rng.uniform(2, 15, (n, ndim)))
    return Tracks(Detections(frame, box), np.arange(n))


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("at_once", [1, 50, 1_000_000])
def test_candidates_are_all_overlapping_boxes_of_one_frame_and_no_others(monkeypatch, ndim, at_once):
    monkeypatch.setattr(matching, "_PAIRS_AT_ONCE", at_once)
    a, b = scattered(0, 60, ndim), scattered(1, 50, ndim)
    overlap = boxes.iou(a.detections.box, b.detections.box)
    overlap[a.detections.frame[:, None] != b.detections.frame] = 0
    i, j = np.nonzero(overlap)
    found = find_candidates(a, b, Matcher())
    assert len(i) > 100 / ndim**2
    assert found.true_row.tolist() == i.tolist()
    assert found.predicted_row.tolist() == j.tolist()
    assert found.similarity.tolist() == overlap[i, j].tolist()


def test_similarity_by_centre_falls_from_one_to_zero_over_the_distance_in_pixels():
    truth, prediction = points([0, 0, 0], [0, 100, 200], [0, 1, 2]), points([0, 0, 0], [0, 105, 210], [0, 1, 2])
    found = find_candidates(truth, prediction, Matcher("centre", distance=10, unit="pixel"))
    assert list(zip(found.true_row, found.predicted_row, found.similarity, strict=True)) == [(0, 0, 1.0), (1, 1, 0.5)]


def test_distance_in_sizes_is_measured_with_the_true_individual():
    centre = np.array([[0.0, 0.0], [100.0, 0.0]])
    truth = Tracks(Detections([0, 0], boxes.from_centre(centre, np.array([[4.0], [40.0]]))), [0, 1])
    prediction = Tracks(Detections([0, 0], boxes.from_centre(centre + np.array([3.0, 0.0]), 1.0)), [0, 1])
    found = find_candidates(truth, prediction, Matcher("centre", distance=1, unit="size"))
    assert found.similarity.tolist() == [1 - 3 / 4, 1 - 3 / 40]


def test_a_true_row_without_extent_has_the_median_size_of_truth():
    box = np.array([[0, 0, 4, 4], [50, 0, 54, 4], [100, 0, 100, 0]], dtype=float)
    truth = Tracks(Detections([0, 0, 0], box), [0, 1, 2])
    found = find_candidates(truth, Tracks(Detections([0], box[2:] + 1), [0]), Matcher("centre", distance=1))
    assert found.similarity == pytest.approx([1 - np.sqrt(2) / 4])


def test_the_centre_of_an_animal_with_keypoints_is_their_mean():
    box, keypoints = np.array([[0.0, 0.0, 10.0, 10.0]]), np.array([[[0.0, 0.0], [0.0, 4.0], [np.nan, np.nan]]])
    truth = Tracks(Detections([0], box, keypoints=keypoints), [0])
    found = find_candidates(truth, points([0], [0], [0]), Matcher("centre", distance=4, unit="pixel"))
    assert found.similarity.tolist() == [0.5]


def test_the_same_rows_are_found_in_any_order_and_number():
    truth = scattered(0, 30)
    frame = truth.detections.frame
    order = np.lexsort((-np.arange(30), frame))[::2]
    prediction = Tracks(Detections(frame[order], truth.detections.box[order] + 0.004), truth.track[order])
    found = find_candidates(truth, prediction, Matcher("rows"))
    assert sorted(found.true_row) == sorted(order)
    assert (order[found.predicted_row] == found.true_row).all()
    assert (found.similarity == 1).all()


def test_rows_of_one_table_match_one_to_one_even_where_boxes_coincide_or_are_nan():
    box = np.array([[0, 0, 2, 2], [0, 0, 2, 2], [np.nan] * 4, [np.nan] * 4], dtype=float)
    table = Detections([0, 0, 1, 1], box)
    found = find_candidates(Tracks(table, [0, 1, 0, 1]), Tracks(table, [1, 0, 1, 0]), Matcher("rows"))
    assert found.true_row.tolist() == found.predicted_row.tolist() == [0, 1, 2, 3]


def test_a_row_without_a_position_is_missed():
    box = np.array([[0, 0, 2, 2], [np.nan] * 4])
    truth, prediction = Tracks(Detections([0, 0], box), [0, 1]), Tracks(Detections([0, 0], box[::-1]), [1, 0])
    for match in ("iou", "centre", "rows"):
        found = evaluate(truth, prediction, match)
        assert (found["num_detections"], found["num_misses"], found["num_false_positives"]) == (1, 1, 1)


def test_frames_with_a_choice_are_told_from_frames_without():
    truth = points([0, 0, 1, 1], [0, 50, 0, 4], [0, 1, 0, 1])
    prediction = points([0, 0, 1, 1], [1, 51, 1, 5], [0, 1, 0, 1])
    found = find_candidates(truth, prediction, Matcher("centre", distance=10, unit="pixel"))
    sure, choices = found.settle(np.arange(len(found.similarity)))
    assert found.true_row[sure].tolist() == [0, 1]
    assert [(frame, len(pairs)) for frame, pairs in choices] == [(1, 4)]


def test_the_matching_is_the_best_of_all():
    truth, prediction = points([0, 0], [0, 4], [0, 1]), points([0, 0], [3, 9], [0, 1])
    found = find_candidates(truth, prediction, Matcher("centre", distance=10, unit="pixel"))
    pairs = np.arange(len(found.similarity))
    best = found.best(0, pairs, found.similarity)  # 0.7 + 0.5, not 0.9 + 0.1
    assert list(zip(found.true_row[best], found.predicted_row[best], strict=True)) == [(0, 0), (1, 1)]


def test_points_cannot_be_matched_by_overlap():
    one, box = points([0], [0], [0]), scattered(0, 3)
    with pytest.raises(
        InputError, match=r"no box of truth has an area \(points\?\).*use match='centre' with distance="
    ):
        evaluate(one, one)
    with pytest.raises(InputError, match="no box of the prediction has an area"):
        evaluate(box, one)


def test_points_have_no_size_to_measure_distances_with():
    one = points([0], [0], [0])
    with pytest.raises(InputError, match=r"no box of truth has a size.*use unit='pixel' and give distance= in pixels"):
        evaluate(one, one, "centre")


def test_rows_that_are_nowhere_the_same_are_refused():
    with pytest.raises(AlignmentError, match=r"truth \(5 rows\) and prediction \(4 rows\) have no detection in common"):
        evaluate(scattered(0, 5), scattered(1, 4), "rows")


def test_a_plane_and_a_volume_cannot_be_compared():
    with pytest.raises(InputError, match="truth is 2-D but the prediction is 3-D"):
        evaluate(scattered(0, 5), scattered(0, 5, ndim=3))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"match": "center"}, "match is 'center'; wanted one of iou, centre, rows"),
        ({"unit": "pixels"}, "unit is 'pixels'; wanted one of size, pixel"),
        ({"threshold": 0}, "threshold is 0; wanted a similarity above 0 and at most 1"),
        ({"threshold": 50}, "threshold is 50; wanted a similarity"),
        ({"distance": -1}, "distance is -1; wanted a positive number, in sizes"),
        ({"distance": float("nan")}, "distance is nan; wanted a positive number"),
        ({"untracked": "keep"}, "untracked is 'keep'; wanted 'own' or 'drop'"),
    ],
)
def test_options_that_make_no_sense_are_named(options, words):
    with pytest.raises(InputError, match=words):
        evaluate(scattered(0, 5), scattered(0, 5), **options)
