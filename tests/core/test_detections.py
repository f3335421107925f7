"""Detections: what a table promises, and the words with which it refuses what breaks the promise."""

import copy
import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest

from kintrack.core.detections import Detections, Skeleton, VideoInfo
from kintrack.errors import InputError

BOXES = [[0.0, 0, 2, 2], [4, 4, 6, 6], [1, 1, 3, 3]]


def full(**changes: Any) -> Detections:
    columns: dict[str, Any] = {
        "frame": [0, 2, 2],
        "box": BOXES,
        "score": [0.5, np.nan, 1.0],
        "label": [1, 2, 3],
        "area": [4.0, 4, 3],
        "keypoints": np.arange(12.0).reshape(3, 2, 2),
        "keypoint_score": np.ones((3, 2)),
        "is_user": [True, False, False],
        "extra": {"name": np.array(["a", "b", "c"])},
        "skeleton": Skeleton(("head", "tail"), edges=((0, 1),)),
        "video": VideoInfo("video.mp4", 10, (8, 8), 25.0),
    }
    return Detections(**(columns | changes))


def test_every_column_has_its_type() -> None:
    table = full()
    types = {name: column.dtype for name, column in table.columns().items()}
    assert types.pop("extra.name").kind == "U"
    assert types == {
        "frame": np.int32,
        "box": np.float64,
        "score": np.float64,
        "label": np.int64,
        "area": np.float64,
        "keypoints": np.float64,
        "keypoint_score": np.float64,
        "is_user": np.bool_,
    }


def test_columns_that_are_not_there_are_none_and_not_listed() -> None:
    table = Detections.of([0], [[0, 0, 1, 1]])
    assert list(table.columns()) == ["frame", "box"]
    assert table.score is None and table.keypoints is None and table.extra == {}


def test_rows_are_sorted_by_frame_and_rows_of_one_frame_keep_their_order() -> None:
    table = Detections.of([2, 0, 2, 1], np.zeros((4, 4)), label=[0, 1, 2, 3], extra={"i": [0, 1, 2, 3]})
    assert table.frame.tolist() == [0, 1, 2, 2]
    assert table.label is not None and table.label.tolist() == [1, 3, 0, 2]
    assert table.extra["i"].tolist() == [1, 3, 0, 2]


