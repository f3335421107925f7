"""fit: from clips to weights. Seeds, log, checkpoints, early stopping, and going on after an interruption."""

import importlib.util
import logging
import math
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
import yaml
from pytorch_lightning import Callback, LightningDataModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar, Timer
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException  # type: ignore[attr-defined]
from torch.utils.data import DataLoader

from kintrack._version import __version__
from kintrack.config import TrackerConfig, TrainConfig, read_yaml
from kintrack.core.clip import Clip, Frame
from kintrack.core.detections import Detections, Ints
from kintrack.errors import ConfigError, InputError, MissingExtraError, OutputError, OutputExistsError, nearest_name
from kintrack.models.checkpoint import Model, load_model, save_model
from kintrack.models.dreem import DreemTransformer
from kintrack.models.encoder import weights_follow
from kintrack.models.gtr import GlobalTrackingTransformer
from kintrack.tracking import Tracker
from kintrack.training.batches import Batch, tracked
from kintrack.training.callbacks import Averaging, Reproducible, Table, Warmup
from kintrack.training.dreem_config import DreemTrainConfig, train_config
from kintrack.training.optimizers import scheduler_of
from kintrack.training.runner import GTRRunner

BEST, LAST, MODEL, CONFIG, LOG = "best.ckpt", "last.ckpt", "model.safetensors", "config.yaml", "metrics.csv"

# What may be different when a training is resumed, because it changes nothing of what was done so far.
_FREE = {
    "max_epochs",
    "max_minutes",
    "stop_after",
    "workers",
    "accelerator",
    "devices",
    "strategy",
    "loggers",
    "metrics",
}

# Lightning's and torch's words to those who write the loop; whoever trains can do nothing about them.
_ADVICE = (
    "LeafSpec",
    "does not have many workers",
    "Checkpoint directory .* exists",
    "`training_step` returned",
    "GPU available but not used",
    "You have overridden `transfer_batch_to_device`",
    "Be aware that when using `ckpt_path`",
    "Grad strides do not match",
    "could not find the monitored key",
)


