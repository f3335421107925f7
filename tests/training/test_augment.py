"""Pixels and places varied together, once for each clip; and what is left out of a clip."""

import sys

import numpy as np
import pytest

from kintrack import cli, io
from kintrack.config import DataConfig, EncoderConfig
from kintrack.config_data import AugmentConfig, DropoutConfig
from kintrack.core.boxes import around_points, centre, from_centre, sides
from kintrack.core.detections import Detections, Skeleton, VideoInfo
from kintrack.core.tracks import Tracks
from kintrack.core.transforms import apply_to_detections, apply_to_frame
from kintrack.core.video import ArrayLabelVideo, ArrayVideo
from kintrack.errors import ConfigError
from kintrack.loading import load_model
from kintrack.training.augment import left_out, random_view, seen_from, without_some_keypoints
from kintrack.training.data import Clips
from kintrack.windows.crops import crop_detections
from worlds import crossing, painted

SHAPE = (90, 120)
STILL = {"other_light": 1.0, "simulated": 0, "noisy": 0, "blank": 0, "swap": 0, "fragment": 0, "own": 0}
NO_LIGHT = {"contrast": 0, "flicker": 0, "brightness": 0, "shade": 0, "blur": 0, "noise": 0, "turn_each": 0}
FREE = AugmentConfig(rotate=45.0, scale=1.3)
ENCODER = EncoderConfig(kind="conv", crop_size=32, margin=0.0)


def rng(seed=0):
    return np.random.default_rng(seed)


def walkers(n_frames=9):
    """Two animals of three keypoints each that walk, in pictures in which each has a colour of its own."""
    frame, who = np.repeat(np.arange(n_frames), 2), np.tile([0, 1], n_frames)
    at = np.stack([30.0 + 4 * frame + 20 * who, 25.0 + 3 * frame * (1 - who) + 35 * who], axis=1)
    pose = at[:, None] + np.array([[-8.0, -3], [0, 4], [9, 2]])
    skeleton = Skeleton(("left", "tail", "right"), symmetries=((0, 2),))
    info = VideoInfo(n_frames=n_frames, shape=SHAPE)
    seen = Detections(frame, around_points(pose), keypoints=pose, skeleton=skeleton, video=info)
    return Tracks(seen, who)


