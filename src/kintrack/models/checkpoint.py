"""Weights on disk: safetensors with the model's config inside, and Lightning checkpoints in torch's safe mode.

A file of ours says what it is: the metadata of a ``.safetensors`` (and the entry ``kintrack`` of a ``.ckpt``) hold the
version of this layout, the model's config, and in a ``.safetensors`` a card that says where the weights come from.
"""

import json
import os
import pickle
import struct
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from kintrack.errors import CheckpointError, ConfigError, OutputError
from kintrack.models.encoder import weights_follow
from kintrack.models.gtr import GlobalTrackingTransformer

LAYOUT = 1  # raised when files change in a way that older versions of kintrack cannot read
ENTRY = "kintrack"  # what marks a Lightning checkpoint as ours

_WANTED = "give a .safetensors or .ckpt that kintrack train wrote"

# Lightning keeps the runner's attributes apart by prefix; the model is its attribute `model`.
_PREFIX = "model."


def save_model(model: GlobalTrackingTransformer, path: str | Path, *, card: Mapping[str, Any] | None = None) -> Path:
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


def load_model(path: str | Path, device: str | torch.device = "cpu") -> GlobalTrackingTransformer:
    """The model in a ``.safetensors`` of ours or in a checkpoint of `GTRRunner`, ready for use (in `eval()` mode).

    Nothing in the file is ever run. From a checkpoint with averaged weights these are taken.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind, or holds code, or tensors and config disagree.
    """
    path = _existing(path)
    try:
        config, tensors, card = _read_safetensors(path) if _is_safetensors(path) else _read_lightning(path)
    except (KeyError, TypeError, ValueError) as error:  # what is ours by its name, but not by what is in it
        raise CheckpointError(f"{path} is damaged ({error!r}): {_WANTED}") from error
    try:
        with torch.random.fork_rng(devices=[]), weights_follow():  # those that a new model draws are not wanted
            model = GlobalTrackingTransformer(config)
    except ConfigError as error:
        raise CheckpointError(
            f"{path} holds a model config that this version of kintrack does not know: {error}; update kintrack"
        ) from error
    _check_fit(path, model, tensors)
    model.load_state_dict(dict(tensors))
    model.card = card
    return model.to(device).eval()


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


_Parts = tuple[Mapping[str, Any], dict[str, Tensor], dict[str, Any]]


def _read_safetensors(path: Path) -> _Parts:
    """Config, tensors and card of a file that `save_model` wrote."""
    metadata = _metadata(path)
    with safe_open(str(path), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    return json.loads(metadata["model"]), tensors, json.loads(metadata.get("card", "{}"))


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
    """Config and tensors of a checkpoint that `GTRRunner` wrote; its card says what tracker it was trained for."""
    found = _safe_load(path)
    entry = found.get(ENTRY) if isinstance(found, dict) else None
    if not isinstance(entry, dict):
        raise CheckpointError(_stranger(path, found))
    _check_layout(path, entry.get("layout"))
    card = {"tracker": entry["tracker"]} if "tracker" in entry else {}
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
            f"run: {_WANTED}"
        ) from error
    except Exception as error:  # a damaged file fails in ways that torch does not name
        raise CheckpointError(f"{path} is damaged or not to its end: {_WANTED}") from error


def _stranger(path: Path, found: Any) -> str:
    """What to say of a checkpoint that is not ours."""
    if isinstance(found, dict):
        model = (found.get("hyper_parameters") or {}).get("model_cfg") or {}
        if {"d_model", "embedding_meta", "encoder_cfg"} & set(model):
            return f"{path} is a checkpoint of DREEM; kintrack does not read those: {_WANTED}"
        what = "a Lightning checkpoint of another model" if "state_dict" in found else "a dict of other things"
    else:
        what = f"a {type(found).__name__}"
    return f"{path} holds {what}, not a kintrack model: {_WANTED}"


def _check_fit(path: Path, model: GlobalTrackingTransformer, tensors: Mapping[str, Tensor]) -> None:
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


__all__ = ["ENTRY", "LAYOUT", "load_model", "read_card", "save_model"]
