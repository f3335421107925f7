"""Transforms: where points go, that pixels go there too, and what becomes of each column."""

import dataclasses

import numpy as np
import pytest

from kintrack.core.detections import Detections, Skeleton, VideoInfo
from kintrack.core.transforms import (
    Affine,
    apply_to_detections,
    apply_to_frame,
    crop,
    fit,
    flip,
    in_view,
    rescale,
    rotate,
)
from kintrack.errors import InputError

SHAPE = (6, 10)


def picture(*channels: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (*SHAPE, *channels)).astype(dtype)


def test_transforms_compose_from_right_to_left_and_lead_back() -> None:
    turn = rescale((2.0, 0.5)) @ rotate(30, (4, 2)) @ flip(SHAPE, "x")
    points = np.random.default_rng(1).uniform(0, 10, (5, 2))
    step_by_step = rescale((2.0, 0.5))(rotate(30, (4, 2))(flip(SHAPE, "x")(points)))
    np.testing.assert_allclose(turn(points), step_by_step)
    np.testing.assert_allclose(turn.inverse(turn(points)), points)
    assert turn.area_factor == pytest.approx(1.0) and turn.is_mirror
    assert rescale(3).area_factor == 9 and not rotate(200).is_mirror


def test_a_point_that_is_nan_stays_nan() -> None:
    assert np.isnan(rotate(30)([[np.nan, np.nan]])).all()


def test_a_turn_keeps_its_centre() -> None:
    np.testing.assert_allclose(rotate(33, (4, 2))([4, 2]), [4, 2])


@pytest.mark.parametrize("quarters", range(-5, 6))
def test_quarter_turns_are_exact(quarters: int) -> None:
    turn = rotate(90 * quarters)
    assert set(np.abs(turn.matrix).ravel().tolist()) == {0.0, 1.0}
    assert turn.moves_whole_pixels and turn.inverse.moves_whole_pixels
    frame = picture(3)
    placed, shape = fit(turn, SHAPE)
    # numpy turns from y to x, which is anticlockwise as an image is shown.
    np.testing.assert_array_equal(apply_to_frame(frame, placed, shape), np.rot90(frame, -quarters))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.float32, bool])
@pytest.mark.parametrize("order", [0, 1])
def test_flips_copy_pixels_of_every_type(dtype: type, order: int) -> None:
    frame = picture(dtype=dtype)
    frame.flat[0] = np.array(2**62 + 1).astype(dtype)  # more than a double can hold
    for axis, mirrored in (("x", frame[:, ::-1]), ("y", frame[::-1])):
        result = apply_to_frame(frame, flip(SHAPE, axis), SHAPE, order)
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, mirrored)


def test_a_crop_at_whole_pixels_is_a_slice_and_fills_what_lies_outside() -> None:
    frame = picture(2)
    shift, shape = crop([3, 1, 8, 5])
    np.testing.assert_array_equal(apply_to_frame(frame, shift, shape), frame[1:5, 3:8])
    shift, shape = crop([-2, -1, 3, 2])
    result = apply_to_frame(frame, shift, shape, fill=7)
    np.testing.assert_array_equal(result[1:, 2:], frame[:2, :3])
    assert (result[0] == 7).all() and (result[:, :2] == 7).all()


def test_enlarged_labels_are_copied_pixel_by_pixel_up_to_the_border() -> None:
    labels = picture(dtype=np.int32)
    grow, shape = fit(rescale(3), SHAPE)
    assert shape == (18, 30)
    np.testing.assert_array_equal(apply_to_frame(labels, grow, shape, 0), labels.repeat(3, 0).repeat(3, 1))


def test_images_are_interpolated_linearly() -> None:
    ramp = np.broadcast_to(np.arange(10, dtype=np.float64), SHAPE)
    grow, shape = fit(rescale((2, 1)), SHAPE)
    result = apply_to_frame(ramp, grow, shape)
    # The middle of new column j comes from x = (j + 0.5) / 2, where the ramp is x - 0.5; the border repeats.
    np.testing.assert_allclose(result, np.broadcast_to(((np.arange(20) + 0.5) / 2 - 0.5).clip(0, 9), shape))


