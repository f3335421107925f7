"""CLEAR-MOT and the identity measures: what was found, what was missed, and when an identity changed.

Sources:
    Bernardin & Stiefelhagen 2008, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics" (MOTA,
        MOTP); Li, Huang & Nevatia 2009 (fragmentations, mostly tracked, mostly lost).
    Ristani, Solera, Zou, Cucchiara & Tomasi 2016, "Performance Measures and a Data Set for Multi-Target, Multi-Camera
        Tracking" (IDF1, IDP, IDR).

Where the papers leave a choice, the one of TrackEval is taken, so the numbers are equal to TrackEval's. A measure whose
denominator is 0 is undefined: nan (TrackEval says 0).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kintrack.core.detections import Floats, Ints
from kintrack.metrics.matching import EPSILON, Candidates

_STAY = 1000.0
"""What continuing a match is worth against any gain in similarity."""


@dataclass(frozen=True)
class ClearCounts:
    """What CLEAR-MOT counts in a sequence. Sequences are pooled by adding these.

    Args:
        num_objects: true rows.
        num_predictions: predicted rows.
        num_unique_objects: individuals in the truth.
        num_detections: true rows that are matched (TP).
        num_switches: matches to another track than the individual's match before.
        num_fragmentations: times an individual is matched again after frames in which it was not.
        mostly_tracked: individuals matched in more than 80 % of their rows.
        partially_tracked: those matched in 20 % to 80 %.
        mostly_lost: those matched in less than 20 %.
        num_mixed_tracks: predicted tracks that were matched to more than one individual.
        num_split_objects: individuals that were matched to more than one track.
        similarity: sum over the matches.
    """

    num_objects: int = 0
    num_predictions: int = 0
    num_unique_objects: int = 0
    num_detections: int = 0
    num_switches: int = 0
    num_fragmentations: int = 0
    mostly_tracked: int = 0
    partially_tracked: int = 0
    mostly_lost: int = 0
    num_mixed_tracks: int = 0
    num_split_objects: int = 0
    similarity: float = 0.0

    @property
    def num_misses(self) -> int:
        """True rows that nothing is matched to (FN)."""
        return self.num_objects - self.num_detections

    @property
    def num_false_positives(self) -> int:
        """Predicted rows that are matched to nothing (FP)."""
        return self.num_predictions - self.num_detections


@dataclass(frozen=True)
class IdentityCounts:
    """What the identity measures count. Sequences are pooled by adding these.

    Args:
        idtp: matches under the best one-to-one assignment of individuals and tracks over the whole sequence.
        idfp: predicted rows outside of it.
        idfn: true rows outside of it.
    """

    idtp: int = 0
    idfp: int = 0
    idfn: int = 0


def ratio(part: float, whole: float) -> float:
    """part / whole, nan where whole is 0."""
    return float(part) / float(whole) if whole else float("nan")


def match_frames(candidates: Candidates, threshold: float) -> Ints:
    """The pairs that CLEAR-MOT matches, frame by frame.

    A match of the frame before is continued while its similarity is at the threshold or above; among those matchings
    the one of the greatest total similarity is taken. "The frame before" is the last one with both true and predicted
    rows, as in TrackEval.
    """
    pairs = np.flatnonzero(candidates.similarity >= threshold - EPSILON)
    sure, choices = candidates.settle(pairs)
    matched = np.zeros(len(candidates.similarity), dtype=np.bool_)
    matched[sure] = True
    frame = candidates.true_frame[candidates.true_row]
    shared = np.intersect1d(candidates.true_frame, candidates.predicted_frame)
    last_track = np.full(candidates.n_individuals, -1)
    for now, some in choices:
        step = int(np.searchsorted(shared, now))
        before = np.arange(*np.searchsorted(frame, [shared[step - 1], shared[step - 1] + 1])) if step else some[:0]
        who, by = candidates.identities(before[matched[before]])
        last_track[who] = by
        individual, track = candidates.identities(some)
        stays = last_track[individual] == track
        matched[candidates.best(now, some, _STAY * stays + candidates.similarity[some])] = True
        last_track[who] = -1
    return np.flatnonzero(matched)


def count_clear(candidates: Candidates, threshold: float) -> ClearCounts:
    """What CLEAR-MOT counts.

    One individual in frames 0 to 3 is found by track 0, 0, nobody, 2; in frame 2 track 1 is somewhere else. One switch,
    one fragmentation. (A frame without any predicted row does not fragment: TrackEval passes over it.)

    >>> found, frames = np.array([0, 1, 3]), np.arange(4, dtype=np.int32)
    >>> seen = Candidates(found, found, np.ones(3), frames, frames, np.zeros(4, int), np.array([0, 0, 1, 2]))
    >>> c = count_clear(seen, 0.5)
    >>> c.num_objects, c.num_predictions, c.num_unique_objects
    (4, 4, 1)
    >>> c.num_detections, c.num_misses, c.num_false_positives, c.num_switches, c.num_fragmentations
    (3, 1, 1, 1, 1)

    Matched in 3 of 4 rows, 75 %, it is partially tracked; it is split, but no track mixes individuals.

    >>> c.mostly_tracked, c.partially_tracked, c.mostly_lost, c.num_split_objects, c.num_mixed_tracks
    (0, 1, 0, 1, 0)
    """
    matched = match_frames(candidates, threshold)
    who, by = candidates.identities(matched)
    shared = np.intersect1d(candidates.true_frame, candidates.predicted_frame)
    step = np.searchsorted(shared, candidates.true_frame[candidates.true_row[matched]])

    order = np.argsort(who, kind="stable")  # each individual's matches, still by frame
    again = np.diff(who[order]) == 0
    n = candidates.n_individuals
    rows = np.bincount(candidates.individual, minlength=n)
    share = np.bincount(who, minlength=n) / np.maximum(rows, 1)
    mostly, at_all = int((share > 0.8).sum()), int((share >= 0.2).sum())
    individuals, tracks = _met(who, by)
    return ClearCounts(
        num_objects=len(candidates.true_frame),
        num_predictions=len(candidates.predicted_frame),
        num_unique_objects=n,
        num_detections=len(matched),
        num_switches=len(switched(who, by)),
        num_fragmentations=int((again & (np.diff(step[order]) > 1)).sum()),
        mostly_tracked=mostly,
        partially_tracked=at_all - mostly,
        mostly_lost=n - at_all,
        num_mixed_tracks=int((np.bincount(tracks) > 1).sum()),
        num_split_objects=int((np.bincount(individuals) > 1).sum()),
        similarity=float(candidates.similarity[matched].sum()),
    )


def switched(who: Ints, by: Ints) -> Ints:
    """Which matches are to another track than the individual's match before; all in the order of frames.

    Args:
        who: (M,) the individual of each match.
        by: (M,) its track.

    >>> switched(np.array([0, 1, 0, 1]), np.array([5, 6, 5, 7]))
    array([3])
    """
    order = np.argsort(who, kind="stable")
    changed = (np.diff(who[order]) == 0) & (np.diff(by[order]) != 0)
    return np.sort(order[1:][changed])


def _met(who: Ints, by: Ints) -> tuple[Ints, Ints]:
    """The distinct pairs of an individual and a track."""
    width = int(by.max(initial=0)) + 1
    code = np.unique(who * width + by)
    return code // width, code % width


def count_identity(candidates: Candidates, threshold: float) -> IdentityCounts:
    """What the identity measures count: the one-to-one assignment of individuals and tracks with the most matches.

    Minimising IDFN + IDFP (Ristani et al. 2016) is maximising IDTP, as each match counts in both.

    The individual is seen twice by track 0, once by track 1: track 0 is its own.

    >>> frames = np.arange(3, dtype=np.int32)
    >>> seen = Candidates(frames, frames, np.ones(3), frames, frames, np.zeros(3, int), np.array([0, 0, 1]))
    >>> count_identity(seen, 0.5)
    IdentityCounts(idtp=2, idfp=1, idfn=1)
    """
    pairs = np.flatnonzero(candidates.similarity >= threshold)
    who, by = candidates.identities(pairs)
    code, count = np.unique(who * max(candidates.n_tracks, 1) + by, return_counts=True)
    idtp = _most_matches(code // max(candidates.n_tracks, 1), code % max(candidates.n_tracks, 1), count)
    return IdentityCounts(idtp, len(candidates.predicted_frame) - idtp, len(candidates.true_frame) - idtp)


def _most_matches(who: Ints, by: Ints, count: Ints) -> int:
    """The greatest sum of counts over pairs of which no two share an individual or a track."""
    if not len(count):
        return 0
    # Of the tracks that met one individual only, the best is enough: no other of them can be in the best assignment.
    lonely = np.bincount(by)[by] == 1
    order = np.lexsort((-count, who, ~lonely))
    first = np.r_[True, np.diff(who[order]) != 0] | ~lonely[order]
    who, by, count = who[order][first], by[order][first], count[order][first]

    # Individuals and tracks that never met, not even by way of others, are assigned apart: small problems, not one big.
    n = int(who.max()) + 1
    _, part = connected_components(coo_array((count, (who, n + by)), shape=(n + by.max() + 1,) * 2), directed=False)
    order = np.argsort(part[who], kind="stable")
    cuts = np.flatnonzero(np.diff(part[who][order])) + 1
    return sum(_assign(who[some], by[some], count[some]) for some in np.split(order, cuts))


def _assign(who: Ints, by: Ints, count: Ints) -> int:
    """The same, by the Hungarian method on a full matrix."""
    rows, columns = np.unique(who, return_inverse=True)[1], np.unique(by, return_inverse=True)[1]
    matrix: Floats = np.zeros((rows.max() + 1, columns.max() + 1))
    matrix[rows, columns] = count
    return int(matrix[linear_sum_assignment(matrix, maximize=True)].sum())


def mota(c: ClearCounts) -> float:
    """How few mistakes there are for each true row; below 0 where there are more mistakes than rows.

        MOTA = 1 - (misses + false positives + switches) / objects           (Bernardin & Stiefelhagen 2008)

    >>> mota(ClearCounts(num_objects=10, num_predictions=9, num_detections=8, num_switches=1))
    0.6
    """
    return ratio(c.num_detections - c.num_false_positives - c.num_switches, c.num_objects)


def motp(c: ClearCounts) -> float:
    """How well matched rows fit: their mean similarity, 1 is perfect.

        MOTP = sum of similarity over matches / matches                      (Bernardin & Stiefelhagen 2008)

    As in TrackEval; py-motmetrics gives the mean distance, 1 - MOTP.

    >>> motp(ClearCounts(num_detections=4, similarity=3.0))
    0.75
    """
    return ratio(c.similarity, c.num_detections)


def recall(c: ClearCounts) -> float:
    """How much of the truth was found: matches / objects.

    >>> recall(ClearCounts(num_objects=10, num_detections=8))
    0.8
    """
    return ratio(c.num_detections, c.num_objects)


def precision(c: ClearCounts) -> float:
    """How much of the prediction is true: matches / predictions.

    >>> precision(ClearCounts(num_predictions=16, num_detections=8))
    0.5
    """
    return ratio(c.num_detections, c.num_predictions)


def switches_per_100k(c: ClearCounts) -> float:
    """How often an identity changes, for each 100,000 true rows: 100,000 * switches / objects.

    The divisor is all true rows, found or not, so that a tracker gains nothing here by finding more.

    >>> switches_per_100k(ClearCounts(num_objects=50_000, num_switches=3))
    6.0
    """
    return ratio(100_000 * c.num_switches, c.num_objects)


def idf1(c: IdentityCounts) -> float:
    """How much of truth and prediction carries the right identity, over the whole sequence.

        IDF1 = 2 IDTP / (2 IDTP + IDFP + IDFN)                               (Ristani et al. 2016)

    >>> idf1(IdentityCounts(idtp=6, idfp=2, idfn=6))
    0.6
    """
    return ratio(2 * c.idtp, 2 * c.idtp + c.idfp + c.idfn)


def idp(c: IdentityCounts) -> float:
    """How much of the prediction carries the right identity: IDTP / (IDTP + IDFP). (Ristani et al. 2016)

    >>> idp(IdentityCounts(idtp=6, idfp=2, idfn=6))
    0.75
    """
    return ratio(c.idtp, c.idtp + c.idfp)


def idr(c: IdentityCounts) -> float:
    """How much of the truth carries the right identity: IDTP / (IDTP + IDFN). (Ristani et al. 2016)

    >>> idr(IdentityCounts(idtp=6, idfp=2, idfn=6))
    0.5
    """
    return ratio(c.idtp, c.idtp + c.idfn)
