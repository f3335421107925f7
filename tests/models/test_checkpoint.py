"""Weights on disk: what is written comes back, and what is not ours is refused in words, and never run."""

import json
import os
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch

from kintrack.errors import CheckpointError, OutputError
from kintrack.models import GlobalTrackingTransformer
from kintrack.models.checkpoint import load_model, read_card, save_model

CONFIG = {"dim": 16, "heads": 2, "decoder_layers": 1, "encoder": {"kind": "conv", "width": 4, "crop_size": 32}}


@pytest.fixture
def model() -> GlobalTrackingTransformer:
    torch.manual_seed(1)
    return GlobalTrackingTransformer(CONFIG)


def same_weights(a: GlobalTrackingTransformer, b: GlobalTrackingTransformer) -> bool:
    mine, other = a.state_dict(), b.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in mine)


def lightning(model: GlobalTrackingTransformer, **more) -> dict:
    """What a checkpoint of the runner holds."""
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    return {"state_dict": state, "epoch": 3, "kintrack": {"layout": 1, "model": model.config.to_dict()}} | more


def test_a_saved_model_comes_back_with_its_config_and_card(model, tmp_path):
    path = save_model(model, tmp_path / "sub" / "m.safetensors", card={"data": ["bees"], "tracker": {"max_gap": 9}})
    loaded = load_model(path)
    assert loaded.config == model.config and same_weights(loaded, model)
    assert not loaded.training
    assert read_card(path) == {"data": ["bees"], "tracker": {"max_gap": 9}}
    assert os.listdir(path.parent) == ["m.safetensors"]


def test_saving_replaces_a_file_whole(model, tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(GlobalTrackingTransformer(), path)
    save_model(model, path)
    assert same_weights(load_model(path), model)


def test_a_model_loads_onto_a_device(model, tmp_path):
    path = save_model(model, tmp_path / "m.safetensors")
    assert {p.device.type for p in load_model(path, "meta").parameters()} == {"meta"}


def test_a_file_is_known_by_its_content_not_its_name(model, tmp_path):
    path = save_model(model, tmp_path / "m.safetensors").rename(tmp_path / "weights.bin")
    assert same_weights(load_model(path), model)


def test_a_checkpoint_of_the_runner_loads(model, tmp_path):
    torch.save(lightning(model), tmp_path / "last.ckpt")
    assert same_weights(load_model(tmp_path / "last.ckpt"), model)


def test_averaged_weights_in_a_checkpoint_come_first(model, tmp_path):
    mean = GlobalTrackingTransformer(CONFIG)
    held = lightning(model)
    held["kintrack"]["ema"] = mean.state_dict()
    torch.save(held, tmp_path / "last.ckpt")
    assert same_weights(load_model(tmp_path / "last.ckpt"), mean)


def test_a_missing_or_empty_file_is_named(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"there is no file .*nothing\.ckpt; give the path of a \.safetensors or \.ckpt"
    ):
        load_model(tmp_path / "nothing.ckpt")
    (tmp_path / "empty.ckpt").touch()
    with pytest.raises(CheckpointError, match=r"empty\.ckpt is empty; it was not written to the end"):
        load_model(tmp_path / "empty.ckpt")


@pytest.mark.parametrize("keep", [5, 100, -40])
@pytest.mark.parametrize("kind", ["m.safetensors", "m.ckpt"])
def test_a_truncated_file_is_refused(model, tmp_path, kind, keep):
    path = tmp_path / kind
    save_model(model, path) if kind.endswith("safetensors") else torch.save(lightning(model), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="is damaged or not to its end|is no checkpoint, or damaged"):
        load_model(path)


def test_tensors_of_another_model_are_refused(tmp_path):
    safetensors.torch.save_file({"weight": torch.ones(3)}, tmp_path / "other.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"other\.safetensors holds tensors, but not of a kintrack model"):
        load_model(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"state_dict": {"w": torch.ones(1)}}, "holds a Lightning checkpoint of another model, not a kintrack model"),
        ({"weight": torch.ones(1)}, "holds a dict of other things, not a kintrack model"),
        ([1, 2], "holds a list, not a kintrack model: give a .safetensors or .ckpt that kintrack train wrote, or"),
    ],
)  # fmt: skip
def test_checkpoints_of_other_kinds_are_named(tmp_path, held, words):
    torch.save(held, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=words):
        load_model(tmp_path / "x.ckpt")


