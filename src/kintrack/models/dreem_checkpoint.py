"""DREEM's Lightning checkpoints to our model: the config from its hyper-parameters, the tensors under our names.

DREEM itself loads weights with what fits and keeps random numbers where nothing does (D-C11). Here whatever is missing,
left over or of another shape is named, and the file refused.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from kintrack.errors import CheckpointError, ConfigError
from kintrack.models.dreem_config import DreemConfig
from kintrack.models.vit import DINO_DIM

_PREFIX = "model."  # the runner's attribute
_MARK = "model.transformer.attn_head.q_proj.layers.0.weight"  # every DREEM model has it, and nothing else has
_TRUNK = "visual_encoder.feature_extractor."
_TORCHVISION = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_WAVES = re.compile(r"transformer\.fourier_(embeddings|proj|norm)\.")


def is_dreem(found: Any) -> bool:
    """Whether what a checkpoint holds is a model of DREEM."""
    return isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping) and _MARK in found["state_dict"]


def from_dreem(path: Path, found: Mapping[str, Any]) -> tuple[DreemConfig, dict[str, Tensor], dict[str, Any]]:
    """Config, tensors and card of what a DREEM checkpoint holds; whether they fit each other is not looked at here.

    Raises:
        CheckpointError: it lacks the config of its model, or that is of another DREEM than we know.
    """
    hyper = found.get("hyper_parameters")
    model_cfg = hyper.get("model_cfg") if isinstance(hyper, Mapping) else None
    if not isinstance(model_cfg, Mapping):
        raise CheckpointError(
            f"{path} is a checkpoint of DREEM without the config of its model (hyper_parameters.model_cfg), so its "
            "tensors cannot be told apart; give the checkpoint as DREEM's training wrote it"
        )
    try:
        config = DreemConfig.of_dreem(model_cfg)
    except ConfigError as error:
        raise CheckpointError(f"{path} is a checkpoint of DREEM whose model cannot be built: {error}") from error
    backend = config.encoder.backend
    tensors = {our_name(name, backend): tensor for name, tensor in found["state_dict"].items()}
    tensors = {name: tensor for name, tensor in tensors.items() if not _is_unused(name, config)}
    about = {key: found[key] for key in ("epoch", "global_step", "pytorch-lightning_version") if key in found}
    card = {"about": f"a model of DREEM, converted from {path.name}", "dreem": about, "tracker": {"kind": "dreem"}}
    return config, tensors, card


def _is_unused(name: str, config: DreemConfig) -> bool:
    """Whether DREEM holds a tensor that none of its numbers depends on.

    Odd: it always holds frequencies, with encoder_type a projection of them, and with DINO a layer to the length of a
    token also where its feature has that length.
    """
    if config.encoder.kind == "dino" and config.d_model == DINO_DIM and name.startswith("visual_encoder.mlp."):
        return True
    return not config.fourier and bool(_WAVES.match(name))


def our_name(name: str, backend: str = "timm") -> str:
    """A tensor's name in our model by its name in DREEM's checkpoint; where torchvision numbers, we name."""
    ours = name.removeprefix(_PREFIX)
    if backend == "torchvision" and ours.startswith(_TRUNK):
        first, dot, rest = ours.removeprefix(_TRUNK).partition(".")
        ours = f"{_TRUNK}{_TORCHVISION.get(first, first)}{dot}{rest}"
    return ours


__all__ = ["from_dreem", "is_dreem", "our_name"]
