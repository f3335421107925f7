"""Environments of the benchmarks' own: other people's trackers bring libraries that kintrack's must not meet."""

import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ENVIRONMENTS = Path(__file__).resolve().parent / ".envs"

# `trackers` asks for opencv-python, which brings a window system; the headless build has all that is used here.
PEERS_LIBRARIES = (
    "numpy", "scipy", "opencv-python-headless", "pydeprecate>=0.9,<0.14", "requests", "rich", "pillow", "pyyaml",
    "defusedxml", "matplotlib", "tqdm",
)  # fmt: skip
PEERS_PACKAGES = ("trackers==2.6.1", "supervision==0.31.2")


class NoEnvironment(Exception):
    """An environment is not there and cannot be made here; what needs it is not measured."""


def peers_python() -> Path:
    """The interpreter of the environment with SORT and its heirs, which is made the first time."""
    return make("peers", [PEERS_LIBRARIES, ("--no-deps", *PEERS_PACKAGES)])


def dreem_python(python: str = "python3.12") -> Path:
    """The interpreter of the environment with dreem-track, the incumbent, which is made the first time.

    Args:
        python: a Python 3.12, which is all that it installs on.
    """
    packages = ("dreem-track==0.5.1", "scikit-image")  # which it uses and does not ask for
    return make("dreem", [packages], python, free_gb=25.0)  # PyPI's torch brings CUDA: 7 GB on disk


def make(name: str, installs: Sequence[Sequence[str]], python: str | None = None, free_gb: float = 1.0) -> Path:
    """The interpreter of an environment of our own; made where it is missing, incomplete, or of other packages.

    Args:
        name: of its folder in `ENVIRONMENTS`.
        installs: arguments of one `pip install` after the other.
        python: the interpreter that it is made with; this one where not given.
        free_gb: room that must be left on the disk before it is made.

    Raises:
        NoEnvironment: no room, no such interpreter, or an install that failed.
    """
    folder = ENVIRONMENTS / name
    inside = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    done, recipe = folder / "complete.txt", "\n".join(" ".join(arguments) for arguments in installs)
    if done.is_file() and done.read_text() == recipe:
        return inside
    folder.parent.mkdir(exist_ok=True)
    free = shutil.disk_usage(folder.parent).free / 1e9
    if free < free_gb:
        raise NoEnvironment(f"{folder.parent} has {free:.0f} GB left, and the environment {name!r} wants {free_gb:.0f}")
    shutil.rmtree(folder, ignore_errors=True)
    print(f"making the environment {folder}, once ...", file=sys.stderr, flush=True)
    if python is None:
        venv.create(folder, with_pip=True)
    else:
        if shutil.which(python) is None:
            raise NoEnvironment(f"there is no {python} here, which the environment {name!r} is made with; name another")
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
    for arguments in installs:
        done_with = subprocess.run(
            [str(inside), "-m", "pip", "install", "-q", *arguments], capture_output=True, text=True
        )
        if done_with.returncode:
            raise NoEnvironment(f"pip install {' '.join(arguments)} failed:\n{done_with.stderr[-2000:]}")
    done.write_text(recipe)
    return inside
