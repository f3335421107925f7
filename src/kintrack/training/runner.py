"""GTRRunner: the Lightning module around model, loss and tracker, for training, validation and inference."""

import gc
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar, Literal

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from kintrack.config import Config, LossConfig, OptimizerConfig, SchedulerConfig
from kintrack.core.clip import Clip, Frame
from kintrack.errors import ConfigError, nearest_name
from kintrack.metrics import MEASURES, combine, evaluate
from kintrack.models.checkpoint import ENTRY, LAYOUT, build_model
from kintrack.models.dreem import DreemTransformer
from kintrack.models.gtr import AssociationMatrix, GlobalTrackingTransformer
from kintrack.tracking import Tracker
from kintrack.tracking.dreem import DreemTracker
from kintrack.training import batches
from kintrack.training.batches import AnyModelConfig, AnyTrackerConfig, Batch, Given, as_clips
from kintrack.training.dreem import DreemLoss
from kintrack.training.dreem_config import DreemLossConfig, any_loss
from kintrack.training.loss import AssoLoss
from kintrack.training.optimizers import init_optimizer, init_scheduler

Mode = Literal["train", "val", "test"]
ClipList = Sequence[Clip] | Sequence[Sequence[Frame]]
Result = dict[str, Any]
Options = Mapping[str, Any]


