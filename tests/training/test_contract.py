"""The interface of GTRRunner that was asked for, line by line: each test is a line of it."""

import copy
import gc
import inspect
import warnings

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch.utils.data import DataLoader

from kintrack.config import LossConfig, ModelConfig, OptimizerConfig, SchedulerConfig, TrackerConfig
from kintrack.core.clip import Clip, Frame
from kintrack.core.detections import Detections
from kintrack.errors import ConfigError
from kintrack.models import AssociationMatrix, GlobalTrackingTransformer
from kintrack.tracking import Tracker
from kintrack.training.loss import AssoLoss
from kintrack.training.runner import GTRRunner

MODES = ("train", "val", "test")
STEPS = {"train": "training_step", "val": "validation_step", "test": "test_step"}


@pytest.fixture
def runner(tiny) -> GTRRunner:
    torch.manual_seed(0)
    return GTRRunner(tiny)


def empty_clip() -> Clip:
    return Clip(Detections.empty(), np.zeros(0), frames=[0, 1])


def logged(runner: GTRRunner, monkeypatch) -> list[tuple[str, float, int]]:
    """What the runner logs, as (name, value, batch size)."""
    found: list[tuple[str, float, int]] = []
    monkeypatch.setattr(runner, "_trainer", object.__new__(Trainer))
    monkeypatch.setattr(GTRRunner, "_is_distributed", False)
    monkeypatch.setattr(runner, "log", lambda name, value, batch_size, **_: found.append((name, value, batch_size)))
    return found


# --- what it is ---------------------------------------------------------------------------------------------------


def test_it_is_a_lightning_module():
    assert issubclass(GTRRunner, LightningModule)


def test_default_metrics():
    assert GTRRunner.DEFAULT_METRICS == {"train": [], "val": ["num_switches"], "test": ["num_switches"]}


def test_default_tracking():
    assert GTRRunner.DEFAULT_TRACKING == {"train": False, "val": True, "test": True}


# --- constructor --------------------------------------------------------------------------------------------------


def test_the_constructor_has_seven_optional_arguments():
    parameters = inspect.signature(GTRRunner.__init__).parameters
    assert list(parameters)[1:] == [
        "model_cfg", "tracker_cfg", "loss_cfg", "optimizer_cfg", "scheduler_cfg", "metrics", "persistent_tracking",
    ]  # fmt: skip
    assert all(p.default is None for name, p in parameters.items() if name != "self")


def test_a_missing_argument_means_defaults():
    runner = GTRRunner()
    assert runner.model.config == ModelConfig() and runner.tracker.config == TrackerConfig()
    assert runner.loss.config == LossConfig() and runner.optimizer_cfg == OptimizerConfig()
    assert runner.scheduler_cfg == SchedulerConfig()
    assert runner.metrics == GTRRunner.DEFAULT_METRICS and runner.persistent_tracking == GTRRunner.DEFAULT_TRACKING


def test_mappings_reach_their_parts():
    runner = GTRRunner(
        {"dim": 16, "heads": 2}, {"max_gap": 7}, {"focal": 0.0}, {"name": "SGD", "lr": 1.0},
        {"name": "StepLR", "step_size": 2}, {"train": ["idf1"]}, {"val": False},
    )  # fmt: skip
    assert runner.model.config.dim == 16 and runner.tracker.config.max_gap == 7 and runner.loss.config.focal == 0.0
    assert runner.optimizer_cfg.name == "SGD" and runner.scheduler_cfg.name == "StepLR"
    assert runner.metrics == {"train": ["idf1"], "val": ["num_switches"], "test": ["num_switches"]}
    assert runner.persistent_tracking == {"train": False, "val": False, "test": True}


def test_typed_configs_are_as_welcome_as_mappings(tiny):
    typed = GTRRunner(
        ModelConfig.of(tiny), TrackerConfig(max_gap=7), LossConfig(focal=0.0), OptimizerConfig.of({"lr": 1.0}),
        SchedulerConfig.of({"patience": 2}),
    )  # fmt: skip
    assert typed.model.config.dim == 16 and typed.tracker.config.max_gap == 7
    assert typed.configure_optimizers()["optimizer"].defaults["lr"] == 1.0


