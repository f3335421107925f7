"""Weights on disk: safetensors with the model's config inside, and Lightning checkpoints in torch's safe mode.

A file of ours says what it is: the metadata of a ``.safetensors`` (and the entry ``kintrack`` of a ``.ckpt``) hold the
version of this layout, the model's config, and in a ``.safetensors`` a card that says where the weights come from.
Checkpoints of DREEM are known by their tensors, and become a `DreemTransformer`.
"""

import json
import os
import pickle
import struct
import uuid
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from kintrack.config import ModelConfig
from kintrack.errors import CheckpointError, ConfigError, OutputError
from kintrack.models.dreem import DreemTransformer
from kintrack.models.dreem_checkpoint import from_dreem, is_dreem
from kintrack.models.dreem_config import DreemConfig
from kintrack.models.encoder import weights_follow
from kintrack.models.gtr import GlobalTrackingTransformer
from kintrack.models.pickles import objects_named, plain, read_inert

LAYOUT = 1  # raised when files change in a way that older versions of kintrack cannot read
ENTRY = "kintrack"  # what marks a Lightning checkpoint as ours

Model = GlobalTrackingTransformer | DreemTransformer

_WANTED = "give a .safetensors or .ckpt that kintrack train wrote, or a .ckpt of DREEM"

# Lightning keeps the runner's attributes apart by prefix; the model is its attribute `model`.
_PREFIX = "model."


def save_model(model: Model, path: str | Path, *, card: Mapping[str, Any] | None = None) -> Path:
    """Writes the weights and the config of a model as safetensors; replaces a file, whole or not at all.

    Args:
        model: on any device.
        path: ends in ``.safetensors``.
        card: whatever should be known of the weights (data, licence, figures, tracker settings), as JSON takes it;
            `read_card` gives it back.

    Raises:
        OutputError: if the file cannot be written. Nothing is left of it then.
    """
    path = Path(path)
    metadata = {ENTRY: str(LAYOUT), "model": json.dumps(model.config.to_dict()), "card": json.dumps(dict(card or {}))}
    if isinstance(model, DreemTransformer):
        metadata["architecture"] = "dreem"
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    # A name of its own beside the target: the same disk, so that the last step is a rename.
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(to_bytes(tensors, metadata))
        os.replace(unfinished, path)
    except OSError as error:
        raise OutputError(
            f"weights cannot be written to {path}: {error.strerror or error}; give a path that can be"
        ) from error
    finally:
        with suppress(OSError):  # renamed, or never made
            unfinished.unlink()
    return path


def load_model(path: str | Path, device: str | torch.device = "cpu") -> Model:
    """The model in a ``.safetensors`` of ours or in a checkpoint, ours or DREEM's, ready for use (in `eval()` mode).

    Nothing in the file is ever run. From a checkpoint with averaged weights these are taken.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind, or holds code, or tensors and config disagree.
    """
    path = _existing(path)
    try:
        config, tensors, card = _read_safetensors(path) if _is_safetensors(path) else _read_lightning(path)
    except (KeyError, TypeError, ValueError) as error:  # what is ours by its name, but not by what is in it
        raise CheckpointError(f"{path} is damaged ({error!r}): {_WANTED}") from error
    return assemble(path, config, tensors, card).to(device).eval()


def convert(path: str | Path) -> tuple[Model, tuple[str, ...]]:
    """The model in any checkpoint, and the names of the objects that it also held and that were left behind.

    Where torch's safe mode refuses a file of DREEM for such objects, its tensors and its config are read without making
    them; see `kintrack.models.pickles`.

    Raises:
        CheckpointError: as `load_model` does, and where the file names what no checkpoint needs.
    """
    path = _existing(path)
    if _is_safetensors(path) or not zipfile.is_zipfile(path):
        return load_model(path), ()
    contents = read_inert(path)
    if not contents.named:
        return load_model(path), ()
    found = contents.value
    if not is_dreem(found):
        raise CheckpointError(_stranger(path, found))
    found["hyper_parameters"] = plain(found.get("hyper_parameters"), "hyper_parameters")
    return assemble(path, *from_dreem(path, found)).eval(), contents.named


def build_model(config: ModelConfig | DreemConfig | Mapping[str, Any] | None = None) -> Model:
    """A model with new weights: one of DREEM where the config is of one (`kind` is `dreem`), else ours."""
    if isinstance(config, DreemConfig) or (isinstance(config, Mapping) and config.get("kind") == "dreem"):
        return DreemTransformer(config)
    return GlobalTrackingTransformer(config)


def assemble(
    path: Path, config: DreemConfig | Mapping[str, Any], tensors: Mapping[str, Tensor], card: dict[str, Any]
) -> Model:
    """A model of a config and tensors that a file holds.

    Raises:
        CheckpointError: the config is none that we know, or the tensors do not fit it.
    """
    try:
        # The weights that a new model draws are not wanted.
        with torch.random.fork_rng(devices=[]), weights_follow():
            model = build_model(config)
    except ConfigError as error:
        raise CheckpointError(
            f"{path} holds a model config that this version of kintrack does not know: {error}; update kintrack"
        ) from error
    _check_fit(path, model, tensors)
    model.load_state_dict(dict(tensors))
    model.card = card
    return model