class GTRRunner(LightningModule):
    """Trains, validates and runs a `GlobalTrackingTransformer`, or a `DreemTransformer` if its config is of one.

    A batch is a list of clips; a clip is a `Clip`, or a plain list of `Frame`s. Configs are typed ones or mappings;
    what is missing has its default.

    Args:
        model_cfg: `ModelConfig`, or `DreemConfig` (``kind: dreem``). A `ckpt_path` in it is no part of the model, and
            is set aside.
        tracker_cfg: `TrackerConfig`; its memory, gate and candidates are also what the model is trained on. Of a model
            of DREEM, `DreemTrackerConfig`.
        loss_cfg: `LossConfig`; of a model of DREEM, `DreemLossConfig`, or with ``kind: kintrack`` ours.
        optimizer_cfg: `OptimizerConfig`: the `name` of a torch optimiser, and its arguments.
        scheduler_cfg: `SchedulerConfig`: the `name` of a torch scheduler, and its arguments.
        metrics: for each mode the measures of tracking to take, by the names of `kintrack.metrics.MEASURES`.
        persistent_tracking: for each mode whether the tracker's memory lives on from one clip to the next of a video.

    Attributes:
        blank_appearance: share of training steps in which crops are withheld, so that one model works without them too
            (but not from one of DREEM).
        card: what a checkpoint says that goes with the weights.
    """

    DEFAULT_METRICS: ClassVar[dict[str, list[str]]] = {"train": [], "val": ["num_switches"], "test": ["num_switches"]}
    DEFAULT_TRACKING: ClassVar[dict[str, bool]] = {"train": False, "val": True, "test": True}

    def __init__(
        self,
        model_cfg: AnyModelConfig | Options | None = None,
        tracker_cfg: AnyTrackerConfig | Options | None = None,
        loss_cfg: LossConfig | DreemLossConfig | Options | None = None,
        optimizer_cfg: OptimizerConfig | Options | None = None,
        scheduler_cfg: SchedulerConfig | Options | None = None,
        metrics: Mapping[str, Sequence[str]] | None = None,
        persistent_tracking: Mapping[str, bool] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(model_cfg, Mapping):
            model_cfg = {key: value for key, value in model_cfg.items() if key != "ckpt_path"}
        self.model = build_model(model_cfg)
        of_dreem = isinstance(self.model, DreemTransformer)
        # A config of the other kind is refused by name.
        self.tracker: Any = (DreemTracker if of_dreem else Tracker)(tracker_cfg)  # type: ignore[arg-type]
        self.loss = _loss(loss_cfg, of_dreem)
        self.optimizer_cfg = OptimizerConfig.of(optimizer_cfg)
        self.scheduler_cfg = SchedulerConfig.of(scheduler_cfg)
        self.metrics = {
            mode: list(names) for mode, names in batches.by_mode(metrics, self.DEFAULT_METRICS, "metrics").items()
        }
        self.persistent_tracking = batches.by_mode(persistent_tracking, self.DEFAULT_TRACKING, "persistent_tracking")
        for name in chain(*self.metrics.values()):
            if name not in MEASURES:
                raise ConfigError(f"no measure is called {name!r}: {nearest_name(name, MEASURES)}")
        self.blank_appearance = 0.3
        self.card: dict[str, Any] = {"tracker": self.tracker.config.of_any_video()}
        self._at: tuple[str, Any, int] | None = None  # mode, video and frame at which the tracker stands
        parts: dict[str, Config] = {
            "model": self.model.config,
            "tracker": self.tracker.config,
            "loss": self.loss.config,
        }
        parts |= {"optimizer": self.optimizer_cfg, "scheduler": self.scheduler_cfg}
        configs: Options = {f"{name}_cfg": config.to_dict() for name, config in parts.items()}
        # Plain values only: anything else could not be loaded in torch's safe mode.
        self.save_hyperparameters({**configs, "metrics": self.metrics, "persistent_tracking": self.persistent_tracking})

    def forward(self, ref_instances: Given, query_instances: Given | None = None) -> list[AssociationMatrix]:
        """The association between detections: a (Q, R) matrix of logits for each decoder layer, the last the answer.

        Args:
            ref_instances: instances, frames, a clip, or a table of detections; rows stay in the order given.
            query_instances: the same; without them the references are their own queries.
        """
        window = batches.relation(ref_instances, query_instances, self.model.config, self.device)
        return self.model(window)  # type: ignore[no-any-return]

    def training_step(self, batch: ClipList, batch_idx: int) -> Result | None:
        """Loss and metrics of a batch; None where nothing was detected in it."""
        result = self._step(batch, "train")
        if self._is_distributed:
            # Every process must take part in each step with every parameter, or the others wait for it forever.
            everything = sum((p.sum() for p in self.model.parameters()), torch.zeros((), device=self.device))
            result = result or {"loss": torch.zeros((), device=self.device)}
            result["loss"] = result["loss"] + 0.0 * everything
        return result

    def validation_step(self, batch: ClipList, batch_idx: int) -> Result | None:
        """As `training_step`, in validation."""
        return self._step(batch, "val")

    def test_step(self, batch: ClipList, batch_idx: int) -> Result | None:
        """As `training_step`, in a test."""
        return self._step(batch, "test")

    def predict_step(self, batch: ClipList, batch_idx: int) -> list[Frame]:
        """The frames with predicted track ids, those of one clip after those of the other."""
        return [frame for clip in as_clips(batch) for frame in self._tracked(clip, "predict")]

    def _step(self, batch: ClipList, mode: Mode) -> Result | None:
        result = self._shared_eval_step(batch, mode)
        if result is not None:
            self.log_metrics(result, result["batch_size"], mode)
        if self._is_distributed:
            # An average over processes waits for all of them: what is missing here takes part with a weight of nothing.
            missing = [name for name in ("loss", *self.metrics[mode]) if name not in (result or {})]
            self.log_metrics(dict.fromkeys(missing, 0.0), 0, mode)
        return result

    def _shared_eval_step(self, batch: ClipList, mode: Mode) -> Result | None:
        """Loss over all decoder layers, the metrics asked for, and the number of frames as `batch_size`."""
        clips = [clip for clip in as_clips(batch) if len(clip.detections)]
        if not clips:
            return None
        with batches.naming(clips):
            made = batch.window if isinstance(batch, Batch) else None
            window = (made or batches.questions(clips, self.model.config, self.tracker.config)).to(self.device)
            if self.training and window.crops is not None and torch.rand(()) < self.blank_appearance:
                window = window.without_crops()
            result: Result = {"loss": self._loss_of(window)}
            return result | self._measured(clips, mode) | {"batch_size": sum(map(len, clips))}

    def _loss_of(self, window: Any) -> Tensor:
        """The loss of a window; in training with the contrast of looks, where there are any."""
        model = self.model
        if not (self.training and isinstance(model, GlobalTrackingTransformer)) or window.who is None:
            return self.loss(model.logits(window), window)  # type: ignore[no-any-return]
        looks = model.encode(window.crops)  # once, for both
        return self.loss(model.logits(window, looks), window, looks=looks)  # type: ignore[no-any-return]

    def _measured(self, clips: Sequence[Clip], mode: Mode) -> Result:
        """The metrics of the mode over those clips in which anybody is known; none where nobody is."""
        found = []
        for clip in clips if self.metrics[mode] else ():
            prediction = self._tracked(clip, mode).prediction
            if (clip.identity >= 0).any():
                found.append(evaluate(clip.truth, prediction, match="rows"))
        total = combine(found) if found else {}
        return {name: total[name] for name in self.metrics[mode]} if found else {}

    def _tracked(self, clip: Clip, mode: str) -> Clip:
        """The clip with predicted tracks. The tracker goes on where it stands if the clip goes on with its video."""
        follows = self._at is not None and self._at[:2] == (mode, clip.video) and len(clip) > 0
        if not follows or self._at is None or clip.frames[0] <= self._at[2]:
            self.tracker.reset()
        self.tracker.persistent_tracking = self.persistent_tracking["test" if mode == "predict" else mode]
        if len(clip):
            self._at = (mode, clip.video, int(clip.frames[-1]))
        with batches.naming([clip]):
            return batches.tracked(self.model, self.tracker, clip)

    def configure_optimizers(self) -> dict[str, Any]:  # type: ignore[override]
        """The optimiser, and the scheduler with what it looks at and when."""
        optimizer, when = init_optimizer(self.parameters(), self.optimizer_cfg), self.scheduler_cfg
        scheduler = init_scheduler(optimizer, when)
        look = {"monitor": when.monitor, "interval": when.interval, "frequency": when.frequency}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, **look}}

    def log_metrics(self, result: Result, batch_size: int, mode: str) -> None:
        """Logs each value as ``{mode}_{name}``, weighted by the number of frames, which is taken out of the result."""
        result.pop("batch_size", None)
        if self._trainer is None:  # a step that was called by hand has nowhere to log to
            return
        for name, value in result.items():
            number = value.item() if isinstance(value, Tensor) else float(value)
            self.log(f"{mode}_{name}", number, batch_size=batch_size, on_step=False, on_epoch=True,
                     prog_bar=name == "loss", sync_dist=self._is_distributed)  # fmt: skip

    def on_validation_epoch_end(self) -> None:
        """Frees the accelerator's cache and collects garbage."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()
        gc.collect()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Marks the checkpoint as ours, with the config that `kintrack.models.checkpoint.load_model` needs."""
        parts = {"model": self.model.config.to_dict(), **self.card}
        checkpoint.setdefault(ENTRY, {}).update(layout=LAYOUT, **parts)

    def transfer_batch_to_device(self, batch: ClipList, device: torch.device, dataloader_idx: int) -> ClipList:
        """Clips stay where they are; the windows made of them move."""
        return batch

    @property
    def _is_distributed(self) -> bool:
        return self._trainer is not None and self._trainer.world_size > 1


def _loss(given: LossConfig | DreemLossConfig | Options | None, of_dreem: bool) -> AssoLoss | DreemLoss:
    """DREEM's loss for a model of DREEM, unless ours is asked for; ours for ours."""
    config = any_loss(given) if of_dreem else LossConfig.of(given)  # type: ignore[arg-type]
    return DreemLoss(config) if isinstance(config, DreemLossConfig) else AssoLoss(**config.to_dict())