def test_a_ckpt_path_is_set_aside_and_the_callers_mapping_stays_as_it_was(tiny):
    given = {**tiny, "ckpt_path": "somewhere.ckpt"}
    before = copy.deepcopy(given)
    assert GTRRunner(given).model.config == ModelConfig.of(tiny)
    assert given == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model_cfg": {"encoder_layer": 1}}, "unknown option 'encoder_layer': did you mean 'encoder_layers'"),
        ({"model_cfg": {"encoder": {"kindd": "conv"}}}, r"unknown option 'encoder\.kindd': did you mean 'kind'"),
        ({"tracker_cfg": {"max_trakcs": 3}}, "unknown option 'max_trakcs': did you mean 'max_tracks'"),
        ({"loss_cfg": {"both_way": True}}, "did you mean 'both_ways'"),
        ({"metrics": {"value": []}}, "metrics are given for the mode 'value': did you mean 'val'"),
        ({"metrics": {"val": ["num_switch"]}}, "no measure is called 'num_switch': did you mean 'num_switches'"),
        ({"persistent_tracking": {"tests": True}}, "for the mode 'tests': did you mean 'test'"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest(arguments, words):
    with pytest.raises(ConfigError, match=words):
        GTRRunner(**arguments)


# --- attributes ---------------------------------------------------------------------------------------------------


def test_attributes(runner):
    assert isinstance(runner.model, GlobalTrackingTransformer)
    assert isinstance(runner.loss, AssoLoss)
    assert isinstance(runner.tracker, Tracker)
    for name in ("optimizer_cfg", "scheduler_cfg", "metrics", "persistent_tracking"):
        assert hasattr(runner, name)


def test_defaults_are_not_shared_between_runners():
    GTRRunner().metrics["train"].append("idf1")
    assert (
        GTRRunner().metrics
        == GTRRunner.DEFAULT_METRICS
        == {"train": [], "val": ["num_switches"], "test": ["num_switches"]}
    )


# --- forward ------------------------------------------------------------------------------------------------------


def test_forward_gives_a_matrix_of_raw_logits_for_each_decoder_layer(runner, make_clip):
    clip = make_clip(0)
    references, queries = clip[0].instances + clip[1].instances, clip[2].instances
    found = runner(references, queries)
    assert isinstance(found, list) and len(found) == runner.model.config.decoder_layers == 2
    assert all(isinstance(layer, AssociationMatrix) for layer in found)
    assert all(layer.matrix.shape == (len(queries), len(references)) for layer in found)
    with torch.no_grad():
        runner.model.heads[-1].layers[1].bias += 100.0
    torch.testing.assert_close(
        runner(references, queries)[-1].matrix, found[-1].matrix + 100.0
    )  # raw: nothing squashes it


def test_without_queries_the_references_are_their_own(runner, make_clip):
    instances = [i for frame in make_clip(0)[:3] for i in frame.instances]
    own = runner(instances)
    assert own[-1].matrix.shape == (len(instances), len(instances))
    torch.testing.assert_close(own[-1].matrix, runner(instances, instances)[-1].matrix)


# --- steps --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_step_takes_any_number_of_clips(runner, make_clip, mode):
    for n in (1, 3):
        result = getattr(runner, STEPS[mode])([make_clip(seed) for seed in range(1, n + 1)], 0)
        assert result["loss"].ndim == 0 and torch.isfinite(result["loss"])


@pytest.mark.parametrize("mode", MODES)
def test_a_clip_may_be_a_plain_list_of_frames(runner, make_clip, mode):
    clip = make_clip(1)
    by_hand = [Frame(f.frame_id, f.instances, f.video_id) for f in clip]
    step = getattr(runner, STEPS[mode])
    assert step([by_hand], 0)["loss"].item() == pytest.approx(step([clip], 0)["loss"].item(), abs=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_the_result_holds_the_loss_and_the_metrics_asked_for_in_this_mode(tiny, make_clip, mode):
    runner = GTRRunner(tiny, metrics={mode: ["num_switches", "idf1", "hota"]})
    result = getattr(runner, STEPS[mode])([make_clip(1)], 0)
    assert list(result) == ["loss", "num_switches", "idf1", "hota"]
    assert all(isinstance(result[name], float) for name in ("num_switches", "idf1", "hota"))
    other = MODES[(MODES.index(mode) + 1) % 3]
    assert list(getattr(runner, STEPS[other])([make_clip(1)], 0)) == ["loss", *GTRRunner.DEFAULT_METRICS[other]]


def test_the_metrics_compare_what_was_predicted_with_the_truth(runner, make_clip, monkeypatch):
    clip = make_clip(0)
    late = clip.detections.frame >= 4
    exchanged = clip.identity.copy()
    exchanged[late & (clip.identity == 0)], exchanged[late & (clip.identity == 1)] = 1, 0
    for predicted, switches in ((clip.identity, 0), (exchanged, 2)):
        monkeypatch.setattr(
            "kintrack.training.batches.tracked", lambda *_, ids=predicted: clip.with_columns(predicted=ids)
        )
        assert runner.validation_step([clip], 0)["num_switches"] == switches


@pytest.mark.parametrize("mode", MODES)
def test_a_step_logs_with_the_number_of_frames_as_batch_size(runner, make_clip, monkeypatch, mode):
    found = logged(runner, monkeypatch)
    result = getattr(runner, STEPS[mode])([make_clip(1, n_frames=5), make_clip(2, n_frames=7)], 0)
    assert [name for name, *_ in found] == [
        f"{mode}_loss",
        *(f"{mode}_{name}" for name in GTRRunner.DEFAULT_METRICS[mode]),
    ]
    assert found[0][1:] == (result["loss"].item(), 12)


def test_predict_step_gives_the_frames_with_predicted_track_ids(runner, make_clip):
    clip = make_clip(0)
    frames = runner.predict_step([clip], 0)
    assert [f.frame_id for f in frames] == [f.frame_id for f in clip] and all(isinstance(f, Frame) for f in frames)
    for frame in frames:
        ids = frame.pred_track_ids
        assert (ids >= 0).all() and len(set(ids.tolist())) == len(ids) == len(frame)
    assert clip.predicted is None  # what was given is as it was


# --- the shared evaluation step -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batch", [[], [[]], [empty_clip()], [[Frame(0), Frame(1)], empty_clip()]])
def test_no_detection_means_none_and_nothing_logged(runner, monkeypatch, mode, batch):
    found = logged(runner, monkeypatch)
    assert getattr(runner, STEPS[mode])(batch, 0) is None
    assert found == []


def test_no_detection_is_safe_in_training_with_several_processes(runner, monkeypatch):
    """There None would leave the others waiting: the step gives a loss of 0 that reaches every parameter."""
    found = logged(runner, monkeypatch)
    monkeypatch.setattr(GTRRunner, "_is_distributed", True)
    result = runner.training_step([empty_clip()], 0)
    result["loss"].backward()
    assert result["loss"].item() == 0 and all(p.grad is not None for p in runner.model.parameters())
    assert found == [("train_loss", 0.0, 0)]  # counts nothing in the mean


def test_the_loss_is_over_all_decoder_layers(tiny, make_clip):
    runner = GTRRunner(tiny, loss_cfg={"layer_weight": 1.0})
    runner.training_step([make_clip(1)], 0)["loss"].backward()
    assert all(p.grad.any() for head in runner.model.heads for p in head.parameters())


@pytest.mark.parametrize("mode", MODES)
def test_the_trackers_memory_is_set_for_the_mode(tiny, make_clip, mode):
    runner = GTRRunner(tiny, metrics={name: ["idf1"] for name in MODES}, persistent_tracking={"val": False})
    runner.tracker.persistent_tracking = None
    getattr(runner, STEPS[mode])([make_clip(1)], 0)
    assert runner.tracker.persistent_tracking is {"train": False, "val": False, "test": True}[mode]


def test_the_shared_result_carries_the_batch_size(runner, make_clip):
    assert runner._shared_eval_step([make_clip(1, n_frames=6), make_clip(2, n_frames=5)], "val")["batch_size"] == 11


@pytest.mark.parametrize("part", ["loss", "tracker"])
def test_a_failure_names_the_frames_and_the_video_and_is_raised_again(runner, make_clip, monkeypatch, part):
    def fail(*_, **__):
        raise ZeroDivisionError("no way")

    monkeypatch.setattr(getattr(runner, part), "forward" if part == "loss" else "update", fail)
    with pytest.raises(ZeroDivisionError, match="no way") as caught:
        runner.validation_step([make_clip(1, n_frames=6, video="arena.mp4")], 0)
    assert caught.value.__notes__ == ["This happened in frames 0 to 5 of video 'arena.mp4'"]


def test_a_failure_of_the_tracker_names_the_one_clip_of_several(runner, make_clip, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("no way")

    monkeypatch.setattr(runner.tracker, "update", fail)
    for step in (runner.validation_step, runner.predict_step):
        with pytest.raises(ZeroDivisionError) as caught:
            step([make_clip(1, n_frames=6, video="a.mp4"), make_clip(2, video="b.mp4")], 0)
        assert caught.value.__notes__ == ["This happened in frames 0 to 5 of video 'a.mp4'"]


# --- persistent tracking ------------------------------------------------------------------------------------------


def chunks(clip: Clip, at: int) -> list[Clip]:
    """A clip as two that follow each other."""
    return [Clip.of_frames(clip[:at]), Clip.of_frames(clip[at:])]


def predicted(runner: GTRRunner, clips: list[Clip]) -> list[int]:
    return [int(i) for clip in clips for frame in runner.predict_step([clip], 0) for i in frame.pred_track_ids]


def test_a_chunked_video_is_one_continuous_tracking(runner, make_clip):
    clip = make_clip(1, n_frames=12)
    assert predicted(runner, chunks(clip, 5)) == predicted(runner, [clip])


def test_without_persistence_each_clip_is_a_video_of_its_own(tiny, make_clip):
    runner = GTRRunner(tiny, persistent_tracking={"test": False})
    second = chunks(make_clip(1, n_frames=12), 5)[1]
    assert predicted(runner, chunks(make_clip(1, n_frames=12), 5))[-len(second.detections) :] == predicted(
        runner, [second]
    )


def test_the_tracker_forgets_where_the_video_changes(runner, make_clip):
    """Also where no video begins with frame 0."""
    first, second = chunks(make_clip(1, n_frames=12), 5)
    alone = predicted(runner, [second.with_columns(video="b")])
    assert predicted(runner, [first, second.with_columns(video="b")])[-len(alone) :] == alone


def test_the_tracker_forgets_where_a_video_begins_again(runner, make_clip):
    clip = make_clip(1)
    assert predicted(runner, [clip]) == predicted(runner, [clip])


# --- configure_optimizers -----------------------------------------------------------------------------------------


def test_the_default_optimizer_and_scheduler(runner):
    made = runner.configure_optimizers()
    assert list(made) == ["optimizer", "lr_scheduler"]
    optimizer = made["optimizer"]
    assert type(optimizer) is torch.optim.Adam
    assert (optimizer.defaults["lr"], optimizer.defaults["betas"]) == (1e-4, (0.9, 0.999))
    assert len(optimizer.param_groups[0]["params"]) == len(list(runner.parameters()))
    scheduler = made["lr_scheduler"].pop("scheduler")
    assert type(scheduler) is torch.optim.lr_scheduler.ReduceLROnPlateau
    assert (scheduler.mode, scheduler.factor, scheduler.patience) == ("min", 0.5, 10)
    assert made["lr_scheduler"] == {"monitor": "val_loss", "interval": "epoch", "frequency": 10}


def test_configs_name_others_with_their_own_arguments(tiny):
    runner = GTRRunner(
        tiny,
        optimizer_cfg={"name": "SGD", "lr": 0.5, "momentum": 0.9},
        scheduler_cfg={"name": "StepLR", "step_size": 4},
    )
    made = runner.configure_optimizers()
    assert type(made["optimizer"]) is torch.optim.SGD and made["optimizer"].defaults["momentum"] == 0.9
    assert type(made["lr_scheduler"]["scheduler"]) is torch.optim.lr_scheduler.StepLR
    assert made["lr_scheduler"]["frequency"] == 10


# --- logging and housekeeping -------------------------------------------------------------------------------------


def test_log_metrics_logs_numbers_by_mode_and_name_without_the_batch_size(runner, monkeypatch):
    found = logged(runner, monkeypatch)
    result = {"loss": torch.tensor(0.5), "num_switches": 3.0, "batch_size": 7}
    runner.log_metrics(result, 7, "val")
    assert found == [("val_loss", 0.5, 7), ("val_num_switches", 3.0, 7)]
    assert all(type(value) is float for _, value, _ in found)
    assert "batch_size" not in result


def test_the_end_of_a_validation_epoch_collects_garbage(runner, monkeypatch):
    collected = []
    monkeypatch.setattr(gc, "collect", lambda: collected.append(1))
    runner.on_validation_epoch_end()
    assert collected == [1]


def test_a_cuda_cache_is_freed_where_there_is_one(runner, monkeypatch):
    emptied = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(1))
    runner.on_validation_epoch_end()
    assert emptied == []
    monkeypatch.setattr(GTRRunner, "device", torch.device("cuda"))
    runner.on_validation_epoch_end()
    assert emptied == [1]


# --- under Lightning ----------------------------------------------------------------------------------------------


@pytest.fixture
def trainer(tmp_path):
    """A plain Trainer on one CPU, without its advice (that of a dependency about another is not ours to heed)."""
    with warnings.catch_warnings():
        for words in (".*LeafSpec", ".*does not have many workers", ".*returned `None`"):
            warnings.filterwarnings("ignore", words)
        yield Trainer(
            accelerator="cpu", devices=1, max_epochs=1, logger=False, enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=tmp_path, log_every_n_steps=1,
        )  # fmt: skip


def test_a_plain_trainer_trains_validates_tests_and_predicts(trainer, runner, make_clip):
    clips = [make_clip(seed, video=seed) for seed in range(1, 5)]
    batches = DataLoader([*clips, empty_clip()], batch_size=2, collate_fn=list)
    trainer.fit(runner, batches, batches)
    assert {"train_loss", "val_loss", "val_num_switches"} <= set(trainer.callback_metrics)
    assert trainer.test(runner, batches, verbose=False)[0].keys() == {"test_loss", "test_num_switches"}
    frames = [frame for batch in trainer.predict(runner, batches) for frame in batch]
    assert len(frames) == sum(len(clip) for clip in clips) + 2
    assert all((frame.pred_track_ids >= 0).all() for frame in frames)


def test_a_checkpoint_loads_in_torchs_safe_mode(trainer, runner, make_clip, tmp_path):
    trainer.fit(runner, DataLoader([make_clip(1)], collate_fn=list), DataLoader([make_clip(2)], collate_fn=list))
    trainer.save_checkpoint(tmp_path / "r.ckpt")
    held = torch.load(tmp_path / "r.ckpt", weights_only=True)
    assert held["hyper_parameters"]["model_cfg"]["dim"] == 16
    again = GTRRunner.load_from_checkpoint(tmp_path / "r.ckpt", weights_only=True)
    assert again.model.config == runner.model.config and again.metrics == runner.metrics
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), runner.parameters(), strict=True))
