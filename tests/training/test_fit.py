"""Training: what is left in the folder, going on after an interruption, and what is refused."""

import csv
import math
import signal
import sys
import warnings

import numpy as np
import pytest
import torch
import yaml
from pytorch_lightning import Callback

from kintrack.config import DataConfig, TrainConfig
from kintrack.core.clip import Clip
from kintrack.errors import CheckpointError, ConfigError, InputError, MissingExtraError, OutputError, OutputExistsError
from kintrack.models import GlobalTrackingTransformer
from kintrack.models.checkpoint import load_model, read_card
from kintrack.training.batches import Batch
from kintrack.training.data import Clips
from kintrack.training.fit import fit


@pytest.fixture
def config(tiny) -> TrainConfig:
    return TrainConfig.of(
        {
            "model": {**tiny, "dropout": 0.2},
            "batch_size": 2,
            "max_epochs": 2,
            "warmup": 1,
            "accelerator": "cpu",
            "devices": 1,
        }
    )


@pytest.fixture
def clips(make_clip) -> list[Clip]:
    return [make_clip(seed, n_frames=5, video=seed) for seed in range(1, 6)]


def change(config: TrainConfig, **options) -> TrainConfig:
    return TrainConfig.of(config.to_dict() | options)


def table(folder) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def weights(path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Interrupted(list):
    """Clips that break off in a given epoch."""

    def __init__(self, clips, epoch: int, error: BaseException) -> None:
        super().__init__(clips)
        self.break_at, self.error, self.epoch = epoch, error, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index):
        if self.epoch == self.break_at and index == 0:
            raise self.error
        return super().__getitem__(index)


def test_what_is_said_of_one_video_does_not_go_with_the_weights(clips, config, tmp_path):
    told = change(config, tracker={"max_tracks": 2, "min_score": 0.1, "size": 9.0, "memory": 2}, max_epochs=1)
    fit(clips[:2], None, tmp_path / "run", told)
    for name in ("model.safetensors", "best.ckpt"):
        tracker = load_model(tmp_path / "run" / name).card["tracker"]
        assert tracker["memory"] == 2
        assert tracker.keys().isdisjoint({"max_tracks", "min_score", "size"})


def test_the_folder_holds_model_checkpoints_config_and_table(clips, config, tmp_path):
    found = fit(clips[:4], clips[4:], tmp_path / "run", config, card={"data": "worlds"})
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["best.ckpt", "config.yaml", "last.ckpt", "metrics.csv", "model.safetensors"]
    rows = table(tmp_path / "run")
    assert [(row["epoch"], row["step"]) for row in rows] == [("0", "2"), ("1", "4")]
    assert {"learning_rate", "minutes", "train_loss", "val_loss", "val_num_switches", "val_idf1"} <= rows[0].keys()
    best = min(rows, key=lambda row: float(row["val_loss"]))
    assert (found.epoch, found.epochs) == (int(best["epoch"]), 2)
    assert found.score == pytest.approx(float(best["val_loss"]), rel=1e-4)
    assert TrainConfig.of(yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())) == config
    card = read_card(found.path)
    assert (card["data"], card["epoch"], card["tracker"]) == ("worlds", found.epoch, config.tracker.of_any_video())
    for path in (found.path, tmp_path / "run" / "best.ckpt"):
        assert same(dict(load_model(path).state_dict()), dict(found.model.state_dict()))


def test_the_same_config_and_clips_give_the_same_weights(clips, config, tmp_path):
    a = fit(clips[:4], clips[4:], tmp_path / "a", config).model.state_dict()
    b = fit(clips[:4], clips[4:], tmp_path / "b", config).model.state_dict()
    c = fit(clips[:4], clips[4:], tmp_path / "c", change(config, seed=1)).model.state_dict()
    assert same(a, b) and not same(a, c)


