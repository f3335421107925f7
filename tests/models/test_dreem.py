"""DREEM's model, held to the numbers that DREEM gives for the same weights (tests/golden/dreem)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from golden.dreem import seeded
from kintrack.errors import ConfigError, InputError, MissingExtraError
from kintrack.models.dreem import DreemTransformer, DreemWindow
from kintrack.models.dreem_checkpoint import our_name
from kintrack.models.dreem_config import DreemConfig
from kintrack.models.dreem_encoder import build_dreem_encoder
from kintrack.models.vit import DinoViT

GOLDEN = Path(__file__).parents[1] / "golden" / "dreem"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "matrices.npz") as file:
        return dict(file)


def seeded_state(module: torch.nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
    return {
        name: torch.from_numpy(seeded.weights(prefix + name, tuple(tensor.shape)))
        for name, tensor in module.state_dict().items()
    }


def model_of(name: str) -> DreemTransformer:
    model = DreemTransformer(DreemConfig.of_dreem(seeded.CONFIGS[name])).eval()
    model.load_state_dict(seeded_state(model))
    return model


def window_of(model: DreemTransformer, **more: Any) -> DreemWindow:
    held = {k: torch.from_numpy(v) for k, v in seeded.window(model.config.d_model, model.config.pos.n_points).items()}
    looks = "crops" if model.config.encoder.kind == "descriptor" else "features"
    given = {looks: held[looks], "frame": held["frame"], "query": held["query"], "shape": seeded.SHAPE}
    return DreemWindow(**{"boxes": held["boxes"][..., [1, 0, 3, 2]], **given, **more})


@pytest.mark.parametrize("name", seeded.CONFIGS)
def test_the_matrices_are_dreems(golden, name):
    with torch.no_grad():
        found = torch.stack([layer.matrix for layer in model_of(name)(window_of(model_of(name)))]).numpy()
    assert found.shape == golden[name].shape
    assert np.abs(golden[name]).max() > 0.2  # there is something to agree about
    assert np.abs(found - golden[name]).max() <= 2e-5


@pytest.mark.parametrize("name", seeded.CONFIGS)
def test_the_tensors_are_dreems_but_for_the_waves_that_it_never_uses(golden, name):
    own = {f"{n} {tuple(t.shape)}" for n, t in model_of(name).state_dict().items() if "visual" not in n}
    theirs = set(golden[f"{name}/names"].tolist())
    assert own <= theirs
    assert {line.split()[0] for line in theirs - own} <= {"transformer.fourier_embeddings.freq"}


@pytest.mark.parametrize("name", seeded.ENCODERS)
def test_the_features_of_crops_are_dreems(golden, name):
    config = DreemConfig.of_dreem({"d_model": 16, "nhead": 1, "encoder_cfg": seeded.ENCODERS[name]})
    encoder = build_dreem_encoder(config).eval()
    theirs = golden.get(f"encoder/{name}/names", [f"visual_encoder.{n}" for n in encoder.state_dict()])
    names = {our_name(str(n), config.encoder.backend).removeprefix("visual_encoder."): str(n) for n in theirs}
    assert names.keys() == encoder.state_dict().keys()
    shapes = {n: tuple(t.shape) for n, t in encoder.state_dict().items()}
    encoder.load_state_dict({n: torch.from_numpy(seeded.weights(names[n], shapes[n])) for n in shapes})
    given = seeded.window(16, anchors=2 if "six" in name else 1, channels=1 if "one" in name else 3, side=40)
    with torch.no_grad():
        found = encoder(torch.from_numpy(given["crops"])).numpy()
    assert np.abs(found - golden[f"encoder/{name}"]).max() <= 1e-5
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_dinos_features_are_those_of_another_implementation(golden):
    model = DinoViT().eval()
    state = seeded_state(model, "model.")
    assert {n: tuple(state[n].shape) for n in seeded.DINO} == seeded.DINO
    model.load_state_dict(state)
    with torch.no_grad():
        found = model(torch.from_numpy(seeded.window(16, side=42)["crops"])).numpy()
    assert np.abs(found - golden["encoder/dino"]).max() <= 1e-4


def test_features_made_beforehand_give_what_crops_give():
    model = model_of("descriptor")
    window = window_of(model)
    with torch.no_grad():
        again = window_of(model, features=model.encode(window.crops), crops=None)
        assert torch.equal(model(window)[0].matrix, model(again)[0].matrix)


def test_the_order_of_detections_does_not_matter():
    model = model_of("deep")
    window, turned = window_of(model), torch.arange(10, -1, -1)
    other = window_of(
        model, boxes=window.boxes[turned], features=window.features[turned], frame=window.frame[turned],
        query=10 - window.query,
    )  # fmt: skip
    with torch.no_grad():
        assert torch.allclose(model(other)[-1].matrix[:, turned], model(window)[-1].matrix, atol=1e-5)


def test_nothing_that_is_given_is_changed():
    model = model_of("fixed")
    window = window_of(model)
    before = window.boxes.clone(), window.features.clone()
    model(window)
    assert torch.equal(window.boxes.nan_to_num(-9), before[0].nan_to_num(-9))
    assert torch.equal(window.features, before[1])


def test_times_from_the_second_on_are_one_time_to_a_learned_embedding():
    """DREEM's defect A2, which its weights were trained with."""
    embed = model_of("learned times").transformer.temp_emb
    with torch.no_grad():
        at = embed(torch.arange(5.0))
    assert torch.allclose(at, embed.lookup.weight[[0, -1, -1, -1, -1]], atol=1e-5)