def read_card(path: str | Path) -> dict[str, Any]:
    """What a ``.safetensors`` of ours says of its weights."""
    path = _existing(path)
    if not _is_safetensors(path):
        raise CheckpointError(f"{path} is no safetensors file, so it has no card; give a file that save_model wrote")
    return dict(json.loads(_metadata(path).get("card", "{}")))


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}; give the path of a .safetensors or .ckpt")
    if not path.stat().st_size:
        raise CheckpointError(f"{path} is empty; it was not written to the end: give it again, whole")
    return path


def _is_safetensors(path: Path) -> bool:
    """Whether a file is safetensors by its content: the length of a JSON header, then its opening brace."""
    if path.suffix == ".safetensors":
        return True
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and struct.unpack("<Q", head[:8])[0] < 100_000_000


_Parts = tuple[DreemConfig | Mapping[str, Any], dict[str, Tensor], dict[str, Any]]


def _read_safetensors(path: Path) -> _Parts:
    """Config, tensors and card of a file that `save_model` wrote."""
    metadata = _metadata(path)
    with safe_open(str(path), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    config = json.loads(metadata["model"])
    if metadata.get("architecture") == "dreem":
        config = DreemConfig.of(config)
    return config, tensors, json.loads(metadata.get("card", "{}"))


def _metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file of ours."""
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or not to its end ({error}); give it again, whole") from error
    if ENTRY not in metadata or "model" not in metadata:
        raise CheckpointError(
            f"{path} holds tensors, but not of a kintrack model; give a file that save_model or kintrack train wrote"
        )
    _check_layout(path, metadata[ENTRY])
    return dict(metadata)


def _check_layout(path: Path, layout: Any) -> None:
    if str(layout) != str(LAYOUT):
        raise CheckpointError(
            f"{path} has layout {layout}; this version of kintrack reads layout {LAYOUT}: update kintrack"
        )


def _read_lightning(path: Path) -> _Parts:
    """Config and tensors of a checkpoint of `GTRRunner` or of DREEM; its card says what tracker it was trained for."""
    found = _safe_load(path)
    entry = found.get(ENTRY) if isinstance(found, dict) else None
    if not isinstance(entry, dict):
        if is_dreem(found):
            return from_dreem(path, found)
        raise CheckpointError(_stranger(path, found))
    _check_layout(path, entry.get("layout"))
    card = {key: entry[key] for key in ("tracker", "crops") if key in entry}
    if entry.get("ema"):
        return entry["model"], entry["ema"], card
    state = {name.removeprefix(_PREFIX): t for name, t in found["state_dict"].items() if name.startswith(_PREFIX)}
    return entry["model"], state, card


def _safe_load(path: Path) -> Any:
    """What torch's restricted unpickler makes of a file: tensors and plain containers, or an error."""
    with path.open("rb") as file:
        head = file.read(2)
    if head[:1] == b"\x80":  # how a pickle begins; torch has written zip files since 1.6
        raise CheckpointError(f"{path} is a bare pickle, which may hold code; it was refused unopened: {_WANTED}")
    if head != b"PK":
        raise CheckpointError(f"{path} is no checkpoint, or damaged: {_WANTED}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} wants more than tensors and plain values; that may be code, so it was refused, and none of it was "
            f"run: {_way_out(path)}"
        ) from error
    except Exception as error:  # a damaged file fails in ways that torch does not name
        raise CheckpointError(f"{path} is damaged or not to its end: {_WANTED}") from error


def _way_out(path: Path) -> str:
    """What to do with a checkpoint that holds objects: they can be left behind where they are none that act."""
    named = objects_named(path)
    if not named:
        return _WANTED
    shown = ", ".join(named[:3]) + (", …" if len(named) > 3 else "")
    return (
        f"it names {shown}; if it is a checkpoint of DREEM, `kintrack convert-checkpoint {path} -o "
        f"{path.stem}.safetensors` reads its weights and its config without making any object"
    )


def _stranger(path: Path, found: Any) -> str:
    """What to say of a checkpoint that is not ours."""
    if isinstance(found, dict):
        what = "a Lightning checkpoint of another model" if "state_dict" in found else "a dict of other things"
    else:
        what = f"a {type(found).__name__}"
    return f"{path} holds {what}, not a kintrack model: {_WANTED}"


def _check_fit(path: Path, model: Model, tensors: Mapping[str, Tensor]) -> None:
    """Raises where config and tensors of a file disagree, naming the tensors."""
    wanted = model.state_dict()
    wrong = [f"{name} is missing" for name in wanted if name not in tensors]
    wrong += [f"{name} is not part of the model" for name in tensors if name not in wanted]
    wrong += [
        f"{name} is {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if wrong:
        more = f" (and {len(wrong) - 4} more)" if len(wrong) > 4 else ""
        raise CheckpointError(
            f"the tensors in {path} do not fit the model config beside them: {'; '.join(wrong[:4])}{more}"
        )


__all__ = ["ENTRY", "LAYOUT", "Model", "assemble", "build_model", "convert", "load_model", "read_card", "save_model"]
