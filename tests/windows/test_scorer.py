"""A model as a tracker sees it."""

import numpy as np
import pytest
import torch

from kintrack.config import PAIR_FEATURES, ModelConfig, TrackerConfig
from kintrack.core.detections import Detections
from kintrack.core.sightings import Memory, Sightings
from kintrack.models import GlobalTrackingTransformer
from kintrack.windows.scorer import Scorer, _whole_frames
from kintrack.windows.window import follow


@pytest.fixture
def model():
    torch.manual_seed(0)
    return GlobalTrackingTransformer(ModelConfig(dim=16, heads=2, encoder={"kind": "conv", "dim": 8})).eval()


@pytest.fixture
def detections():
    centre = np.array([[0, 0], [20, 0], [1, 0], [21, 0], [2, 0], [22, 0]], float)
    return Detections(frame=[0, 0, 1, 1, 2, 2], box=np.concatenate([centre - 5, centre + 5], axis=1))


def crops(n, seed=0):
    return np.random.default_rng(seed).random((n, 1, 64, 64), np.float32)


def test_the_tracker_is_given_the_numbers_that_the_model_was_trained_on(model, detections):
    """Two ways lead to a pair's logit: through a training window, and frame by frame through a memory."""
    pixels = crops(6)
    identity = np.array([0, 1] * 3)
    seen = Sightings.of(detections)
    window = follow(seen, identity, model.config, TrackerConfig(), crops=pixels)
    expected = model.logits(window)[-1].detach().numpy()
    scorer = Scorer(model)
    seen = scorer.embed(seen, [(np.arange(3), pixels[:3]), (np.arange(3, 6), pixels[3:])])
    memory = (
        Memory.like(seen)
        .remember(seen.take(slice(0, 2)), identity[:2], 3)
        .remember(seen.take(slice(2, 4)), identity[:2], 3)
    )
    pairs = np.argwhere(np.ones((2, 4)))
    assert scorer(seen.take(slice(4, 6)), memory, pairs) == pytest.approx(expected[-8:], abs=1e-5)


def test_appearance_reaches_the_pairs_and_may_be_left_out(model, detections):
    seen = Sightings.of(detections)
    scorer = Scorer(model)
    looking = scorer.embed(seen, [(np.arange(6), crops(6))])
    assert np.linalg.norm(looking.appearance, axis=1) == pytest.approx(np.ones(6), abs=1e-5)
    blind = scorer.embed(seen)
    assert blind.appearance is None and blind.token.shape == looking.token.shape
    assert not np.allclose(blind.token, looking.token)
    window = follow(seen, np.array([0, 1] * 3), model.config, TrackerConfig())
    assert (window.pair[:, PAIR_FEATURES.index("has_appearance")] == 0).all()


def test_the_order_of_the_batches_of_crops_does_not_matter(model, detections):
    pixels, scorer, seen = crops(6), Scorer(model), Sightings.of(detections)
    one = scorer.embed(seen, [(np.arange(6), pixels)])
    other = scorer.embed(seen, [(np.array([5, 3]), pixels[[5, 3]]), (np.array([0, 1, 2, 4]), pixels[[0, 1, 2, 4]])])
    assert np.allclose(one.token, other.token, atol=1e-5)


def test_long_videos_are_encoded_in_batches_of_whole_frames(model, detections, monkeypatch):
    seen, pixels = Sightings.of(detections), crops(6)
    whole = Scorer(model).embed(seen, [(np.arange(6), pixels)])
    monkeypatch.setattr("kintrack.windows.scorer.BATCH", 3)
    parts = Scorer(model).embed(seen, [(np.arange(6), pixels)])
    assert np.allclose(whole.token, parts.token, atol=1e-6)
    assert [(s.start, s.stop) for s in _whole_frames(detections.frame)] == [(0, 4), (4, 6)]
    assert len(Scorer(model).embed(seen.take(slice(0, 0))).token) == 0
