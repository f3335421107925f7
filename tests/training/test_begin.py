"""What a training begins with: a model of geometry that is given eyes, and eyes that are left as they are."""

import pytest
import torch

from kintrack.config import TrackerConfig
from kintrack.errors import ConfigError
from kintrack.models import GlobalTrackingTransformer
from kintrack.training.batches import questions
from kintrack.training.begin import model_to_begin
from kintrack.training.data import Clips

EYES = {"kind": "conv", "crop_size": 16, "width": 8, "dim": 8}


@pytest.fixture
def geometry():
    torch.manual_seed(1)
    model = GlobalTrackingTransformer({"dim": 16, "heads": 2, "decoder_layers": 1}).eval()
    model.card = {"tracker": {"memory": 5}}
    return model


def a_window(model):
    clips = Clips([], {"frames": 8, "max_objects": 5, "simulated": 1.0}, encoder=model.config.encoder, seed=2)
    return questions([clips[0]], model.config, TrackerConfig())


@torch.no_grad()
def test_a_model_of_geometry_is_given_eyes_and_answers_as_before(geometry):
    model = model_to_begin(geometry, {"model": {"encoder": EYES}, "seed": 3})
    window = a_window(model)
    assert window.crops is not None and window.crops.shape[1:] == (1, 16, 16)
    assert torch.equal(model.logits(window), geometry.logits(window.without_crops()))
    assert model.card == {"tracker": {"memory": 5}} and geometry.visual_encoder is None
    again, other = (model_to_begin(geometry, {"model": {"encoder": EYES}, "seed": seed}) for seed in (3, 4))
    eyes, same, others = (m.encode(window.crops) for m in (model, again, other))
    assert torch.equal(eyes, same) and not torch.equal(eyes, others)


def test_what_it_sees_can_be_learned(geometry):
    """Nothing is cut off: what looks enter by has gradients at once, and the encoder from the second step on."""
    model = model_to_begin(geometry, {"model": {"encoder": EYES}})
    window = a_window(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model.logits(window).square().mean().backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.any() for p in model.visual_encoder.parameters())


def test_nothing_asked_nothing_changed(geometry):
    assert model_to_begin(geometry, {}) is geometry
    assert model_to_begin(geometry, {"model": {"encoder": {"kind": "none"}}}) is geometry
    seeing = model_to_begin(geometry, {"model": {"encoder": EYES}})
    assert model_to_begin(seeing, {"model": {"encoder": {"crop_size": 16}}}) is seeing


def test_eyes_can_be_frozen_and_thawed(geometry):
    seeing = model_to_begin(geometry, {"model": {"encoder": EYES}})
    frozen = model_to_begin(seeing, {"model": {"encoder": {"frozen": True}}})
    assert not any(p.requires_grad for p in frozen.visual_encoder.stages.parameters())
    assert all(p.requires_grad for p in frozen.visual_encoder.project.parameters())
    assert all(
        torch.equal(a, b) for a, b in zip(frozen.state_dict().values(), seeing.state_dict().values(), strict=True)
    )
    thawed = model_to_begin(frozen, {"model": {"encoder": {"frozen": False}}})
    assert all(p.requires_grad for p in thawed.visual_encoder.parameters())


def test_other_eyes_than_a_model_has_are_refused(geometry):
    seeing = model_to_begin(geometry, {"model": {"encoder": EYES}})
    with pytest.raises(
        ConfigError, match=r"whose crop_size, dim differs .*; leave all of model.encoder but frozen out"
    ):
        model_to_begin(seeing, {"model": {"encoder": {"dim": 16, "crop_size": 32, "frozen": True}}})
