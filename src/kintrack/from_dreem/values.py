"""From DREEM's values to ours, where they are said differently. A ValueError is the reason why there is none."""

from collections.abc import Mapping
from typing import Any, Final

from kintrack.errors import nearest_name

UNSAID: Final = object()
"""The value that says no more than our default does."""


def whole(value: Any) -> Any:
    """A limit. None is `null` here; DREEM has `.inf` for it, and fails at `null` (T8)."""
    if value is None or value == float("inf"):
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value


def off_at_zero(value: Any) -> Any:
    """What 0 turns off, None turns off here."""
    return value or None


def one_of(value: Any, *names: str) -> str:
    """A name out of several."""
    if value not in names:
        raise ValueError(f"there is no such choice: {nearest_name(str(value), names)}")
    return str(value)


def nodes(value: Any) -> list[str]:
    """Keypoints by name, the best first."""
    return [value] if isinstance(value, str) else list(value or [])


def anchors(value: Any) -> list[str]:
    """Keypoints by name; none is the centroid."""
    if isinstance(value, int):
        raise ValueError("keypoints drawn by chance are no place that a model can count on; name the keypoints instead")
    return [name or "centroid" for name in nodes(value) or ["centroid"]]


def side(value: Any) -> int:
    """The side of all crops, which DREEM lets differ between folders."""
    sides = set(value) if isinstance(value, list | tuple) else {value}
    if len(sides) != 1:
        raise ValueError("a model is shown crops of one size; give one number, and each folder a run of its own")
    return int(sides.pop())


def radius(value: Any) -> Any:
    """Of a dilation; 0 is none."""
    return side(value) or None


def intensity(value: Any) -> str:
    """Whether brightness ends at 1 or at 255."""
    return "unit" if value else "byte"


def dropout(value: Any) -> dict[str, Any]:
    """What is left out by chance, and how many at most."""
    given = _arguments(value, "p", "n")
    return {ours: given[theirs] for ours, theirs in {"share": "p", "most": "n"}.items() if theirs in given}


def chance(value: Any) -> float:
    """The share of clips in which something happens; 0.5 where Albumentations is not told."""
    return float((value or {}).get("p", 0.5))


def happens(value: Any) -> bool:
    """Whether it happens at all."""
    return chance(value) > 0


def rotate(value: Any) -> float:
    """Most degrees to either side."""
    return _most(value, "limit", 90.0)


def scale(value: Any) -> float:
    """The greatest factor."""
    return 1.0 + _most(value, "scale_limit", 0.1)


def light(value: Any) -> dict[str, float]:
    """Spread of brightness and of contrast."""
    return {name: _most(value, f"{name}_limit", 0.2) for name in ("brightness", "contrast")}


def _most(value: Any, name: str, default: float) -> float:
    """Albumentations takes a number, or the two ends of a range; nothing happens where `p` is 0."""
    found = (value or {}).get(name, default)
    ends = found if isinstance(found, list | tuple) else [found]
    return max(abs(float(end)) for end in ends) if happens(value) else 0.0


def _arguments(value: Any, *names: str) -> Mapping[str, Any]:
    for name in value or {}:
        one_of(name, *names)
    return value or {}


def format_name(value: Any) -> Any:
    """The format of results; that of the input is not named."""
    if value == "both":
        raise ValueError("a run writes one format; give native, and `kintrack convert` makes a table of the result")
    return UNSAID if one_of(value, "native", "csv") == "native" else "csv"


def device(value: Any) -> str:
    """Where a model runs."""
    return one_of("cuda" if value == "gpu" else value, "auto", "cpu", "cuda", "mps")


def precision(value: Any) -> str:
    """Whether the network's numbers have 16 bits."""
    return "exact" if one_of("32" if value is None else str(value), *_WHOLE, *_HALF) in _WHOLE else "half"


_WHOLE, _HALF = ("32", "32-true"), ("16", "bf16", "16-mixed", "bf16-mixed", "16-true", "bf16-true")


def clips(value: Any) -> Any:
    """A number of clips; 1.0 are all."""
    if value is None or (isinstance(value, float) and value == 1.0):
        return UNSAID
    if value < 1 or value != int(value):
        raise ValueError("a share is no number of clips; give the number itself, as data.clips")
    return int(value)


frames = clips


def minutes(value: Any) -> float | None:
    """A time, `days:hours:minutes:seconds` or by its units, in minutes."""
    if value is None:
        return None
    units = {"days": 1440.0, "hours": 60.0, "minutes": 1.0, "seconds": 1 / 60, "weeks": 10080.0}
    if isinstance(value, str):
        parts = value.split(":")
        if len(parts) != 4 or not all(part.strip().isdigit() for part in parts):
            raise ValueError("a time is written as days:hours:minutes:seconds, like 00:12:00:00")
        return sum(int(part) * units[unit] for part, unit in zip(parts, units, strict=False))
    return float(sum(number * units[one_of(unit, *units)] for unit, number in value.items()))


def monitor(value: Any) -> str:
    """The measure that decides which epoch is best."""
    names = [value] if isinstance(value, str) else list(value or ["val_loss"])
    if len(names) != 1:
        raise ValueError("one measure decides which epoch is best; give one, like val_loss")
    return str(names[0])


def loggers(value: Any) -> list[str]:
    """Where the log goes besides metrics.csv."""
    known = {"CSVLogger": [], "TensorBoardLogger": ["tensorboard"], "WandbLogger": ["wandb"]}
    return known[one_of(value, *known)] if value else []


def angle(value: Any) -> float:
    """None allows any turn in DREEM, as 0 does here."""
    return 0.0 if value is None else value


def encoder(value: Any) -> dict[str, Any]:
    """What turns a crop into a feature."""
    from kintrack.models.dreem_config import DreemEncoderConfig

    return DreemEncoderConfig.of_dreem(value or {}).to_dict()


def optimizer(value: Any) -> dict[str, Any]:
    """Its name and arguments; without a name, those are Adam's."""
    return dict(value or {"name": "Adam"})


def scheduler(value: Any) -> dict[str, Any]:
    """Its name and arguments, looked at after each epoch."""
    given = dict(value or {"name": "ReduceLROnPlateau", "mode": "min", "factor": 0.5, "patience": 10})
    if isinstance(given.get("name"), list | tuple):
        raise ValueError(
            "several schedulers after each other are not built here; take one of them, or none (`kintrack: {scheduler: "
            "null, schedule: cosine, warmup: 100}` is what they are mostly for)"
        )
    return {**given, "frequency": 1} if "name" in given else given
