"""Tiny truths and predictions, and the code that made the golden numbers."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from kintrack.core.boxes import from_centre
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks


@pytest.fixture(scope="session")
def golden() -> ModuleType:
    """tests/golden/make_golden.py: random worlds, and TrackEval's numbers where it is installed."""
    path = Path(__file__).parents[1] / "golden" / "make_golden.py"
    spec = importlib.util.spec_from_file_location("make_golden", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def draw() -> Callable[..., Tracks]:
    """Tracks from a drawing: a word a frame, a place for each 10 pixels, a digit for an id, ``?`` for untracked."""

    def drawn(drawing: str, shift: float = 0.0, side: float = 8.0) -> Tracks:
        found = [
            (t, i, -1 if mark == "?" else int(mark))
            for t, word in enumerate(drawing.split())
            for i, mark in enumerate(word)
            if mark != "."
        ]
        frame, place, track = np.array(found, dtype=np.int64).reshape(-1, 3).T
        centre = np.stack([10.0 * place + 5 + shift, np.full(len(place), 5.0)], axis=1)
        return Tracks(Detections(frame, from_centre(centre, side)), track)

    return drawn