def test_bytes_of_any_kind_are_refused(tmp_path):
    for name, content in {
        "a.ckpt": b"hello world",
        "b.ckpt": b"PK\x03\x04" + bytes(100),
        "c.safetensors": bytes(50),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            load_model(tmp_path / name)


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("bare", [True, False])
def test_code_in_a_pickle_is_refused_and_not_run(model, tmp_path, bare):
    trap, path = tmp_path / "it_ran", tmp_path / "evil.ckpt"
    held = lightning(model, callbacks=Payload(trap))
    path.write_bytes(pickle.dumps(held)) if bare else torch.save(held, path)
    words = (
        "bare pickle, which may hold code; it was refused unopened"
        if bare
        else "may be code, so it was refused, and none"
    )
    with pytest.raises(CheckpointError, match=words):
        load_model(path)
    assert not trap.exists()
    pickle.loads(pickle.dumps(Payload(trap)))
    assert trap.exists()  # the trap works


def test_tensors_that_do_not_fit_the_config_are_named(model, tmp_path):
    tensors = dict(model.state_dict())
    tensors["node.0.weight"] = torch.zeros(3, 3)
    del tensors["from_query.weight"]
    tensors["more"] = torch.ones(1)
    metadata = {"kintrack": "1", "model": json.dumps(model.config.to_dict())}
    safetensors.torch.save_file(tensors, tmp_path / "m.safetensors", metadata)
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path / "m.safetensors")
    for words in (
        "from_query.weight is missing",
        "more is not part of the model",
        "node.0.weight is (3, 3), not (16, 6)",
    ):
        assert words in str(caught.value)


def test_a_config_of_a_later_version_says_to_update(model, tmp_path):
    for metadata, words in (
        ({"kintrack": "1", "model": json.dumps({"dimension": 3})}, "unknown option 'dimension'.*update kintrack"),
        ({"kintrack": "2", "model": "{}"}, "has layout 2; this version of kintrack reads layout 1: update"),
    ):
        safetensors.torch.save_file(dict(model.state_dict()), tmp_path / "m.safetensors", metadata)
        with pytest.raises(CheckpointError, match=words):
            load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("said", ["{", "[1]", "3"])
def test_a_config_that_is_none_is_damage(model, tmp_path, said):
    path = tmp_path / "m.safetensors"
    safetensors.torch.save_file(dict(model.state_dict()), path, {"kintrack": "1", "model": said})
    with pytest.raises(CheckpointError, match=r"m\.safetensors"):
        load_model(path)


@pytest.mark.parametrize("part", ["model", "state_dict"])
def test_a_checkpoint_without_one_of_its_parts_is_damaged(model, tmp_path, part):
    held = lightning(model)
    (held if part in held else held["kintrack"]).pop(part)
    torch.save(held, tmp_path / "m.ckpt")
    with pytest.raises(CheckpointError, match=rf"m\.ckpt is damaged \(KeyError\('{part}'\)\): give a \.safetensors"):
        load_model(tmp_path / "m.ckpt")


def test_a_card_is_only_in_safetensors(model, tmp_path):
    torch.save(lightning(model), tmp_path / "m.ckpt")
    with pytest.raises(CheckpointError, match=r"m\.ckpt is no safetensors file, so it has no card"):
        read_card(tmp_path / "m.ckpt")


def test_where_it_cannot_be_written_nothing_is_left(model, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"weights cannot be written to .*m\.safetensors"):
        save_model(model, tmp_path / "file" / "m.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        save_model(model, tmp_path / "folder.safetensors")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.safetensors"]


def test_any_reader_of_safetensors_sees_the_same_numbers(model, tmp_path):
    found = safetensors.torch.load(save_model(model, tmp_path / "m.safetensors").read_bytes())
    assert torch.equal(found["node.0.weight"], model.node[0].weight)


def test_loading_draws_nothing_from_torchs_generator(model, tmp_path):
    path = save_model(model, tmp_path / "m.safetensors")
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_model(path)
    assert torch.equal(torch.rand(2), expected)