def test_shrinking_mixes_what_it_skips() -> None:
    stripes = np.zeros((64, 64), np.float64)
    stripes[:, ::4] = 1.0  # every new pixel of a fourth would otherwise see the same phase of the stripes
    shrink, shape = fit(rescale(0.25), (64, 64))
    np.testing.assert_allclose(apply_to_frame(stripes, shrink, shape)[4:-4, 4:-4], 0.25, atol=0.06)


def test_only_the_axis_that_shrinks_is_smoothed() -> None:
    checks = np.zeros((64, 64), np.float64)
    checks[:, ::4] = 1.0
    across, wide = fit(rescale((0.25, 1)), (64, 64))
    np.testing.assert_allclose(apply_to_frame(checks, across, wide)[:, 4:-4], 0.25, atol=0.06)
    down, high = fit(rescale((1, 0.25)), (64, 64))
    np.testing.assert_allclose(apply_to_frame(checks, down, high), checks[:16])


def test_a_turned_image_keeps_its_type_and_channels() -> None:
    turn, shape = fit(rotate(30), SHAPE)
    result = apply_to_frame(picture(3), turn, shape, fill=9)
    assert result.dtype == np.uint8 and result.shape == (*shape, 3)
    assert (result[0, 0] == 9).all()  # the corner shows nothing of the image
    np.testing.assert_array_equal(result[..., 1], apply_to_frame(picture(3)[..., 1], turn, shape, fill=9))


def test_fit_keeps_the_whole_image_in_view_and_no_more() -> None:
    assert fit(rotate(90), SHAPE)[1] == (10, 6)
    assert fit(rescale(0.1), (30, 30))[1] == (3, 3)
    assert fit(rescale(0.01), (30, 30))[1] == (1, 1)
    turn, shape = fit(rotate(45), (10, 10))
    assert shape == (15, 15)  # the diagonal of 10 is 14.14
    corners = turn([[0, 0], [10, 0], [10, 10], [0, 10]])
    np.testing.assert_allclose(corners.min(axis=0), 0, atol=1e-9)


SKELETON = Skeleton(("nose", "left", "right"), symmetries=((1, 2),))


def table() -> Detections:
    return Detections.of(
        [0, 1],
        [[1, 2, 4, 3], [5, 5, 5, 5]],
        score=[0.5, np.nan],
        label=[3, 4],
        area=[2.0, 0.0],
        keypoints=[[[1, 2], [2, 2], [4, 3]], [[5, 5], [np.nan, np.nan], [5, 5]]],
        keypoint_score=[[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]],
        is_user=[True, False],
        extra={"name": np.array(["a", "b"])},
        skeleton=SKELETON,
        video=VideoInfo("video.mp4", 7, SHAPE, 25.0),
    )


def test_a_mirror_moves_every_column_and_exchanges_left_and_right() -> None:
    mirrored = apply_to_detections(table(), flip(SHAPE, "x"), SHAPE)
    np.testing.assert_array_equal(mirrored.box, [[6, 2, 9, 3], [5, 5, 5, 5]])
    np.testing.assert_array_equal(mirrored.keypoints[0], [[9, 2], [6, 3], [8, 2]])
    np.testing.assert_array_equal(mirrored.keypoints[1], [[5, 5], [5, 5], [np.nan, np.nan]])
    np.testing.assert_array_equal(mirrored.keypoint_score, [[0.1, 0.3, 0.2], [0.4, 0.6, 0.5]])
    np.testing.assert_array_equal(mirrored.area, [2, 0])
    for same in ("frame", "score", "label", "is_user"):
        np.testing.assert_array_equal(getattr(mirrored, same), getattr(table(), same))
    assert mirrored.extra["name"].tolist() == ["a", "b"]
    assert mirrored.video == VideoInfo(None, 7, SHAPE, 25.0)


def test_a_half_turn_leaves_left_left() -> None:
    turned, shape = fit(rotate(180), SHAPE)
    result = apply_to_detections(table(), turned, shape)
    np.testing.assert_array_equal(result.keypoints[0], [[9, 4], [8, 4], [6, 3]])
    np.testing.assert_array_equal(result.keypoint_score, table().keypoint_score)


