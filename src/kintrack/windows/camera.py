"""By how much all of a frame's detections are off at once: the camera moved, and nobody needs the pixels to know it.

The right candidates of a jerk of the camera are all off by the same displacement, the wrong ones by any. So each
candidate pair votes for the displacement by which it is off, and the displacement with the most votes is the camera's
(as in a Hough transform; the refinement is mean shift: Comaniciu and Meer 2002).
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from kintrack.core.detections import Floats, Ints
from kintrack.core.sightings import SMOOTH, Memory, Sightings

REACH = 0.25
"""Sizes by which the displacements of two pairs may differ and still agree; the less they differ, the more."""
PROPOSERS = 64
"""Tracks whose candidates are tried as the answer: those that stand most alone. All have a vote."""


class Jerk(NamedTuple):
    """What the camera did since the frame before."""

    shift: Floats | float = 0.0
    """(ndim,) pixels by which all are off from where their own motion takes them."""
    votes: float = 0.0
    """How many pairs agree with it, against as many tracks or detections as there are, the fewer."""
    gain: float = 0.0
    """How many agree with it, against how many say that the camera did not move: the logarithm of the ratio."""


STILL = Jerk()


def jerk_of(query: Sightings, memory: Memory, pairs: Ints) -> Jerk:
    """The displacement that most candidates of a frame have in common; none where nobody is a candidate.

    Args:
        query: the detections of one frame.
        pairs: (E, 2) candidates, rows of the query and of the memory.
    """
    known = memory.sightings
    newest = memory.rank[pairs[:, 1]] == 0
    q, r = (pairs if newest.all() else pairs[newest]).T
    if not len(q):
        return STILL
    gap = np.abs(query.frame[q] - known.frame[r]).astype(np.float64)
    unit = float(np.median(np.sqrt(query.size[q] * known.size[r])))
    off = (query.centre[q] - known.expected(r, gap, SMOOTH)) / unit
    shift = _most_common(off, off[_proposing(known.crowding[memory.last], memory.last, r)])
    votes, still = _agreement(off, shift).sum(), _agreement(off, 0.0).sum()
    n = min(len(query), len(memory.last))
    return Jerk(shift * unit, float(votes) / n, float(np.log((votes + 1.0) / (still + 1.0))))


def _proposing(crowding: Floats, last: Ints, r: Ints) -> Ints:
    """The pairs of tracks that stand alone: their candidates are few, so theirs are mostly right."""
    if len(last) <= PROPOSERS:
        return np.arange(len(r))
    alone = last[np.argsort(-crowding, kind="stable")[:PROPOSERS]]
    found = np.flatnonzero(np.isin(r, alone))
    return found if len(found) else np.arange(len(r))


def _most_common(off: Floats, proposed: Floats, rounds: int = 3) -> Floats:
    """(ndim,) where the (E, ndim) displacements are densest, from the densest one proposed; the least of equals."""
    near = _n_near(proposed, off)
    best = np.flatnonzero(near == near.max())
    middle: Floats = proposed[best[np.argmin((proposed[best] ** 2).sum(axis=1))]]
    for _ in range(rounds):
        weight = _agreement(off, middle)
        middle = weight @ off / weight.sum()
    return middle


def _n_near(points: Floats, others: Floats) -> Ints:
    """(P,) how many of the others are within the reach of each point."""
    if len(others) < 200:  # the tree pays from there on
        return np.asarray((cdist(points, others) <= REACH).sum(axis=1))
    return np.asarray(cKDTree(others).query_ball_point(points, REACH, return_length=True))


def _agreement(off: Floats, shift: Floats | float) -> Floats:
    """(E,) from 1, of a pair that is off by just this, to 0 at the end of the reach (Epanechnikov's kernel)."""
    return np.asarray(np.maximum(1.0 - ((off - shift) ** 2).sum(axis=1) / REACH**2, 0.0))
