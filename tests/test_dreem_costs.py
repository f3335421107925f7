"""What tracking with a model of DREEM costs: memory that does not grow with the video, and no work done twice."""

import gc
import os
import tracemalloc
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from golden.dreem import seeded
from kintrack.config_dreem import DreemCrops
from kintrack.core.detections import Detections, VideoInfo
from kintrack.core.sightings import Sightings
from kintrack.core.video import Image, Video
from kintrack.follow import TrackConfig, follow
from kintrack.loading import load_model
from kintrack.models.dreem import DreemTransformer
from kintrack.models.dreem_config import DreemConfig
from kintrack.models.dreem_encoder import build_dreem_encoder, quick
from kintrack.tracking.dreem import DreemTracker
from kintrack.windows.dreem import DreemScorer, boxes_shown, iter_dreem_crops

CHECKPOINT = Path(__file__).parent / "golden" / "dreem" / "descriptor.ckpt"
SIDE = 128
CROPS = DreemCrops(crop_size=24)
CONFIG = TrackConfig.of({"tracker": "dreem", "dreem": CROPS.to_dict(), "batch": 8, "threads": 1})


class CountingVideo(Video):
    """Frames that are made when asked for, and counted as long as anybody holds them."""

    def __init__(self, n_frames: int) -> None:
        self.n_frames, self.alive, self.most = n_frames, 0, 0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.n_frames, SIDE, SIDE, 3

    def _read(self, frame: int) -> Image:
        image = np.full((SIDE, SIDE, 3), frame % 200 + 20, np.uint8)
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(image, self._gone)
        return image

    def _gone(self) -> None:
        self.alive -= 1


def walkers(n_frames: int, n: int = 3) -> Detections:
    """Three that stand still, each in its corner."""
    place = np.array([[30.0, 30.0], [90.0, 30.0], [60.0, 95.0]])[:n]
    centre = np.tile(place, (n_frames, 1))
    box = np.concatenate([centre - 8, centre + 8], axis=1)
    info = VideoInfo(n_frames=n_frames, shape=(SIDE, SIDE))
    return Detections(np.repeat(np.arange(n_frames), n), box, video=info)


def test_no_frame_is_held_after_its_crops_are_cut():
    """DREEM keeps every frame, with its tables and crops, until the last is done (P1)."""
    most = []
    for n_frames in (20, 120):
        video = CountingVideo(n_frames)
        tracks = follow(walkers(n_frames), load_model(CHECKPOINT), video, CONFIG)
        assert len(np.unique(tracks.track)) == 3
        gc.collect()
        assert video.alive == 0
        most.append(video.most)
    assert most[1] <= most[0] <= 3


def test_memory_does_not_grow_with_the_video():
    """Of a detection its row and its token stay (P1); here 120 frames of 50 kB would be 6 MB, and their crops 3 MB."""
    model, peaks = load_model(CHECKPOINT), []
    follow(walkers(5), model, CountingVideo(5), CONFIG)  # what is imported at first is no memory of a video
    for n_frames in (20, 140):
        detections, video = walkers(n_frames), CountingVideo(n_frames)
        gc.collect()
        tracemalloc.start()
        follow(detections, model, video, CONFIG)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 400_000, peaks


def test_no_logits_stay_where_the_model_runs():
    """In DREEM those of every frame stay on the GPU (P2)."""
    model, counts = load_model(CHECKPOINT), []
    for n_frames in (5, 40):
        detections = walkers(n_frames)
        scorer, tracker = DreemScorer(model, (SIDE, SIDE)), DreemTracker()
        box = boxes_shown(detections, CROPS)
        crops = iter_dreem_crops(CountingVideo(n_frames), detections, box, CROPS)
        seen = scorer.embed(Sightings.of(detections), crops, box)
        tracker.update(scorer, seen)
        gc.collect()
        counts.append(sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects()))
    assert counts[0] == counts[1]


