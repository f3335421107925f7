"""DREEM's checkpoints: read without running anything, converted whole, and refused by name where they do not fit."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from golden.dreem import seeded
from kintrack.errors import CheckpointError
from kintrack.models.checkpoint import convert, load_model, read_card, save_model
from kintrack.models.dreem import DreemTransformer, DreemWindow
from kintrack.models.dreem_checkpoint import from_dreem
from kintrack.models.pickles import objects_named, plain, read_inert

GOLDEN = Path(__file__).parents[1] / "golden" / "dreem"
REAL, OLDER = GOLDEN / "descriptor.ckpt", GOLDEN / "omegaconf.ckpt"


def held(**more: Any) -> dict[str, Any]:
    """What the real checkpoint holds, with some of it replaced."""
    return torch.load(REAL, weights_only=True) | more


def matrix(model: Any) -> np.ndarray:
    given = {name: torch.from_numpy(value) for name, value in seeded.window(16).items()}
    boxes = given["boxes"][..., [1, 0, 3, 2]]
    window = DreemWindow(boxes, given["frame"], given["query"], seeded.SHAPE, crops=given["crops"])
    with torch.no_grad():
        return model(window)[-1].matrix.numpy()


def test_a_checkpoint_that_dreem_wrote_gives_dreems_numbers():
    model = load_model(REAL)
    assert isinstance(model, DreemTransformer) and not model.training
    with np.load(GOLDEN / "matrices.npz") as golden:
        assert np.abs(matrix(model) - golden["descriptor"][-1]).max() <= 2e-5


def test_a_converted_model_comes_back_from_our_own_file(tmp_path):
    model = load_model(REAL)
    path = save_model(model, tmp_path / "m.safetensors", card=model.card)
    again = load_model(path)
    assert isinstance(again, DreemTransformer) and again.config == model.config
    assert np.array_equal(matrix(again), matrix(model))
    assert read_card(path)["tracker"] == {"kind": "dreem"} and again.card == model.card
    assert "converted from descriptor.ckpt" in read_card(path)["about"]


def test_tensors_that_do_not_fit_dreems_config_are_named(tmp_path):
    state = dict(held()["state_dict"])
    del state["model.transformer.encoder.layers.0.linear1.bias"]
    state["model.transformer.encoder.layers.1.linear1.bias"] = torch.zeros(16)
    state["model.transformer.temp_emb.lookup.weight"] = torch.zeros(9, 16)
    state["loss.weight"] = torch.zeros(1)
    torch.save(held(state_dict=state), tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path / "x.ckpt")
    for words in (
        "transformer.encoder.layers.0.linear1.bias is missing",
        "transformer.encoder.layers.1.linear1.bias is not part of the model",
        "transformer.temp_emb.lookup.weight is (9, 16), not (16, 16)",
        "loss.weight is not part of the model",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"d_model": 32}, r"pos_emb\.lookup\.weight is \(64, 4\), not \(64, 8\).*and 22 more"),
        ({"num_layers_attn_head": 2}, r"attn_head\.q_proj\.layers\.1\.weight is missing"),
        ({"decoder_self_attn": True}, r"decoder\.layers\.0\.self_attn\.in_proj_weight is missing"),
        ({"norm": True}, r"encoder\.layers\.0\.norm1\.weight is missing"),
        ({"encoder_cfg": {"model_name": "resnet18"}}, r"visual_encoder\.feature_extractor\.conv1\.weight is missing"),
        ({"heads": 3}, "whose model cannot be built: the model config of DREEM has no heads"),
    ],
)
def test_a_config_that_contradicts_the_tensors_is_refused(tmp_path, change, words):
    model_cfg = held()["hyper_parameters"]["model_cfg"] | change
    torch.save(held(hyper_parameters={"model_cfg": model_cfg}), tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=words):
        load_model(tmp_path / "x.ckpt")


def test_without_a_config_dreems_tensors_mean_nothing(tmp_path):
    torch.save(held(hyper_parameters={}), tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"without the config of its model \(hyper_parameters\.model_cfg\)"):
        load_model(tmp_path / "x.ckpt")


@pytest.mark.parametrize("waves", [{}, {"model.transformer.fourier_embeddings.freq": torch.zeros(1, 8)}])
def test_frequencies_that_were_never_used_may_be_missing_or_there(waves):
    """Old checkpoints lack them, later ones always hold them."""
    cfg = {"d_model": 16, "nhead": 2, "encoder_cfg": {"encoder_type": "resnet"}}
    mark = {"model.transformer.attn_head.q_proj.layers.0.weight": torch.zeros(16, 16)}
    _, tensors, _ = from_dreem(Path("x.ckpt"), {"state_dict": mark | waves, "hyper_parameters": {"model_cfg": cfg}})
    assert list(tensors) == ["transformer.attn_head.q_proj.layers.0.weight"]


@pytest.mark.parametrize(("d_model", "kept"), [(384, []), (64, ["visual_encoder.mlp.bias"])])
def test_dinos_last_layer_counts_only_where_lengths_differ(d_model, kept):
    cfg = {"d_model": d_model, "nhead": 1, "encoder_cfg": {"encoder_type": "dino", "ndim": d_model}}
    state = {"model.visual_encoder.mlp.bias": torch.zeros(d_model)}
    config, tensors, _ = from_dreem(Path("x.ckpt"), {"state_dict": state, "hyper_parameters": {"model_cfg": cfg}})
    assert list(tensors) == kept and config.encoder.kind == "dino"


def test_a_checkpoint_with_omegaconfs_objects_says_how_to_convert_it():
    words = r"wants more than tensors.*names .*omegaconf\.base.*`kintrack convert-checkpoint \S*omegaconf\.ckpt -o"
    with pytest.raises(CheckpointError, match=words):
        load_model(OLDER)
    assert "omegaconf.dictconfig.DictConfig" in objects_named(OLDER)


def test_reading_without_making_objects_finds_the_same_tensors_and_config():
    found = read_inert(OLDER)
    hyper = plain(found.value["hyper_parameters"])
    assert hyper["model_cfg"] == seeded.CONFIGS["descriptor"]
    theirs = held()["state_dict"]
    assert found.value["state_dict"].keys() == theirs.keys()
    assert all(torch.equal(found.value["state_dict"][name], theirs[name]) for name in theirs)


def test_an_older_checkpoint_converts_to_the_same_model_and_names_what_is_left_behind():
    model, left = convert(OLDER)
    assert np.array_equal(matrix(model), matrix(load_model(REAL)))
    assert "omegaconf.nodes.AnyNode" in left
    plainly, left = convert(REAL)
    assert np.array_equal(matrix(plainly), matrix(model)) and left == ()


def test_converting_refuses_what_is_no_model(tmp_path):
    torch.save({"state_dict": {"w": torch.ones(1)}, "x": Path("a")}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="holds a Lightning checkpoint of another model"):
        convert(tmp_path / "x.ckpt")


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return torch.save, ([1], str(self.path))


class Shell:
    def __reduce__(self):
        return __import__("os").system, ("touch it_ran",)


@pytest.mark.parametrize("where", ["callbacks", "state_dict"])
def test_code_is_refused_by_its_name_and_never_run(tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    torch.save(held(**{where: Shell()}), tmp_path / "evil.ckpt")
    for read in (load_model, read_inert, convert):
        with pytest.raises(CheckpointError, match="refused"):
            read(tmp_path / "evil.ckpt")
    with pytest.raises(CheckpointError, match=r"wants (posix|nt)\.system to be called; no checkpoint needs that"):
        convert(tmp_path / "evil.ckpt")
    assert not (tmp_path / "it_ran").exists()


def test_what_is_harmless_by_its_name_stands_there_inert(tmp_path):
    trap = tmp_path / "it_ran"
    torch.save(held(callbacks=Payload(trap)), tmp_path / "x.ckpt")
    found = read_inert(tmp_path / "x.ckpt")
    assert "torch.serialization.save" in found.named and not trap.exists()
    pickle.loads(pickle.dumps(Payload(trap)))
    assert trap.exists()  # the trap works


def test_tensors_outside_of_their_storage_are_damage(tmp_path):
    state = {"w": torch.zeros(4)}
    torch.save({"state_dict": state}, tmp_path / "x.ckpt")
    with zipfile.ZipFile(tmp_path / "x.ckpt") as old, zipfile.ZipFile(tmp_path / "y.ckpt", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content[:4] if name.endswith("data/0") else content)
    with pytest.raises(CheckpointError, match=r"y\.ckpt is damaged or no torch checkpoint"):
        read_inert(tmp_path / "y.ckpt")


def test_a_config_that_refers_elsewhere_or_holds_objects_is_refused():
    with pytest.raises(CheckpointError, match=r"config\.lr is '\$\{base\.lr\}', which refers to a config that"):
        plain({"lr": "${base.lr}"})
    with pytest.raises(CheckpointError, match=r"config\.0 is a Tensor, which is no value of a config"):
        plain([torch.zeros(1)])
