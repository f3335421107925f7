"""A DREEM config, known by its shape, and what it asks of a command in our words.

    section by section ── keys, each with its fate ── options of ours, files, notes
    `kintrack:` ───────── our own options, which go before them

Keys that no DREEM has are errors, as are those that ask for what is not here: all of them are told together.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from kintrack.config import Config, TrainConfig, merge, read_yaml
from kintrack.config_data import AugmentConfig
from kintrack.errors import ConfigError, nearest_name
from kintrack.follow import TrackConfig
from kintrack.from_dreem.fates import FILES, FORMAT, META, Command, Fate, Row, as_yaml, is_one_of, unneeded
from kintrack.from_dreem.files import Files
from kintrack.from_dreem.keys import ROWS
from kintrack.from_dreem.values import UNSAID
from kintrack.loading import find_config

_log = logging.getLogger(__name__)

Path_ = tuple[str, ...]
OURS = "kintrack"
"""The section of a DREEM config that holds options of ours; what `--set` says is laid over it."""
TRAIN, VAL, TEST = DATASETS = ("train_dataset", "val_dataset", "test_dataset")
_LOADERS = tuple(name.replace("set", "loader") for name in DATASETS)
_BY_NAME = {"dataset": (*DATASETS, "metrics"), "dataloader": _LOADERS}
# What a model was trained on the sight of: tracking asks for the same, and so does validation.
_LOOKS = (
    "crop_size", "padding", "anchors", "handle_missing", "use_tight_bbox", "dilation_radius_px", "apply_mask_to_crop",
    "normalize_image",
)  # fmt: skip
_KEYS = {key: row for row in ROWS for key in row.keys}
_PARENTS = {".".join(parts[:n]) for key in _KEYS for parts in [key.split(".")] for n in range(1, len(parts))}
_TOLD = 4  # mistakes that one message names


@dataclass(frozen=True)
class Asked:
    """What a config asks for.

    Args:
        config: in our words: what `TrackConfig` or `TrainConfig` takes.
        files: those that it names.
        model: what it says of the model, in our words; a checkpoint must agree.
        notes: what was of no use, in sentences.
        is_dreems: whether it is one of DREEM's.
    """

    config: dict[str, Any]
    files: Files = field(default_factory=Files)
    model: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    is_dreems: bool = False

    def with_config(self, config: dict[str, Any]) -> "Asked":
        """The same with other options."""
        return replace(self, config=config)


def is_dreems(tree: Mapping[str, Any]) -> bool:
    """Whether a config is one of DREEM's, by its shape: more of its keys are DREEM's alone than are ours alone."""
    theirs, ours = {key.split(".")[0] for key in _KEYS}, {*TrackConfig.model_fields, *TrainConfig.model_fields}
    model = tree.get("model")
    built = isinstance(model, Mapping) and "kind" not in model and any(f"model.{key}" in _KEYS for key in model)
    return built + len(tree.keys() & (theirs - ours)) > len(tree.keys() & (ours - theirs))


def lay_over(tree: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """A DREEM config with what `--set` says laid over it: keys of DREEM's in their place, others in `kintrack:`."""
    result = dict(tree)
    for path, value in _leaves(said):
        theirs = _row_of(path) is not None or path[0] == OURS
        nested: Any = value
        for part in reversed(path if theirs else (OURS, *path)):
            nested = {part: nested}
        result = merge(result, nested)
    return result


def ask(given: Config | Mapping[str, Any] | str | Path | None, command: Command) -> Asked:
    """What a config, or the file of one, asks of a command; one that is not DREEM's is what it is.

    Raises:
        ConfigError: keys that DREEM has not either, with the nearest that it has, and those that are refused.
        InputError: there is no such file.
    """
    if isinstance(given, Config):
        tree = given.model_dump(exclude_unset=True)
        # What kind of model it is belongs to the config's class, where nobody has set it.
        kind = getattr(getattr(given, "model", None), "kind", None)
        return Asked(tree if kind is None else merge(tree, {"model": {"kind": kind}}))
    tree = read_yaml(find_config(given)) if isinstance(given, str | Path) else dict(given or {})
    if not is_dreems(tree):
        return Asked(tree)
    if path := tree.pop("params_config", None):
        tree = merge(tree, read_yaml(path))
    ours = tree.pop(OURS, None) or {}
    config, useless = _Reader(command).read(tree)
    model = config["model"] if command == "train" else config.pop("model", {})
    files = _files(tree, command, config.pop(FORMAT, None), config.pop(META, False))
    notes = tuple(f"the config is DREEM's; {kind}: {', '.join(keys)}" for kind, keys in useless.items() if keys)
    for note in notes:
        _log.info(note)
    return Asked(merge(config, ours), files, model, notes, is_dreems=True)


