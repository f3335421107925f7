"""Every key of DREEM's YAML configs, and what becomes of it here: one table, of which the docs print what it says.

A key is mapped to an option or an argument of ours, refused with a reason, or without use: it had no effect in DREEM,
or what it asks for is so here anyway. `kintrack.dreem_configs` applies it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["mapped", "refused", "no effect", "not needed", "compared"]
Command = Literal["train", "track", "eval"]
INPUT, VIDEO, VAL, OUTPUT, MODEL = FILES = "INPUT", "--video", "--val", "--output", "--model"
"""Targets that are no options of a config, but files that a command is given."""
FORMAT, META = "--format", "--save-meta"
"""Others that a command is given."""


def as_it_is(value: Any) -> Any:
    """The value of ours that says the same: the same."""
    return value


@dataclass(frozen=True)
class Fate:
    """What becomes of a key.

    Args:
        kind: mapped, refused, compared with the checkpoint, or of no use.
        target: where mapped, the option of ours, or an argument of a command.
        why: the reason, or what else to know.
        convert: from DREEM's value to ours; raises ValueError with the reason where there is none.
        unless: values that are not refused, as they say what is so anyway.
    """

    kind: Kind
    target: str = ""
    why: str = ""
    convert: Callable[[Any], Any] = field(default=as_it_is, compare=False)
    unless: tuple[Any, ...] = ()

    def __str__(self) -> str:
        if self.kind == "mapped":
            return f"`{self.target}`" + (f"; {self.why}" if self.why else "")
        known = [f"`{as_yaml(value)}`" for value in self.unless if value is not None]
        but = f" unless {' or '.join(known)}" if known else ""
        return f"{self.kind}{but}" + (f": {self.why}" if self.why else "")


@dataclass(frozen=True)
class Row:
    """Keys of a section that share their fate.

    Args:
        section: what stands before their names; `*` is for any one name.
        names: of the keys, with spaces between.
        train: their fate in `kintrack train`.
        track: in `kintrack track` and `kintrack eval`.
    """

    section: str
    names: str
    train: Fate
    track: Fate

    @property
    def keys(self) -> list[str]:
        """With dots, from the top."""
        return [f"{self.section}.{name}".removeprefix(".") for name in self.names.split()]

    def fate(self, command: Command) -> Fate:
        """What becomes of them in a command."""
        return self.train if command == "train" else self.track


def to(target: str, why: str = "", convert: Callable[[Any], Any] = as_it_is) -> Fate:
    """It is an option of ours."""
    return Fate("mapped", target, why, convert)


def refused(why: str, *unless: Any) -> Fate:
    """It asks for what is not here."""
    return Fate("refused", "", why, unless=unless)


def idle(why: str = "") -> Fate:
    """It had no effect in DREEM."""
    return Fate("no effect", "", why)


def unneeded(why: str = "") -> Fate:
    """It is so here without being told, or is not of this command."""
    return Fate("not needed", "", why)


def compared(target: str, convert: Callable[[Any], Any] = as_it_is) -> Fate:
    """It must say what the checkpoint says."""
    return Fate("compared", target, "with the checkpoint, and refused where it says otherwise (C11)", convert)


def as_yaml(value: Any) -> str:
    """A plain value as a config says it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return ".inf" if value == float("inf") else str(value)


def is_one_of(value: Any, known: tuple[Any, ...]) -> bool:
    """Whether a value is among others, and of their kind: 1 batch is not 1.0, which is all."""
    return any(value == other and type(value) is type(other) for other in known)
