"""What a tracker's memory tells of the scene as a whole: how often one is missed, how many come and go, how they move.

One model serves cells that vanish for good and animals that a detector misses in every tenth frame, exact annotations
and shaky ones. Which of them it looks at, the last few frames say, and so it is told: the same gap is a reason to give
a track up in one scene and to wait in another.
"""

from typing import NamedTuple

import numpy as np

from kintrack.core.detections import Floats, Ints
from kintrack.core.sightings import FAST, Memory, Sightings
from kintrack.windows.camera import STILL, Jerk, jerk_of

HORIZON = 10
"""Frames back from the one that is asked about that count."""
DOUBT = 10.0
"""How many sightings of the usual kind are added to those that were seen, so that few prove little."""
USUAL_RATE = 0.02
"""The share of sightings at which something happens, where nothing is known."""
USUAL_SCATTER, USUAL_STEP = 0.05, 0.1  # sizes
LEAST = 0.01  # sizes that are added to lengths before their logarithm is taken: an annotation is no more exact


class Conditions(NamedTuple):
    """What is the same for all that a frame asks; the defaults are those of a scene of which nothing is known."""

    misses: float = 0.0
    """How often a track goes on after a gap, against the usual: the logarithm of the ratio."""
    gap: float = 0.0
    """Mean logarithm of the steps of tracks, in frames."""
    flashes: float = 0.0
    """How many tracks are seen once and never again, as likely nothing is; as `misses`."""
    births: float = 0.0
    """How many tracks of several sightings begin; as `misses`."""
    losses: float = 0.0
    """How many tracks of several sightings are not seen any more, or not at the moment; as `misses`."""
    scatter: float = USUAL_SCATTER
    """How far off their smoothed paths tracks are, in sizes: the geometric mean."""
    step: float = USUAL_STEP
    """How far they move, in sizes over the square root of frames: the geometric mean."""
    velocity: Floats | float = 0.0
    """(ndim,) pixels per frame that they have in common, because they fly together or the camera turns."""
    jerk: Jerk = STILL
    """By how much all are off at once in the frame that is asked about."""


UNKNOWN = Conditions()


def conditions_of(query: Sightings, memory: Memory, pairs: Ints) -> Conditions:
    """The scene as the memory knows it when a frame is asked about, and what the camera did since.

    Args:
        query: the frame's detections. But for the camera's motion they play no part.
        pairs: (E, 2) their candidates, rows of the query and of the memory.
    """
    seen = memory.sightings
    if not len(seen) or not len(query):
        return UNKNOWN
    frame = int(query.frame[0])
    recent = frame - seen.frame <= HORIZON
    later, earlier = memory.steps
    later, earlier = later[recent[later]], earlier[recent[later]]
    took = (seen.frame[later] - seen.frame[earlier]).astype(np.float64)
    moved = np.linalg.norm(seen.centre[later] - seen.centre[earlier], axis=1) / (seen.size[later] * np.sqrt(took))
    last = memory.last[recent[memory.last]]
    gone, once = seen.frame[last] < frame - 1, seen.count[last] == 1
    moving = last[seen.count[last] > 1]
    settled = last[seen.count[last] > 2]
    n = int(recent.sum())
    return Conditions(
        misses=_against_usual((took > 1).sum(), len(took)),
        gap=float(np.log(took).sum() / (len(took) + DOUBT)),
        flashes=_against_usual((gone & once).sum(), n),
        births=_against_usual((recent & (seen.count == 1) & (memory.rank > 0)).sum(), n),
        losses=_against_usual((gone & ~once).sum(), n),
        scatter=_mean_length(np.sqrt(seen.scatter[settled]) / seen.size[settled], USUAL_SCATTER),
        step=_mean_length(moved, USUAL_STEP),
        velocity=_geometric_median(seen.velocity[moving, FAST]) if len(moving) else 0.0,
        jerk=jerk_of(query, memory, pairs),
    )


def _against_usual(happened: float, n: float) -> float:
    """Logarithm of a rate over the usual one; 0 where nothing was seen."""
    return float(np.log((happened / USUAL_RATE + DOUBT) / (n + DOUBT)))


def _mean_length(lengths: Floats, usual: float) -> float:
    """The geometric mean of lengths and a usual one."""
    total = np.log(lengths + LEAST).sum() + np.log(usual + LEAST)
    return float(np.exp(total / (len(lengths) + 1))) - LEAST


def _geometric_median(points: Floats, rounds: int = 4) -> Floats:
    """(ndim,) the point from which all are the least far in sum, nearly: some rounds of Weiszfeld's weights.

    Unlike the median of each coordinate it turns with the scene.
    """
    middle = points.mean(axis=0)
    for _ in range(rounds):
        far = np.linalg.norm(points - middle, axis=1)
        weight = 1.0 / (far + 0.1 * far.mean() + 1e-12)
        middle = weight @ points / weight.sum()
    return np.asarray(middle)
