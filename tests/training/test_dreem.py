"""Training models of DREEM: its objective, held to the numbers that DREEM gives, and the way from files to weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from golden.dreem import seeded
from kintrack import api, io
from kintrack.config import LossConfig, TrainConfig
from kintrack.config_dreem import DreemCrops
from kintrack.core.clip import Clip, Frame, Instance
from kintrack.core.detections import Detections, VideoInfo
from kintrack.core.tracks import Tracks
from kintrack.core.transforms import apply_to_frame, flip, rescale, rotate
from kintrack.core.transforms import fit as fit_in_view
from kintrack.core.video import ArrayVideo
from kintrack.errors import AlignmentError, ConfigError, InputError
from kintrack.models.checkpoint import load_model, read_card
from kintrack.models.dreem import DreemTransformer
from kintrack.models.dreem_config import DreemConfig
from kintrack.training import GTRRunner
from kintrack.training.dreem import DreemBatch, DreemLoss
from kintrack.training.dreem_config import DreemDataConfig, DreemLossConfig, DreemTrainConfig, train_config
from kintrack.training.dreem_data import DreemClips, _Pieces
from kintrack.training.fit import fit
from worlds import crossing, painted

GOLDEN = Path(__file__).parents[1] / "golden" / "dreem"
# Small, and without a network to learn: steps take milliseconds.
SMALL: dict[str, Any] = {
    "kind": "dreem", "d_model": 16, "encoder": {"kind": "descriptor"}, "fourier": True, "dropout": 0.0,
    "dropout_attn_head": 0.0,
}  # fmt: skip
TRAINING = {"model": SMALL, "dreem": {"crop_size": 24}, "data": {"frames": 8}, "accelerator": "cpu"}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "losses.npz") as file:
        return dict(file)


def filled(model: DreemTransformer) -> DreemTransformer:
    model.load_state_dict(
        {n: torch.from_numpy(seeded.weights(n, tuple(t.shape))) for n, t in model.state_dict().items()}
    )
    return model


def clip_of(side: int = 24, d: int = 16) -> Clip:
    """The golden window as a clip."""
    given = seeded.clip(d, side)
    shown = given["boxes"][..., [1, 0, 3, 2]].astype(np.float64)
    seen = Detections.of(given["frame"], shown[:, 0])
    seen = seen.with_columns(video=VideoInfo(shape=seeded.SHAPE))
    return Clip(seen, seeded.IDENTITY, crops=given["crops"], shown=shown)


@pytest.mark.parametrize("name", seeded.LOSSES)
def test_the_loss_and_its_gradient_are_dreems(golden, name):
    of, arguments = seeded.LOSSES[name]
    model = filled(DreemTransformer(DreemConfig.of_dreem(seeded.CONFIGS[of]))).eval()
    batch = DreemBatch.of([clip_of(d=model.config.d_model)])
    features = torch.from_numpy(seeded.window(model.config.d_model)["features"])
    with torch.no_grad():
        found = model(_with_features(batch.windows[0], features))
    logits = torch.stack([layer.matrix.flatten() for layer in found]).requires_grad_()
    loss = DreemLoss(DreemLossConfig.of(arguments))(logits, batch)
    loss.backward()
    assert loss.item() == pytest.approx(float(golden[f"{name}/loss"]), rel=1e-5)
    n = len(features)
    assert np.abs(logits.grad[-1].reshape(n, n).numpy() - golden[f"{name}/gradient"]).max() < 1e-6


def _with_features(window: Any, features: torch.Tensor) -> Any:
    import dataclasses

    return dataclasses.replace(window, crops=None, features=features)


def test_a_training_goes_as_dreems_goes(golden):
    """Encoder, batch norm, transformer, loss and Adam together: the same losses, step by step."""
    runner = GTRRunner(DreemConfig.of_dreem(seeded.LEARNER), optimizer_cfg={"name": "Adam", **seeded.ADAM})
    filled(runner.model)
    runner.train()
    optimizer = runner.configure_optimizers()["optimizer"]
    losses = []
    for _ in range(seeded.STEPS):
        loss = runner.training_step([clip_of(side=40)], 0)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert golden["training"][0] > 1.3 * golden["training"][-1]  # something was learned
    assert losses[0] == pytest.approx(golden["training"][0], rel=1e-5)
    assert np.allclose(losses, golden["training"], rtol=1e-3), losses  # Adam makes steps of roundings, too


def test_the_loss_of_several_clips_is_the_mean_of_theirs():
    """Each clip counts alike, however many detections it has; and no detection of one is an answer in another."""
    runner = GTRRunner(SMALL).eval()
    whole = clip_of()
    rows = np.arange(8)
    part = Clip(
        whole.detections.take(rows), whole.identity[rows], crops=whole.crops[rows], shown=whole.shown[rows], video=1
    )
    with torch.no_grad():
        alone = [runner.training_step([clip], 0)["loss"].item() for clip in (whole, part)]
        together = runner.training_step([whole, part], 0)["loss"].item()
    assert together == pytest.approx(np.mean(alone), rel=1e-5) and alone[0] != pytest.approx(alone[1], rel=1e-3)


def test_nobody_known_is_a_loss_of_nothing():
    unknown = clip_of().with_columns(identity=np.full(11, -1))
    batch, logits = DreemBatch.of([unknown]), torch.randn(1, 121, requires_grad=True)
    loss = DreemLoss()(logits, batch)
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()
    with pytest.raises(AlignmentError, match="4 logits a layer, but 121 pairs in the batch"):
        DreemLoss()(torch.zeros(1, 4), batch)


def test_our_loss_is_an_option():
    runner = GTRRunner(SMALL, loss_cfg={"kind": "kintrack", "focal": 0.0})
    assert runner.loss.config == LossConfig(focal=0.0)
    assert GTRRunner(SMALL, loss_cfg={"both_ways": False}).loss.config == LossConfig(both_ways=False)
    assert runner.training_step([clip_of()], 0)["loss"].item() > 0
    with pytest.raises(ConfigError, match="unknown option 'focal'"):
        GTRRunner(SMALL, loss_cfg={"kind": "dreem", "focal": 0.0})


def test_frames_made_by_hand_are_taken_where_their_images_are_known():
    clip = clip_of()
    runner = GTRRunner(SMALL).eval()
    [association] = [layer.matrix for layer in runner(clip)][-1:]
    assert association.shape == (11, 11)
    assert runner(clip, [clip[2]])[-1].matrix.shape == (3, 11)
    frame = Frame(3, [Instance(box=[0, 0, 9, 9], crop=np.zeros((3, 24, 24))) for _ in range(2)])
    with pytest.raises(InputError, match="do not say how large that is; give their `video` a shape"):
        runner([frame])
    with pytest.raises(InputError, match="1 queries are not among the references"):
        runner(clip, [Instance(box=[0, 0, 9, 9], crop=np.zeros((3, 24, 24), np.float32), frame_id=99)])
    with pytest.raises(InputError, match="looks at pixels, but the clip has no crops") as failed:
        runner.training_step([clip.with_columns(crops=None)], 0)
    assert "frames 3 to 20 of video 0" in failed.value.__notes__[0]


@pytest.fixture
def annotated(tmp_path: Path) -> Path:
    """A file of annotated tracks with its movie beside it."""
    truth = crossing()
    images = np.repeat(painted(truth.detections)[..., None], 3, axis=3)
    io.write_video(tmp_path / "clip.mp4", list((images > 0).astype(np.uint8) * 200), 10.0)
    io.save(truth, tmp_path / "clip.csv")
    return tmp_path / "clip.csv"


def test_from_files_to_weights_that_track(annotated, tmp_path):
    config = {**TRAINING, "max_epochs": 8, "optimizer": {"lr": 0.01}}
    fitted = api.train([annotated], tmp_path / "run", val=[annotated], config=config)
    first = float((tmp_path / "run" / "metrics.csv").read_text().splitlines()[1].split(",")[4])
    assert isinstance(fitted.model, DreemTransformer) and fitted.score < first
    card = read_card(fitted.path)
    assert card["tracker"]["kind"] == "dreem" and card["crops"]["crop_size"] == 24
    # The weights know their crops and their tracker.
    tracks = api.track(annotated, tmp_path / "out.csv", model=fitted.path)
    assert (tracks.track >= 0).all()
    again = load_model(tmp_path / "run" / "best.ckpt")
    assert again.config == fitted.model.config and again.card["crops"]["crop_size"] == 24
    said = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert train_config(said).to_dict() == train_config(config).to_dict()
    assert isinstance(train_config(said), DreemTrainConfig)


def test_a_checkpoint_of_dreem_is_trained_further(annotated, tmp_path):
    start = load_model(GOLDEN / "descriptor.ckpt")
    more = {key: TRAINING[key] for key in ("dreem", "data", "accelerator")} | {"max_epochs": 1}
    fitted = api.train([annotated], tmp_path / "run", model=GOLDEN / "descriptor.ckpt", config=more)
    before, after = start.state_dict(), fitted.model.state_dict()
    assert before.keys() == after.keys() and fitted.model.config == start.config
    moved = max(float((before[name] - after[name]).abs().max()) for name in before)
    assert 0 < moved < 0.01  # a few steps of Adam at 1e-4
    # What is trained goes on being trained, with the crops that it was shown.
    further = {"data": {"frames": 8}, "accelerator": "cpu", "max_epochs": 1}
    again = api.train([annotated], tmp_path / "more", model=fitted.path, config=further)
    assert read_card(again.path)["crops"]["crop_size"] == 24


def test_a_training_is_resumed(annotated, tmp_path):
    def run(folder: str, epochs: int, resume: bool = False) -> Any:
        config = {**TRAINING, "max_epochs": epochs}
        return api.train([annotated], tmp_path / folder, config=config, resume=resume)

    run("a", 1)
    resumed, whole = run("a", 3, resume=True), run("b", 3)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name


def test_the_command_line_trains(annotated, tmp_path, monkeypatch, capsys):
    import sys

    from kintrack import cli

    options = ["model.kind=dreem", "model.d_model=16", "model.encoder.kind=descriptor", "model.fourier=true"]
    options += ["dreem.crop_size=24", "data.frames=8", "max_epochs=1", "accelerator=cpu"]
    sets = [word for option in options for word in ("--set", option)]
    monkeypatch.setattr(sys, "argv", ["kintrack", "train", str(annotated), "-o", str(tmp_path / "run"), *sets])
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    assert leaving.value.code == 0 and "best of 1 epochs" in capsys.readouterr().out
    assert isinstance(load_model(tmp_path / "run" / "model.safetensors"), DreemTransformer)


def test_defaults_are_those_of_dreems_own_training():
    config = train_config({"model": {"kind": "dreem"}})
    assert isinstance(config, DreemTrainConfig) and isinstance(train_config({}), TrainConfig)
    assert (config.model.d_model, config.model.nhead, config.model.num_encoder_layers) == (128, 1, 1)
    assert config.optimizer.arguments["lr"] == 1e-4 and config.scheduler.frequency == 1
    assert train_config({"model": {"kind": "dreem"}, "scheduler": {"name": "StepLR", "step_size": 2}}).scheduler.name
    with pytest.raises(ConfigError, match="unknown option 'data.simulated'"):
        train_config({"model": {"kind": "dreem"}, "data": {"simulated": 0.3}})
    with pytest.raises(ConfigError, match="a model of DREEM is trained by a DreemTrainConfig"):
        fit([clip_of()], None, "nowhere", TrainConfig(), model=DreemTransformer(SMALL))


def test_trackers_and_models_that_do_not_go_together_are_refused():
    with pytest.raises(ConfigError, match="unknown option 'gate'"):
        GTRRunner(SMALL, tracker_cfg={"gate": 3.0})
    with pytest.raises(ConfigError, match="unknown option 'window_size'"):
        GTRRunner(tracker_cfg={"window_size": 3})


def dataset(truth: Tracks, pixels: np.ndarray, seed: int = 0, crop: int = 12, **data: Any) -> DreemClips:
    options = DreemDataConfig.of({"frames": 5, "other_light": 0.0, **data})
    config = DreemCrops(crop_size=crop)
    return DreemClips([truth], [ArrayVideo(pixels)], [None], config, options, options.frames, seed)


def test_clips_follow_each_other_and_hold_every_row():
    truth = crossing()
    images = np.stack([painted(truth.detections)] * 3, axis=-1)
    clips = dataset(truth, images)
    rows = np.concatenate([clips[i].detections.frame for i in range(len(clips))])
    assert np.array_equal(rows, truth.detections.frame)
    assert clips[0].crops.shape[1:] == (3, 12, 12) and clips[0].shown.shape[1:] == (1, 4)
    assert clips[0] is clips[0]  # cut once
    some = dataset(truth, images, clips=2)
    assert len(some) == 2
    some.set_epoch(1)
    assert [some[i].detections.frame[0] for i in range(2)] != [clips[i].detections.frame[0] for i in range(2)]


def test_pixels_and_places_are_turned_together():
    """DREEM cuts where a cell was before the picture was turned (D7), and turns every frame otherwise (D8)."""
    truth = crossing()
    images = np.stack([painted(truth.detections)] * 3, axis=-1)
    look = {"flip": 0.5, "quarters": True, "rotate": 45.0, "scale": 1.3}
    look |= dict.fromkeys(("brightness", "shade", "contrast", "flicker", "blur", "noise"), 0.0)
    turned = 0
    for seed in range(6):
        clip = dataset(truth, images, seed, crop=9, other_light=1.0, augment=look)[0]
        middle = clip.crops[:, 0, 3:6, 3:6].mean(axis=(1, 2))
        inside = np.isfinite(clip.shown).all(axis=(1, 2))
        assert (middle[inside] > 0).mean() > 0.9  # each crop shows its animal, wherever it is now
        assert clip.detections.video.shape[0] > 0
        turned += clip.detections.video.shape != images.shape[1:3]
    assert turned >= 3


@pytest.mark.parametrize(
    "view", [flip((60, 90), "x"), rotate(90), rescale(0.8) @ rotate(20), rescale(1.3) @ rotate(-12)]
)
def test_a_piece_of_a_turned_picture_is_what_the_whole_shows_there(view):
    """Only what is in a crop is turned: a whole picture would take as long as the rest of a step."""
    frame = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    moved, shape = fit_in_view(view, (60, 90))
    whole, pieces = apply_to_frame(frame, moved, shape), _Pieces(frame, moved, shape)
    for y, x in ((0, 0), (20, 30), (shape[0] - 15, shape[1] - 20)):
        assert np.array_equal(pieces[y : y + 15, x : x + 20], whole[y : y + 15, x : x + 20])
    assert pieces[..., :1][3:5, 4:9].shape == (2, 5, 1) and pieces[3:3, 4:9].size == 0
    assert (pieces.min(), pieces.max()) == (frame.min(), frame.max())


def test_what_is_left_out_is_left_out_alike_in_pixels_and_rows():
    truth = crossing()
    images = np.stack([painted(truth.detections)] * 3, axis=-1)
    whole, thin = dataset(truth, images), dataset(truth, images, detection_dropout={"share": 0.4, "most": 1})
    assert len(thin[0].detections) < len(whole[0].detections)
    assert len(thin[0].crops) == len(thin[0].detections) == len(thin[0].shown) == len(thin[0].identity)


def test_a_clip_of_one_detection_is_no_clip():
    one = crossing()
    one = one.take(np.arange(1))
    with pytest.raises(InputError, match="no clip has two detections"):
        dataset(one, np.zeros((20, 40, 40, 3), np.uint8))


def test_targets_are_found_without_a_loop_over_identities():
    """DREEM asks for each identity in each frame, a wait for the GPU each (P7); here the operations do not grow."""
    counts = []
    for n in (4, 40):
        frame, identity = np.repeat(np.arange(5), n), np.tile(np.arange(n), 5)
        seen = Detections.of(frame, np.tile([[0.0, 0.0, 9.0, 9.0]], (5 * n, 1)))
        seen = seen.with_columns(video=VideoInfo(shape=(50, 50)))
        batch = DreemBatch.of([Clip(seen, identity, crops=np.zeros((5 * n, 3, 4, 4), np.float32))])
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            DreemLoss()(torch.zeros(1, (5 * n) ** 2), batch)
        counts.append(len(profile.events()))
    assert counts[1] < counts[0] + 5
