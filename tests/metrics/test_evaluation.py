import json
import math
import time

import numpy as np
import pytest

from kintrack._version import __version__
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks
from kintrack.errors import InputError
from kintrack.metrics import MEASURES, combine, evaluate, evaluate_many, find_switches, table

NOTHING = Tracks(Detections.empty(), [])


def test_an_evaluation_is_a_mapping_of_plain_floats(draw):
    found = evaluate(draw("01 01"), draw("01 10"))
    assert list(found) == list(MEASURES)
    assert len(found) == len(MEASURES)
    assert {type(value) for value in found.values()} == {float}
    assert dict(found)["num_switches"] == 2


def test_an_unknown_measure_suggests_the_right_one(draw):
    with pytest.raises(KeyError, match="no measure is called 'id_f1': did you mean 'idf1'"):
        evaluate(draw("0"), draw("0"))["id_f1"]


def test_provenance_says_what_was_compared_and_how(draw):
    found = evaluate(draw("01 01 01"), draw("0? 01"), "centre", threshold=0.4, distance=12, unit="pixel")
    assert dict(found.provenance) == {
        "kintrack": __version__, "match": "centre", "threshold": 0.4, "distance": 12, "unit": "pixel",
        "untracked": "own", "num_frames": 3, "untracked_predictions": 1,
    }  # fmt: skip


def test_the_table_names_every_measure_once_and_ends_with_its_provenance(draw):
    lines = evaluate(draw("01 01"), draw("01 10")).table().splitlines()
    assert [line.split()[0] for line in lines[:-1]] == list(MEASURES)
    assert next(line for line in lines if line.startswith("num_switches")).split()[1] == "2"
    assert lines[-1].startswith(f"kintrack {__version__}, match iou, threshold 0.5")


def test_the_table_shows_the_named_measures_and_a_dash_for_undefined(draw):
    assert evaluate(NOTHING, draw("0")).table(["mota", "precision"]).splitlines()[:2] == [
        "mota                    -  1 - mistakes for each true row",
        "precision           0.000  how much of the prediction is matched",
    ]


def test_several_evaluations_make_a_table_of_a_line_each(draw):
    each, both = evaluate_many({"left": (draw("0"), draw("0")), "right": (draw("0"), draw("."))})
    lines = table(each | {"both": both}, ["recall", "num_misses"]).splitlines()
    assert [line.split() for line in lines] == [
        ["recall", "num_misses"], ["left", "1.000", "0"], ["right", "0.000", "1"], ["both", "0.500", "1"],
    ]  # fmt: skip


