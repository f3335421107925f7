"""Crops of a drawn world: what would have been cut out of its frames, without the frames."""

import itertools

import numpy as np
import pytest

from kintrack.config import EncoderConfig
from kintrack.core import boxes
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks
from kintrack.sim import draw, draw_crops, random_appearance, scene_of, stage
from kintrack.sim.observe import nearness
from kintrack.windows.crops import crop_detections, squares

CLEAN = {"noise": 0.0, "background": 0.0}


def shown(scene, look=None, size=32, seed=0, rows=slice(None)):
    """The crops of a scene's own rows."""
    detections = scene.tracks.detections
    corner, side = squares(detections.box, EncoderConfig(crop_size=size), size)
    return draw_crops(scene, detections.frame[rows], corner[rows], side[rows], size, look, seed)


def alike(a, b):
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("name", ["crossing", "flies", "fish", "dancers", "worms", "particles"])
@pytest.mark.parametrize("look", [CLEAN, {"noise": 0.0, "channels": 3, "contrast": 0.5, "distinctiveness": 1.0}])
def test_a_crop_is_what_would_be_cut_out_of_the_drawn_frame(name, look):
    scene = stage({"preset": name, "n_frames": 2}, 1)
    detections = scene.tracks.detections
    encoder = EncoderConfig(crop_size=48, channels=look.get("channels", 1))
    corner, side = squares(detections.box, encoder, 32)
    whole = (corner > 0).all(axis=1) & (corner + side[:, None] < detections.video.shape[::-1]).all(axis=1)
    rows = np.flatnonzero(whole)
    assert len(rows) >= 6
    cut = crop_detections(draw(scene, look, 5), detections, rows, encoder, min_side=32)
    made = draw_crops(scene, detections.frame[rows], corner[rows], side[rows], 48, look, 5)
    assert made.shape == cut.shape and made.dtype == np.float32
    assert alike(made, cut) > 0.98 and np.abs(made - cut).mean() < 0.01


def test_noise_and_background_are_as_strong_as_in_the_drawn_frame():
    scene, corner = stage({"preset": "crossing", "n_individuals": 0, "n_frames": 1}, 0), np.array([[40.0, 50]])
    for side, look in itertools.product((16.0, 64.0, 256.0), ({"noise": 0.05, "background": 0.0}, {"noise": 0.0})):
        box = Detections(np.zeros(1, np.int32), np.concatenate([corner, corner + side], axis=1))
        cut = crop_detections(draw(scene, look, 1), box, [0], EncoderConfig(crop_size=64, margin=0.0))
        made = draw_crops(scene, [0], corner, np.array([side]), 64, look, 1)
        assert made.std() == pytest.approx(cut.std(), rel=0.15)


def test_clones_cannot_be_told_apart_and_strangers_can():
    box = np.array([[20.0, 20, 50, 60], [120.0, 20, 150, 60], [220.0, 20, 250, 60]])
    scene = scene_of(Tracks(Detections(np.zeros(3, np.int32), box), [0, 1, 2]))
    clones = shown(scene, CLEAN | {"distinctiveness": 0.0})
    strangers = shown(scene, CLEAN | {"distinctiveness": 1.0})
    assert np.abs(clones[0] - clones[1]).max() < 1e-5 < 0.02 < np.abs(strangers[0] - strangers[1]).mean()


def test_an_individual_looks_the_same_in_every_frame_before_the_same_background():
    box = np.array([[40.0, 40, 80, 80], [40.0, 40, 80, 80], [40.0, 40, 80, 80]])
    scene = scene_of(Tracks(Detections(np.arange(3), box), [4, 4, 4]))
    still = shown(scene, {"noise": 0.0})
    assert np.ptp(still, axis=0).max() == 0
    noisy = shown(scene, {"noise": 0.05})
    assert np.ptp(noisy, axis=0).mean() > 0.02


def test_who_is_nearer_hides_the_other():
    box = np.array([[20.0, 20, 60, 60], [30.0, 20, 70, 60]])
    both = Tracks(Detections(np.zeros(2, np.int32), box), [0, 1])
    near = int(nearness(np.array([0, 1])).argmax())
    look = CLEAN | {"distinctiveness": 1.0}
    corner, side = squares(box[[near]], EncoderConfig(crop_size=48), 48)
    crowded, alone, other = (
        draw_crops(scene_of(both.take(rows)), [0], corner, side, 48, look)[0, 0, 12:36, 18:30]
        for rows in ([0, 1], [near], [1 - near])
    )
    assert np.abs(crowded - alone).max() < 1e-5 < 0.02 < np.abs(crowded - other).mean()


def test_the_order_of_the_rows_does_not_matter():
    scene = stage({"preset": "flies", "n_frames": 3}, 0)
    order = np.random.default_rng(0).permutation(len(scene.tracks))
    look = {"noise": 0.0}
    assert np.abs(shown(scene, look, rows=order) - shown(scene, look)[order]).max() < 1e-5


def test_the_same_seed_gives_the_same_crops():
    scene = stage({"preset": "crossing", "n_frames": 2}, 0)
    assert np.array_equal(shown(scene, seed=3), shown(scene, seed=3))
    assert not np.array_equal(shown(scene, seed=3), shown(scene, seed=4))


@pytest.mark.parametrize("size", [16, 20, 64])
def test_crops_of_any_size_of_rows_without_a_place_and_of_nothing(size):
    scene = stage({"preset": "crossing", "n_frames": 2}, 0)
    corner, side = np.array([[10.0, 10], [0.0, 0], [-500.0, 900]]), np.array([30.0, 0.0, 40.0])
    crops = draw_crops(scene, [0, 0, 1], corner, side, size, CLEAN)
    assert crops.shape == (3, 1, size, size) and (crops[1] == 0).all() and np.isfinite(crops).all()
    assert crops.min() >= 0 and crops.max() <= 1 and crops[2] == pytest.approx(0.7, abs=1e-3)
    assert draw_crops(scene, [], np.zeros((0, 2)), np.zeros(0), size).shape == (0, 1, size, size)


def test_what_is_enlarged_shows_no_more_than_the_picture_does():
    box = boxes.from_centre(np.array([[50.0, 50]]), 8.0)
    scene = scene_of(Tracks(Detections(np.zeros(1, np.int32), box), [0]))
    look = CLEAN | {"pattern": 0.3, "distinctiveness": 1.0}
    enlarged, native = (shown(scene, look, size=size)[0, 0] for size in (96, 16))
    # A pixel of the picture is about 9 of the enlarged crop: it changes as much, over that many.
    steps = [np.abs(np.diff(crop, axis=1)).max() for crop in (enlarged, native)]
    assert steps[0] < 0.25 * steps[1] and np.ptp(enlarged) > 0.7 * np.ptp(native)


def test_random_looks_are_of_all_kinds():
    rng = np.random.default_rng(0)
    looks = [random_appearance(rng, 3) for _ in range(200)]
    shares = np.array([look.distinctiveness for look in looks])
    assert 0.15 < (shares == 0).mean() < 0.35 and shares.max() > 0.9
    assert {look.channels for look in looks} == {3} and random_appearance(rng).channels == 1
    assert min(look.contrast for look in looks) < -0.5 and max(look.contrast for look in looks) > 0.5
