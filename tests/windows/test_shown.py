"""What crops are centred on and which pixels they show: anchors, discs, own masks, tight boxes."""

import numpy as np
import pytest

from kintrack.config import EncoderConfig
from kintrack.config_data import CropConfig
from kintrack.core.boxes import around_points, from_centre
from kintrack.core.detections import Detections, Skeleton
from kintrack.core.transforms import apply_to_detections, rescale, rotate
from kintrack.core.video import ArrayLabelVideo, ArrayVideo
from kintrack.errors import ConfigError, InputError
from kintrack.windows.crops import crop_detections, iter_crops
from kintrack.windows.shown import Shown, anchor_points, has_anchors, mask_centres, needs_keypoints

NAN = np.nan
POSES = np.array([[[10.0, 10], [20, 14], [30, 12]], [[NAN, NAN], [44, 30], [50, 34]], [[NAN, NAN]] * 3])


def poses():
    """Three of a head, a thorax and a tail: all seen, no head, nothing seen but the box."""
    box = around_points(POSES)
    box[2] = [60, 40, 70, 50]
    return Detections([0, 0, 1], box, keypoints=POSES, skeleton=Skeleton(("head", "thorax", "tail")))


def gradient(n_frames=2, shape=(60, 80)):
    """A video in which each pixel is brighter than the one to its left, and row by row a little."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return ArrayVideo(np.repeat((2 * x + y)[None, ..., None], n_frames, axis=0).astype(np.uint8))


def test_each_anchor_has_its_place():
    seen = poses()
    points = anchor_points(seen, CropConfig(anchors=("box", "centroid", "tail")))
    assert points.shape == (3, 3, 2)
    assert points[0].tolist() == [[20, 12], [20, 12], [30, 12]]
    assert points[1].tolist() == [[47, 32], [47, 32], [50, 34]]
    assert points[2].tolist() == [[65, 45]] * 3  # nothing is seen of it: the middle of its box


def test_the_centroid_is_the_mean_of_what_is_seen_not_the_middle_of_the_box():
    seen = poses()
    seen = seen.with_columns(box=seen.box + [0, 0, 8, 8])
    points = anchor_points(seen, CropConfig(anchors=("box", "centroid")))
    assert points[0].tolist() == [[24, 16], [20, 12]]
    assert np.array_equal(points, anchor_points(seen, CropConfig(anchors=("box", "midpoint"))))  # DREEM's other word


def test_an_anchor_that_is_not_seen_is_the_centroid_or_blank_or_its_row_is_left_out():
    seen = poses()
    filled = anchor_points(seen, CropConfig(anchors=("head", "tail")))
    assert filled[1].tolist() == [[47, 32], [50, 34]]
    ignored = CropConfig(anchors=("head", "tail"), handle_missing="ignore")
    assert np.isnan(anchor_points(seen, ignored)).all(axis=2).tolist() == [[False, False], [True, False], [True, True]]
    assert has_anchors(seen, ignored).all()
    assert has_anchors(seen, CropConfig(anchors="tail", handle_missing="drop")).tolist() == [True, True, False]
    assert has_anchors(seen, CropConfig(anchors="head", handle_missing="drop")).tolist() == [True, False, False]
    assert has_anchors(seen, CropConfig(anchors="head")).all()


def test_an_anchor_that_there_is_not_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"anchor 'thorx' is no keypoint of these detections: did you mean 'thorax'"):
        anchor_points(poses(), CropConfig(anchors="thorx"))
    with pytest.raises(ConfigError, match=r"anchor 'head' is no keypoint of these detections"):
        anchor_points(Detections([0], [[0, 0, 2, 2]]), CropConfig(anchors="head"))
    with pytest.raises(ConfigError, match=r"a crop needs one anchor or more: box, centroid, or keypoints"):
        CropConfig.of({"anchors": []})


def test_which_crops_need_keypoints():
    assert not needs_keypoints(CropConfig()) and not needs_keypoints(CropConfig(anchors=("box", "midpoint")))
    assert needs_keypoints(CropConfig(anchors=("box", "head"))) and needs_keypoints(CropConfig(dilation_radius=3))


def test_crops_of_several_anchors_are_stacked_as_channels():
    seen, video = poses(), gradient()
    config = EncoderConfig(crop_size=16, anchors=("tail", "head"), handle_missing="ignore", channels=3)
    crops = crop_detections(video, seen, slice(None), config)
    assert crops.shape == (3, 6, 16, 16)
    for anchor, name in enumerate(config.anchors):
        single = crop_detections(video, seen, slice(None), config.model_copy(update={"anchors": (name,)}))
        assert np.array_equal(crops[:, 3 * anchor : 3 * anchor + 3], single)
    assert not crops[1, 3:].any() and crops[1, :3].any()  # the head that is not seen is blank
    middle = crops[0, 0, 7:9, 7:9].mean() * 255  # of the tail at 30, 12: pixels 29 and 30, 11 and 12
    assert np.isclose(middle, 2 * 29.5 + 11.5, atol=0.1)
    batches = list(iter_crops(video, seen, config, batch=2))
    assert np.array_equal(np.concatenate([c for _, c in batches]), crops)


@pytest.mark.parametrize("at", [[2.0, 3.0], [78.0, 57.0], [0.0, 30.0]])
def test_an_anchor_is_in_the_middle_of_its_crop_at_every_border(at):
    """DREEM moves crops that would begin left of the image or above it inside, and the animal off the middle (D13)."""
    image = np.full((60, 80), 10, np.uint8)
    x, y = (int(v) for v in at)
    image[max(y - 1, 0) : y + 1, max(x - 1, 0) : x + 1] = 250
    crop = crop_detections(
        ArrayVideo(image[None]), Detections([0], from_centre([at], 16.0)), [0], EncoderConfig(crop_size=16, margin=0)
    )[0, 0]
    rows, columns = np.nonzero(crop > 0.5)
    seen = (7 if y else 8, 7 if x else 8)
    assert (rows.min(), columns.min()) == seen and rows.max() == columns.max() == 8
    assert np.allclose(crop[0, 0], 10 / 255)  # beyond the border is what most of the frame is


def test_a_tight_crop_holds_the_whole_box_and_all_crops_have_one_size():
    """DREEM's tight crops of poses have sizes of their own and cannot be stacked; those of masks lose a row (D12)."""
    image = np.random.default_rng(0).integers(0, 255, (60, 80), np.uint8)
    boxes = [[4.0, 5, 28, 11], [30, 20, 38, 44], [60, 10, 61, 11]]
    config = EncoderConfig(crop_size=24, margin=0)
    crops = crop_detections(ArrayVideo(image[None]), Detections([0] * 3, boxes), slice(None), config)[:, 0] * 255
    assert crops.shape == (3, 24, 24)
    assert np.allclose(crops[0, 9:15], image[5:11, 4:28], atol=0.01)  # from the first pixel to the last
    assert np.allclose(crops[1, :, 8:16], image[20:44, 30:38], atol=0.01)
    assert np.isclose(crops[2, 12, 12], image[10, 60], atol=10)


