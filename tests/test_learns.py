"""Whether it learns at all: one small world, learned by heart in seconds."""

import pytest
import torch

from kintrack.core.clip import Clip
from kintrack.sim import observe, simulate
from kintrack.training.runner import GTRRunner


def test_a_small_world_is_learned_by_heart():
    """Four individuals that cross, by a detector that errs in place, misses some and invents others."""
    truth = simulate({"preset": "crossing", "n_frames": 24}, 3)
    seen, identity = observe(truth, {"jitter": 0.05, "miss": 0.05, "false_rate": 0.05}, 3)
    clip = Clip(seen, identity)
    torch.manual_seed(1)  # by chance, some weights know it before they have learned
    runner = GTRRunner(
        {"dim": 16, "heads": 2}, optimizer_cfg={"name": "AdamW", "lr": 0.01}, metrics={"val": ["idf1", "num_switches"]}
    )
    before = runner.validation_step([clip], 0)
    optimizer = runner.configure_optimizers()["optimizer"]
    for step in range(150):
        optimizer.zero_grad()
        runner.training_step([clip], step)["loss"].backward()
        optimizer.step()
    after = runner.validation_step([clip], 0)
    assert before["idf1"] < 0.8  # there was something to learn
    assert after["loss"] < before["loss"] / 10
    assert (after["idf1"], after["num_switches"]) == (pytest.approx(1.0), 0.0)
