"""Trajectories on one picture: the position of every track over time, a panel for each tracker, mistakes ringed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from kintrack.core.detections import Ints
from kintrack.core.tracks import Tracks
from kintrack.viewer.palette import colours_of

_MARGIN, _TITLE, _FINE = 12, 26, 2  # _FINE: drawn this much larger, then shrunk, for smooth lines
_INK, _GRID, _MISTAKE = (40, 40, 40), (225, 225, 225), (200, 0, 0)


@dataclass(frozen=True, eq=False)
class Panel:
    """One strip of the picture.

    Args:
        title: written above it.
        tracks: what is drawn.
        colour: (N,) the number whose colour each row has; each row's own track where not given.
        mistakes: rows that are ringed.
    """

    title: str
    tracks: Tracks
    colour: Ints | None = None
    mistakes: Ints = field(default_factory=lambda: np.zeros(0, np.int64))


def draw_paths(panels: Sequence[Panel], width: int = 1280, height: int = 300, axis: int = 0) -> NDArray[np.uint8]:
    """(Y, X, 3) uint8: time from left to right, position from bottom to top, the same scale in all panels.

    Args:
        panels: from top to bottom.
        width: of all, in pixels.
        height: of one panel, in pixels.
        axis: which coordinate is shown: 0 is x, 1 is y.
    """
    w, h = width * _FINE, height * _FINE
    picture = Image.new("RGB", (w, h * len(panels)), (255, 255, 255))
    pen = ImageDraw.Draw(picture)
    n_frames = max((p.tracks.detections.n_frames for p in panels), default=1)
    places = [p.tracks.detections.centre[:, axis] for p in panels]
    known = np.concatenate(places) if places else np.zeros(0)
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    for i, (panel, place) in enumerate(zip(panels, places, strict=True)):
        left, right = _MARGIN * _FINE, w - _MARGIN * _FINE
        top, bottom = i * h + _TITLE * _FINE, (i + 1) * h - _MARGIN * _FINE
        x = left + (panel.tracks.detections.frame + 0.5) / max(n_frames, 1) * (right - left)
        y = bottom - (place - low) / max(high - low, 1e-9) * (bottom - top)
        pen.rectangle((left, top, right, bottom), outline=_GRID, width=_FINE)
        _draw_panel(pen, panel, np.stack([x, y], axis=1))
        _write(pen, (left, i * h + 5 * _FINE), panel.title)
    return np.asarray(picture.resize((width, height * len(panels)), Image.Resampling.BOX))


def _draw_panel(pen: ImageDraw.ImageDraw, panel: Panel, at: NDArray[np.float64]) -> None:
    """Each link of each track as a line, thin where frames were skipped; then the rings."""
    tracks = panel.tracks
    colours = colours_of(tracks.track if panel.colour is None else panel.colour).tolist()
    links = tracks.links()
    skipped = np.diff(tracks.detections.frame[links], axis=1)[:, 0] > 1
    for (a, b), gap in zip(links.tolist(), skipped.tolist(), strict=True):
        if np.isfinite(at[[a, b]]).all():
            pen.line((*at[a], *at[b]), fill=tuple(colours[a]), width=_FINE * (1 if gap else 2))
    for row in panel.mistakes.tolist():
        x, y = at[row]
        r = 6 * _FINE
        pen.ellipse((x - r, y - r, x + r, y + r), outline=_MISTAKE, width=_FINE)


def _write(pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str) -> None:
    pen.text(at, text, fill=_INK, font=ImageFont.load_default(size=15 * _FINE))