def test_an_empty_table_has_rows_of_the_right_shape() -> None:
    for table, width in ((Detections.empty(), 4), (Detections.empty(3), 6), (Detections.of([], []), 4)):
        assert len(table) == 0 and table.box.shape == (0, width) and table.n_frames == 0
        assert table.centre.shape == (0, width // 2) and table.ndim == width // 2
        assert list(table) == [] and "no frames" in repr(table)
    assert Detections.of([], np.zeros((0, 6))).ndim == 3


def test_columns_are_read_only_and_the_callers_arrays_stay_writable() -> None:
    score, name = np.array([0.5]), np.array(["a"])
    table = Detections.of([0], [[0, 0, 1, 1]])
    table = table.with_columns(score=score, extra={"name": name})
    for column in table.columns().values():
        with pytest.raises(ValueError, match="read-only"):
            column[0] = column[0]
    score[0], name[0] = 1, "b"
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.score = None  # type: ignore[misc]


def test_a_row_can_be_looked_at() -> None:
    row = full()[2]
    assert (row.row, row.frame, row.score, row.label) == (2, 2, 1.0, 3)
    assert row.box.tolist() == [1, 1, 3, 3]
    assert row.keypoints is not None and row.keypoints.tolist() == [[8, 9], [10, 11]]
    assert full()[-1].row == 2 and [r.row for r in full()] == [0, 1, 2]
    bare = Detections.of([5], [[0, 0, 1, 1]])[0]
    assert np.isnan(bare.score) and bare.label == -1 and bare.keypoints is None
    with pytest.raises(IndexError):
        full()[3]


def test_a_table_describes_itself() -> None:
    what = "score, label, area, keypoints, keypoint_score, is_user, extra.name"
    assert repr(full()) == f"Detections(3 rows, frames 0..2, 2-D, {what})"
    assert repr(Detections.of([1], [[0, 0, 1, 1]])) == "Detections(1 rows, frames 1..1, 2-D)"


def test_frames_are_counted_to_the_end_of_the_video_where_it_is_known() -> None:
    assert full().n_frames == 10
    assert full(video=None).n_frames == 3
    assert full(video=VideoInfo(n_frames=2)).n_frames == 3


def test_an_individual_is_at_the_mean_of_its_visible_keypoints_or_else_in_the_middle_of_its_box() -> None:
    nan = np.nan
    keypoints = [[[0, 0], [2, 4]], [[8, 8], [nan, nan]], [[nan, nan], [nan, nan]]]
    np.testing.assert_array_equal(full(keypoints=keypoints).centre, [[1, 2], [8, 8], [2, 2]])
    np.testing.assert_array_equal(full(keypoints=None, keypoint_score=None, skeleton=None).centre[0], [1, 1])


def test_a_run_of_frames_is_a_slice() -> None:
    table = full()
    assert table.rows(0, 1) == slice(0, 1)
    assert table.rows(1, 2) == slice(1, 1)
    assert table.rows(1, 9) == slice(1, 3)
    assert np.shares_memory(table.take(table.rows(1, 9)).box, table.box)


@pytest.mark.parametrize(
    "rows", [slice(1, 3), [1, 2], np.array([1, 2]), np.array([False, True, True]), [], slice(0, 0)]
)
def test_taking_rows_touches_every_column(rows: Any) -> None:
    table, taken = full(), full().take(rows)
    assert list(taken.columns()) == list(table.columns())
    for name, column in table.columns().items():
        np.testing.assert_array_equal(taken.columns()[name], column[rows])
    assert taken.skeleton == table.skeleton and taken.video == table.video


def test_columns_are_replaced_added_and_taken_away() -> None:
    table = full().with_columns(score=None, area=[9, 9, 9])
    assert table.score is None and table.area is not None and table.area.tolist() == [9, 9, 9]
    assert full().score is not None


def test_tables_are_joined_in_order_of_frames() -> None:
    table = full()
    joined = Detections.concat([table.take([1, 2]), table.take([0]), table.take([])])
    for name, column in table.columns().items():
        np.testing.assert_array_equal(joined.columns()[name], column)
    assert joined.skeleton == table.skeleton and joined.video == table.video
    assert len(Detections.concat([])) == 0


def test_a_table_survives_copying_and_pickling() -> None:
    for twin in (copy.deepcopy(full()), pickle.loads(pickle.dumps(full()))):
        for name, column in full().columns().items():
            np.testing.assert_array_equal(twin.columns()[name], column)


def test_lost_positions_are_nan_and_kept() -> None:
    table = Detections.of([0, 0], [[np.nan] * 4, [0, 0, 1, 1]])
    assert len(table) == 2 and np.isnan(table.centre[0]).all()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "frame has two axes": (
        {"frame": [[0, 2, 2]]},
        r"frame has shape \(1, 3\); wanted one number for each detection, \(N,\)",
    ),
    "boxes of three numbers": (
        {"box": np.zeros((3, 3))},
        r"box has shape \(3, 3\); wanted \(N, 4\) as x0 y0 x1 y1, or \(N, 6\) in 3-D",
    ),
    "a box too few": ({"box": BOXES[:2]}, "column 'box' has 2 rows but frame has 3; give every column one row"),
    "a score too many": ({"score": np.zeros(4)}, "column 'score' has 4 rows but frame has 3"),
    "a score for all": ({"score": 1.0}, "column 'score' has a single value but frame has 3"),
    "a user's column too short": ({"extra": {"name": ["a"]}}, "column 'extra.name' has 1 rows but frame has 3"),
    "a user's single value": ({"extra": {"name": "a"}}, "column 'extra.name' has a single value but frame has 3"),
    "scores for classes": ({"score": np.zeros((3, 2))}, r"score has shape \(3, 2\); wanted one value for each"),
    "keypoints in 3-D": ({"keypoints": np.zeros((3, 2, 3))}, r"keypoints have shape \(3, 2, 3\); wanted \(N, K, 2\)"),
    "flat keypoints": ({"keypoints": np.zeros((3, 4))}, r"keypoints have shape \(3, 4\); wanted \(N, K, 2\)"),
    "a keypoint score too few": (
        {"keypoint_score": np.zeros((3, 1))},
        r"keypoint_score has shape \(3, 1\); wanted \(3, 2\), as keypoints have",
    ),
    "keypoint scores alone": ({"keypoints": None}, "keypoint_score was given without keypoints; give both or neither"),
    "a skeleton of another animal": (
        {"skeleton": Skeleton(("a", "b", "c"))},
        "the skeleton names 3 keypoints but the table holds 2",
    ),
    "unsorted frames": (
        {"frame": [0, 2, 1]},
        r"rows are not sorted by frame \(row 1 is of frame 2, row 2 of frame 1\); build .* with Detections.of\(\)",
    ),
    "a frame before the first": ({"frame": [-1, 0, 0]}, "frame -1 is negative; frames count from 0"),
    "half a frame": (
        {"frame": [0, 0.5, 1]},
        "column 'frame' holds 0.5, which is no int32 number; wanted whole numbers",
    ),
    "a frame that is nan": ({"frame": [0, 1, np.nan]}, "column 'frame' holds nan, which is no int32 number"),
    "a frame too far": ({"frame": [0, 1, 2**31]}, "column 'frame' holds 2147483648, which is no int32 number"),
    "no keypoints at all": ({"keypoints": np.zeros((3, 0, 2))}, r"shape \(3, 0, 2\); wanted .* at least one keypoint"),
    "a box without an end": (
        {"box": [[0, 0, 1, 1], [0, 0, np.inf, 1], [0, 0, 1, 1]]},
        "box in row 1 is infinite; wanted pixels, or nan where the place is not known",
    ),
    "an endless animal": ({"keypoints": np.full((3, 2, 2), -np.inf)}, "keypoints in row 0 is infinite"),
    "half a label": ({"label": [1, 2, 2.5]}, "column 'label' holds 2.5, which is no int64 number"),
}