def pictures(truth):
    """(T, Y, X, 1): smooth, so that turning it does little to it; and of another brightness around each keypoint."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    images = np.zeros((truth.detections.n_frames, *SHAPE))
    for frame, pose in zip(truth.detections.frame, truth.detections.keypoints, strict=True):
        for k, (px, py) in enumerate(pose):
            images[frame] += (60 + 60 * k) * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18)
    return ArrayVideo(images.clip(0, 255).astype(np.uint8)[..., None])


def a_view(seed, config=FREE):
    return random_view(config, 1.0, SHAPE, rng(seed))


@pytest.mark.parametrize("config", [FREE, AugmentConfig()], ids=["any angle", "right angles"])
def test_boxes_and_crops_agree_after_the_picture_was_turned(config):
    """DREEM turns the picture and cuts cells where they were before (D7)."""
    truth = walkers()
    video = pictures(truth)
    for seed in range(8):
        view, shape = a_view(seed, config)
        turned = seen_from(truth, view, shape).detections
        frames = np.stack([apply_to_frame(image, view, shape) for _, image in video.frames()])
        whole = crop_detections(ArrayVideo(frames), turned, slice(None), ENCODER)
        crops = crop_detections(video, turned, slice(None), ENCODER, view=view)
        inside = whole > 0.05  # beyond the picture one shows black, the other the median
        assert inside.any(axis=(1, 2, 3)).all()
        assert np.abs(crops - whole)[inside].mean() < 0.02
        peak = [np.unravel_index(c[0].argmax(), (32, 32)) for c in crops]
        found = centre(turned.box) + (np.array(peak)[:, ::-1] + 0.5 - 16) / 32 * sides(turned.box).max(axis=1)[:, None]
        brightest = 0 if view.is_mirror else 2  # the keypoint of the strongest spot: left and right change places
        assert np.abs(found - turned.keypoints[:, brightest]).max() < 3


def test_a_clip_is_turned_as_a_whole_and_not_frame_by_frame():
    """DREEM draws an angle for each frame, so that animals jump (D8): here one similarity explains all frames."""
    truth = walkers()
    config = {**STILL, "frames": 9, "max_stride": 1, "augment": {**NO_LIGHT, "rotate": 45, "scale": 1.3}}
    clips = Clips([truth], DataConfig.of(config), [pictures(truth)], ENCODER)
    angles = set()
    for i in range(8):
        clip = clips[i]
        before = truth.detections.keypoints[:, 1].reshape(9, 2, 2)
        after = np.stack([clip.detections.keypoints[clip.identity == who, 1] for who in (0, 1)], axis=1)
        backward = np.linalg.norm(after[-1] - after[0]) and not _is_similar(before, after)
        before = before[::-1] if backward else before
        assert _is_similar(before, after)
        step = after[-1, 0] - after[0, 0]
        angles.add(round(float(np.degrees(np.arctan2(step[1], step[0])))))
        assert clip.crops.shape == (18, 1, 32, 32)
    assert len(angles) > 5


def _is_similar(before, after):
    a, b = before.reshape(-1, 2), after.reshape(-1, 2)
    design = np.column_stack([a, np.ones(len(a))])
    solved, *_ = np.linalg.lstsq(design, b, rcond=None)
    return np.abs(design @ solved - b).max() < 1e-6


def test_crops_of_a_clip_show_what_its_boxes_hold_forward_and_backward():
    """Each animal's crop shows its own three spots, wherever the clip went."""
    truth = walkers()
    config = {**STILL, "frames": 5, "max_stride": 2, "augment": {**NO_LIGHT, "rotate": 30, "scale": 1.2}}
    clips = Clips([truth], DataConfig.of(config), [pictures(truth)], ENCODER)
    for i in range(10):
        clip = clips[i]
        seen = clip.detections
        scale = 32 / sides(seen.box).max(axis=1)
        corner = centre(seen.box) - 16 / scale[:, None]
        at = ((seen.keypoints - corner[:, None]) * scale[:, None, None]).round().astype(int).clip(1, 30)
        for crop, spots in zip(clip.crops[:, 0], at, strict=True):
            spot = [crop[y - 1 : y + 2, x - 1 : x + 2].max() for x, y in spots]
            assert min(spot) > 0.15 and max(spot) > 0.6


def test_one_share_of_clips_is_varied_and_nothing_is_drawn_where_nothing_varies():
    assert a_view(0, AugmentConfig(flip=0, quarters=False)) is None
    found = [random_view(FREE, 0.5, SHAPE, rng(seed)) for seed in range(200)]
    assert 70 < sum(view is None for view in found) < 130
    untouched = rng()
    assert random_view(AugmentConfig(), 1.0, SHAPE, untouched, has_pixels=False) is None
    assert untouched.random() == rng().random()
    mirrored = [a_view(seed)[0].is_mirror for seed in range(100)]
    assert 30 < sum(mirrored) < 70
    scales = [a_view(seed)[0].area_factor ** 0.5 for seed in range(100)]
    assert 1 / 1.3 <= min(scales) < 0.82 and 1.2 < max(scales) <= 1.3


def test_boxes_of_bodies_do_not_grow_when_they_are_turned():
    """The box around a box's corners grows by up to 41 %; of a round body it must not grow at all."""
    round_one = Tracks(Detections([0], from_centre([[50.0, 40.0]], 20.0), video=VideoInfo(shape=SHAPE)), [0])
    for seed in range(5):
        view, shape = a_view(seed, AugmentConfig(rotate=45.0))
        turned = seen_from(round_one, view, shape).detections
        assert np.allclose(sides(turned.box), 20)
        assert np.allclose(centre(turned.box), view(centre(round_one.detections.box)))
        assert (sides(apply_to_detections(round_one.detections, view, shape).box) >= 20 - 1e-9).all()
    poses = walkers()
    view, shape = a_view(1)
    turned = seen_from(poses, view, shape).detections
    assert np.allclose(turned.box, around_points(turned.keypoints))


