"""Learning from tracks. The only importer of Lightning: names load their module on first use."""

import importlib
from typing import Any

_HOMES = {
    "AssoLoss": "loss",
    "GTRRunner": "runner",
    "fit": "fit",
    "init_optimizer": "optimizers",
    "init_scheduler": "optimizers",
}

__all__ = ["AssoLoss", "GTRRunner", "fit", "init_optimizer", "init_scheduler"]


def __getattr__(name: str) -> Any:
    """PEP 562: `import kintrack.training.loss` must not cost the four seconds that Lightning takes."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
