"""Boxes: each measure on numbers that can be checked by eye, in 2-D and 3-D, with points and with nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kintrack.core import boxes

SQUARE = np.array([[0.0, 0, 2, 2]])
CUBE = np.array([[0.0, 0, 0, 2, 2, 2]])
POINT = np.array([[3.0, 4, 3, 4]])
LOST = np.full((1, 4), np.nan)


@pytest.mark.parametrize(("box", "ndim", "area", "size"), [(SQUARE, 2, 4, 2), (CUBE, 3, 8, 2), (POINT, 2, 0, 0)])
def test_boxes_have_the_same_measures_in_two_and_three_dimensions(
    box: np.ndarray, ndim: int, area: float, size: float
) -> None:
    assert boxes.n_dims(box) == ndim
    assert boxes.area(box).tolist() == [area]
    assert boxes.size(box).tolist() == pytest.approx([size])
    assert boxes.centre(box).shape == boxes.sides(box).shape == (1, ndim)
    np.testing.assert_array_equal(boxes.from_centre(boxes.centre(box), boxes.sides(box)), box)


def test_the_size_of_a_box_is_the_side_of_the_square_of_the_same_area() -> None:
    assert boxes.size(np.array([[0.0, 0, 16, 4]])).tolist() == [8]


def test_one_side_or_many_can_be_given_for_many_centres() -> None:
    np.testing.assert_array_equal(boxes.from_centre([[1, 1], [5, 5]], 2), [[0, 0, 2, 2], [4, 4, 6, 6]])
    np.testing.assert_array_equal(boxes.from_centre([[1, 1], [5, 5]], [[2], [4]]), [[0, 0, 2, 2], [3, 3, 7, 7]])
    np.testing.assert_array_equal(boxes.from_centre([[1, 1]], [[2, 0]]), [[0, 1, 2, 1]])


def test_an_upside_down_box_has_no_area() -> None:
    assert boxes.area(np.array([[2.0, 2, 0, 0]])).tolist() == [0]


def test_the_box_around_points_leaves_out_those_not_seen() -> None:
    points = np.array([[[1.0, 5], [3, 2], [np.nan, 9]], [[4, 4], [np.nan, np.nan], [np.nan, np.nan]]])
    np.testing.assert_array_equal(boxes.around_points(points), [[1, 2, 3, 5], [4, 4, 4, 4]])


def test_the_box_around_no_visible_point_is_nan() -> None:
    assert np.isnan(boxes.around_points(np.full((2, 3, 2), np.nan))).all()
    assert np.isnan(boxes.around_points(np.zeros((2, 0, 2)))).all()
    assert boxes.around_points(np.zeros((0, 3, 3))).shape == (0, 6)


def test_iou_of_every_box_with_every_box() -> None:
    a = np.array([[0.0, 0, 2, 2], [10, 10, 12, 12]])
    b = np.array([[0.0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 4, 2], [0, 0, 1, 1]])
    np.testing.assert_allclose(boxes.iou(a, b), [[1, 1 / 3, 0, 1 / 4], [0, 0, 0, 0]])
    np.testing.assert_allclose(boxes.iou(CUBE, CUBE + np.array([1, 0, 0, 1, 0, 0])), [[1 / 3]])
    assert boxes.intersection(a[0], b[1]) == 2
    assert boxes.iou(a, np.zeros((0, 4))).shape == (2, 0)


def test_points_and_lost_boxes_overlap_nothing_not_even_themselves() -> None:
    assert boxes.paired_iou(POINT, POINT).tolist() == [0]
    assert boxes.paired_iou(LOST, SQUARE).tolist() == [0]
    assert boxes.paired_iou(LOST, LOST).tolist() == [0]


def test_clipping_takes_the_shape_as_numpy_orders_it() -> None:
    np.testing.assert_array_equal(boxes.clip(np.array([[-5.0, -5, 50, 50]]), (10, 20)), [[0, 0, 20, 10]])
    np.testing.assert_array_equal(boxes.clip(np.array([[-5.0, 0, 2, 50, 5, 50]]), (9, 10, 20)), [[0, 0, 2, 20, 5, 9]])
    assert boxes.area(boxes.clip(np.array([[30.0, 0, 40, 5]]), (10, 20))).tolist() == [0]
    assert np.isnan(boxes.clip(LOST, (10, 20))).all()


coordinate = st.integers(-20, 20)
some_box = st.tuples(coordinate, coordinate, st.integers(0, 20), st.integers(0, 20)).map(
    lambda b: np.array([b[0], b[1], b[0] + b[2], b[1] + b[3]], float)
)


@given(some_box, some_box, coordinate, coordinate)
def test_iou_is_symmetric_between_0_and_1_and_moves_along(a: np.ndarray, b: np.ndarray, dx: int, dy: int) -> None:
    iou = boxes.paired_iou(a, b)
    assert 0 <= iou <= 1
    assert iou == boxes.paired_iou(b, a)
    shift = np.array([dx, dy, dx, dy])
    assert iou == boxes.paired_iou(a + shift, b + shift)
    if boxes.area(a) > 0:
        assert boxes.paired_iou(a, a) == 1


@given(some_box, some_box)
def test_the_area_shared_is_the_number_of_pixels_in_both(a: np.ndarray, b: np.ndarray) -> None:
    both = np.zeros((2, 80, 80), bool)
    for image, box in zip(both, (a, b), strict=True):
        x0, y0, x1, y1 = (box + 20).astype(int)
        image[y0:y1, x0:x1] = True
    assert boxes.intersection(a, b) == (both[0] & both[1]).sum()


def test_measuring_leaves_boxes_as_they_were() -> None:
    a, b = np.random.default_rng(0).uniform(0, 9, (2, 5, 4))
    before = a.tobytes(), b.tobytes()
    for measure in (boxes.area, boxes.size, boxes.sides, boxes.centre):
        measure(a)
    boxes.iou(a, b)
    boxes.clip(a, (5, 5))
    assert (a.tobytes(), b.tobytes()) == before