def test_a_model_of_geometry_alone_is_turned_too_if_that_is_asked_for():
    truth = walkers()
    plain = Clips([truth], DataConfig.of({**STILL, "frames": 9, "max_stride": 1}))
    turned = Clips([truth], DataConfig.of({**STILL, "frames": 9, "max_stride": 1, "augment": {"rotate": 45}}))
    same = [np.allclose(plain[i].detections.box, turned[i].detections.box) for i in range(6)]
    assert not all(same)
    assert all(np.array_equal(plain[i].identity, turned[i].identity) for i in range(6))  # all else is the same
    untold = Clips([truth], DataConfig.of({**STILL, "frames": 9, "max_stride": 1, "augment": {"flip": 0}}))
    assert all(np.array_equal(plain[i].detections.box, untold[i].detections.box) for i in range(6))


def crowd(n_frames=40, n=25):
    frame = np.repeat(np.arange(n_frames), n)
    keypoints = rng(1).uniform(0, 100, (n_frames * n, 6, 2))
    return Detections(frame, around_points(keypoints), keypoints=keypoints)


def test_detections_are_left_out_by_chance_and_at_most_so_many_of_a_frame():
    seen = crowd()
    assert not left_out(seen, DropoutConfig(), rng()).any()
    gone = left_out(seen, DropoutConfig(share=0.2), rng())
    assert 0.15 < gone.mean() < 0.25
    few = left_out(seen, DropoutConfig(share=0.2, most=2), rng())
    n = np.bincount(seen.frame[few], minlength=40)
    assert n.max() == 2 and n.sum() > 60
    assert (few <= gone).all()
    assert len(set(np.flatnonzero(few) % 25)) > 15  # anyone, not the first of each frame


def test_keypoints_are_blanked_by_chance_and_one_stays():
    seen = crowd()
    seen = seen.with_columns(keypoint_score=np.ones(seen.keypoints.shape[:2]))
    assert without_some_keypoints(seen, DropoutConfig(), rng()) is seen
    blanked = without_some_keypoints(seen, DropoutConfig(share=0.3), rng())
    gone = np.isnan(blanked.keypoints).any(axis=2)
    assert 0.25 < gone.mean() < 0.35
    assert np.array_equal(gone, np.isnan(blanked.keypoint_score))
    assert np.allclose(blanked.box, around_points(blanked.keypoints))
    few = np.isnan(without_some_keypoints(seen, DropoutConfig(share=0.9, most=2), rng()).keypoints).any(axis=2)
    assert few.sum(axis=1).max() == 2
    every = np.isnan(without_some_keypoints(seen, DropoutConfig(share=1.0), rng()).keypoints).any(axis=2)
    assert (every.sum(axis=1) == 5).all() and len(set((~every).argmax(axis=1))) == 6
    wide = seen.with_columns(box=seen.box + [-5, -5, 5, 5])  # a box of its own stays as it is
    assert np.array_equal(without_some_keypoints(wide, DropoutConfig(share=0.5), rng()).box, wide.box)


def test_dropout_reaches_training_clips():
    truth = walkers(30)
    config = {**STILL, "frames": 30, "max_stride": 1}
    out = DataConfig.of({**config, "detection_dropout": {"share": 0.5, "most": 1}, "keypoint_dropout": {"share": 0.5}})
    clip = Clips([truth], out)[0]
    n = np.bincount(clip.detections.frame, minlength=30)
    assert n.min() == 1 and n.max() == 2
    assert len(clip.identity) == len(clip.detections) == len(clip.history)
    assert np.isnan(clip.detections.keypoints).any()
    assert not np.isnan(Clips([truth], DataConfig.of(config))[0].detections.keypoints).any()


