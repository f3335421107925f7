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
from kintrack.core.sightings import FAST, SMOOTH, Memory, Sightings

ABOUT = "no weights: expected place, overlap and size; starts at once, loads no torch"

TRACKER: Mapping[str, Any] = {
    "memory": 1,
    "candidates": 8,
    "max_gap": 14,
    "gap_per_sighting": 1.04,
    "gate": 2.65,
    "confidence_temperature": 1.15,
    "confidence_bias": 2.16,
}
"""How the tracker is set for this model; chosen together with the numbers below."""


class MotionConfig(Config):
    """What each difference between a detection and a track is worth, in units of log-odds."""

    base: float = 3.07
    """What speaks for a link where nothing speaks against it."""
    residual: float = Field(0.55, ge=0)
    """Weight of the distance to where the track is expected by its newest sightings."""
    smoothed: float = Field(0.3, ge=0)
    """Weight of the distance to where it is expected by its smoothed path."""
    sigma: float = Field(0.276, gt=0)
    """Distance in sizes, after one frame, at which it begins to speak against a link."""
    spread: float = Field(0.984, ge=0)
    """Exponent by which that distance grows with the gap."""
    unknown: float = Field(1.75, ge=1)
    """How many times larger it is for a track with one sighting, whose velocity nobody knows."""
    noise: float = Field(0.315, ge=0)
    """Share of a track's own scatter, how far off its smoothed path it was so far, in the square of that distance."""
    overlap: float = Field(3.76, ge=0)
    """What a whole overlap with the track's box, moved to where it is expected, is worth more than none."""
    size: float = Field(0.491, ge=0)
    """Weight of the change of size: of its logarithm."""
    shape: float = Field(0.251, ge=0)
    """Weight of the change of proportions: of the logarithms of the sides over the size."""
    gap: float = Field(1.51, ge=0)
    """Weight of the logarithm of the gap in frames."""
    young: float = Field(0.122, ge=0)
    """What speaks against a track of one sighting, which was likely nothing; of n sightings, an n-th of it."""


class Motion:
    """Scores pairs of a query and a remembered sighting by motion, overlap and size; a `kintrack.tracking.Score`.

        base + overlap IoU - residual log(1 + (r / s)²) - smoothed log(1 + (q / s)²)
             - size |d log size| - shape |d log sides| - gap log(gap) - young / n
        s² = (sigma gap^spread)² + noise gap scatter

    where r and q are the distances in sizes to where the track, seen n times, is expected: by its newest sightings,
    and by its smoothed path. The logarithms are those of Student's distribution (with one degree of freedom where the
    weight is 1; Lange, Little and Taylor 1989): a large surprise is possible, only rare.

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
        count = np.maximum(known.count[r], 1)
        newest, smoothed = known.expected(r, gap, FAST), known.expected(r, gap, SMOOTH)
        unit = query.size[q] * known.size[r]  # of squares
        sigma = c.sigma * gap**c.spread * np.where(count > 1, 1.0, c.unknown)
        variance = unit * sigma**2 + c.noise * gap * known.scatter[r]
        moved = _boxes(known)[r] + np.tile(smoothed - known.centre[r], 2)
        change = query.shape[q, 0] - known.shape[r, 0]
        grown = change.mean(axis=1)
        return np.asarray(
            c.base
            + c.overlap * boxes.paired_iou(_boxes(query)[q], moved)
            - c.residual * np.log1p(((query.centre[q] - newest) ** 2).sum(axis=1) / variance)
            - c.smoothed * np.log1p(((query.centre[q] - smoothed) ** 2).sum(axis=1) / variance)
            - c.size * np.abs(grown)
            - c.shape * np.abs(change - grown[:, None]).mean(axis=1)
            - c.gap * np.log(gap)
            - c.young / count
        )


def _boxes(seen: Sightings) -> Floats:
    """The boxes; for a point or a line, the square of its size: without an area nothing overlaps."""
    flat = boxes.area(seen.box) <= 0
    if not flat.any():
        return seen.box
    square = boxes.from_centre(seen.centre, seen.size[:, None])
    return np.asarray(np.where(flat[:, None], square, seen.box))


__all__ = ["ABOUT", "TRACKER", "Motion", "MotionConfig"]