def test_the_json_is_strict_and_has_null_for_undefined(draw):
    found = evaluate(NOTHING, draw("0"))
    read = json.loads(found.to_json(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert read["measures"]["mota"] is None
    assert read["measures"]["num_false_positives"] == 1
    assert read["provenance"]["match"] == "iou"
    assert len(read["by_alpha"]["hota"]) == 19


def test_without_truth_what_needs_truth_is_undefined(draw):
    found = evaluate(NOTHING, draw("01 01"))
    assert {name for name, value in found.items() if math.isnan(value)} == {
        "assa", "loca", "detre", "assre", "asspr", "loca_0", "hota_loca_0", "idr", "mota", "motp", "recall",
        "switches_per_100k",
    }  # fmt: skip
    assert (found["num_false_positives"], found["precision"], found["hota"], found["idf1"]) == (4, 0, 0, 0)


def test_without_prediction_what_needs_one_is_undefined(draw):
    found = evaluate(draw("01 01"), NOTHING)
    assert {name for name, value in found.items() if math.isnan(value)} == {
        "assa", "loca", "detpr", "assre", "asspr", "loca_0", "hota_loca_0", "idp", "motp", "precision",
    }  # fmt: skip
    assert (found["num_misses"], found["mota"], found["mostly_lost"], found["hota"], found["idf1"]) == (4, 0, 2, 0, 0)


def test_of_nothing_every_share_is_undefined_and_every_count_zero():
    found = evaluate(NOTHING, NOTHING)
    assert all(math.isnan(value) or value == 0 for value in found.values())
    assert math.isnan(found["hota"]) and math.isnan(found["idf1"]) and math.isnan(found["mota"])


@pytest.mark.parametrize("match", ["iou", "centre", "rows"])
def test_truth_without_identities_is_refused(draw, match):
    with pytest.raises(
        InputError, match=r"truth has 4 rows but no identities \(all are -1\); give the annotated tracks first"
    ):
        evaluate(draw("?? ??"), draw("01 01"), match)


@pytest.mark.parametrize("match", ["iou", "centre", "rows"])
def test_on_the_truths_own_detections_all_three_ways_of_matching_agree(draw, match):
    found = evaluate(draw("01. 01. .01"), draw("01. 10. .10"), match)
    assert (found["num_switches"], found["num_misses"], found["mota"]) == (2, 0, 4 / 6)


@pytest.mark.parametrize("seed", range(5))
def test_switches_are_found_where_they_are_counted(golden, seed):
    truth, prediction = golden.random_world(seed, n=6, n_frames=30)
    rows = find_switches(truth, prediction)
    assert len(rows) == evaluate(truth, prediction)["num_switches"] > 0
    assert (np.diff(prediction.detections.frame[rows]) >= 0).all()
    ignored = Tracks(truth.detections, np.where(truth.track == truth.track[0], -1, truth.track))
    some = find_switches(ignored, prediction)
    assert len(some) == evaluate(ignored, prediction)["num_switches"] and len(some) <= len(rows)


@pytest.mark.parametrize("match", ["iou", "centre", "rows"])
def test_nothing_given_is_changed(golden, match):
    truth, _ = golden.random_world(3, n=5, n_frames=12)
    prediction = Tracks(truth.detections, np.where(np.arange(len(truth)) % 7, truth.track, -1))
    given = [truth.track, prediction.track, *truth.detections.columns().values()]
    before = [array.tobytes() for array in given]
    evaluate(truth, prediction, match)
    assert [array.tobytes() for array in given] == before


def test_the_numbers_of_ids_do_not_matter(golden):
    truth, prediction = golden.random_world(1, n=6, n_frames=20)
    other = Tracks(prediction.detections, np.where(prediction.track < 0, -1, 10_000_000_000 - 17 * prediction.track))
    assert dict(evaluate(truth, prediction)) == pytest.approx(dict(evaluate(truth, other)))


def test_combining_adds_what_was_counted(draw):
    one, two = evaluate(draw("01 01"), draw("01 10")), evaluate(draw("0 0 0 0"), draw("0 0"))
    both = combine({"one": one, "two": two})
    assert both["num_objects"] == 8
    assert both["mota"] == (4 - 2 + 2) / 8
    assert both["deta"] == 6 / 8
    assert both["assa"] == pytest.approx((4 * one["assa"] + 2 * two["assa"]) / 6)
    assert both.provenance["sequences"] == ["one", "two"]
    assert both.provenance["num_frames"] == 6
    assert both.provenance["num_sequences"] == 2


def test_sequences_together_are_as_one_long_video_with_other_individuals(golden):
    pairs = [golden.random_world(seed, n=5, n_frames=30) for seed in (1, 2)]
    each, both = evaluate_many({"a": pairs[0], "b": pairs[1]})

    def after(tracks: Tracks) -> Tracks:
        moved = tracks.detections.with_columns(frame=tracks.detections.frame + 1000)
        return Tracks(moved, np.where(tracks.track < 0, -1, tracks.track + 1000))

    def joined(a: Tracks, b: Tracks) -> Tracks:
        return Tracks(Detections.concat([a.detections, b.detections]), np.concatenate([a.track, b.track]))

    (truth_a, prediction_a), (truth_b, prediction_b) = pairs
    long = evaluate(joined(truth_a, after(truth_b)), joined(prediction_a, after(prediction_b)))
    assert set(each) == {"a", "b"}
    assert dict(both) == pytest.approx(dict(long), nan_ok=True)


def test_one_sequence_combined_is_itself(golden):
    found = evaluate(*golden.random_world(1, n=5, n_frames=12))
    assert dict(combine([found])) == dict(found)


def test_nothing_cannot_be_combined():
    with pytest.raises(InputError, match="nothing to combine; give the evaluation of one sequence at least"):
        combine([])


def test_what_was_matched_in_two_ways_is_not_combined(draw):
    one, two = evaluate(draw("0"), draw("0")), evaluate(draw("0"), draw("0"), threshold=0.3)
    with pytest.raises(InputError, match=r"sequence 'late' was evaluated with threshold=0\.3, others with 0\.5"):
        combine({"early": one, "late": two})


def test_a_thousand_frames_of_twenty_take_less_than_a_second(golden):
    truth, prediction = golden.random_world(0, n=20, n_frames=1000)
    start = time.process_time()
    found = evaluate(truth, prediction)
    assert time.process_time() - start < 1.0
    assert found["num_objects"] > 15_000


def test_hundreds_of_cells_in_a_frame_are_compared_with_their_neighbours_only():
    n = 3000
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 100_000, (n, 2))
    cells = Tracks(Detections(np.zeros(n, np.int32), np.concatenate([corner, corner + 20], axis=1)), np.arange(n))
    start = time.process_time()
    assert evaluate(cells, cells)["hota"] > 0.999
    assert time.process_time() - start < 3.0
