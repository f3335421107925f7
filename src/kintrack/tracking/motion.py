"""The model `motion`: who is who by where each one is expected, how large it is, and how its boxes overlap.

No weights and no torch: a handful of numbers that `benchmarks/tune_motion.py` chose. It is what a model that has
learned must beat, and what tracks where none fits.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kintrack.config import Config
from kintrack.core import boxes
from kintrack.core.detections import Floats, Ints
from kintrack.core.sightings import Memory, Sightings, travel

ABOUT = "no weights: expected place, overlap and size; starts at once, loads no torch"

TRACKER: Mapping[str, Any] = {
    "memory": 1,
    "candidates": 8,
    "max_gap": 8,
    "gap_per_sighting": 1.04,
    "gate": 4.64,
    "confidence_temperature": 1.0,
    "confidence_bias": 0.0,
}
"""How the tracker is set for this model; chosen together with the numbers below."""


class MotionConfig(Config):
    """What each difference between a detection and a track is worth, in units of log-odds."""

    base: float = 3.12
    """What speaks for a link where nothing speaks against it."""
    residual: float = Field(0.837, ge=0)
    """Weight of the distance to where the track is expected."""
    sigma: float = Field(0.266, gt=0)
    """Distance in sizes, after one frame, at which it begins to speak against a link."""
    spread: float = Field(0.931, ge=0)
    """Exponent by which that distance grows with the gap."""
    unknown: float = Field(1.61, ge=1)
    """How many times larger it is for a track with one sighting, whose velocity nobody knows."""
    overlap: float = Field(2.89, ge=0)
    """What a whole overlap with the track's box, moved to where it is expected, is worth more than none."""
    size: float = Field(0.575, ge=0)
    """Weight of the change of size: of its logarithm."""
    shape: float = Field(0.272, ge=0)
    """Weight of the change of proportions: of the logarithms of the sides over the size."""
    gap: float = Field(1.74, ge=0)
    """Weight of the logarithm of the gap in frames."""


class Motion:
    """Scores pairs of a query and a remembered sighting by motion, overlap and size; a `kintrack.tracking.Score`.

        base + overlap IoU - residual log(1 + (r / s)²) - size |d log size| - shape |d log sides| - gap log(gap)

    where r is the distance in sizes to where the track is expected and s = sigma gap^spread. The third term is the
    logarithm of Student's distribution (with one degree of freedom where its weight is 1; Lange, Little and Taylor
    1989): a large surprise is possible, only rare.

    Args:
        config: a `MotionConfig`, or a mapping of its keys.
    """

    visual_encoder = None
    """It does not look at pixels."""

    def __init__(self, config: MotionConfig | Mapping[str, Any] | None = None) -> None:
        self.config = MotionConfig.of(config)
        self.card: dict[str, Any] = {"about": ABOUT, "tracker": dict(TRACKER)}

    def __call__(self, query: Sightings, memory: Memory, pairs: Ints) -> NDArray[np.float64]:
        """(E,) the logit of each pair of a query's row and a memory's row."""
        c, known = self.config, memory.sightings
        q, r = pairs[:, 0], pairs[:, 1]
        gap = np.maximum(query.frame[q] - known.frame[r], 1).astype(np.float64)
        ahead = expected(known, r, gap)
        unit = np.sqrt(query.size[q] * known.size[r])
        residual = np.sqrt(((query.centre[q] - ahead) ** 2).sum(axis=1)) / unit
        sigma = c.sigma * gap**c.spread * np.where(known.count[r] > 1, 1.0, c.unknown)
        moved = _boxes(known)[r] + np.tile(ahead - known.centre[r], 2)
        change = np.abs(_log_sides(query)[q] - _log_sides(known)[r])
        grown = np.log(query.size[q] / known.size[r])
        return np.asarray(
            c.base
            + c.overlap * boxes.paired_iou(_boxes(query)[q], moved)
            - c.residual * np.log1p((residual / sigma) ** 2)
            - c.size * np.abs(grown)
            - c.shape * change.mean(axis=1)
            - c.gap * np.log(gap)
        )


def expected(known: Sightings, rows: Ints, gap: Floats) -> Floats:
    """(E, ndim) where the tracks of remembered sightings are expected after `gap` frames."""
    return np.asarray(known.centre[rows] + travel(known.velocity[rows, 0], gap))


def _boxes(seen: Sightings) -> Floats:
    """The boxes; for a point or a line, the square of its size: without an area nothing overlaps."""
    flat = boxes.area(seen.box) <= 0
    if not flat.any():
        return seen.box
    square = boxes.from_centre(seen.centre, seen.size[:, None])
    return np.asarray(np.where(flat[:, None], square, seen.box))


def _log_sides(seen: Sightings) -> Floats:
    """(N, ndim) logarithm of the sides over the size; 0 of a point's."""
    sides = boxes.sides(seen.box) / seen.size[:, None]
    return np.asarray(np.log(np.where(sides > 0, sides, 1.0)))


__all__ = ["ABOUT", "TRACKER", "Motion", "MotionConfig"]