def test_training_leaves_the_callers_chance_alone(clips, config, tmp_path):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    fit(clips[:2], None, tmp_path, change(config, max_epochs=1))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("schedule", "error"), [("cosine", KeyboardInterrupt()), ("plateau", RuntimeError("the power went out"))]
)
def test_resuming_gives_the_weights_of_a_training_without_interruption(clips, config, tmp_path, schedule, error):
    config = change(config, max_epochs=3, schedule=schedule, stop_after=4, metrics=[])
    fit(clips[:3], clips[3:], tmp_path / "straight", config)
    heard = signal.getsignal(signal.SIGINT)
    with pytest.raises(type(error)):
        fit(Interrupted(clips[:3], 1, error), clips[3:], tmp_path / "broken", config)
    assert signal.getsignal(signal.SIGINT) is heard
    assert len(table(tmp_path / "broken")) == 1
    found = fit(clips[:3], clips[3:], tmp_path / "broken", config, resume=True)
    for name in ("last.ckpt", "best.ckpt"):
        assert same(weights(tmp_path / "straight" / name), weights(tmp_path / "broken" / name))
    assert same(
        dict(found.model.state_dict()), dict(load_model(tmp_path / "straight" / "model.safetensors").state_dict())
    )
    without_time = [
        [{k: v for k, v in row.items() if k != "minutes"} for row in table(tmp_path / n)]
        for n in ("straight", "broken")
    ]
    assert without_time[0] == without_time[1]


class Watched(Clips):
    """Simulated clips that note by whose tracks they are remembered, and break off in a given epoch."""

    def __init__(self, folder, break_at: int | None = None) -> None:
        super().__init__([], DataConfig(simulated=1, clips=2, frames=6, max_objects=5, own=1.0), seed=3)
        self.folder, self.break_at = folder, break_at
        self.models: list[dict[str, torch.Tensor] | None] = []
        self.best: list[dict[str, torch.Tensor] | None] = []

    def set_tracks(self, tracks) -> None:
        super().set_tracks(tracks)
        self.models.append(None if tracks is None else tracks.args[0].state_dict())
        last = self.folder / "last.ckpt"
        kept = torch.load(last, weights_only=True)["kintrack"] if last.exists() else {}
        self.best.append(kept.get("ema"))

    def __getitem__(self, index):
        if self.epoch == self.break_at and index == 1:
            raise KeyboardInterrupt
        return super().__getitem__(index)


def test_from_own_after_on_a_model_learns_from_the_tracks_that_its_mean_finds(config, tmp_path):
    config = change(config, max_epochs=3, data={"own_after": 0.5})
    clips = Watched(tmp_path)
    fit(clips, None, tmp_path, config)
    assert [model is None for model in clips.models] == [True, True, False]
    assert same(clips.models[2], clips.best[2])  # the running mean at the end of the epoch before
    before = len(clips.models)
    fit(clips, None, tmp_path / "again", change(config, max_epochs=1))  # whose first epoch is before half of it
    assert clips.models[before] is None
    never = Watched(tmp_path / "never")
    fit(never, None, tmp_path / "never", change(config, max_epochs=2, data={"own_after": 1.0}))
    assert never.models == [None, None]


def test_a_models_own_tracks_are_the_same_after_an_interruption(config, tmp_path):
    config = change(config, max_epochs=4, data={"own_after": 0.5})
    straight = Watched(tmp_path / "straight")
    fit(straight, None, tmp_path / "straight", config)
    with pytest.raises(KeyboardInterrupt):
        fit(Watched(tmp_path / "broken", break_at=3), None, tmp_path / "broken", config)
    resumed = Watched(tmp_path / "broken")
    fit(resumed, None, tmp_path / "broken", config, resume=True)
    assert resumed.models[-1] is not None and same(resumed.models[-1], straight.models[-1])
    ends = [weights(tmp_path / name / "last.ckpt") for name in ("straight", "broken")]
    assert same(*ends)
    taught = change(config, data={"own_after": 1.0})
    fit(Watched(tmp_path / "taught"), None, tmp_path / "taught", taught)
    assert not same(ends[0], weights(tmp_path / "taught" / "last.ckpt"))


def test_only_training_passes_over_easy_frames(clips, config, tmp_path, monkeypatch):
    asked = []

    def prepare(clips, model, tracker, easy=1):
        asked.append(easy)
        return Batch(clips)

    monkeypatch.setattr(Batch, "prepare", prepare)
    fit(clips[:1], clips[1:2], tmp_path, change(config, max_epochs=1, data={"easy": 7}))
    assert asked == [7, 1]


def test_an_interrupted_training_leaves_the_best_model_so_far(clips, config, tmp_path):
    with pytest.raises(KeyboardInterrupt, match="can be resumed after its last whole epoch"):
        fit(Interrupted(clips[:3], 1, KeyboardInterrupt()), clips[3:], tmp_path / "one", config)
    assert load_model(tmp_path / "one" / "model.safetensors").config == config.model
    with pytest.raises(KeyboardInterrupt):
        fit(Interrupted(clips[:3], 0, KeyboardInterrupt()), clips[3:], tmp_path / "none", config)
    assert sorted(path.name for path in (tmp_path / "none").iterdir()) == ["config.yaml"]


