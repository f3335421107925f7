"""What a report of a problem should begin with."""

import os
import platform
import sys
from typing import Any

from kintrack import io
from kintrack._version import __version__
from kintrack.loading import models_here

_PACKAGES = ("torch", "pytorch-lightning", "numpy", "scipy", "pydantic", "av", "tifffile", "safetensors", "h5py")


def info() -> dict[str, Any]:
    """What a report of a problem should say: versions, devices, models."""
    from importlib.metadata import PackageNotFoundError, version

    import torch

    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    devices = [f"cuda:{i} {name}" for i, name in enumerate(gpus)]
    devices += ["mps"] * torch.backends.mps.is_available() + [f"cpu ({os.cpu_count()} cores)"]
    return {
        "kintrack": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "devices": devices,
        "packages": packages,
        "models": models_here(),
        "formats": {name: known.about for name, known in io.FORMATS.items()},
    }
