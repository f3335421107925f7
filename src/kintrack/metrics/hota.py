"""HOTA: how well individuals are found and how well they are followed, in one number that weighs both alike.

Source: Luiten, Osep, Dendorfer, Torr, Geiger, Leal-Taixe & Leibe 2021, "HOTA: A Higher Order Metric for Evaluating
Multi-Object Tracking", IJCV 129. Every measure is computed at 19 thresholds of similarity, alpha = 0.05, 0.10, … 0.95,
and averaged over them. Numbers equal those of TrackEval, by the authors of the paper.

At an alpha that nothing reaches, AssA, AssRe and AssPr count 0 and LocA counts 1, as in TrackEval. Where nothing is
matched at any alpha they are undefined: nan (TrackEval says 0 and 1).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kintrack.core.detections import Floats, Ints
from kintrack.metrics.matching import EPSILON, Candidates

ALPHAS: Floats = np.arange(0.05, 0.99, 0.05)
ALPHAS.flags.writeable = False


def _zeros() -> Floats:
    return np.zeros(len(ALPHAS))


@dataclass(frozen=True, eq=False)
class HotaCounts:
    """What HOTA counts, at each alpha. Sequences are pooled by adding these.

    Args:
        num_objects: true rows.
        num_predictions: predicted rows.
        matches: (A,) TP.
        association: (A,) sum over the matches of A(c) = TPA / (TPA + FNA + FPA).
        association_recall: (A,) sum of TPA / (TPA + FNA).
        association_precision: (A,) sum of TPA / (TPA + FPA).
        similarity: (A,) sum of the similarity.
    """

    num_objects: int = 0
    num_predictions: int = 0
    matches: Floats = field(default_factory=_zeros)
    association: Floats = field(default_factory=_zeros)
    association_recall: Floats = field(default_factory=_zeros)
    association_precision: Floats = field(default_factory=_zeros)
    similarity: Floats = field(default_factory=_zeros)


def count_hota(candidates: Candidates) -> HotaCounts:
    """What HOTA counts.

    In every frame the matching is the one of the greatest sum of similarity, weighted by how well the two identities
    agree over the whole sequence; it is the same for all alphas, each of which then
    keeps the matches at least that similar.

    One individual, seen in 4 frames by track 0, 0, 0, 1 with similarity 1: at each alpha the sum of A(c) is
    3 * 3/4 + 1 * 1/4.

    >>> frames = np.arange(4, dtype=np.int32)
    >>> seen = Candidates(frames, frames, np.ones(4), frames, frames, np.zeros(4, int), np.array([0, 0, 0, 1]))
    >>> count_hota(seen).matches[0], count_hota(seen).association[0]
    (np.float64(4.0), np.float64(2.5))
    """
    objects, predictions = len(candidates.true_frame), len(candidates.predicted_frame)
    if not len(candidates.similarity):
        return HotaCounts(objects, predictions)
    matched = _match(candidates)
    similarity = candidates.similarity[matched]
    level = np.searchsorted(ALPHAS - EPSILON, similarity, "right")  # how many alphas the match reaches
    who, by = candidates.identities(matched)
    code, pair = np.unique(who * candidates.n_tracks + by, return_inverse=True)
    seen = np.bincount(candidates.individual)[code // candidates.n_tracks, None]
    shown = np.bincount(candidates.track)[code % candidates.n_tracks, None]
    both = _reaching(level, pair, len(code))  # (C, A): TPA of each pair of an individual and a track
    return HotaCounts(
        num_objects=objects,
        num_predictions=predictions,
        matches=both.sum(axis=0),
        association=(both * both / (seen + shown - both)).sum(axis=0),
        association_recall=(both * both / seen).sum(axis=0),
        association_precision=(both * both / shown).sum(axis=0),
        similarity=_reaching(level, np.zeros_like(level), 1, similarity)[0],
    )


def _reaching(level: Ints, group: Ints, n_groups: int, weight: Floats | None = None) -> Floats:
    """(G, A) for each group and alpha, how many matches (or how much of their weight) reach it."""
    width = len(ALPHAS) + 1
    exactly = np.bincount(group * width + level, weights=weight, minlength=n_groups * width).reshape(n_groups, width)
    return np.asarray(np.cumsum(exactly[:, :0:-1], axis=1)[:, ::-1], dtype=np.float64)


def _match(candidates: Candidates) -> NDArray[np.int64]:
    """The pairs matched, before any alpha is asked."""
    weight = candidates.similarity * _alignment(candidates)
    sure, choices = candidates.settle(np.flatnonzero(weight > 0))
    return np.concatenate([sure, *(candidates.best(frame, some, weight[some]) for frame, some in choices)])


def _alignment(candidates: Candidates) -> Floats:
    """(E,) how well the pair's individual and track agree over the whole sequence: an intersection over union.

    A frame adds to the intersection what the pair's similarity is of all that its two rows have with anybody.
    """
    i, j, similarity = candidates.true_row, candidates.predicted_row, candidates.similarity
    of_true, of_predicted = np.bincount(i, similarity)[i], np.bincount(j, similarity)[j]
    whole = of_true + of_predicted - similarity
    share = np.divide(similarity, whole, out=np.zeros_like(whole), where=whole > EPSILON)
    who, by = candidates.identities(np.arange(len(i)))
    code, pair = np.unique(who * candidates.n_tracks + by, return_inverse=True)
    together = np.bincount(pair, share)
    seen = np.bincount(candidates.individual)[code // candidates.n_tracks]
    shown = np.bincount(candidates.track)[code % candidates.n_tracks]
    return np.asarray((together / (seen + shown - together))[pair], dtype=np.float64)


def _ratio(part: Floats, whole: Floats | float) -> Floats:
    """part / whole at each alpha, nan where whole is 0."""
    whole = np.broadcast_to(np.asarray(whole, dtype=np.float64), part.shape)
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0), dtype=np.float64)


def _over_matches(c: HotaCounts, part: Floats, otherwise: float) -> Floats:
    """part / matches; at alphas without a match `otherwise`, or nan where there is no match at all."""
    if not c.matches.any():
        return np.full(len(ALPHAS), np.nan)
    return np.asarray(np.where(c.matches > 0, _ratio(part, c.matches), otherwise), dtype=np.float64)


def deta(c: HotaCounts) -> Floats:
    """(A,) how well individuals are found: DetA = TP / (TP + FN + FP).

    >>> float(deta(HotaCounts(6, 6, matches=np.full(19, 4.0)))[0])
    0.5
    """
    return _ratio(c.matches, c.num_objects + c.num_predictions - c.matches)


def detre(c: HotaCounts) -> Floats:
    """(A,) how much of the truth is found: DetRe = TP / (TP + FN).

    >>> float(detre(HotaCounts(8, 5, matches=np.full(19, 4.0)))[0])
    0.5
    """
    return _ratio(c.matches, c.num_objects)


def detpr(c: HotaCounts) -> Floats:
    """(A,) how much of the prediction is true: DetPr = TP / (TP + FP).

    >>> float(detpr(HotaCounts(8, 5, matches=np.full(19, 4.0)))[0])
    0.8
    """
    return _ratio(c.matches, c.num_predictions)


def assa(c: HotaCounts) -> Floats:
    """(A,) how well individuals are followed: AssA = mean over the matches of TPA / (TPA + FNA + FPA).

    TPA of a match are the frames in which its individual and its track are matched to each other; FNA the other rows of
    the individual; FPA the other rows of the track.

    >>> float(assa(HotaCounts(4, 4, matches=np.full(19, 4.0), association=np.full(19, 2.5)))[0])
    0.625
    """
    return _over_matches(c, c.association, 0.0)


def assre(c: HotaCounts) -> Floats:
    """(A,) how little individuals are split among tracks: AssRe = mean over the matches of TPA / (TPA + FNA).

    >>> float(assre(HotaCounts(4, 4, matches=np.full(19, 4.0), association_recall=np.full(19, 2.5)))[0])
    0.625
    """
    return _over_matches(c, c.association_recall, 0.0)


def asspr(c: HotaCounts) -> Floats:
    """(A,) how little tracks mix individuals: AssPr = mean over the matches of TPA / (TPA + FPA).

    >>> float(asspr(HotaCounts(4, 4, matches=np.full(19, 4.0), association_precision=np.full(19, 4.0)))[0])
    1.0
    """
    return _over_matches(c, c.association_precision, 0.0)


def loca(c: HotaCounts) -> Floats:
    """(A,) how well matched rows fit: LocA = mean over the matches of the similarity.

    >>> float(loca(HotaCounts(4, 4, matches=np.full(19, 4.0), similarity=np.full(19, 3.0)))[0])
    0.75
    """
    return _over_matches(c, c.similarity, 1.0)


def hota(c: HotaCounts) -> Floats:
    """(A,) finding and following in one: HOTA = sqrt(DetA * AssA).

    0 where nothing is matched, nan where there is nothing at all.

    >>> float(hota(HotaCounts(4, 4, matches=np.full(19, 4.0), association=np.full(19, 1.0)))[0])
    0.5
    """
    return np.where(c.matches > 0, np.sqrt(deta(c) * assa(c)), deta(c))
