"""Models on the Hugging Face hub: what a reference means, and the files behind it.

A reference is the name of a published model (`animals`, `microscopy`), ``org/repo``, or an address on huggingface.co;
``@revision`` after it pins a branch, a tag or a commit. Whatever could be a file is none: ``models/best.ckpt`` is never
looked for on the hub. What was downloaded once is found again without a network.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from kintrack.errors import CheckpointError, MissingExtraError

_WEIGHTS = (".safetensors", ".ckpt")
_FILES = (*_WEIGHTS, ".pt", ".pth", ".bin", ".pkl", ".yaml", ".yml", ".zip")  # endings that mean a file, not a repo
_PATIENCE = 10  # seconds for an answer
_PART = r"[A-Za-z0-9][\w.-]*"
_REPO = re.compile(rf"({_PART}/{_PART})(?:@([\w./-]+))?")
_ADDRESS = re.compile(
    rf"https://(?:www\.)?(?:huggingface\.co|hf\.co)/({_PART}/{_PART})"
    r"(?:/(?:tree|blob|resolve)/([^/?#]+)(?:/([^?#]+))?)?/?(?:@([\w./-]+))?(?:[?#].*)?"
)


@dataclass(frozen=True)
class Reference:
    """A model on the hub.

    Args:
        repo: ``org/repo``.
        revision: a branch, a tag or a commit; the main branch where None.
        file: the weights in the repository; the only ones there where None.
        config: the config of its training; found by its name where None.
    """

    repo: str
    revision: str | None = None
    file: str | None = None
    config: str | None = None


@dataclass(frozen=True)
class Download:
    """The files of a model, in the hub's cache on this machine.

    Args:
        path: the weights.
        config: the config of the training, where the repository has one.
        repo: ``org/repo``.
        revision: the commit that the files are of.
        address: where the weights are on the hub, at that commit: a reference that always means them.
    """

    path: Path
    config: Path | None
    repo: str
    revision: str
    address: str


PUBLISHED = {
    "animals": Reference(
        "talmolab/dreem-animals-pretrained", None, "animals-pretrained.ckpt", "animals-pretrained-config.yaml"
    ),
    "microscopy": Reference(
        "talmolab/dreem-microscopy-pretrained", None, "pretrained-microscopy.ckpt", "microscopy-pretrained-config.yaml"
    ),
}
"""The models that are published for DREEM, by the names that they have there."""


def parse(name: str) -> Reference | None:
    """What a name means on the hub; None where it is no reference, but a path.

    >>> parse("org/repo@v2")
    Reference(repo='org/repo', revision='v2', file=None, config=None)
    >>> parse("models/best.ckpt"), parse("./org/repo")
    (None, None)

    Raises:
        CheckpointError: it is an address, but none that leads to a model on the hub.
    """
    short, _, revision = name.partition("@")
    if short in PUBLISHED:
        known = PUBLISHED[short]
        return Reference(known.repo, revision or None, known.file, known.config)
    if "://" in name:
        if (found := _ADDRESS.fullmatch(name)) is None:
            raise CheckpointError(
                f"{name} is no address of a model that is known how to get; wanted https://huggingface.co/org/repo: "
                "download the file yourself, and give its path"
            )
        return Reference(found[1], found[2] or found[4], found[3])
    if (found := _REPO.fullmatch(name)) is None or found[1].lower().endswith(_FILES):
        return None
    if Path(found[1]).parent.is_dir():  # a folder of that name is here: its owner has mistyped what is in it
        return None
    return Reference(found[1], found[2])


def fetch(reference: Reference) -> Download:
    """The files that a reference means: from the hub, or, where that cannot be reached, as they were downloaded before.

    Raises:
        MissingExtraError: huggingface_hub is not installed.
        CheckpointError: there is no such repository or revision, it has no weights or several, or the hub cannot be
            reached and nothing was downloaded before.
    """
    hub = _package(reference)
    names, is_reached = _names(hub, reference)
    weights = [reference.file] if reference.file else [name for name in names if name.lower().endswith(_WEIGHTS)]
    if len(weights) != 1:
        listed = f" ({', '.join(sorted(weights)[:5])})" if weights else ""
        raise CheckpointError(
            f"{_where(reference)} holds {len(weights) or 'no'} weights{listed}; wanted one .ckpt or .safetensors: give "
            f"the address of a file, like https://huggingface.co/{reference.repo}/blob/main/model.ckpt"
        )
    configs = [name for name in names if re.search(r"config[^/]*\.ya?ml$", name)]
    config = reference.config or (configs[0] if len(configs) == 1 else None)
    path = _file(hub, reference, weights[0], is_reached)
    # <cache>/models--org--repo/snapshots/<commit>/<file>
    revision = path.parts[len(path.parts) - 1 - path.parts[::-1].index("snapshots") + 1]
    beside = _file(hub, Reference(reference.repo, revision), config, is_reached) if config else None
    address = f"https://huggingface.co/{reference.repo}/blob/{revision}/{weights[0]}"
    return Download(path, beside, reference.repo, revision, address)


def crops_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """How large the crops were that a model of DREEM was trained on, from the config of its training.

    Only what can be meant in one way is taken; the rest has to be said where tracks are made.

    >>> crops_of({"dataset": {"train_dataset": {"crop_size": 128, "padding": 0, "anchors": "centroid"}}})
    {'crop_size': 128, 'padding': 0, 'anchors': ['centroid']}
    """
    dataset = config.get("dataset")
    parts = dataset if isinstance(dataset, Mapping) else {}
    kinds = ("train_dataset", "test_dataset")
    told: Mapping[str, Any] = next((parts[kind] for kind in kinds if isinstance(parts.get(kind), Mapping)), {})
    found: dict[str, Any] = {}
    for name in ("crop_size", "padding"):
        value = told.get(name)
        if isinstance(value, list | tuple) and len(set(map(str, value))) == 1:  # one for each folder of videos
            value = value[0]
        if isinstance(value, int) and not isinstance(value, bool):
            found[name] = value
    anchors = told.get("anchors")
    anchors = [anchors] if isinstance(anchors, str) and anchors else anchors
    if isinstance(anchors, list | tuple) and anchors and all(isinstance(name, str) for name in anchors):
        found["anchors"] = list(anchors)
    return found


def _package(reference: Reference) -> ModuleType:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingExtraError(
            "huggingface_hub", "hub", f"the model {reference.repo} of the Hugging Face hub (or give a local file)"
        ) from error
    package: ModuleType = huggingface_hub
    return package


def _names(hub: ModuleType, reference: Reference) -> tuple[list[str], bool]:
    """The files in the repository; those that were downloaded before, where the hub cannot be reached (False)."""
    try:
        found = hub.model_info(reference.repo, revision=reference.revision, timeout=_PATIENCE)
        return [file.rfilename for file in found.siblings], True
    except Exception as error:
        if (refused := _refused(error, reference)) is not None:
            raise refused from error
        patterns = [f"*{ending}" for ending in _WEIGHTS] + ["*config*.yaml", "*config*.yml"]
        try:
            folder = Path(
                hub.snapshot_download(
                    reference.repo, revision=reference.revision, allow_patterns=patterns, local_files_only=True
                )
            )
        except Exception:
            raise _unreachable(error, reference) from error
        return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()], False


def _file(hub: ModuleType, reference: Reference, name: str, is_reached: bool) -> Path:
    """A file of the repository, in the cache on this machine."""
    try:
        revision, local = reference.revision, not is_reached
        return Path(hub.hf_hub_download(reference.repo, name, revision=revision, local_files_only=local))
    except Exception as error:
        if (refused := _refused(error, reference, name)) is not None:
            raise refused from error
        raise _unreachable(error, reference) from error


def _refused(error: Exception, reference: Reference, name: str | None = None) -> CheckpointError | None:
    """What to say where the hub has answered, and the answer was no; None where it was not reached."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "GatedRepoError" in kinds:
        what = "asks its users to sign in and accept its terms: do so there, `hf auth login` here, and try again"
    elif "RepositoryNotFoundError" in kinds:
        what = "is not there, or is not public; check the name, or `hf auth login` if it is yours"
    elif "RevisionNotFoundError" in kinds:
        what = f"has no revision {reference.revision!r}; wanted a branch, a tag or a commit: check it there"
    elif "RemoteEntryNotFoundError" in kinds or kinds >= {"EntryNotFoundError", "HfHubHTTPError"}:
        what = f"has no file {name!r}; check its list of files"
    else:
        return None
    return CheckpointError(f"https://huggingface.co/{reference.repo} {what}; or give the path of a local file")


def _unreachable(error: Exception, reference: Reference) -> CheckpointError:
    reason = str(error).strip().splitlines()
    what = reference.file or "its .ckpt or .safetensors"
    return CheckpointError(
        f"{_where(reference)} is not on this machine, and the hub cannot be reached "
        f"({type(error).__name__}{f': {reason[0]}' if reason else ''}); go online once, or download {what} from "
        f"https://huggingface.co/{reference.repo}/tree/{reference.revision or 'main'} elsewhere, and give the path of "
        "the local file"
    )


def _where(reference: Reference) -> str:
    return f"{reference.repo}@{reference.revision}" if reference.revision else reference.repo


__all__ = ["PUBLISHED", "Download", "Reference", "crops_of", "fetch", "parse"]
