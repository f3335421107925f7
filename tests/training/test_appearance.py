"""Whether appearance is learned from drawn worlds, reaches the score, and can be done without."""

import numpy as np
import pytest
import torch

from kintrack.config import DataConfig, EncoderConfig
from kintrack.core.boxes import from_centre
from kintrack.core.clip import Clip
from kintrack.core.detections import Detections, VideoInfo
from kintrack.core.tracks import Tracks
from kintrack.core.video import ArrayVideo
from kintrack.metrics import evaluate
from kintrack.sim import draw_crops, observe, scene_of, simulate, stage
from kintrack.tracking import Tracker
from kintrack.training.batches import tracked
from kintrack.training.data import Clips
from kintrack.training.runner import GTRRunner
from kintrack.windows.crops import squares

ENCODER = EncoderConfig(kind="conv", crop_size=16, width=8, dim=8)


def leapers(seed, distinctiveness=1.0):
    """Four that lie anywhere in each frame, one in each quarter: by their places nobody can say who is who."""
    rng = np.random.default_rng(seed)
    frame, who = np.repeat(np.arange(10), 4), np.tile(np.arange(4), 10)
    quarter = np.concatenate([rng.permutation(4) for _ in range(10)])
    centre = 40.0 * np.stack([quarter % 2, quarter // 2], axis=1) + rng.uniform(10, 30, (40, 2))
    picture = VideoInfo(n_frames=10, shape=(80, 80))
    truth = Tracks(Detections(frame, from_centre(centre, 12.0), video=picture), who)
    corner, side = squares(truth.detections.box, ENCODER, 16)
    look = {"distinctiveness": distinctiveness, "pattern": 0.3, "contrast": -0.2}
    crops = draw_crops(scene_of(truth), frame, corner, side, ENCODER.crop_size, look, 7)  # the same four in every clip
    return Clip(truth.detections, who, crops=crops)


def learner():
    torch.manual_seed(0)
    runner = GTRRunner(
        {"dim": 16, "heads": 2, "decoder_layers": 1, "encoder": ENCODER.to_dict()},
        optimizer_cfg={"name": "AdamW", "lr": 0.01},
    )
    runner.blank_appearance = 0.0
    return runner.train()


def learned(runner, clips, steps):
    optimizer = runner.configure_optimizers()["optimizer"]
    for step in range(steps):
        optimizer.zero_grad()
        runner.training_step([clips[step % len(clips)]], step)["loss"].backward()
        optimizer.step()
    return runner.eval()


def loss_of(runner, clip):
    with torch.no_grad():
        return float(runner.validation_step([clip], 0)["loss"])


def without_crops(clip):
    return Clip(clip.detections, clip.identity)


def idf1(runner, clip):
    found = tracked(runner.model, Tracker({"gate": 50.0}), clip)
    return evaluate(clip.truth, found.prediction, match="rows")["idf1"]


@pytest.fixture(scope="module")
def by_looks():
    """A model that has learned four who can be told only by their looks."""
    return learned(learner(), [leapers(seed) for seed in range(20)], 80)


def test_who_can_be_told_only_by_looks_is_told_by_looks(by_looks):
    """Fails when crops no longer reach the score, in training or in tracking."""
    unseen = leapers(100)
    assert loss_of(by_looks, unseen) < 0.5 * loss_of(by_looks, without_crops(unseen))
    assert idf1(by_looks, unseen) > 0.9 > 0.6 > idf1(by_looks, without_crops(unseen))


def test_looks_that_are_exchanged_are_followed(by_looks):
    """From the fifth frame on everybody wears the looks of another one: so do the tracks."""
    clip = leapers(101)
    worn = clip.crops.copy()
    for t in range(5, 10):
        rows = [np.flatnonzero((clip.detections.frame == t) & (clip.identity == who))[0] for who in range(4)]
        worn[rows] = clip.crops[np.roll(rows, 1)]
    disguised = Clip(clip.detections, clip.identity, crops=worn)
    costume = np.where(clip.detections.frame < 5, clip.identity, (clip.identity - 1) % 4)
    assert idf1(by_looks, Clip(clip.detections, costume, crops=worn)) > 0.9 > 0.7 > idf1(by_looks, disguised)


def test_clones_are_not_told_by_looks(by_looks):
    clones = leapers(100, distinctiveness=0.0)
    assert idf1(by_looks, clones) < 0.6


def test_a_model_that_learned_with_and_without_crops_works_without_pixels():
    """Half of the steps are blind (`blank_appearance`): by geometry alone it then knows who walks where."""
    runner = learner()
    runner.blank_appearance = 0.5
    walks = []
    for seed in range(6):
        scene = stage({"preset": "crossing", "n_frames": 12}, seed)
        seen, identity = observe(scene.tracks, {"jitter": 0.02}, seed)
        corner, side = squares(seen.box, ENCODER, 16)
        crops = draw_crops(scene, seen.frame, corner, side, ENCODER.crop_size, {"distinctiveness": 1.0}, seed)
        walks.append(Clip(seen, identity, crops=crops))
    learned(runner, walks[:5], 60)
    assert idf1(runner, walks[5]) > 0.95
    assert idf1(runner, without_crops(walks[5])) > 0.95


def clips_of(encoder=ENCODER, truth=(), videos=None, **data):
    config = DataConfig.of({"frames": 12, "max_objects": 6, "simulated": 1.0, **data})
    return Clips(list(truth), config, videos=videos, encoder=encoder)


def test_simulated_clips_are_drawn_for_a_model_that_looks():
    clips = clips_of()
    for i in range(12):
        clip = clips[i]
        assert clip.crops.shape == (len(clip.detections), 1, 16, 16) and clip.crops.dtype == np.float32
        assert np.isfinite(clip.crops).all() and clip.crops.min() >= 0 and clip.crops.max() <= 1
        assert np.array_equal(clip.crops, clips[i].crops)


def test_what_is_drawn_does_not_change_what_is_seen_otherwise():
    """A model of geometry alone and one that looks learn from the same clips."""
    looking, blind = clips_of(), clips_of(encoder=None)
    for i in range(5):
        a, b = looking[i], blind[i]
        assert b.crops is None
        assert np.array_equal(a.detections.box, b.detections.box, equal_nan=True)
        assert np.array_equal(a.identity, b.identity) and np.array_equal(a.history, b.history)


def test_crops_are_seen_in_another_light_unless_that_is_set_to_nothing():
    truth = simulate({"preset": "crossing", "n_frames": 14}, 0)
    video = ArrayVideo(np.random.default_rng(0).integers(0, 255, (14, 320, 320, 1), np.uint8))
    options = {"simulated": 0.0, "noisy": 0.0, "max_stride": 1, "truth": [truth], "videos": [video]}
    options["augment"] = {"flip": 0, "quarters": False}  # these move boxes, too
    plain, changed = clips_of(other_light=0.0, **options), clips_of(other_light=1.0, **options)
    for i in range(3):
        a, b = plain[i], changed[i]
        assert np.array_equal(a.detections.box, b.detections.box)
        assert a.crops.shape == b.crops.shape and not np.allclose(a.crops, b.crops, atol=0.01)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_of_mixed_clips_those_with_pixels_have_crops(share):
    """Without videos only the simulated clips can be looked at; a step takes both."""
    clips = clips_of(truth=[simulate({"preset": "crossing", "n_frames": 14}, 0)], simulated=share)
    assert all((clips[i].crops is None) == (share == 0.0) for i in range(4))
    both = [clips_of(simulated=1.0)[0], clips_of(truth=[simulate("crossing", 0)], simulated=0.0)[0]]
    assert np.isfinite(loss_of(learner().eval(), both[0]))
    runner = learner().eval()
    with torch.no_grad():
        assert torch.isfinite(runner.validation_step(both, 0)["loss"])
