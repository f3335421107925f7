"""Small clips and small models for tests of training."""

from collections.abc import Callable

import numpy as np
import pytest

from kintrack.core.clip import Clip
from kintrack.sim import observe, random_noise, simulate

TINY = {"dim": 16, "heads": 2, "neighbours": 3}

MakeClip = Callable[..., Clip]


@pytest.fixture
def tiny() -> dict[str, int]:
    """The config of a model that is quick to run."""
    return dict(TINY)


@pytest.fixture
def make_clip() -> MakeClip:
    """Makes clips of simulated worlds: noisy ones by a seed of 1 or more, a perfectly detected one by 0."""

    def make(
        seed: int = 1, n_frames: int = 8, video: str | int = 0, crop_size: int = 0, preset: str = "crossing"
    ) -> Clip:
        truth = simulate({"preset": preset, "n_frames": n_frames}, seed)
        rng = np.random.default_rng(seed)
        seen, identity = observe(truth, random_noise(rng) if seed else None, seed)
        crops = rng.random((len(seen), 1, crop_size, crop_size), np.float32) if crop_size else None
        return Clip(seen, identity, crops=crops, video=video)

    return make
