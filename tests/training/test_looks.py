"""What the detections of a training clip look like."""

import time

import numpy as np
import pytest

from kintrack.config import EncoderConfig
from kintrack.config_data import AugmentConfig
from kintrack.sim import observe, random_appearance, stage
from kintrack.training.looks import drawn_looks, each_turned, in_another_light

ENCODER = EncoderConfig(kind="conv", crop_size=32)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def world():
    scene = stage({"preset": "flies", "n_frames": 8}, 0)
    return scene, *observe(scene.tracks, {"false_rate": 0.1, "false_near": 0.0, "jitter": 0.02}, 0)


@pytest.fixture
def crops(world):
    scene, detections, _ = world
    return drawn_looks(scene, detections, ENCODER, rng(1))


def likeness(a, b):
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("channels", [1, 3])
def test_every_detection_of_a_world_has_a_crop(world, channels):
    scene, detections, _ = world
    encoder = ENCODER.model_copy(update={"channels": channels})
    crops = drawn_looks(scene, detections, encoder, rng())
    assert crops.shape == (len(detections), channels, 32, 32) and crops.dtype == np.float32
    assert crops.min() >= 0 and crops.max() <= 1
    assert np.array_equal(crops, drawn_looks(scene, detections, encoder, rng()))
    assert not np.array_equal(crops, drawn_looks(scene, detections, encoder, rng(1)))


def test_true_detections_show_a_body_and_false_ones_what_is_there(world):
    """Against the border of each crop, where the background is."""
    scene, detections, identity = world
    for seed in range(20):
        if abs(random_appearance(rng(seed)).contrast) > 0.5:
            crops = drawn_looks(scene, detections, ENCODER, rng(seed))[:, 0]
            break
    middle = crops[:, 13:19, 13:19].mean(axis=(1, 2))
    rim = np.concatenate([crops[:, :2].mean(axis=2), crops[:, -2:].mean(axis=2)], axis=1).mean(axis=1)
    stands_out = np.abs(middle - rim)
    assert np.median(stands_out[identity >= 0]) > 0.3 > 0.1 > np.median(stands_out[identity < 0])


def test_another_light_changes_every_crop_and_keeps_who_it_is(crops):
    before = crops.copy()
    for seed in range(30):
        seen = in_another_light(crops, rng(seed))
        assert seen.shape == crops.shape and seen.dtype == np.float32 and seen.flags.c_contiguous
        assert seen.min() >= 0 and seen.max() <= 1
        assert likeness(crops, seen) > 0.6
        assert not np.array_equal(seen, crops)
    assert np.array_equal(crops, before)


def smears(crops):
    """How far each axis is smeared, for many clips: the mean step from pixel to pixel, before over after."""
    found = []
    config = AugmentConfig.of({"motion_blur": 1, "blur": 0, "noise": 0, "contrast": 0, "flicker": 0, "shade": 0})
    for seed in range(12):
        seen = in_another_light(crops, rng(seed), config)
        steps = [
            [np.abs(np.diff(c[n], axis=axis)).mean() for axis in (-1, -2)] for c in (crops, seen) for n in range(3)
        ]
        found.append(np.array(steps[:3]) / np.array(steps[3:]))
    return np.array(found)  # (clips, 3 crops, x y)


def test_a_camera_that_shakes_smears_all_crops_of_a_clip_along_one_line():
    crops = rng().random((3, 1, 32, 32)).astype(np.float32) * 0.4 + 0.3
    found = smears(crops)
    assert (found.max(axis=2) > 1.5).all()
    assert (found.std(axis=1) < 0.25 * found.mean(axis=1)).all()  # alike in all crops of a clip
    along = found[..., 0].mean(axis=1) / found[..., 1].mean(axis=1)
    assert along.min() < 0.9 and along.max() > 1.1  # and along another line in another


def test_nothing_varies_that_is_set_to_nothing(crops):
    still = {"contrast": 0, "flicker": 0, "brightness": 0, "shade": 0, "blur": 0, "noise": 0}
    assert np.allclose(in_another_light(crops, rng(), AugmentConfig.of(still)), crops, atol=1e-6)
    bright = in_another_light(crops, rng(), AugmentConfig.of({**still, "brightness": 0.2}))
    step = (bright - crops)[(bright > 0) & (bright < 1)]
    assert np.ptp(step) < 1e-5 < abs(step[0])  # one lamp for all


def test_some_clips_are_sharp_some_are_blurred_and_some_are_noisy(crops):
    def busy(c):
        return np.abs(np.diff(c, axis=-1)).mean() / c.std()

    shares = [busy(in_another_light(crops, rng(seed))) / busy(crops) for seed in range(60)]
    assert min(shares) < 0.8 and max(shares) > 1.3
    assert sum(0.9 < s < 1.1 for s in shares) > 5


def test_no_crops_are_no_crops():
    none = np.zeros((0, 1, 16, 16), np.float32)
    assert in_another_light(none, rng()).shape == none.shape


def test_the_crops_of_a_clip_are_drawn_in_the_time_of_a_training_step():
    """Some 60 ms for 280 crops; the bound leaves room for slow machines."""
    scene = stage({"preset": "crossing", "n_individuals": 14, "n_frames": 20, "arena": (600, 600)}, 0)
    encoder, best = EncoderConfig(kind="conv"), np.inf
    for seed in range(3):
        before = time.process_time()
        made = in_another_light(drawn_looks(scene, scene.tracks.detections, encoder, rng(seed)), rng(seed))
        best = min(best, time.process_time() - before)
    assert made.shape == (280, 1, 64, 64)
    assert best < 0.5


def test_each_crop_is_turned_by_itself():
    crops = rng().random((40, 1, 6, 6), dtype=np.float32)
    before = crops.copy()
    turned = each_turned(crops, rng(1))
    ways = [
        next(n for n in range(4) if np.array_equal(np.rot90(a, n, (1, 2)), b))
        for a, b in zip(crops, turned, strict=True)
    ]
    assert set(ways) == {0, 1, 2, 3} and np.array_equal(crops, before)


def test_a_world_in_which_nobody_is_seen_has_no_crops(world):
    """With long bursts of misses that happens."""
    scene, detections, _ = world
    assert drawn_looks(scene, detections.take(slice(0, 0)), ENCODER, rng()).shape == (0, 1, 32, 32)
