"""Nothing that is handed in is changed; the same input gives the same output."""

import copy

import numpy as np
import pytest
import torch

from kintrack.config import ModelConfig, TrackerConfig
from kintrack.core.detections import Detections
from kintrack.core.sightings import Memory, Sightings
from kintrack.models import GlobalTrackingTransformer
from kintrack.tracking import Tracker
from kintrack.windows.scorer import Scorer
from kintrack.windows.window import Window, follow


def tensors(window):
    found = {name: value for name, value in vars(window).items() if isinstance(value, torch.Tensor)}
    parts = {**window.graph._asdict(), **{f"history.{name}": t for name, t in window.history._asdict().items()}}
    return found | parts


@pytest.fixture
def detections():
    rng = np.random.default_rng(0)
    centre = rng.uniform(0, 200, (40, 2))
    box = np.concatenate([centre - 6, centre + 6], axis=1)
    return Detections.of(np.repeat(np.arange(8), 5), box, score=rng.random(40))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return GlobalTrackingTransformer(ModelConfig(dim=16, heads=2)).eval()


def test_the_model_leaves_its_window_as_it_was(model, detections):
    window = follow(Sightings.of(detections), np.tile(np.arange(5), 8), model.config, TrackerConfig(gate=20))
    before = {name: t.clone() for name, t in tensors(window).items()}
    first, second = model(window), model(window)
    assert all(torch.equal(before[name], t) for name, t in tensors(window).items())
    assert torch.equal(first[-1].matrix, second[-1].matrix)


def test_a_model_does_not_change_the_config_it_is_made_from():
    given = {"dim": 16, "encoder": {"kind": "conv"}}
    kept = copy.deepcopy(given)
    GlobalTrackingTransformer(given)
    assert given == kept


def test_tracking_leaves_detections_sightings_and_model_as_they_were(model, detections):
    scorer = Scorer(model)
    seen = scorer.embed(Sightings.of(detections))
    columns = {n: c.copy() for n, c in seen.columns().items()}
    weights = {n: p.clone() for n, p in model.state_dict().items()}
    first, second = Tracker()(scorer, detections, seen), Tracker()(scorer, detections, seen)
    assert np.array_equal(first.track, second.track)
    assert np.array_equal(first.confidence, second.confidence, equal_nan=True)
    assert all(np.array_equal(columns[n], c, equal_nan=True) for n, c in seen.columns().items())
    assert all(torch.equal(weights[n], p) for n, p in model.state_dict().items())


def test_a_memory_is_a_value(detections):
    seen = Sightings.of(detections)
    empty = Memory.like(seen)
    first = empty.remember(seen.take(slice(0, 5)), np.arange(5), depth=3)
    second = first.remember(seen.take(slice(5, 10)), np.arange(5), depth=3)
    assert (len(empty), len(first), len(second)) == (0, 5, 10)
    assert first.rank.tolist() == [0] * 5
    assert not first.sightings.velocity.any() and second.sightings.velocity[5:].all()
    assert not seen.velocity.any() and not seen.count.any()


def test_collating_leaves_the_parts_as_they_were(model, detections):
    window = follow(Sightings.of(detections), np.tile(np.arange(5), 8), model.config, TrackerConfig(gate=20))
    before = {name: t.clone() for name, t in tensors(window).items()}
    Window.collate([window, window])
    assert all(torch.equal(before[name], t) for name, t in tensors(window).items())