def test_masks_go_with_the_picture_and_stay_as_they_are():
    """DREEM writes into the masks of all while it cuts one cell, and its neighbours are gone (D9)."""
    truth = walkers()
    labels = np.zeros((9, *SHAPE), np.int64)
    for frame, who, (x, y) in zip(truth.detections.frame, truth.track, centre(truth.detections.box), strict=True):
        labels[frame, int(y) - 6 : int(y) + 6, int(x) - 10 : int(x) + 10] = 5 + who
    before = labels.copy()
    box = from_centre(centre(truth.detections.box), [20.0, 12.0])
    info = truth.detections.video
    cells = Tracks(Detections(truth.detections.frame, box, label=5 + truth.track, video=info), truth.track)
    bright = ArrayVideo(np.where(labels > 0, 40 * labels - 100, 20).astype(np.uint8)[..., None])  # 100 and 140
    encoder = EncoderConfig(kind="conv", crop_size=32, margin=1.5, own_mask=True)
    config = {**STILL, "frames": 9, "augment": {**NO_LIGHT, "rotate": 40}}
    clips = Clips([cells], DataConfig.of(config), [bright], encoder, labels=[ArrayLabelVideo(labels)])
    for i in range(5):
        clip = clips[i]
        for crop, who in zip(clip.crops[:, 0] * 255, clip.identity, strict=True):
            assert abs(crop[16, 16] - (100, 140)[who]) < 2
            other = np.abs(crop - (140, 100)[who]) < 8
            assert other.mean() < (0.06 if who == 1 else 0.001)  # on the edge of the brighter one is every shade
    assert np.array_equal(labels, before)


def test_worlds_without_masks_or_ones_own_keypoints_are_no_training_for_such_crops():
    for encoder in ({"own_mask": True}, {"dilation_radius": 4.0}, {"anchors": "tail"}):
        with pytest.raises(ConfigError, match=r"simulated worlds have neither masks nor .* set data\.simulated to 0"):
            Clips([walkers()], DataConfig(), encoder=EncoderConfig.of({"kind": "conv", **encoder}))


def test_crops_by_keypoints_are_cut_in_training_and_who_lacks_one_is_left_out_aloud(caplog):
    truth = walkers()
    video, pose = pictures(truth), truth.detections.keypoints.copy()
    pose[4, 1] = np.nan
    truth = Tracks(truth.detections.with_columns(keypoints=pose), truth.track)
    encoder = EncoderConfig(kind="conv", crop_size=32, anchors=("tail", "centroid"), handle_missing="drop")
    config = DataConfig.of({**STILL, "other_light": 0, "frames": 9, "max_stride": 1, "blank": 1.0, "augment": NO_LIGHT})
    clip = Clips([truth], config, [video], encoder)[0]
    assert "1 of 18 detections are not learned from: they lack tail" in caplog.text
    assert clip.crops.shape == (17, 2, 32, 32)
    middle = clip.crops[:, 0, 15:17, 15:17].mean(axis=(1, 2))
    assert middle.min() > 0.35  # the tail is the second brightest spot


def test_the_command_line_trains_on_own_masks_and_tracks_by_them(tmp_path, monkeypatch):
    truth = crossing()
    labels = painted(truth.detections)
    io.save(truth, tmp_path / "cells", "ctc", labels=ArrayLabelVideo(labels))
    images = np.where(labels > 0, 60 * labels.astype(np.uint8), 10)
    io.write_video(tmp_path / "cells.mp4", list(images.astype(np.uint8)), 10.0)
    options = ["model.dim=8", "model.heads=1", "model.decoder_layers=1", "model.encoder.kind=conv"]
    options += ["model.encoder.width=4", "model.encoder.dim=4", "model.encoder.crop_size=16"]
    options += ["model.encoder.own_mask=true", "model.encoder.anchors=[centroid, box]"]
    options += ["data.simulated=0", "data.clips=2", "data.frames=8", "data.augment.rotate=30", "data.augment.scale=1.2"]
    options += ["data.detection_dropout.share=0.1", "max_epochs=1", "batch_size=2", "accelerator=cpu"]
    sets = [word for option in options for word in ("--set", option)]
    pixels = ["--video", str(tmp_path / "cells.mp4")]
    run, out = str(tmp_path / "run"), str(tmp_path / "out")
    for arguments in (["train", str(tmp_path / "cells"), "-o", run, *pixels, *sets],
                      ["track", str(tmp_path / "cells"), "-o", out, "-m", run, *pixels]):  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["kintrack", *arguments])
        with pytest.raises(SystemExit) as leaving:
            cli.main()
        assert not leaving.value.code
    assert load_model(run, "cpu").config.encoder.own_mask
    assert (io.load(tmp_path / "out").track >= 0).all()