def test_a_finished_training_is_not_trained_further(clips, config, tmp_path):
    first = fit(clips[:2], clips[2:3], tmp_path, config)
    again = fit(clips[:2], clips[2:3], tmp_path, config, resume=True)
    assert (again.epochs, again.score) == (first.epochs, first.score)
    more = fit(clips[:2], clips[2:3], tmp_path, change(config, max_epochs=3), resume=True)
    assert more.epochs == 3


def test_resuming_where_nothing_is_begins_anew(clips, config, tmp_path):
    assert fit(clips[:2], None, tmp_path, change(config, max_epochs=1), resume=True).epochs == 1


def test_a_folder_with_a_training_is_refused_unless_told_otherwise(clips, config, tmp_path):
    config = change(config, max_epochs=1)
    first = fit(clips[:2], None, tmp_path, config)
    before = first.path.read_bytes()
    with pytest.raises(
        OutputExistsError, match="holds a training already; resume it, overwrite it, or give another folder"
    ):
        fit(clips[:2], None, tmp_path, config)
    assert first.path.read_bytes() == before
    fit(clips[:2], None, tmp_path, change(config, seed=5), overwrite=True)
    assert first.path.read_bytes() != before


@pytest.mark.parametrize("damage", ["truncated", "code"])
def test_a_training_is_not_resumed_from_what_is_damaged_or_holds_code(clips, config, tmp_path, damage):
    fit(clips[:2], None, tmp_path, change(config, max_epochs=1))
    last = tmp_path / "last.ckpt"
    if damage == "truncated":
        last.write_bytes(last.read_bytes()[:-500])
    else:
        torch.save({"a": Interrupted}, last)
    with pytest.raises(CheckpointError, match=r"last\.ckpt (is damaged|wants more than tensors)"):
        fit(clips[:2], None, tmp_path, config, resume=True)
    assert (tmp_path / "best.ckpt").exists() and len(table(tmp_path)) == 1


def test_a_training_is_not_resumed_with_another_config(clips, config, tmp_path):
    fit(clips[:2], None, tmp_path, change(config, max_epochs=1))
    with pytest.raises(
        ConfigError, match=r"begun with batch_size = 2, now it is 3; resume with the config in .*config\.yaml"
    ):
        fit(clips[:2], None, tmp_path, change(config, max_epochs=1, batch_size=3), resume=True)


def test_without_validation_the_training_loss_decides(clips, config, tmp_path):
    found = fit(clips[:4], None, tmp_path, config)
    rows = table(tmp_path)
    assert not any(name.startswith("val_") for name in rows[0])
    assert found.score == pytest.approx(min(float(row["train_loss"]) for row in rows), rel=1e-4)


def test_a_measure_of_tracking_may_decide(clips, config, tmp_path):
    found = fit(clips[:4], clips[4:], tmp_path, change(config, monitor="val_idf1"))
    assert found.score == pytest.approx(max(float(row["val_idf1"]) for row in table(tmp_path)), rel=1e-4)


def test_a_measure_that_is_not_taken_cannot_decide(clips, config, tmp_path):
    with pytest.raises(
        ConfigError, match="option 'monitor' is 'val_idf', which is not measured: did you mean 'val_idf1'"
    ):
        fit(clips, clips, tmp_path, change(config, monitor="val_idf"))
    assert not any(tmp_path.iterdir())


def test_training_stops_where_nothing_gets_better(clips, config, tmp_path):
    """With a learning rate of nothing."""
    stuck = change(config, max_epochs=9, stop_after=2, optimizer={"name": "SGD", "lr": 0.0})
    assert fit(clips[:2], clips[2:3], tmp_path, stuck).epochs == 3


def test_training_stops_in_time(clips, config, tmp_path):
    found = fit(clips[:4], clips[4:], tmp_path, change(config, max_epochs=500, max_minutes=0.01))
    assert found.epochs < 100
    assert len(table(tmp_path)) == found.epochs