def test_normalised_fixed_places_are_all_the_same():
    """DREEM's defect A3, which its weights were trained with."""
    embed = model_of("fixed, normalised").transformer.pos_emb
    with torch.no_grad():
        at = embed(torch.rand(6, 1, 4) + 0.1)
    assert torch.allclose(at, at[:1].expand_as(at), atol=1e-3)


def test_training_reaches_every_weight_that_is_used():
    model = DreemTransformer(DreemConfig.of_dreem(seeded.CONFIGS["deep"]))
    sum(layer.matrix.square().sum() for layer in model(window_of(model))).backward()
    still = [n for n, p in model.named_parameters() if p.grad is None and "visual" not in n]
    assert still == []


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"d_mdl": 3}, "the model config of DREEM has no d_mdl"),
        ({"embedding_meta": {"position": {}}}, r"has no embedding_meta\.position"),
        ({"d_model": 10, "nhead": 4}, "d_model 10 cannot be divided among 4 heads"),
        ({"activation": "glu"}, "option 'activation' is 'glu'"),
        ({"embedding_meta": {"pos": {"mode": "learned", "over_boxes": False}}}, r"option 'pos\.over_boxes' is False"),
        ({"embedding_meta": {"pos": {"mode": "fixed", "scale": 2.0}}}, "scale means nothing without normalize"),
        ({"d_model": 20, "nhead": 1, "embedding_meta": {"pos": {"mode": "fixed"}}}, "d_model 20 is no multiple of 8"),
        ({"d_model": 18, "nhead": 1, "embedding_meta": {"pos": {"mode": "learned"}}}, "18 is no multiple of 4"),
        ({"embedding_meta": {"pos": {"mode": "fixed", "n_points": 2}}}, r"2 anchors needs pos\.mlp_cfg"),
        ({"embedding_meta": {"use_fourier": True}}, r"use_fourier needs encoder_cfg\.encoder_type"),
        ({"d_model": 24, "encoder_cfg": {"encoder_type": "descriptor"}}, "24 is no multiple of 16"),
        ({"encoder_cfg": {"encoder_type": "clip"}}, "'clip', which somebody registered"),
    ],
)  # fmt: skip
def test_configs_that_dreem_could_not_run_are_refused_with_the_reason(config, words):
    with pytest.raises(ConfigError, match=words):
        DreemConfig.of_dreem(config)


def test_inputs_that_do_not_fit_the_model_say_what_it_wants():
    model = model_of("anchors, learned")
    with pytest.raises(InputError, match="have 1 anchors and the model's embedding is of 3"):
        model(window_of(model, boxes=torch.rand(11, 1, 4)))
    with pytest.raises(InputError, match="neither crops nor features"):
        model(window_of(model, features=None))
    with pytest.raises(InputError, match="6 channels and this model wants 3"):
        model.encode(torch.rand(2, 6, 40, 40))
    with pytest.raises(InputError, match="multiples of 14 pixels"):
        DinoViT(dim=12, heads=2, depth=1)(torch.rand(1, 3, 28, 30))


def test_a_network_of_timms_says_which_extra_it_needs(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    config = DreemConfig.of_dreem({"encoder_cfg": {"model_name": "convnext_tiny"}})
    with pytest.raises(MissingExtraError, match=r"'convnext_tiny' of this checkpoint needs .* 'kintrack\[timm\]'"):
        build_dreem_encoder(config)
    config = DreemConfig.of_dreem({"encoder_cfg": {"model_name": "convnext_tiny", "backend": "torchvision"}})
    with pytest.raises(ConfigError, match="torchvision's 'convnext_tiny' is not a network that DREEM takes"):
        build_dreem_encoder(config)
