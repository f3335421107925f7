"""What a model of DREEM is shown, and the ids that follow: DREEM's own (tests/golden/dreem)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from golden.dreem import seeded
from kintrack.config_dreem import DreemCrops
from kintrack.core.detections import Detections, Skeleton
from kintrack.core.sightings import Sightings
from kintrack.core.tracks import same_tracks
from kintrack.core.video import ArrayLabelVideo, ArrayVideo
from kintrack.errors import ConfigError, InputError
from kintrack.models.dreem import DreemTransformer
from kintrack.models.dreem_config import DreemConfig
from kintrack.tracking.dreem import DreemTracker
from kintrack.windows.dreem import (
    DreemScorer,
    anchors,
    boxes_shown,
    boxes_tracked,
    crop_axes,
    iter_dreem_crops,
    squares,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "dreem" / "matrices.npz"


def at(*places, **more):
    """Boxes of two pixels around places, which are in our coordinates."""
    centre = np.array(places, float)
    return Detections(frame=np.zeros(len(centre)), box=np.c_[centre - 1, centre + 1], **more)


@pytest.mark.parametrize("name", seeded.TRACKERS)
def test_ids_and_certainties_are_dreems(name):
    with np.load(GOLDEN) as golden:
        theirs, score = golden[f"tracks/{name}/id"], golden[f"tracks/{name}/score"]
    of, config = seeded.TRACKERS[name]
    model = DreemTransformer(DreemConfig.of_dreem(seeded.CONFIGS[of])).eval()
    model.load_state_dict(
        {n: torch.from_numpy(seeded.weights(n, tuple(t.shape))) for n, t in model.state_dict().items()}
    )
    given = seeded.walk()
    detections = Detections(frame=given["frame"], box=given["box"][:, [1, 0, 3, 2]])
    seen = Sightings.of(detections).with_columns(token=given["features"])
    tracks = DreemTracker({"max_gap": None, **config}, shape=seeded.SHAPE)(
        DreemScorer(model, seeded.SHAPE), detections, seen
    )
    assert 6 <= len(np.unique(theirs)) < len(theirs) / 2  # neither all alone nor all one
    assert same_tracks(theirs, tracks.track)
    linked = ~np.isnan(tracks.confidence)
    assert np.allclose(np.exp(score[linked]), tracks.confidence[linked], atol=1e-4)


def test_a_square_is_around_its_middle_and_moved_inside_only_at_the_left_and_above():
    config = DreemCrops(crop_size=7, padding=2)
    box = squares(np.array([[50.0, 60.0], [1.0, 60.0], [50.0, 3.5], [np.nan, 4.0]]), config)
    assert box[:3].tolist() == [[44, 54, 55, 65], [-2, 54, 9, 65], [44, -2, 55, 9]]
    assert np.isnan(box[3]).all()


def test_without_a_size_nothing_can_be_cut():
    with pytest.raises(ConfigError, match=r"checkpoints do not say how large .* --set dreem\.crop_size=64"):
        squares(np.zeros((1, 2)), DreemCrops())


def test_the_anchor_is_the_mean_of_a_pose_or_a_keypoint_of_it_half_a_pixel_off():
    nan = np.nan
    pose = np.array([[[2.5, 4.5], [6.5, 8.5]], [[nan, nan], [6.5, 8.5]]])
    detections = at([1, 1], [2, 2], keypoints=pose, skeleton=Skeleton(("head", "tail")))
    assert anchors(detections, DreemCrops())[:, 0].tolist() == [[4, 6], [6, 8]]
    assert anchors(detections, DreemCrops(anchors="midpoint"))[:, 0].tolist() == [[4, 6], [6, 8]]
    assert anchors(detections, DreemCrops(anchors="head"))[:, 0].tolist() == [[2, 4], [6, 8]]
    for how in ("drop", "ignore"):
        missing = anchors(detections, DreemCrops(anchors="head", handle_missing=how))[:, 0]
        assert missing[0].tolist() == [2, 4] and np.isnan(missing[1]).all()
    with pytest.raises(ConfigError, match=r"anchor 'hed' is no keypoint of these detections: did you mean 'head'"):
        anchors(detections, DreemCrops(anchors="hed"))


def test_the_anchor_of_a_mask_is_its_centre_of_mass_without_the_fraction():
    image = np.zeros((1, 20, 30), int)
    image[0, 4:6, 10:15] = 7  # y 4.5, x 12
    image[0, 9, 3:5] = 300  # y 9, x 3.5
    detections = at([1, 1], [1, 1], [1, 1], label=np.array([300, 7, 9]))
    found = anchors(detections, DreemCrops(), ArrayLabelVideo(image))[:, 0]
    assert found[:2].tolist() == [[3, 9], [12, 4]] and np.isnan(found[2]).all()
    assert (
        anchors(detections, DreemCrops())[:, 0].tolist() == [[0.5, 0.5]] * 3
    )  # the middle of the box, where no mask is


def crops_of(image, middle, config, **more):
    detections = at(*[[0, 0]] * len(middle), **more)
    box = squares(np.array(middle, float), config)
    return np.concatenate([c for _, c in iter_dreem_crops(ArrayVideo(image[None]), detections, box, config, batch=2)])


def test_a_crop_is_the_pixels_themselves_and_0_beyond_the_image():
    image = np.arange(20 * 30 * 3).reshape(20, 30, 3).astype(np.uint8)
    crops = crops_of(image, [[10, 8], [29, 19], [np.nan, 1]], DreemCrops(crop_size=4, padding=1))
    assert crops.shape == (3, 3, 6, 6) and crops.dtype == np.float32
    assert np.array_equal(crops[0], np.moveaxis(image[5:11, 7:13], 2, 0) / np.float32(255))
    assert np.array_equal(crops[1][:, :4, :4], np.moveaxis(image[16:20, 26:30], 2, 0) / np.float32(255))
    assert not crops[1][:, 4:].any() and not crops[1][:, :, 4:].any() and not crops[2].any()


def test_crops_have_the_padding_that_was_asked_for_and_none_by_default():
    """DREEM trains without and tracks with 5 pixels: its defect C3."""
    image = np.ones((90, 90), np.uint8)
    assert crops_of(image, [[40, 40]], DreemCrops(crop_size=30)).shape[2:] == (30, 30)
    assert crops_of(image, [[40, 40]], DreemCrops(crop_size=30, padding=5)).shape[2:] == (40, 40)


def test_halves_are_rounded_to_the_even_pixel():
    image = np.arange(400).reshape(20, 20).astype(np.uint8)
    crops = crops_of(image, [[9.5, 9.5], [10.5, 9.5]], DreemCrops(crop_size=2))
    assert np.array_equal(crops[:, 0, 0, 0] * 255, [image[8, 8], image[8, 10]])


def test_masks_come_with_bytes_and_poses_with_shares():
    deep = np.linspace(1000, 9000, 600).reshape(20, 30).astype(np.uint16)
    shallow = (deep // 40).astype(np.uint8)
    mask = {"label": np.array([1])}
    config = DreemCrops(crop_size=40)
    assert crops_of(shallow, [[10, 10]], config, **mask).max() == shallow.max()
    assert np.isclose(crops_of(shallow, [[10, 10]], config).max(), shallow.max() / 255)
    stretched = crops_of(deep, [[10, 10]], config, **mask)[0, 0, :20, :30]
    assert stretched.min() == 0 and stretched.max() == 255
    assert np.array_equal(stretched, np.floor((deep - 1000) / 8000 * 255))
    unit = DreemCrops(crop_size=40, intensity="unit")
    assert np.isclose(crops_of(deep, [[10, 10]], unit, **mask).max(), 9000 / 65535)


TWO = Skeleton(("head", "tail"))


def two_anchored(handle_missing="ignore"):
    """Three rows of head and tail, of which the second has no head; and the config that shows both."""
    nan = np.nan
    pose = np.array([[[20.5, 10.5], [30.5, 14.5]], [[nan, nan], [30.5, 24.5]], [[nan, nan], [nan, nan]]])
    rows = at([25, 12], [30, 24], [12, 30], keypoints=pose, skeleton=TWO)
    return rows, DreemCrops(anchors=("head", "tail"), crop_size=6, handle_missing=handle_missing)


def test_crops_of_several_anchors_are_stacked_and_grey_is_three_colours_beside_them():
    rows, config = two_anchored()
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 1), np.uint8)
    box = boxes_shown(rows, config)
    assert box.shape == (3, 2, 4)
    assert box[0].tolist() == [[17, 7, 23, 13], [27, 11, 33, 17]]
    (_, crops), *more = iter_dreem_crops(ArrayVideo(image[None]), rows, box, config)
    assert not more and crops.shape == (3, 6, 6, 6)
    for channel in range(3):
        assert np.array_equal(crops[0, channel] * 255, image[7:13, 17:23, 0])
        assert np.array_equal(crops[0, 3 + channel] * 255, image[11:17, 27:33, 0])
    assert not crops[1, :3].any() and crops[1, 3:].any() and not crops[2].any()


def test_who_lacks_an_anchor_is_blank_there_and_still_has_a_place():
    rows, config = two_anchored()
    box = boxes_shown(rows, config)
    assert np.isnan(box).all(axis=2).tolist() == [[False, False], [True, False], [True, True]]
    tracked = boxes_tracked(rows, config, box)
    assert tracked[0].tolist() == [22, 9, 28, 15]  # between head and tail
    assert tracked[1].tolist() == box[1, 1].tolist()
    assert tracked[2].tolist() == [8.5, 26.5, 14.5, 32.5]  # around the middle of its box
    rows, filled = two_anchored("centroid")
    assert not np.isnan(boxes_shown(rows, filled)).any()


def test_tight_crops_are_whole_boxes_in_the_middle_of_black_squares_of_one_size():
    """DREEM cuts off the last row and column of masks, and cannot stack its tight crops of poses (D12)."""
    image = np.random.default_rng(0).integers(1, 255, (40, 50), np.uint8)
    rows = Detections([0] * 3, [[4.0, 5, 10, 9], [20, 10, 21, 40], [30, 30, 30, 30]], label=[1, 2, 3])
    config = DreemCrops(crop_size=10, tight=True)
    box = boxes_shown(rows, config)
    assert box[:2, 0].tolist() == [[4, 5, 9, 8], [20, 10, 20, 39]]  # from the first to the last pixel
    assert box[2, 0].tolist() == squares(np.array([29.5, 29.5]), config).tolist()  # a point has no extent
    (_, crops), *_ = iter_dreem_crops(ArrayVideo(image[None]), rows, box, config)
    assert crops.shape == (3, 1, 10, 10)
    assert np.array_equal(crops[0, 0, 3:7, 2:8], image[5:9, 4:10]) and np.count_nonzero(crops[0]) == 24
    assert np.array_equal(crops[1, 0, :, 4], image[20:30, 20]) and np.count_nonzero(crops[1]) == 10  # its middle
    pose = rows.with_columns(
        label=None, keypoints=np.array([[[4.5, 5.5], [9.5, 8.5]]] * 3), box=[[4.5, 5.5, 9.5, 8.5]] * 3
    )
    posed = boxes_shown(pose, config)
    assert posed[0, 0].tolist() == [4, 5, 9, 8]
    (_, crops), *_ = iter_dreem_crops(ArrayVideo(image[None]), pose, posed, config)
    assert np.allclose(crops[0, 0, 3:7, 2:8] * 255, image[5:9, 4:10])


def test_discs_and_own_masks_blank_the_crops_of_dreem_with_black():
    rows, config = two_anchored()
    config = config.model_copy(update={"dilation_radius": 2.5})
    image = np.full((40, 50), 255, np.uint8)
    (_, crops), *_ = iter_dreem_crops(ArrayVideo(image[None]), rows, boxes_shown(rows, config), config)
    y, x = np.mgrid[:6, :6] - 3  # its head is in the middle of the pixel after the middle
    assert np.array_equal(crops[0, 0] > 0, x**2 + y**2 < 2.5**2)
    masks = np.zeros((1, 40, 50), int)
    masks[0, 4:9, 4:8], masks[0, 4:9, 8:12] = 1, 2
    cells = Detections([0, 0], [[4, 4, 8, 9], [8, 4, 12, 9]], label=[1, 2])
    own, labels = DreemCrops(crop_size=12, own_mask=True), ArrayLabelVideo(masks)
    (_, crops), *_ = iter_dreem_crops(ArrayVideo(image[None]), cells, boxes_shown(cells, own, labels), own, 9, labels)
    assert (crops.sum(axis=(1, 2, 3)) == 20 * 255).all()


def test_two_channels_are_no_colours():
    with pytest.raises(InputError, match="has 2 channels; a model of DREEM wants 1"):
        crops_of(np.zeros((9, 9, 2), np.uint8), [[1, 1]], DreemCrops(crop_size=3))


def test_the_axis_of_a_crop_is_along_what_it_shows():
    y, x = np.mgrid[-16:16, -16:16]
    angle = np.radians([0, 30, 90, 140])
    along = np.cos(angle)[:, None, None] * x + np.sin(angle)[:, None, None] * y
    across = -np.sin(angle)[:, None, None] * x + np.cos(angle)[:, None, None] * y
    crops = np.exp(-((along / 9) ** 2) - (across / 2) ** 2).astype(np.float32)[:, None]
    axis = np.full((5, 3), 9.0)
    crop_axes(np.arange(5), np.concatenate([crops, np.zeros_like(crops[:1])]), axis)
    assert np.allclose(np.abs(axis[:4, 0] * np.cos(angle) + axis[:4, 1] * np.sin(angle)), 1, atol=1e-3)
    assert (axis[:4, 2] == 0).all() and np.isnan(axis[4]).all()