def test_weights_begin_where_a_model_is(clips, config, tmp_path):
    torch.manual_seed(9)
    model = GlobalTrackingTransformer({"dim": 24, "heads": 3})
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    still = change(config, max_epochs=1, optimizer={"name": "SGD", "lr": 0.0})
    found = fit(clips[:2], None, tmp_path, still, model=model)
    assert found.model.config == model.config and same(dict(found.model.state_dict()), before)
    assert same(dict(model.state_dict()), before)


def test_the_mean_of_the_weights_is_what_is_kept(clips, config, tmp_path):
    """By hand: after n steps the mean follows d = min(decay, (1 + n) / (10 + n))."""
    steps: list[dict[str, torch.Tensor]] = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            steps.append({name: t.clone() for name, t in pl_module.model.state_dict().items()})

        def on_train_start(self, trainer, pl_module):
            steps.append({name: t.clone() for name, t in pl_module.model.state_dict().items()})

    found = fit(clips[:4], None, tmp_path, change(config, max_epochs=1, ema=0.9), callbacks=[Watch()])
    mean = steps[0]
    for n, now in enumerate(steps[1:], 1):
        d = min(0.9, (1 + n) / (10 + n))
        mean = {name: d * mean[name] + (1 - d) * now[name] for name in mean}
    for name, tensor in found.model.state_dict().items():
        torch.testing.assert_close(tensor, mean[name])
    assert not same(dict(found.model.state_dict()), steps[-1])
    bare = fit(clips[:4], None, tmp_path / "bare", change(config, max_epochs=1, ema=None))
    assert same(dict(bare.model.state_dict()), steps[-1])


def test_validation_changes_nothing_of_what_is_learned(clips, config, tmp_path):
    """The mean of the weights takes their place in it, and they are put back."""
    fit(clips[:4], clips[4:], tmp_path / "with", config)
    fit(clips[:4], None, tmp_path / "without", config)
    assert same(weights(tmp_path / "with" / "last.ckpt"), weights(tmp_path / "without" / "last.ckpt"))


def test_the_table_of_rates_follows_the_schedule(clips, config, tmp_path):
    rates = {}
    for schedule in ("cosine", "plateau", "constant"):
        options = change(config, schedule=schedule, max_epochs=3, warmup=2, optimizer={"name": "SGD", "lr": 0.5})
        fit(clips[:2], None, tmp_path / schedule, options)
        rates[schedule] = [float(row["learning_rate"]) for row in table(tmp_path / schedule)]
    assert rates["constant"] == [0.5, 0.5, 0.5]
    assert rates["cosine"][-1] == 0.0 and rates["cosine"][1] == pytest.approx(
        0.5 * 0.5 * (1 + math.cos(math.pi / 2)), abs=0.01
    )
    assert rates["plateau"][0] == 0.25  # in the middle of the warm-up


def test_on_a_plateau_the_rate_is_halved_after_as_many_epochs_as_patience_says(clips, config, tmp_path):
    """With a learning rate that changes next to nothing, no epoch after the first is better."""
    stuck = {"schedule": "plateau", "patience": 2, "warmup": 0, "optimizer": {"name": "SGD", "lr": 1e-7}}
    fit(clips[:1], clips[1:2], tmp_path, change(config, max_epochs=5, metrics=[], **stuck))
    rates = [float(row["learning_rate"]) for row in table(tmp_path)]
    assert rates == [1e-7] * 3 + [5e-8] * 2


def test_the_order_of_clips_changes_from_epoch_to_epoch(clips, config, tmp_path):
    asked: list[tuple[int, int]] = []

    class Watched(list):
        epoch = 0

        def set_epoch(self, epoch):
            self.epoch = epoch

        def __getitem__(self, index):
            asked.append((self.epoch, index))
            return super().__getitem__(index)

    fit(Watched(clips), None, tmp_path, change(config, max_epochs=2))
    order = [[i for e, i in asked if e == epoch] for epoch in (0, 1)]
    assert sorted(order[0]) == sorted(order[1]) == list(range(5)) and order[0] != order[1]


def test_empty_clips_among_others_are_passed_over(clips, config, tmp_path):
    empty = clips[0].with_columns(detections=clips[0].detections.take(slice(0, 0)), identity=np.zeros(0))
    found = fit([empty, *clips[:2], empty], [empty, clips[2]], tmp_path, change(config, batch_size=1, max_epochs=1))
    assert np.isfinite(found.score)