def test_a_dilation_mask_blanks_all_but_discs_around_the_keypoints_seen():
    seen = poses()
    image = np.full((2, 60, 80), 40, np.uint8)
    image[:, ::2] = 200
    config = EncoderConfig(crop_size=40, margin=0.5, dilation_radius=4.0)
    crop = crop_detections(ArrayVideo(image), seen, [0, 1, 2], config)
    whole = crop_detections(ArrayVideo(image), seen, [0, 1, 2], config.model_copy(update={"dilation_radius": None}))
    y, x = np.mgrid[:40, :40] + 0.5
    at = np.stack([x, y], axis=-1) - 20 + [20, 12]  # the first crop is as large as what it shows: 40 pixels
    near = np.linalg.norm(at[:, :, None] - POSES[0], axis=-1).min(axis=2)
    assert np.allclose(crop[0, 0][near < 3.2], whole[0, 0][near < 3.2], atol=1e-5)
    background = np.unique(crop[0, 0][near > 4.8])
    assert len(background) == 1 and not np.isclose(whole[0, 0][near > 4.8], background[0]).all()
    assert len(np.unique(crop[2].round(5))) == 1  # nothing is seen of it: nothing is shown
    with pytest.raises(ConfigError, match=r"dilation_radius is of discs around keypoints, and these .* have none"):
        crop_detections(ArrayVideo(image), Detections([0], [[1, 1, 9, 9]]), [0], config)


def cells():
    """Two cells that touch, of brightness 100 and 140, before 20; and their masks."""
    labels = np.zeros((2, 60, 80), np.int64)
    labels[:, 20:30, 20:30], labels[:, 20:30, 30:44] = 7, 9
    image = np.where(labels == 7, 100, np.where(labels == 9, 140, 20)).astype(np.uint8)
    box = [[20, 20, 30, 30], [30, 20, 44, 30]]
    return Detections([0, 0], box, label=[7, 9]), ArrayVideo(image), labels


