"""Optimisers and schedulers by the names that torch gives them."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import optim
from torch.nn import Parameter
from torch.optim import lr_scheduler

from kintrack.config import OptimizerConfig, SchedulerConfig, TrainConfig
from kintrack.errors import ConfigError, nearest_name


class WarmupCosine(lr_scheduler.LambdaLR):
    """The learning rate of the optimiser, times what `warmup_cosine` says of each step.

    Args:
        optimizer: whose learning rate is set.
        total_steps: steps in which the rate falls to nothing; None: it stays.
        warmup_steps: steps in which it rises from nothing.
    """

    def __init__(self, optimizer: optim.Optimizer, total_steps: int | None = None, warmup_steps: int = 0) -> None:
        super().__init__(optimizer, lambda step: warmup_cosine(step, total_steps, warmup_steps))


def warmup_cosine(step: int, total: int | None, warmup: int) -> float:
    """The share of the full learning rate at a step: a straight rise, then half a cosine down to 0.

    >>> [round(warmup_cosine(step, 6, 2), 2) for step in range(7)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    if total is None:
        return 1.0
    left = min((step - warmup) / max(total - warmup, 1), 1.0)
    return 0.5 * (1.0 + math.cos(math.pi * left))


OWN_SCHEDULERS: dict[str, Callable[..., lr_scheduler.LRScheduler]] = {"WarmupCosine": WarmupCosine}


def init_optimizer(
    params: Iterable[Parameter], cfg: OptimizerConfig | Mapping[str, Any] | None = None
) -> optim.Optimizer:
    """The torch optimiser that a config names, with its arguments; Adam(lr=1e-4) by default.

    Raises:
        ConfigError: a name or an argument that torch does not know, with the nearest one, or a value it refuses.
    """
    config = OptimizerConfig.of(cfg)
    kind = _named(config.name, _classes(optim, optim.Optimizer), "optimiser")
    return _built(kind, params, config)  # type: ignore[no-any-return]


def init_scheduler(
    optimizer: optim.Optimizer, cfg: SchedulerConfig | Mapping[str, Any] | None = None
) -> lr_scheduler.LRScheduler:
    """The torch scheduler that a config names, with its arguments; ReduceLROnPlateau by default.

    Raises:
        ConfigError: a name or an argument that torch does not know, with the nearest one, or a value it refuses.
    """
    config = SchedulerConfig.of(cfg)
    known = _classes(lr_scheduler, lr_scheduler.LRScheduler) | OWN_SCHEDULERS
    return _built(_named(config.name, known, "scheduler"), optimizer, config)  # type: ignore[no-any-return]


def scheduler_of(config: TrainConfig, monitor: str, mode: str, steps: int) -> dict[str, Any]:
    """What `SchedulerConfig` makes of a training's `schedule`, or of the `scheduler` that goes before it.

    Args:
        config: of the training.
        monitor: what decides which epoch was best.
        mode: whether less of it is better, ``min``, or more, ``max``.
        steps: of the whole training.
    """
    if config.scheduler is not None:
        return {**config.scheduler.to_dict(), "monitor": monitor}
    if config.schedule == "plateau":
        plateau = {"name": "ReduceLROnPlateau", "mode": mode, "patience": config.patience - 1}
        return {**plateau, "monitor": monitor, "frequency": 1}
    total = steps if config.schedule == "cosine" else None
    warmup = {"name": "WarmupCosine", "total_steps": total, "warmup_steps": min(config.warmup, steps // 2)}
    return {**warmup, "interval": "step", "frequency": 1}


def _classes(module: Any, base: type) -> dict[str, Callable[..., Any]]:
    """The classes that a module of torch offers by name."""
    found = {name: value for name, value in vars(module).items() if inspect.isclass(value) and not name.startswith("_")}
    return {name: value for name, value in found.items() if issubclass(value, base) and value is not base}


def _named(name: str, known: Mapping[str, Callable[..., Any]], what: str) -> Callable[..., Any]:
    by_lower = {key.lower(): value for key, value in known.items()}
    if name.lower() not in by_lower:
        raise ConfigError(f"torch has no {what} named {name!r}: {nearest_name(name, known)}")
    return by_lower[name.lower()]


def _built(kind: Callable[..., Any], first: Any, config: OptimizerConfig | SchedulerConfig) -> Any:
    name, arguments = getattr(kind, "__name__", str(kind)), config.arguments
    known = list(inspect.signature(kind).parameters)[1:]
    for key in arguments:
        if key not in known:
            options = [*known, *type(config).model_fields]
            raise ConfigError(f"{name} has no argument {key!r}: {nearest_name(key, options)}")
    try:
        return kind(first, **{key: _number(value) for key, value in arguments.items()})
    except (TypeError, ValueError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise ConfigError(f"{name}({given}) was refused by torch {torch.__version__}: {error}") from error


def _number(value: Any) -> Any:
    """YAML reads 1e-4 as text, because it has no point."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return [_number(part) for part in value] if isinstance(value, list | tuple) else value