class Counted(torch.nn.Module):
    """An encoder that notes how many crops it is given at a time."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        super().__init__()
        self.encoder, self.dim, self.calls = encoder, encoder.dim, []

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(crops))
        return self.encoder(crops)


def test_crops_are_encoded_once_each_and_many_frames_at_a_time():
    """DREEM encodes the detections of one frame at a time (P3), and some of them again (A1)."""
    model = load_model(CHECKPOINT)
    model.visual_encoder = Counted(model.visual_encoder)
    follow(walkers(30), model, CountingVideo(30), CONFIG)
    assert sum(model.visual_encoder.calls) == 90
    assert model.visual_encoder.calls == [8] * 11 + [2]


@pytest.mark.parametrize("name", ["resnet18", "resnet50, torchvision", "resnet18, one channel"])
def test_the_quick_encoder_is_the_same_function(name):
    config = DreemConfig.of_dreem({"d_model": 16, "nhead": 1, "encoder_cfg": seeded.ENCODERS[name]})
    encoder = build_dreem_encoder(config).eval()
    state = {n: torch.from_numpy(seeded.weights(n, tuple(t.shape))) for n, t in encoder.state_dict().items()}
    encoder.load_state_dict(state)
    crops = torch.from_numpy(seeded.window(16, channels=1 if "one" in name else 3, side=40)["crops"])
    with torch.no_grad():
        plain, made = encoder(crops), quick(encoder)
        assert (made(crops) - plain).abs().max() < 1e-5
        assert torch.equal(encoder(crops), plain)  # it stays what it was
    assert all(torch.equal(tensor, state[n]) for n, tensor in encoder.state_dict().items())
    assert len(list(made.modules())) == len(list(encoder.modules())) - _shortcuts(encoder)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in made.modules())
    encoder.train()
    assert quick(encoder) is encoder  # batch norm learns


def test_half_is_nearly_the_same_and_only_where_it_is_asked_for():
    config = DreemConfig.of_dreem({"d_model": 16, "nhead": 1, "encoder_cfg": seeded.ENCODERS["resnet18"]})
    encoder = build_dreem_encoder(config).eval()
    crops = torch.from_numpy(seeded.window(16, side=40)["crops"])
    with torch.no_grad():
        plain, half = encoder(crops), quick(encoder, half=True)(crops)
    assert 0 < (half - plain).abs().max() < 0.02 and half.dtype == torch.float32
    assert next(encoder.feature_extractor.parameters()).dtype == torch.float32
    options = {"tracker": "dreem", "dreem": {"crop_size": 24}, "precision": "half"}
    tracks = follow(walkers(6), load_model(CHECKPOINT), CountingVideo(6), TrackConfig.of(options))
    assert (tracks.track >= 0).all()  # a model without a network has nothing to halve


def _shortcuts(encoder: torch.nn.Module) -> int:
    """Modules that are fewer where a shortcut is one convolution, not one with a norm in a sequence."""
    return 2 * sum(name.endswith("downsample.1") for name, _ in encoder.named_modules())


def test_tokens_are_made_by_the_quick_encoder_and_agree():
    """The whole way with a ResNet: what the scorer makes of crops is what the model itself makes of them."""
    config = {"d_model": 16, "nhead": 1, "num_encoder_layers": 1, "num_decoder_layers": 1}
    model = DreemTransformer(DreemConfig.of_dreem({**config, "encoder_cfg": seeded.ENCODERS["resnet18"]})).eval()
    detections = walkers(4)
    box = boxes_shown(detections, CROPS)

    def crops() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng(0)
        for rows in np.split(np.arange(12), 3):
            yield rows, rng.random((4, 3, 24, 24), np.float32)

    seen = DreemScorer(model, (SIDE, SIDE)).embed(Sightings.of(detections), crops(), box)
    with torch.no_grad():
        plain = model.encode(torch.from_numpy(np.concatenate([pixels for _, pixels in crops()]))).numpy()
    assert np.abs(seen.token[:, :16] - plain).max() < 1e-5


def test_a_black_crop_is_no_failure():
    """Its moments are not defined, and one nan among the tokens would spread to all of the window."""
    video = CountingVideo(6)
    video._read = lambda frame: np.full((SIDE, SIDE, 3), 0 if frame == 3 else 90, np.uint8)  # type: ignore[method-assign]
    tracks = follow(walkers(6), load_model(CHECKPOINT), video, CONFIG)
    assert (tracks.track >= 0).all() and len(np.unique(tracks.track)) == 3


def test_threads_that_wait_do_not_take_the_core_of_who_reads(monkeypatch):
    """OpenMP's threads spin while they wait, by default: twice the work where two cores have something else to do."""
    import sys

    from kintrack import cli

    monkeypatch.setattr(sys, "argv", ["kintrack", "--version"])
    for given, wanted in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):  # who sets it is obeyed
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        if given:
            monkeypatch.setenv("OMP_WAIT_POLICY", given)
        with pytest.raises(SystemExit):
            cli.main()
        assert os.environ["OMP_WAIT_POLICY"] == wanted
    monkeypatch.delenv("OMP_WAIT_POLICY")
