"""How a config is made of what was given: mappings, YAML, dotted assignments; and what is said where that fails.

What can be set is in `kintrack.config`.
"""

import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, get_args

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict

from kintrack.errors import ConfigError, InputError, nearest_name

_TOLD = 3  # mistakes that one message names


class Config(BaseModel):
    """Base of every config: a frozen value, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @classmethod
    def of(cls, given: Self | Mapping[str, Any] | None = None) -> Self:
        """A config from one of its own kind, a mapping, or nothing (the defaults).

        Raises:
            ConfigError: naming the key, its value, and the nearest known key.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, BaseModel):
            given = given.model_dump()
        if given is not None and not isinstance(given, Mapping):
            raise ConfigError(
                f"{given!r} is no config; wanted a {cls.__name__}, a mapping of its options, or None for the defaults"
            )
        try:
            return cls.model_validate(dict(given or {}))
        except pydantic.ValidationError as error:
            raise ConfigError(_sentences(cls, error)) from None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts: what is written to files and checkpoints."""
        return self.model_dump(mode="json")


def _sentences(config: type[BaseModel], error: pydantic.ValidationError) -> str:
    """What pydantic found, in our words: the dotted key, what it holds, what it should be."""
    lines = []
    for found in error.errors():
        *parents, key = found["loc"] or ("config",)
        dotted = ".".join(str(part) for part in found["loc"])
        if found["type"] == "extra_forbidden":
            lines.append(f"unknown option {dotted!r}: {nearest_name(str(key), _fields(config, parents))}")
        elif found["type"] == "value_error":  # our own words, of several options together
            lines.append(f"{dotted}: {found['ctx']['error']}" if dotted else str(found["ctx"]["error"]))
        else:
            lines.append(
                f"option {dotted!r} is {reprlib.repr(found.get('input'))}: {found['msg'][0].lower()}{found['msg'][1:]}"
            )
    more = (
        [f"and {len(lines) - _TOLD} more like these: is this the config of something else?"]
        if len(lines) > _TOLD
        else []
    )
    return "; ".join(lines[:_TOLD] + more)


def _fields(config: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """The keys known at a place in a tree of configs."""
    for part in path:
        field = config.model_fields.get(str(part))
        kinds = [field.annotation, *get_args(field.annotation)] if field else []
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if inner is None:
            return []
        config = inner
    return list(config.model_fields)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"config file {path} does not exist; give the path of a YAML file")
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"config file {path} is not YAML: {error}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(f"config file {path} holds a {type(found).__name__}; wanted keys and values")
    return found


def parse_overrides(assignments: Sequence[str]) -> dict[str, Any]:
    """`a.b=c` assignments as a nested mapping; the right side is read as YAML.

    >>> parse_overrides(["tracker.max_gap=5", "model.encoder.kind=conv"])
    {'tracker': {'max_gap': 5}, 'model': {'encoder': {'kind': 'conv'}}}
    """
    tree: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(
                f"--set {assignment!r} assigns nothing; write it as part.option=value, like tracker.max_gap=30"
            )
        *path, last = key.strip().split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise ConfigError(f"--set {assignment!r} goes on from {part!r}, which another --set made {node!r}")
        try:
            node[last] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"--set {assignment!r} holds no YAML value; quote what is text") from None
    return tree


def merge(*trees: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings laid over each other; the later ones win, key by key.

    >>> merge({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}})
    {'a': {'x': 1, 'y': 3}}
    """
    result: dict[str, Any] = {}
    for tree in trees:
        for key, value in tree.items():
            both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
            result[key] = merge(result[key], value) if both else (dict(value) if isinstance(value, Mapping) else value)
    return result


def contradictions(said: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What one tree says otherwise than another, of the keys that both have: both values, by the dotted key.

    >>> contradictions({"dim": 32, "encoder": {"kind": "conv"}}, {"dim": 48, "encoder": {"kind": "conv"}, "heads": 4})
    {'dim': (32, 48)}
    """
    found: dict[str, tuple[Any, Any]] = {}
    for key in (key for key in said if key in known):
        here, there = said[key], known[key]
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            found |= {f"{key}.{inner}": both for inner, both in contradictions(here, there).items()}
        elif (list(here) if isinstance(here, tuple) else here) != (list(there) if isinstance(there, tuple) else there):
            found[key] = here, there
    return found