def test_nothing_to_train_on_is_said_so(clips, config, tmp_path):
    for train, val, words in (([], None, "no clips to train on"), (clips, [], "no clips to validate on")):
        with pytest.raises(InputError, match=words):
            fit(train, val, tmp_path, config)


def test_a_folder_that_cannot_be_made_is_named(clips, config, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/run cannot be written to: Not a directory"):
        fit(clips, None, tmp_path / "file" / "run", config)


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_logger_that_is_not_installed_names_its_extra(clips, config, tmp_path, name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    with pytest.raises(MissingExtraError, match=rf"logging to {name} needs the package {name}.*kintrack\[{name}\]"):
        fit(clips, None, tmp_path, change(config, loggers=[name]))


@pytest.mark.parametrize("where", [{"accelerator": "abacus"}, {"strategy": "nearly"}, {"accelerator": "tpu"}])
def test_a_place_that_is_not_there_is_an_error_before_anything_is_touched(clips, config, tmp_path, where):
    (tmp_path / "model.safetensors").write_text("precious")
    (name, value), *_ = where.items()
    with pytest.raises(ConfigError, match=rf"training with .*{name} = '{value}'.* is not possible here: "):
        fit(clips[:2], None, tmp_path, change(config, **where), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_an_argument_that_torch_refuses_is_found_before_a_training_is_overwritten(clips, config, tmp_path):
    (tmp_path / "model.safetensors").write_text("precious")
    with pytest.raises(ConfigError, match="Adam has no argument 'lrr': did you mean 'lr'"):
        fit(clips[:2], None, tmp_path, change(config, optimizer={"name": "Adam", "lrr": 1}), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("options", [{}, {"stop_after": 1}, {"monitor": "val_idf1"}])
@pytest.mark.parametrize("validated", [True, False])
def test_clips_that_cannot_be_measured_are_an_error_that_says_so(clips, config, tmp_path, options, validated):
    empty = clips[0].with_columns(detections=clips[0].detections.take(slice(0, 0)), identity=np.zeros(0))
    nobody = clips[0].with_columns(identity=np.full(len(clips[0].detections), -1))
    val = [nobody if "monitor" in options else empty] if validated else None
    monitor = options.get("monitor", "val_loss") if validated else "train_loss"
    with pytest.raises(InputError, match=f"{monitor} was not measured in a whole epoch.* give clips with detections"):
        fit(clips[:2] if validated else [empty], val, tmp_path, change(config, max_epochs=1, **options))


def test_a_failure_in_a_clip_says_where(clips, config, tmp_path, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("no way")

    monkeypatch.setattr("kintrack.training.batches.follow", fail)
    with pytest.raises(ZeroDivisionError) as caught:
        fit(clips[:1], None, tmp_path, config)
    assert any("frames 0 to 4 of video 1" in note for note in caught.value.__notes__)


def test_warnings_of_others_are_quiet_and_filters_stay(clips, config, tmp_path):
    """pytest makes every warning an error here, so the training was quiet; afterwards the filters are as they were."""
    before = list(warnings.filters)
    fit(clips[:2], clips[2:3], tmp_path, change(config, max_epochs=1))
    assert list(warnings.filters) == before


@pytest.mark.slow
def test_a_worker_process_gives_the_same_weights(clips, config, tmp_path):
    a = fit(clips[:4], clips[4:], tmp_path / "a", config).model.state_dict()
    b = fit(clips[:4], clips[4:], tmp_path / "b", change(config, workers=1)).model.state_dict()
    assert same(a, b)


@pytest.mark.slow
def test_two_processes_train_together(make_clip, config, tmp_path):
    """DDP over gloo, with empty clips that leave one of the two without anything to do, and crops that are withheld."""
    clips = [make_clip(seed, n_frames=5, video=seed, crop_size=16) for seed in range(1, 8)]
    empty = clips[0].with_columns(detections=clips[0].detections.take(slice(0, 0)), identity=np.zeros(0), crops=None)
    model = config.model.to_dict() | {"encoder": {"kind": "conv", "width": 4, "crop_size": 16}}
    both = change(config, devices=2, strategy="ddp_spawn", model=model, blank_appearance=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # the two processes have filters of their own
        found = fit([*clips[:5], empty, empty, empty], [empty, clips[5], clips[6]], tmp_path, both)
    assert np.isfinite(found.score) and found.epochs == 2
    assert [row["step"] for row in table(tmp_path)] == ["4", "8"]
