"""Which models there are, and how one is found: inside the package, as a file, or on the Hugging Face hub.

The model `motion` is no file: with it nothing of this loads torch.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kintrack import hub
from kintrack.config import read_yaml
from kintrack.errors import CheckpointError, ConfigError, nearest_name

if TYPE_CHECKING:
    from kintrack.models import GlobalTrackingTransformer
    from kintrack.models.dreem import DreemTransformer
    from kintrack.tracking.motion import Motion

    Model = GlobalTrackingTransformer | DreemTransformer | Motion

WEIGHTS = Path(__file__).parent / "weights"
MOTION = "motion"
"""The model without weights; see `kintrack.tracking.motion`."""


def model_names() -> list[str]:
    """The models inside the package: `motion`, and those with weights."""
    return sorted([MOTION, *(path.stem for path in WEIGHTS.glob("*.safetensors"))])


def find_model(name_or_path: str | Path) -> Path:
    """The file of a model: a path, the folder of a training, the name of one inside the package, or one of the hub.

    Whatever is on this machine goes before the hub; see `kintrack.hub` for what is taken for a reference.

    Raises:
        CheckpointError: it is none of them, or `motion`, which has no weights; or the hub does not give it.
        MissingExtraError: it is on the hub, and the package for that is not installed.
    """
    if (file := _model_file(name_or_path)) is not None:
        return file
    if (download := _download(name_or_path)) is not None:
        return download.path
    if str(name_or_path) == MOTION:
        raise CheckpointError(
            f"the model {MOTION!r} has no weights: there is no file of it, and nothing to begin a training with; give "
            "a model with weights, by name or as a file"
        )
    hint = nearest_name(str(name_or_path), [*model_names(), *hub.PUBLISHED])
    raise CheckpointError(
        f"there is no model {str(name_or_path)!r}, by name or as a file; {hint}; or give the path of a .safetensors or "
        ".ckpt"
    )


def _download(name_or_path: str | Path) -> hub.Download | None:
    """What the hub holds under a name; None where no model there is meant, or one on this machine goes before."""
    if isinstance(name_or_path, Path) or _model_file(name_or_path) is not None:
        return None
    reference = hub.parse(name_or_path)
    return None if reference is None else _fetched(reference)


_fetched = lru_cache(maxsize=None)(hub.fetch)
"""Once for a process: all its files are tracked by the same revision."""


def _model_file(name_or_path: str | Path) -> Path | None:
    path = Path(name_or_path)
    own = WEIGHTS / f"{name_or_path}.safetensors"
    return next((file for file in (path, path / "model.safetensors", own) if file.is_file()), None)


def _is_motion(name_or_path: str | Path) -> bool:
    """Whether the model without weights is meant: a file or a training of that name goes before it, as before all."""
    return str(name_or_path) == MOTION and _model_file(name_or_path) is None


def find_config(name_or_path: str | Path) -> Path:
    """The file of a config: a path, or a name in the package: a model's, by which it was trained, or finetune."""
    path, own = Path(name_or_path), WEIGHTS / f"{name_or_path}.yaml"
    return own if own.is_file() and not path.is_file() else path


def load_model(name_or_path: str | Path = "general", device: str = "auto") -> "Model":
    """A model by name or path, on its device and in `eval()` mode.

    Of a model from the Hugging Face hub, ``card["source"]`` says the repository, the revision and the hash.

    Raises:
        CheckpointError: there is no such model, or the file is not one, is damaged, or holds code.
        ConfigError: the device is not there, or is none that the model runs on.
        MissingExtraError: it is on the hub, and the package for that is not installed.
    """
    if _is_motion(name_or_path):
        from kintrack.tracking.motion import Motion

        if device not in ("auto", "cpu"):
            raise ConfigError(
                f"the model {MOTION!r} runs on the cpu, but device {device!r} was asked for; leave it out"
            )
        return Motion()
    from kintrack.models import checkpoint

    model = checkpoint.load_model(find_model(name_or_path), choose_device(device))
    model.card = with_source(model.card, name_or_path)
    return model


def with_source(card: dict[str, Any], name_or_path: str | Path) -> dict[str, Any]:
    """A card that, of a model of the hub, says where it is from and, of one of DREEM's, how large its crops were."""
    if (download := _download(name_or_path)) is None:
        return card
    source = {"repo": download.repo, "revision": download.revision, "sha256": file_hash(download.path)}
    told = hub.crops_of(read_yaml(download.config)) if download.config and "dreem" in card else {}
    return {**card, "crops": told | card.get("crops", {}), "source": source}


def load_weights(name_or_path: str | Path, device: str = "auto") -> "GlobalTrackingTransformer | DreemTransformer":
    """A model that training can begin with; see `load_model`.

    Raises:
        CheckpointError: as there, and if the model has no weights.
    """
    from kintrack.models import checkpoint

    model = checkpoint.load_model(find_model(name_or_path), choose_device(device))
    model.card = with_source(model.card, name_or_path)
    return model


def model_facts(name_or_path: str | Path) -> dict[str, str]:
    """What a result says of the model that made it: its name, and the hash of its weights where it has some."""
    if _is_motion(name_or_path):
        return {"model": MOTION}
    path = find_model(name_or_path)
    facts = {"model": path.stem, "model_sha256": file_hash(path)}
    if (download := _download(name_or_path)) is not None:
        facts |= {"model_repo": download.repo, "model_revision": download.revision, "model_address": download.address}
    return facts


def models_here() -> dict[str, str]:
    """The models inside the package, each with what its card says that it is."""
    from kintrack.tracking.motion import ABOUT

    return {
        name: ABOUT if _is_motion(name) else model_card(find_model(name)).get("about", "") for name in model_names()
    }


def model_card(path: Path) -> dict[str, Any]:
    """What a model's file says of its weights; nothing where it is a training checkpoint, which has no card."""
    from kintrack.models import checkpoint

    try:
        return checkpoint.read_card(path)
    except CheckpointError:
        return {}


def file_hash(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def choose_device(name: str) -> str:
    """`auto` resolved to what this machine has; any other device as it was asked for, once it is known to be there.

    Raises:
        ConfigError: the device is not there; another one is never taken instead.
    """
    import torch

    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, there in here.items() if there)
    if name not in here:
        raise ConfigError(f"there is no device {name!r}: {nearest_name(name, ['auto', *here])}")
    if not here[name]:
        listed = ", ".join(device for device, there in here.items() if there)
        raise ConfigError(f"device {name!r} was asked for, but torch sees none here; take one of: auto, {listed}")
    return name
