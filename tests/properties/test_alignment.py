"""Columns never come apart: whatever is done to a table, each row keeps all of its values, and its own pixels."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import worlds
from kintrack.core.detections import Detections, Skeleton
from kintrack.core.tracks import Tracks
from kintrack.core.transforms import Affine, apply_to_detections, apply_to_frame, crop, fit, flip, rescale, rotate

SHAPE = (24, 32)
SKELETON = Skeleton(("nose", "left", "right"), symmetries=((1, 2),))


@st.composite
def tables(draw: st.DrawFn, max_rows: int = 20) -> Detections:
    """A table in which every column says of which row it is, so that none can be exchanged unnoticed."""
    frame = sorted(draw(st.lists(st.integers(0, 5), max_size=max_rows)))
    n = len(frame)
    row = np.arange(n, dtype=np.float64)
    return Detections.of(
        frame,
        np.stack([row, row, row + 2, row + 1], axis=1).reshape(n, 4),
        score=row / 100,
        label=np.arange(n) + 1,
        area=row + 1,
        keypoints=(row[:, None, None] + np.array([[0.5, 0.5], [1, 0], [1, 1]])),
        keypoint_score=row[:, None] + [0.0, 0.1, 0.2],
        is_user=np.arange(n) % 2 == 0,
        extra={"row": np.arange(n), "vector": row[:, None] * [1.0, 2.0]},
        skeleton=SKELETON,
    )


def rows_agree(table: Detections, original: Detections) -> None:
    """Every column holds the values of the rows of the original that the index column names."""
    index = table.extra["row"]
    assert table.columns().keys() == original.columns().keys()
    for name, column in original.columns().items():
        np.testing.assert_array_equal(table.columns()[name], column[index], err_msg=name)


@given(tables(), st.data())
def test_taking_rows_commutes_with_an_index_column(table: Detections, data: st.DataObject) -> None:
    keep = data.draw(st.lists(st.booleans(), min_size=len(table), max_size=len(table)))
    chosen = np.flatnonzero(np.array(keep, bool))
    for rows in (np.array(keep, bool), chosen, chosen.tolist()):
        taken = table.take(rows)
        assert taken.extra["row"].tolist() == chosen.tolist()
        rows_agree(taken, table)
    start, stop = sorted(data.draw(st.tuples(st.integers(0, 6), st.integers(0, 6))))
    run = table.take(table.rows(start, stop))
    assert run.frame.tolist() == [t for t in table.frame.tolist() if start <= t < stop]
    rows_agree(run, table)


@given(tables(), st.data())
def test_parting_and_joining_commute_with_an_index_column(table: Detections, data: st.DataObject) -> None:
    part = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(table), max_size=len(table))), int)
    joined = Detections.concat([table.take(part == k) for k in range(3)])
    assert sorted(joined.extra["row"].tolist()) == list(range(len(table)))
    rows_agree(joined, table)


@given(tables(), st.randoms(use_true_random=False))
def test_sorting_commutes_with_an_index_column(table: Detections, random: Any) -> None:
    order = list(range(len(table)))
    random.shuffle(order)
    columns = {name: column[order] for name, column in table.columns().items() if not name.startswith("extra.")}
    again = Detections.of(**columns, extra={name: c[order] for name, c in table.extra.items()}, skeleton=SKELETON)
    rows_agree(again, table)


@given(tables(), st.data())
def test_taking_rows_of_tracks_keeps_each_rows_identity(table: Detections, data: st.DataObject) -> None:
    tracks = Tracks(table, np.arange(len(table)) + 10, confidence=np.arange(len(table)) / 100)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(table), max_size=len(table))), bool)
    taken = tracks.take(keep)
    rows_agree(taken.detections, table)
    assert taken.confidence is not None
    np.testing.assert_array_equal(taken.track, taken.detections.extra["row"] + 10)
    np.testing.assert_array_equal(taken.confidence, taken.detections.extra["row"] / 100)


@st.composite
def transforms(draw: st.DrawFn) -> tuple[Affine, tuple[int, int]]:
    """Up to three transforms after each other, and the shape of the image that comes out."""
    transform, shape = Affine(np.eye(2, 3)), SHAPE
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["flip", "quarter", "turn", "rescale", "crop"]))
        if kind == "flip":
            step, shape = flip(shape, draw(st.sampled_from(["x", "y"]))), shape
        elif kind == "quarter":
            step, shape = fit(rotate(90 * draw(st.integers(-3, 3))), shape)
        elif kind == "turn":
            step, shape = fit(rotate(draw(st.integers(-180, 180))), shape)
        elif kind == "rescale":
            step, shape = fit(rescale(draw(st.sampled_from([0.3, 0.5, 1.7, 2.0, (0.6, 1.5)]))), shape)
        else:
            x0, y0 = draw(st.floats(-5, 20)), draw(st.floats(-5, 15))
            step, shape = crop([x0, y0, x0 + draw(st.floats(5, 30)), y0 + draw(st.floats(5, 30))])
        transform = step @ transform
    return transform, shape


@given(tables(), transforms())
def test_transforms_commute_with_an_index_column(table: Detections, moved: tuple[Affine, tuple[int, int]]) -> None:
    transform, shape = moved
    result = apply_to_detections(table, transform, shape)
    for name in ("frame", "score", "label", "is_user", "extra.row", "extra.vector"):
        np.testing.assert_array_equal(result.columns()[name], table.columns()[name])
    for row in range(len(table)):  # a row alone becomes what it becomes among the others
        alone = apply_to_detections(table.take([row]), transform, shape)
        for name, column in alone.columns().items():
            np.testing.assert_allclose(column[0], result.columns()[name][row], rtol=1e-12, atol=1e-12, err_msg=name)


@given(tables(), transforms())
def test_the_way_there_and_back_changes_nothing(table: Detections, moved: tuple[Affine, tuple[int, int]]) -> None:
    transform, shape = moved
    back = apply_to_detections(apply_to_detections(table, transform, shape), transform.inverse, SHAPE)
    for name in ("area", "keypoints", "keypoint_score"):
        np.testing.assert_allclose(back.columns()[name], table.columns()[name], atol=1e-9)
    # A turned box grows, so the way back leads to a box around the old one.
    assert (back.box[:, :2] <= table.box[:, :2] + 1e-9).all() and (back.box[:, 2:] >= table.box[:, 2:] - 1e-9).all()


@st.composite
def labelled(draw: st.DrawFn) -> tuple[Detections, np.ndarray]:
    """Rectangles and ellipses drawn into a label image, later ones over earlier ones, and a table of their boxes."""
    image = np.zeros(SHAPE, np.uint16)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    for label in range(1, draw(st.integers(1, 6)) + 1):
        cx, cy = draw(st.integers(2, SHAPE[1] - 2)), draw(st.integers(2, SHAPE[0] - 2))
        rx, ry = draw(st.integers(1, 7)), draw(st.integers(1, 7))
        away_x, away_y = np.abs(x - cx) / rx, np.abs(y - cy) / ry
        away = np.hypot(away_x, away_y) if draw(st.booleans()) else np.maximum(away_x, away_y)
        image[away <= 1] = label
    labels = np.unique(image[image > 0])
    pixels = [np.argwhere(image == label) for label in labels]
    box = [[*p.min(axis=0)[::-1], *(p.max(axis=0)[::-1] + 1)] for p in pixels]
    area = [len(p) for p in pixels]
    return Detections.of(np.zeros(len(labels)), box, label=labels, area=area), image


def middles(image: np.ndarray, label: int) -> np.ndarray:
    """(P, 2) x y of the middle of each pixel of a label."""
    return np.argwhere(image == label)[:, ::-1] + 0.5


@settings(max_examples=200)
@given(labelled(), transforms())
def test_each_box_covers_its_own_labels_pixels_after_any_transform(
    scene: tuple[Detections, np.ndarray], moved: tuple[Affine, tuple[int, int]]
) -> None:
    (detections, image), (transform, shape) = scene, moved
    result = apply_to_frame(image, transform, shape, order=0)
    after = apply_to_detections(detections, transform, shape)
    assert set(np.unique(result)) <= {0, *detections.label.tolist()}
    for box, label in zip(after.box, after.label, strict=True):
        points = middles(result, label)
        assert (points >= box[:2] - 1e-6).all() and (points <= box[2:] + 1e-6).all()


@given(labelled(), st.sampled_from(["flip", "quarter", "half", "mirror"]))
def test_boxes_and_areas_fit_their_pixels_exactly_after_flips_and_quarter_turns(
    scene: tuple[Detections, np.ndarray], kind: str
) -> None:
    detections, image = scene
    transform, shape = {
        "flip": (flip(SHAPE, "y"), SHAPE),
        "quarter": fit(rotate(90), SHAPE),
        "half": fit(rotate(180), SHAPE),
        "mirror": fit(flip(SHAPE, "x") @ rotate(270), SHAPE),
    }[kind]
    result = apply_to_frame(image, transform, shape, order=0)
    after = apply_to_detections(detections, transform, shape)
    assert after.area is not None
    for box, label, area in zip(after.box, after.label, after.area, strict=True):
        points = middles(result, label)
        assert len(points) == area
        np.testing.assert_array_equal(np.r_[points.min(axis=0) - 0.5, points.max(axis=0) + 0.5], box)


@settings(max_examples=200)
@given(st.floats(0, SHAPE[1] - 0.01), st.floats(0, SHAPE[0] - 0.01), transforms())
def test_a_keypoint_stays_on_its_pixel(x: float, y: float, moved: tuple[Affine, tuple[int, int]]) -> None:
    transform, shape = moved
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    where = np.stack([columns, rows], axis=-1)  # an image of which each pixel says where it is
    result = apply_to_frame(where, transform, shape, order=0, fill=np.nan)
    nose = Detections.of([0], [[x, y, x, y]], keypoints=[[[x, y]]])
    keypoints = apply_to_detections(nose, transform, shape).keypoints
    assert keypoints is not None
    column, row = np.floor(keypoints[0, 0]).astype(int)
    if 0 <= row < shape[0] and 0 <= column < shape[1] and not np.isnan(result[row, column]).any():
        # Half a pixel off at most in the new image, and half a pixel in the old.
        reach = 0.5 * np.abs(transform.inverse.matrix[:, :2]).sum(axis=1) + 0.5
        assert (np.abs(result[row, column] - [x, y]) <= reach + 1e-6).all()


@pytest.mark.parametrize("name", worlds.GALLERY)
def test_every_world_of_the_gallery_can_be_mirrored_with_its_labels(name: str) -> None:
    detections = worlds.GALLERY[name]().detections
    assert detections.video is not None and detections.video.shape is not None
    shape = detections.video.shape
    mirror = flip(shape, "x")
    mirrored = apply_to_detections(detections, mirror, shape)
    for before, after in zip(worlds.painted(detections), worlds.painted(mirrored), strict=True):
        np.testing.assert_array_equal(apply_to_frame(before, mirror, shape, order=0), after)


@settings(max_examples=20)
@given(labelled(), transforms())
def test_transforms_leave_their_inputs_byte_for_byte_as_they_were(
    scene: tuple[Detections, np.ndarray], moved: tuple[Affine, tuple[int, int]]
) -> None:
    (detections, image), (transform, shape) = scene, moved
    before = image.tobytes(), detections.box.tobytes(), detections.area.tobytes(), transform.matrix.tobytes()
    apply_to_frame(image, transform, shape)
    apply_to_detections(detections, transform, shape)
    after = image.tobytes(), detections.box.tobytes(), detections.area.tobytes(), transform.matrix.tobytes()
    assert before == after