def test_a_crop_of_the_own_mask_shows_no_neighbour():
    seen, video, labels = cells()
    config = EncoderConfig(crop_size=32, margin=0.5, own_mask=True)
    crops = crop_detections(video, seen, slice(None), config, labels=ArrayLabelVideo(labels))[:, 0] * 255
    for crop, own, other in ((crops[0], 100, 140), (crops[1], 140, 100)):
        assert np.isclose(crop, own, atol=0.5).any() and not np.isclose(crop, other, atol=0.5).any()
        assert crop.min() > 19.5  # what is blank is what most of the frame is
    plain = crop_detections(video, seen, slice(None), config.model_copy(update={"own_mask": False}))[:, 0] * 255
    assert np.isclose(plain[0], 140, atol=0.5).any()


def test_the_crops_of_neighbours_do_not_touch_the_masks_or_each_other():
    """DREEM zeroes the neighbours in the mask of all while it cuts one cell (D9)."""
    seen, video, labels = cells()
    before = labels.copy()
    config = EncoderConfig(crop_size=32, margin=0.5, own_mask=True)
    masks = ArrayLabelVideo(labels)
    both = crop_detections(video, seen, [0, 1], config, labels=masks)
    alone = [crop_detections(video, seen, [row], config, labels=masks)[0] for row in (1, 0)]
    assert np.array_equal(both[0], alone[1]) and np.array_equal(both[1], alone[0])
    assert np.array_equal(labels, before)


def test_who_has_no_mask_of_its_own_is_shown_by_its_box():
    seen, video, labels = cells()
    seen = seen.with_columns(label=[0, 9])
    config = EncoderConfig(crop_size=32, margin=0.5, own_mask=True)
    crop = crop_detections(video, seen, [0], config, labels=ArrayLabelVideo(labels))[0, 0] * 255
    assert np.allclose(crop[10:22, 10:22], 100, atol=0.5) and not np.isclose(crop, 140, atol=0.5).any()


def test_masks_that_are_not_there_or_too_small_are_told():
    seen, video, labels = cells()
    config = EncoderConfig(crop_size=32, own_mask=True)
    words = r"own_mask shows a detection's own mask alone, and these detections have no label images"
    with pytest.raises(ConfigError, match=words):
        crop_detections(video, seen, [0], config)
    with pytest.raises(ConfigError, match=words):
        crop_detections(video, seen.with_columns(label=None), [0], config, labels=ArrayLabelVideo(labels))
    with pytest.raises(InputError, match=r"label images are 40 x 25 pixels, fewer than the picture's"):
        crop_detections(video, seen, [0], config, labels=ArrayLabelVideo(labels[:, :25, :40]))


def test_the_centre_of_mass_is_an_anchor_where_there_are_masks():
    labels = np.zeros((1, 60, 80), np.int64)
    labels[0, 10:12, 10:20], labels[0, 12:20, 10:12] = 3, 3  # an angle: its mass is not in the middle of its box
    seen = Detections([0, 0], [[10, 10, 20, 20], [40, 40, 50, 50]], label=[3, 0])
    centre = mask_centres(seen, ArrayLabelVideo(labels))
    rows, columns = np.nonzero(labels[0] == 3)
    assert np.allclose(centre, [[columns.mean() + 0.5, rows.mean() + 0.5], [45, 45]])
    config = CropConfig(anchors="centroid")
    assert np.allclose(anchor_points(seen, config, ArrayLabelVideo(labels))[:, 0], centre)
    assert anchor_points(seen, config)[:, 0].tolist() == [[15, 15], [45, 45]]


@pytest.mark.parametrize("what", ["discs", "masks", "box"])
def test_what_is_shown_turns_with_the_picture(what):
    """The same pixels of the video belong to an animal, however its detections are turned and rescaled."""
    seen, _, masks = cells()
    seen, labels = seen.take([0]), ArrayLabelVideo(masks)
    config = CropConfig(own_mask=True)
    if what == "discs":
        seen, config = seen.with_columns(keypoints=POSES[:1]), CropConfig(dilation_radius=4.0)
    if what == "box":
        seen = seen.with_columns(label=[0])

    def shown(rows, config, view=None):
        found = Shown.of(rows, config, labels, view)
        return found.pixels(0, slice(0, 60), slice(0, 80), found.mask_image(0))

    plain = shown(seen, config)
    assert 90 < plain.sum() < 180 and plain[24, 24] == (what != "discs")
    for degrees in (0.0, 90.0, 180.0) if what == "box" else (0.0, 30.0, 90.0):
        view = rescale(1.5) @ rotate(degrees, (25.0, 25.0))
        turned = apply_to_detections(seen, view, (200, 200))
        wider = config.model_copy(update={"dilation_radius": 6.0 if what == "discs" else None})
        assert (shown(turned, wider, view) != plain).sum() <= 2  # rounding at the rim of a disc