@pytest.mark.parametrize(("changes", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_table_that_breaks_its_promise_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        full(**changes)


def test_nothing_is_dropped_where_lengths_differ_before_sorting() -> None:
    with pytest.raises(InputError, match="column 'score' has 3 rows but frame has 2"):
        Detections.of([1, 0], BOXES[:2], score=[1, 2, 3])
    with pytest.raises(InputError, match="column 'box' has 3 rows but frame has 2"):
        Detections.of([1, 0], BOXES)
    with pytest.raises(InputError, match=r"column 'extra.i' has 1 rows but frame has 2"):
        Detections.of([1, 0], BOXES[:2], extra={"i": [1]})
    with pytest.raises(InputError, match=r"frame has shape \(\); wanted one number for each detection"):
        Detections.of(0, BOXES)


def test_rows_cannot_be_taken_out_of_order() -> None:
    with pytest.raises(InputError, match="rows are not sorted by frame"):
        full().take([2, 0])


def test_tables_that_do_not_fit_each_other_are_not_joined() -> None:
    with pytest.raises(InputError, match=r"different columns cannot be joined: extra.name, score only in one of them"):
        Detections.concat([full(), full(score=None, extra={})])
    three = full(keypoints=np.zeros((3, 3, 2)), keypoint_score=np.zeros((3, 3)), skeleton=None)
    with pytest.raises(InputError, match=r"a row of keypoints has shape \(3, 2\) in one, \(2, 2\) in another"):
        Detections.concat([full(), three])
    with pytest.raises(InputError, match=r"a row of box has shape \(6,\) in one, \(4,\) in another"):
        Detections.concat([Detections.empty(), Detections.empty(3)])


def test_inputs_stay_byte_for_byte_as_they_were() -> None:
    given = {"frame": np.array([2, 0, 1]), "box": np.array(BOXES), "score": np.array([1.0, 2, 3])}
    before = {name: value.tobytes() for name, value in given.items()}
    table = Detections.of(**given)
    table.take([0, 2])
    Detections.concat([table, table])
    assert {name: value.tobytes() for name, value in given.items()} == before