class Clips(Protocol):
    """Clips by number: a list of them will do. If there is a `set_epoch(epoch)`, it is called before each epoch."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Clip | Sequence[Frame]: ...


@dataclass(frozen=True)
class Fitted:
    """What a training has led to.

    Args:
        model: with the weights of the best epoch.
        path: the same as a file.
        score: of the best epoch, as `TrainConfig.monitor` names it.
        epoch: the best one, counted from 0.
        epochs: how many there were.
    """

    model: Model
    path: Path
    score: float
    epoch: int
    epochs: int


def fit(
    train: Clips,
    val: Clips | None,
    out: str | Path,
    config: TrainConfig | Mapping[str, Any] | None = None,
    *,
    model: Model | None = None,
    resume: bool = False,
    overwrite: bool = False,
    card: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Fitted:
    """Trains a model on clips and leaves the best one in a folder.

    The folder holds ``model.safetensors`` (the best epoch's averaged weights), ``best.ckpt``, ``last.ckpt``,
    ``config.yaml`` and ``metrics.csv`` with a line for each epoch. The same config, clips and number of devices give
    the same weights, with or without an interruption; on a GPU, which adds in any order, up to rounding.

    Args:
        train: clips to learn from.
        val: clips that decide which epoch was best; without them, the training loss does.
        out: the folder.
        config: what is trained, and how; for a model of DREEM a `DreemTrainConfig`, or a mapping with
            ``model: {kind: dreem}``.
        model: a model whose weights to start from; its config is taken instead of ``config.model``.
        resume: go on from ``last.ckpt`` in the folder, if there is one.
        overwrite: begin anew in a folder that holds a training.
        card: what else to say of the weights in ``model.safetensors``.
        callbacks: more of Lightning's.

    Raises:
        OutputExistsError: the folder holds a training, and neither `resume` nor `overwrite` is set.
        ConfigError: an option that does not fit, or, with `resume`, one that was different before.
        CheckpointError: with `resume`, ``last.ckpt`` is damaged or is not ours.
        InputError: there are no clips, or none in which `TrainConfig.monitor` can be measured.
        KeyboardInterrupt: it was interrupted. ``model.safetensors`` is the best so far, if an epoch was done; `resume`
            goes on after the last whole epoch.
    """
    config = _config_of(config, model)
    monitor = _monitor(config, val)
    if not len(train) or (val is not None and not len(val)):
        raise InputError(f"there are no clips to {'validate' if len(train) else 'train'} on; give at least one")
    out = Path(out)
    with _quiet(), torch.random.fork_rng(devices=[]):
        # All that can be wrong is found before anything in the folder is touched.
        trainer = _trainer(config, out, monitor, [Table(out / LOG), *callbacks], has_val=val is not None)
        torch.manual_seed(config.seed)
        has_weights = model is not None or (resume and (out / LAST).exists())
        with weights_follow() if has_weights else nullcontext():
            runner = _runner(config, monitor, steps=config.max_epochs * math.ceil(len(train) / config.batch_size))
        if model is not None:
            runner.model.load_state_dict(model.state_dict())
        last = _prepare(out, config, resume, overwrite)
        export = partial(_export, out, config, monitor, card or {}, trainer.is_global_zero)
        try:
            _run(trainer, runner, _Loaders(train, val, config), last, monitor)
        except KeyboardInterrupt:
            if (out / BEST).exists():
                export()
            raise
    best, score, epoch = export()
    epochs = torch.load(out / LAST, map_location="cpu", weights_only=True)["epoch"] + 1
    return Fitted(best, out / MODEL, score, epoch, epochs)


def _config_of(given: TrainConfig | Mapping[str, Any] | None, model: Model | None) -> TrainConfig:
    """The config, with that of the model to begin with."""
    if model is not None and not isinstance(given, TrainConfig):
        given = {**(given or {}), "model": model.config}
    config = train_config(given)
    if model is None:
        return config
    if isinstance(model, DreemTransformer) != isinstance(config, DreemTrainConfig):
        raise ConfigError("a model of DREEM is trained by a DreemTrainConfig, and no other is; give the one that fits")
    return config.model_copy(update={"model": model.config})


def _monitor(config: TrainConfig, val: Clips | None) -> str:
    """What decides which epoch was best."""
    if val is None:
        return "train_loss"
    known = ["val_loss", "train_loss", *(f"val_{name}" for name in config.metrics)]
    if config.monitor not in known:
        raise ConfigError(
            f"option 'monitor' is {config.monitor!r}, which is not measured: {nearest_name(config.monitor, known)}"
        )
    return config.monitor


def _direction(monitor: str) -> Literal["min", "max"]:
    """Whether less is better: of losses and of counts of mistakes."""
    name = monitor.split("_", 1)[1]
    return "min" if name.startswith(("loss", "num_", "switches", "mostly_lost", "idfp", "idfn")) else "max"


def _prepare(out: Path, config: TrainConfig, resume: bool, overwrite: bool) -> Path | None:
    """The folder, with the config in it; the checkpoint from which to go on, if that is wanted and there is one."""
    last = out / LAST
    if resume and last.exists():
        load_model(last)  # refuses what is damaged or holds code, whatever Lightning would make of it
        _check_same(read_yaml(out / CONFIG), config, out)
    elif not resume and not overwrite and any((out / name).exists() for name in (LAST, BEST, MODEL)):
        raise OutputExistsError(f"{out} holds a training already; resume it, overwrite it, or give another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in () if resume and last.exists() else (LAST, BEST, MODEL, LOG):
            (out / name).unlink(missing_ok=True)
        (out / CONFIG).write_text(yaml.safe_dump(config.to_dict(), sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out} cannot be written to: {error.strerror}; give a folder that can") from error
    return last if last.exists() else None


def _check_same(before: Mapping[str, Any], config: TrainConfig, out: Path) -> None:
    for name, value in config.to_dict().items():
        if name not in _FREE and name in before and before[name] != value:
            raise ConfigError(
                f"the training in {out} was begun with {name} = {before[name]!r}, now it is {value!r}; resume with "
                f"the config in {out / CONFIG}, or begin anew in another folder"
            )


def _runner(config: TrainConfig, monitor: str, steps: int) -> GTRRunner:
    scheduler = scheduler_of(config, monitor, _direction(monitor), steps)
    metrics = {"val": list(config.metrics)}
    runner = GTRRunner(config.model, config.tracker, config.loss, config.optimizer, scheduler, metrics)
    runner.blank_appearance = config.blank_appearance
    runner.card = config.card()
    runner.configure_optimizers()  # what torch refuses is found here
    return runner


def _trainer(config: TrainConfig, out: Path, monitor: str, more: list[Callback], has_val: bool) -> Trainer:
    mode = _direction(monitor)
    save = partial(ModelCheckpoint, dirpath=out, enable_version_counter=False, auto_insert_metric_name=False)
    at_end = not has_val or monitor.startswith("train")
    limit = None if config.max_minutes is None else timedelta(minutes=config.max_minutes)
    callbacks: list[Callback] = [Reproducible(config.seed), Timer(limit), *more]
    if config.ema is not None:
        callbacks.append(Averaging(config.ema))
    if config.schedule == "plateau" and config.warmup:
        callbacks.append(Warmup(config.warmup))
    if config.stop_after is not None:
        stop = EarlyStopping(monitor, mode=mode, patience=config.stop_after, check_on_train_epoch_end=at_end)
        callbacks.append(stop)
    callbacks += [
        save(filename=Path(BEST).stem, monitor=monitor, mode=mode, save_on_train_epoch_end=at_end),
        save(filename=Path(LAST).stem, save_on_train_epoch_end=True),
    ]
    on_terminal = sys.stderr.isatty()
    if on_terminal:
        callbacks.append(RichProgressBar(leave=False))
    where: dict[str, Any] = {name: getattr(config, name) for name in ("accelerator", "devices", "strategy")}
    options: dict[str, Any] = {
        "max_epochs": config.max_epochs,
        "gradient_clip_val": config.clip_gradient,
        "callbacks": callbacks,
        "logger": _loggers(config, out) or False,
        "enable_progress_bar": on_terminal,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "limit_val_batches": None if has_val else 0,
        "log_every_n_steps": 1,
        "use_distributed_sampler": False,
        # The order of the clips is made anew for each epoch.
        "reload_dataloaders_every_n_epochs": 1,
        "default_root_dir": out,
    }
    try:
        return Trainer(**where, **options)
    except (MisconfigurationException, ValueError, RuntimeError, ImportError) as error:
        given = ", ".join(f"{name} = {value!r}" for name, value in where.items())
        raise ConfigError(f"training with {given} is not possible here: {error}") from error


def _loggers(config: TrainConfig, out: Path) -> list[Logger]:
    made: list[Logger] = []
    for name in config.loggers:
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(name, name, f"logging to {name}")
        made.append(TensorBoardLogger(out, name="tensorboard") if name == "tensorboard" else WandbLogger(save_dir=out))
    return made


class _Loaders(LightningDataModule):
    """The batches of each epoch, their order drawn from (seed, epoch), shared out among the processes."""

    def __init__(self, train: Clips, val: Clips | None, config: TrainConfig) -> None:
        super().__init__()
        self.train, self.val, self.config = train, val, config

    def setup(self, stage: str) -> None:
        _ignore_advice()  # a process of its own, under DDP, begins with the usual filters

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        epoch = self.trainer.current_epoch
        if hasattr(self.train, "set_epoch"):
            self.train.set_epoch(epoch)
        if hasattr(self.train, "set_tracks"):
            on_its_own = epoch >= self.config.data.own_after * self.config.max_epochs
            self.train.set_tracks(self._tracks() if on_its_own else None)
        order = np.random.default_rng([self.config.seed, epoch]).permutation(len(self.train))
        rank, world = self.trainer.global_rank, self.trainer.world_size
        return self._loader(self.train, [step[rank::world] for step in self._steps(order)], self.config.data.easy)

    def _tracks(self) -> Callable[[Detections], Ints]:
        """The tracks that the model, as it is at the beginning of this epoch, finds for detections."""
        assert self.trainer is not None
        with weights_follow():
            model = GlobalTrackingTransformer(self.config.model)
        runner: Any = self.trainer.lightning_module
        model.load_state_dict(runner.model.state_dict())
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Averaging) and callback.mean:
                model.load_state_dict(callback.mean)
        return partial(_own_tracks, model.eval(), self.config.tracker)

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        assert self.trainer is not None
        if self.val is None:
            return []
        # Clips that follow each other in a video stay in one process and in order, for the tracker's memory.
        shares = np.array_split(np.arange(len(self.val)), self.trainer.world_size)
        steps = [list(self._steps(share)) for share in shares]
        mine, most = steps[self.trainer.global_rank], max(map(len, steps))
        return self._loader(self.val, mine + [[]] * (most - len(mine)))

    def _steps(self, order: Any) -> Iterator[list[int]]:
        for start in range(0, len(order), self.config.batch_size):
            yield order[start : start + self.config.batch_size].tolist()

    def _loader(self, clips: Clips, steps: list[list[int]], easy: int = 1) -> DataLoader[Any]:
        prepare = partial(Batch.prepare, model=self.config.model, tracker=self.config.tracker, easy=easy)
        return DataLoader(clips, batch_sampler=steps, collate_fn=prepare, num_workers=self.config.workers)  # type: ignore[arg-type]


def _own_tracks(model: GlobalTrackingTransformer, config: TrackerConfig, detections: Detections) -> Ints:
    return tracked(model, Tracker(config), Clip.untracked(detections)).prediction.track


def _run(trainer: Trainer, runner: GTRRunner, loaders: _Loaders, last: Path | None, monitor: str) -> None:
    """Lightning's fit. It turns an interrupt into an exit and stays deaf to others: both are put right."""
    unmeasured = (
        f"{monitor} was not measured in a whole epoch: no clip has what it needs; give clips with detections (and, for "
        "a measure of tracking, with identities)"
    )
    in_main = threading.current_thread() is threading.main_thread()
    heard = signal.getsignal(signal.SIGINT) if in_main else None
    try:
        trainer.fit(runner, datamodule=loaders, ckpt_path=None if last is None else str(last))
    except SystemExit as error:
        if trainer.interrupted:
            raise KeyboardInterrupt("training was interrupted; it can be resumed after its last whole epoch") from error
        raise
    except (MisconfigurationException, RuntimeError) as error:  # how checkpoints and early stopping miss a number
        if monitor in str(error):
            raise InputError(unmeasured) from error
        raise
    finally:
        if in_main:
            signal.signal(signal.SIGINT, heard)
    if not (Path(trainer.default_root_dir) / BEST).exists():
        raise InputError(unmeasured)


def _export(
    out: Path, config: TrainConfig, monitor: str, card: Mapping[str, Any], write: bool
) -> tuple[Any, float, int]:
    """The best epoch's weights, score and number; the weights in their file as well."""
    saved = torch.load(out / BEST, map_location="cpu", weights_only=True)
    best = load_model(out / BEST)
    kept = (state for key, state in saved["callbacks"].items() if key.startswith("ModelCheckpoint") and monitor in key)
    score, epoch = float(next(kept)["current_score"]), int(saved["epoch"])
    made = {"kintrack": __version__, "epoch": epoch, "steps": saved["global_step"], monitor: score}
    made |= {**config.card(), "seed": config.seed}
    if write:
        save_model(best, out / MODEL, card=made | dict(card))
    return best, score, epoch


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's advice and announcements, which are for those who write the loop."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            _ignore_advice()
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _ignore_advice() -> None:
    for words in _ADVICE:
        warnings.filterwarnings("ignore", f".*{words}")
