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
from kintrack.windows.dreem import DreemScorer, anchors, crop_axes, iter_dreem_crops, squares

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
    assert anchors(detections, DreemCrops())[:, 0].tolist() == [[0.5, 0.5]] * 3  # the middle of the box, where no mask is


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
