"""Optimisers and schedulers by name."""

import pytest
import torch
from torch import nn, optim

from kintrack.config import OptimizerConfig, SchedulerConfig
from kintrack.errors import ConfigError
from kintrack.training.optimizers import WarmupCosine, init_optimizer, init_scheduler


def parameters():
    return [nn.Parameter(torch.ones(2))]


def test_by_default_it_is_adam():
    made = init_optimizer(parameters())
    assert type(made) is optim.Adam
    assert (made.defaults["lr"], made.defaults["betas"]) == (1e-4, (0.9, 0.999))


def test_by_default_the_rate_is_halved_on_a_plateau():
    made = init_scheduler(init_optimizer(parameters()))
    assert type(made) is optim.lr_scheduler.ReduceLROnPlateau
    assert (made.mode, made.factor, made.patience) == ("min", 0.5, 10)


@pytest.mark.parametrize("name", ["SGD", "AdamW", "NAdam", "RMSprop", "adamw"])
def test_any_of_torchs_optimisers_has_its_own_arguments(name):
    made = init_optimizer(parameters(), {"name": name, "lr": 0.25, "weight_decay": 0.5})
    assert type(made).__name__.lower() == name.lower()
    assert (made.defaults["lr"], made.defaults["weight_decay"]) == (0.25, 0.5)


def test_another_optimiser_has_torchs_defaults_not_adams():
    assert init_optimizer(parameters(), {"name": "AdamW"}).defaults["lr"] == 1e-3


def test_any_of_torchs_schedulers_has_its_own_arguments():
    optimizer = init_optimizer(parameters(), {"lr": 1.0})
    made = init_scheduler(optimizer, {"name": "StepLR", "step_size": 1, "gamma": 0.1})
    optimizer.step()
    made.step()
    assert made.get_last_lr() == [pytest.approx(0.1)]


def test_numbers_that_yaml_reads_as_text_are_numbers():
    assert init_optimizer(parameters(), {"lr": "1e-3", "betas": ["9e-1", 0.9]}).defaults["lr"] == 1e-3


def test_typed_configs_are_as_welcome_as_mappings():
    optimizer = init_optimizer(parameters(), OptimizerConfig.of({"name": "SGD", "lr": 0.5}))
    assert optimizer.defaults["lr"] == 0.5
    assert init_scheduler(optimizer, SchedulerConfig.of({"patience": 3})).patience == 3


def test_the_cosine_rises_then_falls_to_nothing():
    optimizer = init_optimizer(parameters(), {"name": "SGD", "lr": 2.0})
    scheduler = init_scheduler(optimizer, {"name": "WarmupCosine", "total_steps": 6, "warmup_steps": 2})
    assert isinstance(scheduler, WarmupCosine)
    rates = []
    for _ in range(8):
        rates.append(round(optimizer.param_groups[0]["lr"], 3))
        optimizer.step()
        scheduler.step()
    assert rates == [1.0, 2.0, 2.0, 1.707, 1.0, 0.293, 0.0, 0.0]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: init_optimizer(parameters(), {"name": "Adm"}),
            "torch has no optimiser named 'Adm': did you mean 'Adam'",
        ),
        (
            lambda: init_optimizer(parameters(), {"name": "Adam", "learning_rat": 1}),
            "Adam has no argument 'learning_rat'",
        ),
        (lambda: init_optimizer(parameters(), {"wieght_decay": 1}), "did you mean 'weight_decay'"),
        (
            lambda: init_optimizer(parameters(), {"lr": -1.0}),
            r"Adam\(lr=-1.0, .*was refused by torch .*Invalid learning",
        ),
        (
            lambda: init_scheduler(init_optimizer(parameters()), {"name": "StepLRR"}),
            "torch has no scheduler named 'StepLRR': did you mean 'StepLR'",
        ),
        (
            lambda: init_scheduler(init_optimizer(parameters()), {"name": "StepLR", "gama": 1}),
            "StepLR has no argument 'gama': did you mean 'gamma'",
        ),
        (lambda: init_optimizer(parameters(), {"nmae": "SGD"}), "Adam has no argument 'nmae': did you mean 'name'"),
        (lambda: init_scheduler(init_optimizer(parameters()), {"frequenzy": 2}), "did you mean 'frequency'"),
    ],
)
def test_a_name_that_torch_does_not_know_is_an_error_with_the_nearest(make, words):
    with pytest.raises(ConfigError, match=words):
        make()
