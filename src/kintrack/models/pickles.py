"""Reads a torch checkpoint without making any object that it names: these are noted, and stand there inert.

torch's safe mode refuses a whole file for one object that it does not know, and so the weights of a checkpoint that
also holds, say, OmegaConf's dictionaries. Here nothing is imported and nothing of the file's is called; containers and
tensors are built by this module's own functions.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kintrack.errors import CheckpointError

# What checkpoints of Lightning models name without meaning harm. Whatever else a file names, it is refused.
_HARMLESS = (
    "torch", "numpy", "omegaconf", "collections", "typing", "pathlib", "enum", "argparse", "pytorch_lightning",
    "lightning", "lightning_fabric", "lightning_utilities", "torchmetrics", "dreem", "_codecs",
)  # fmt: skip

_CONTAINERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": OrderedDict, "builtins.dict": dict, "builtins.list": list, "builtins.set": set,
    "builtins.tuple": tuple, "builtins.int": int, "builtins.float": float, "builtins.bool": bool, "builtins.str": str,
    "torch.Size": tuple,
}  # fmt: skip

_TODAY = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # torch's pickles name modules as Python 2 did

_DTYPES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


class Inert:
    """Stands for an object that a pickle wanted made: what it was to be made of, and nothing that does anything."""

    path = ""

    def __new__(cls, *arguments: Any, **_: Any) -> "Inert":
        made = super().__new__(cls)
        made.arguments, made.state, made.pairs, made.items = arguments, None, {}, []
        return made

    arguments: tuple[Any, ...]
    state: Any
    pairs: dict[Any, Any]
    items: list[Any]

    def __init__(self, *_: Any) -> None:
        """What it is given is kept by `__new__`."""

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.pairs[key] = value

    def append(self, item: Any) -> None:
        self.items.append(item)

    def extend(self, items: Any) -> None:
        self.items.extend(items)


@dataclass(frozen=True)
class _Storage:
    """Where numbers lie in the file."""

    key: str
    dtype: torch.dtype


@dataclass(frozen=True)
class LazyTensor:
    """A tensor that is not read yet."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class Contents:
    """What a checkpoint holds, and the objects that were named in it and not made."""

    value: Any
    named: tuple[str, ...]


def read_inert(path: Path) -> Contents:
    """The contents of a torch checkpoint; tensors are read, objects stand there as `Inert`.

    Raises:
        CheckpointError: the file is damaged, or names what no checkpoint needs: that is code, and may be an attack.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entry = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            with archive.open(entry) as file:
                reader = _Reader(file, path)
                value = reader.load()
            numbers = _Numbers(archive, entry.removesuffix("data.pkl"))
            return Contents(_with_tensors(value, numbers), tuple(sorted(reader.named)))
    except CheckpointError:
        raise
    except RecursionError:
        raise CheckpointError(f"{path} is nested too deep to be a checkpoint; it was refused") from None
    except Exception as error:  # a damaged pickle fails in as many ways as there are bytes
        raise CheckpointError(f"{path} is damaged or no torch checkpoint ({error!r}); give it again, whole") from error


def objects_named(path: Path) -> tuple[str, ...]:
    """The objects that a checkpoint wants made and that are no plain values; empty where it is damaged or code."""
    with suppress(CheckpointError):
        return read_inert(path).named
    return ()


class _Reader(pickle.Unpickler):
    """Looks nothing up and imports nothing: `find_class` gives containers, our own functions, or something inert."""

    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file, encoding="utf-8")
        self.path = path
        self.named: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        module = _TODAY.get(module, module)
        full = f"{module}.{name}"
        if full in _CONTAINERS:
            return _CONTAINERS[full]
        if full in _REBUILD:
            return _REBUILD[full]
        if module.partition(".")[0] not in _HARMLESS:
            raise CheckpointError(
                f"{self.path} wants {full} to be called; no checkpoint needs that, so the file was refused, and "
                "nothing in it was run: take it from a source that you trust"
            )
        if not (module == "torch" and name.endswith("Storage")):
            self.named.add(full)
        return type(name, (Inert,), {"path": full})

    def persistent_load(self, identity: Any) -> _Storage:
        _, kind, key, *_ = identity
        return _Storage(str(key), _DTYPES[kind.path.rpartition(".")[2]])


def _tensor(storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> LazyTensor:
    return LazyTensor(storage, offset, tuple(size), tuple(stride))


def _parameter(data: Any, *_: Any) -> Any:
    return data


_REBUILD: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
}


class _Numbers:
    """The storages of an archive, each read once."""

    def __init__(self, archive: zipfile.ZipFile, prefix: str) -> None:
        self.archive, self.prefix = archive, prefix
        self.read: dict[_Storage, Tensor] = {}
        names = archive.namelist()
        if f"{prefix}byteorder" in names and archive.read(f"{prefix}byteorder") != b"little":
            raise ValueError("its numbers are big-endian")

    def __call__(self, lazy: LazyTensor) -> Tensor:
        if lazy.storage not in self.read:
            raw = bytearray(self.archive.read(f"{self.prefix}data/{lazy.storage.key}"))
            dtype = lazy.storage.dtype
            self.read[lazy.storage] = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
        return self.read[lazy.storage].as_strided(lazy.size, lazy.stride, lazy.offset).clone()


def _with_tensors(value: Any, numbers: _Numbers) -> Any:
    """The same containers, with tensors in the place of where they lie."""
    if isinstance(value, LazyTensor):
        return numbers(value)
    if isinstance(value, dict):
        return {key: _with_tensors(item, numbers) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_tensors(item, numbers) for item in value]
    return value


def plain(value: Any, where: str = "config") -> Any:
    """Numbers, text, lists and dictionaries of what a config held, OmegaConf's objects opened.

    Raises:
        CheckpointError: something in it is neither, or refers to what is elsewhere.
    """
    if isinstance(value, Inert):
        return _opened(value, where)
    if isinstance(value, dict):
        return {str(plain(key, where)): plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}.{i}") for i, item in enumerate(value)]
    if isinstance(value, str) and "${" in value:
        raise CheckpointError(f"{where} is {value!r}, which refers to a config that the checkpoint does not hold")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise CheckpointError(f"{where} is a {type(value).__name__}, which is no value of a config")


def _opened(value: Inert, where: str) -> Any:
    """What a dictionary, list or value of OmegaConf, of Lightning or of argparse holds."""
    state = value.state if isinstance(value.state, dict) else {}
    if "_content" in state:
        return plain(state["_content"], where)
    if value.path.startswith("omegaconf.") and "_val" in state:
        return plain(state["_val"], where)
    if value.path.endswith((".AttributeDict", ".defaultdict")):
        return plain(value.pairs, where)
    if value.path == "argparse.Namespace":
        return plain(state, where)
    if value.path.startswith("pathlib."):
        return "/".join(str(part) for part in value.arguments)
    raise CheckpointError(f"{where} is an object of {value.path}, which cannot be read without running it")


__all__ = ["Contents", "Inert", "objects_named", "plain", "read_inert"]
