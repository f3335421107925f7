"""What happens around the steps of a training: seeds, averaged weights, warm-up, the table of results."""

import csv
import io
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from kintrack.models.checkpoint import ENTRY


class Reproducible(Callback):
    """All chance in a step is drawn from (seed, epoch, step, process), so that it is the same after an interruption."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        entropy = [self.seed, trainer.current_epoch, batch_idx, trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1))


class Averaging(Callback):
    """A running mean of the weights: validated in their place, kept in checkpoints beside them, and what is exported.

    mean <- mean + (1 - d) (weights - mean),   d = min(decay, (1 + n) / (10 + n)) in step n
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.mean: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        weights = _weights(pl_module)
        known = self.mean or weights  # a resumed training has its mean already
        self.mean = {name: known[name].detach().to(weight.device, copy=True) for name, weight in weights.items()}

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.global_step == self.steps:  # a step without anything to learn from
            return
        self.steps = trainer.global_step
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        weights = _weights(pl_module)
        torch._foreach_lerp_(list(self.mean.values()), [weights[name] for name in self.mean], 1.0 - decay)

    @torch.no_grad()
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        weights = _weights(pl_module)
        self._weights = {name: weight.clone() for name, weight in weights.items()}
        for name, weight in weights.items():
            weight.copy_(self.mean[name])

    @torch.no_grad()
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, weight in _weights(pl_module).items():
            weight.copy_(self._weights[name])
        self._weights = {}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        mean = {name: tensor.cpu().clone() for name, tensor in self.mean.items()}
        checkpoint.setdefault(ENTRY, {}).update(ema=mean, ema_steps=self.steps)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.mean, self.steps = checkpoint[ENTRY]["ema"], checkpoint[ENTRY]["ema_steps"]


def _weights(runner: Any) -> dict[str, Tensor]:
    """All that a model's file holds."""
    return dict(runner.model.state_dict())


class Warmup(Callback):
    """The learning rate rises straight to its full height in the first steps, whatever the scheduler does later."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step >= self.steps:
            return
        for group in trainer.optimizers[0].param_groups:
            full = group.setdefault("full_lr", group["lr"])  # kept with the optimiser's state
            group["lr"] = full * (trainer.global_step + 1) / self.steps


class Table(Callback):
    """Writes a line of numbers after each epoch to a CSV file, which goes on when training is resumed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self._start = time.monotonic()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.rows = []
        if trainer.current_epoch and self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["epoch"]) < trainer.current_epoch]
        if self.rows:
            self._start -= 60.0 * float(self.rows[-1]["minutes"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        minutes = (time.monotonic() - self._start) / 60.0
        row = {"epoch": trainer.current_epoch, "step": trainer.global_step, "minutes": f"{minutes:.3f}"}
        row["learning_rate"] = f"{trainer.optimizers[0].param_groups[0]['lr']:.6g}"
        found = {name: f"{float(value):.6g}" for name, value in sorted(trainer.callback_metrics.items())}
        self.rows.append(row | found)
        text = io.StringIO()
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        unfinished = self.path.with_suffix(".tmp")
        unfinished.write_text(text.getvalue(), encoding="utf-8")
        os.replace(unfinished, self.path)