def test_without_a_skeleton_no_keypoints_are_known_to_be_twins() -> None:
    bare = table().with_columns(skeleton=None, keypoint_score=None, video=None)
    mirrored = apply_to_detections(bare, flip(SHAPE, "x"), SHAPE)
    np.testing.assert_array_equal(mirrored.keypoints[0], [[9, 2], [8, 2], [6, 3]])
    assert mirrored.keypoint_score is None and mirrored.video is None


def test_areas_grow_with_the_transform_and_a_turned_box_is_the_box_around_its_corners() -> None:
    grown = apply_to_detections(table(), rescale((2, 3)), (18, 20))
    np.testing.assert_array_equal(grown.area, [12, 0])
    np.testing.assert_array_equal(grown.box[0], [2, 6, 8, 9])
    square = Detections.of([0], [[-1, -1, 1, 1]])
    turned = apply_to_detections(square, rotate(45), SHAPE)
    np.testing.assert_allclose(turned.box[0], np.array([-1, -1, 1, 1]) * np.sqrt(2))


def test_a_row_without_a_position_keeps_none() -> None:
    lost = Detections.of([0, 0], [[np.nan] * 4, [0, 0, 2, 2]])
    turned = apply_to_detections(lost, rotate(30), SHAPE)
    assert np.isnan(turned.box[0]).all() and np.isfinite(turned.box[1]).all()


def test_an_empty_table_stays_empty() -> None:
    result = apply_to_detections(Detections.empty(), rotate(30), SHAPE)
    assert len(result) == 0 and result.box.shape == (0, 4)


def test_in_view_says_whose_centre_is_inside_the_image() -> None:
    boxes = [[0, 0, 2, 2], [-3, 0, 1, 2], [8, 4, 11.9, 7.9], [8, 4, 12, 8], [np.nan] * 4]
    assert in_view(Detections.of([0] * 5, boxes), SHAPE).tolist() == [True, False, True, False, False]


def test_transforms_are_values_that_nobody_can_change() -> None:
    given = np.eye(2, 3)
    transform = Affine(given)
    given[0, 0] = 5
    assert transform.matrix[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        transform.matrix[0, 0] = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        transform.matrix = given  # type: ignore[misc]


def test_what_cannot_be_transformed_is_refused_in_words() -> None:
    with pytest.raises(InputError, match=r"matrix of shape \(2, 3\), not \(3, 3\)"):
        Affine(np.eye(3))
    with pytest.raises(InputError, match="cannot be inverted; a transform must not flatten the image"):
        Affine(np.zeros((2, 3)))
    with pytest.raises(InputError, match="cannot be inverted"):
        Affine(np.full((2, 3), np.nan))
    with pytest.raises(InputError, match="axis is 'z'; wanted 'x'"):
        flip(SHAPE, "z")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"scale is -1; wanted a factor greater than 0 \(flip mirrors\)"):
        rescale(-1)
    with pytest.raises(InputError, match=r"holds no pixel; a crop wants x0 < x1 and y0 < y1"):
        crop([4, 0, 4, 5])
    with pytest.raises(InputError, match="detections are 3-D; transforms move 2-D ones"):
        apply_to_detections(Detections.empty(3), rescale(2), SHAPE)
    with pytest.raises(InputError, match=r"frame has shape \(5,\); wanted \(Y, X\) or \(Y, X, C\)"):
        apply_to_frame(np.zeros(5), rescale(2), SHAPE)
    with pytest.raises(InputError, match=r"order is 3; wanted 1 \(linear, for images\) or 0 \(nearest, for labels\)"):
        apply_to_frame(np.zeros(SHAPE), rescale(2), SHAPE, 3)  # type: ignore[arg-type]


def test_a_twin_that_is_no_keypoint_is_refused() -> None:
    odd = Detections.of([0], [[0, 0, 1, 1]], keypoints=[[[0, 0]]], skeleton=Skeleton(("nose",), symmetries=((0, 3),)))
    with pytest.raises(InputError, match="calls keypoints 0 and 3 twins, but there are only 1"):
        apply_to_detections(odd, flip(SHAPE, "x"), SHAPE)