class _Reader:
    """Gathers what each key becomes in a command."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.wrong: list[str] = []
        self.by: dict[str, tuple[str, Any]] = {}  # options of ours, each with the key that set it, and to what
        self.useless: dict[str, list[str]] = {"no effect there": [], "not needed here": []}

    def read(self, tree: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """Our options, and the keys of no use."""
        found = list(self._keys(tree))
        # What a test_dataset says goes before what the train_dataset says.
        of_training = self.command != "train" and any(TRAIN in path for path, _ in found)
        for path, value in sorted(found, key=lambda item: TEST in item[0]):
            # Where a model was trained, and in which numbers, is not where it tracks.
            elsewhere = of_training and path in (("trainer", "accelerator"), ("trainer", "precision"))
            self._take(path, value, unneeded() if elsewhere else _fate(path, self.command))
        if self.command == "train":
            self._compare_looks(tree.get("dataset") or {})
        if self.wrong:
            more = [f"and {len(self.wrong) - _TOLD} more like these"] if len(self.wrong) > _TOLD else []
            raise ConfigError("; ".join(self.wrong[:_TOLD] + more))
        config: dict[str, Any] = {}
        for target, (_, value) in self.by.items():
            config = merge(config, _nested(target.split("."), value))
        _blank_where_missing(config.get("dreem") or {})
        finish = _finish_training if self.command == "train" else _finish_tracking
        every = [".".join(path) for path, _ in found]
        return finish(config, tree), {kind: _grouped(keys, every) for kind, keys in self.useless.items()}

    def _keys(self, node: Mapping[str, Any], path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
        """The keys of the table that a config has; those that are not in it are noted as wrong."""
        for name, value in node.items():
            here = (*path, str(name))
            dotted = ".".join(here)
            if _row_of(here) is not None:
                yield here, value
            elif _is_section(here) and (value is None or isinstance(value, Mapping)):
                yield from self._keys(value or {}, here)
            elif _is_section(here):
                self.wrong.append(f"{dotted} is {value!r} in the config of DREEM, and not a section; give keys in it")
            else:
                self.wrong.append(f"the config of DREEM has {dotted}, which no DREEM knows: {_nearest(here)}")

    def _take(self, path: Path_, value: Any, fate: Fate) -> None:
        """One key, by its fate."""
        dotted = ".".join(path)
        if fate.kind in ("no effect", "not needed"):
            kind = "no effect there" if fate.kind == "no effect" else "not needed here"
            self.useless[kind].append(dotted)
        elif fate.kind == "refused" and not is_one_of(value, fate.unless):
            known = [as_yaml(v) for v in fate.unless if v is not None]
            leave = f"leave it out{f', or give {known[0]}' if known else ''}"
            self.wrong.append(f"{dotted} is {as_yaml(value)} in the config of DREEM: {fate.why}; {leave}")
        elif fate.kind in ("mapped", "compared"):
            try:
                ours = fate.convert(value)
            except (ValueError, TypeError, AttributeError) as error:
                why = error if isinstance(error, ValueError) else "that is no value for it; give what DREEM takes there"
                self.wrong.append(f"{dotted} is {value!r} in the config of DREEM: {why}")
                return
            if ours is not UNSAID:
                self._set(fate.target, dotted, ours)

    def _set(self, target: str, dotted: str, value: Any) -> None:
        by, before = self.by.get(target, ("", None))
        if target in FILES:
            return
        if target.startswith("data.augment") and by:  # two changes of one kind
            value = max(value, before)
        elif by and before != value and not by.startswith("dataset."):
            self.wrong.append(f"{by} says {before!r} and {dotted} says {value!r}, which are one option here; give one")
        self.by[target] = dotted, value

    def _compare_looks(self, datasets: Mapping[str, Any]) -> None:
        """A model is validated on crops such as it is trained on."""
        train, val = (datasets.get(name) or {} for name in (TRAIN, VAL))
        for name in _LOOKS:
            if name in train and name in val and train[name] != val[name]:
                self.wrong.append(
                    f"dataset.{TRAIN}.{name} is {train[name]!r} and that of {VAL} is {val[name]!r}: a model is checked "
                    "on what it is shown in training; give both alike"
                )


def _fate(path: Path_, command: Command) -> Fate:
    """What becomes of a key; of the datasets and dataloaders each command has its own."""
    row = _row_of(path)
    assert row is not None
    if path[0] not in _BY_NAME or len(path) == 2:
        return row.fate(command)
    own = (TRAIN, "train_dataloader") if command == "train" else (TEST, "test_dataloader")
    from_training = command != "train" and path[1] == TRAIN and path[-1] in _LOOKS
    is_checked_on = command == "train" and path[1] == VAL and row.train.target in FILES
    return row.fate(command) if path[1] in own or from_training or is_checked_on else unneeded()


def _row_of(path: Path_) -> Row | None:
    """The row of a key; one that names it goes before one with a star."""
    if (row := _KEYS.get(".".join(path))) is not None:
        return row
    return next((row for key, row in _KEYS.items() if _fits(path, key)), None) if _is_known_set(path) else None


def _is_section(path: Path_) -> bool:
    """Whether there are keys below."""
    return _is_known_set(path) and any(_fits(path, parent) for parent in _PARENTS)


def _is_known_set(path: Path_) -> bool:
    """Of datasets and dataloaders there are three, with names; everything else is as the table says."""
    return len(path) < 2 or path[0] not in _BY_NAME or path[1] in _BY_NAME[path[0]]


def _fits(path: Path_, pattern: str) -> bool:
    parts = pattern.split(".")
    return len(parts) == len(path) and all(map(fnmatchcase, path, parts))


def _nearest(path: Path_) -> str:
    """The sentence that helps: a key of the same section, or of another where it has that name."""
    *parents, last = path
    elsewhere = [key for key in _KEYS if key.split(".")[-1] == last]
    if elsewhere:
        return f"did you mean {elsewhere[0]!r}?"
    if len(parents) == 1 and parents[0] in _BY_NAME:
        return nearest_name(last, _BY_NAME[parents[0]])
    split = [key.split(".") for key in {*_KEYS, *_PARENTS}]
    n = len(parents)
    known = {key[n] for key in split if len(key) > n and all(map(fnmatchcase, parents, key[:n]))}
    return nearest_name(last, known - {"*"})


def _grouped(keys: list[str], every: list[str]) -> list[str]:
    """Keys by name, and sections of which all that was said is among them."""
    for depth in (1, 2, 3):
        for section in dict.fromkeys(".".join(key.split(".")[:depth]) for key in keys):
            inside = [key for key in every if key.startswith(f"{section}.")]
            if len(inside) > 1 and set(inside) <= set(keys):
                keys = [key for key in keys if key not in inside] + [section]
    return sorted(keys)


def _nested(parts: Sequence[str], value: Any) -> dict[str, Any]:
    for part in reversed(parts):
        value = {part: value}
    return value  # type: ignore[no-any-return]


def _leaves(tree: Mapping[str, Any], path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    for name, value in tree.items():
        here = (*path, str(name))
        if isinstance(value, Mapping) and value and _row_of(here) is None:
            yield from _leaves(value, here)
        else:
            yield here, value


def _blank_where_missing(crops: dict[str, Any]) -> None:
    """Of several anchors DREEM shows nothing where one is missing, not the centroid, whatever it is told."""
    several = not isinstance(crops.get("anchors", ""), str) and len(crops["anchors"]) > 1
    if several and crops.get("handle_missing", "centroid") == "centroid":
        crops["handle_missing"] = "ignore"


def _finish_tracking(config: dict[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    """What follows from several keys together."""
    config.setdefault("tracker", {})["kind"] = "dreem"
    if "frames" in config:
        config["frames"] *= ((tree.get("dataset") or {}).get(TEST) or {}).get("clip_length") or 32
    return config


def _finish_training(config: dict[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    """What follows from several keys together, or from a section that is `null`."""
    model = config.setdefault("model", {})
    model["kind"] = "dreem"
    if (model.get("encoder") or {}).get("kind") == "descriptor":
        model["fourier"] = True  # DREEM has them with it, whatever it is told
    if "early_stopping" in tree and tree["early_stopping"] is None:
        config["stop_after"] = None
    own = (tree.get("dataset") or {}).get(TRAIN) or {}
    if "augmentations" in own:  # those that are named, and no others
        named = config.setdefault("data", {}).get("augment") or {}
        none: dict[str, Any] = dict.fromkeys(AugmentConfig.model_fields, 0.0)
        config["data"]["augment"] = {**none, "quarters": False, "scale": 1.0, **named}
        config["data"]["other_light"] = 1.0 if named else 0.0
    return config


def _files(tree: Mapping[str, Any], command: Command, form: str | None, meta: bool) -> Files:
    """The files of the datasets that a command has to do with."""
    own = (TRAIN, VAL) if command == "train" else (TEST,)
    datasets = {name: (tree.get("dataset") or {}).get(name) or {} for name in own}
    if command != "train":
        output = tree.get("outdir")
        return Files(datasets, Path(output) if output else None, form, meta, tree.get("ckpt_path"))
    about, model = tree.get("logging") or {}, tree.get("model") or {}
    run = [about[key] for key in ("group", "name") if about.get(key)]
    folder = (tree.get("checkpointing") or {}).get("dirpath") or (Path("models", *run) if run else None)
    return Files(datasets, Path(folder) if folder else None, model=model.get("ckpt_path"))
