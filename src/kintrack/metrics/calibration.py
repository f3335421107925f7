"""Do confidences hold what they say, and do they find the mistakes? numpy alone.

judge(identity, track)            which of a tracker's decisions the truth can judge, and which were right
calibration(confidence, right)    ECE, Brier, NLL, and the bins of a reliability diagram
review(confidence, right)         how many of all mistakes are among the least sure decisions
risk_coverage(confidence, right)  how many mistakes are left among the surest

Sources:
    Naeini, Cooper & Hauskrecht 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning" (ECE); Guo,
        Pleiss, Sun & Weinberger 2017, "On Calibration of Modern Neural Networks" (15 bins, reliability diagrams).
    Brier 1950, "Verification of Forecasts Expressed in Terms of Probability".
    Geifman & El-Yaniv 2017, "Selective Classification for Deep Neural Networks" (risk and coverage).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from kintrack.core.detections import Bools, Floats, Ints
from kintrack.errors import InputError

_LEAST = 1e-12
"""NLL takes no probability to be nearer to 0 or 1 than this: one mistake must not cost infinitely much."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """How far confidences are to be believed.

    Args:
        n: decisions.
        n_wrong: those that were wrong.
        ece: expected calibration error: mean over the decisions of how far their bin's accuracy is from its confidence.
        brier: mean square of the difference between confidence and 1 (right) or 0 (wrong).
        nll: mean of -log of the probability that was given to what is true.
        edges: (B + 1,) the bins' bounds; a confidence on one belongs to the bin above it, 1 to the last bin.
        confidence: (B,) the bins' mean confidence, nan where one is empty.
        accuracy: (B,) the share of right decisions in each bin, nan where one is empty.
        count: (B,) decisions in each bin.
    """

    n: int
    n_wrong: int
    ece: float
    brier: float
    nll: float
    edges: Floats
    confidence: Floats
    accuracy: Floats
    count: Ints

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, as JSON takes them; bins without a decision are left out."""
        some = self.count > 0
        bins = {
            "from": self.edges[:-1][some].tolist(),
            "confidence": self.confidence[some].tolist(),
            "accuracy": self.accuracy[some].tolist(),
            "n": self.count[some].tolist(),
        }
        numbers = {name: getattr(self, name) for name in ("n", "n_wrong", "ece", "brier", "nll")}
        return {**numbers, "bins": bins}


def calibration(confidence: ArrayLike, right: ArrayLike, bins: int = 15) -> Calibration:
    """How far confidences are to be believed.

        ECE = sum over bins of n_b / n * |accuracy_b - confidence_b|            (Naeini et al. 2015)

    Two decisions at 0.9, both right, and two at 0.6, one of them right: both bins are off by 0.1.

    >>> found = calibration([0.9, 0.9, 0.6, 0.6], [True, True, True, False], bins=5)
    >>> round(found.ece, 9), round(found.brier, 9), found.n_wrong
    (0.1, 0.135, 1)
    >>> found.count.tolist(), found.accuracy[3:].tolist()
    ([0, 0, 0, 2, 2], [0.5, 1.0])

    Args:
        confidence: (N,) probabilities.
        right: (N,) whether each decision was right.
        bins: of equal width.

    Raises:
        InputError: they are no probabilities, there are none, or the two columns differ in length.
    """
    p, y = _columns(confidence, right)
    if bins < 1:
        raise InputError(f"bins is {bins}; wanted a whole number from 1 on, like 15")
    place = np.minimum((p * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(place, weights=value, minlength=bins) / count for value in (p, y)]
    off = np.nan_to_num(abs(means[1] - means[0]))
    given = np.clip(np.where(y > 0, p, 1.0 - p), _LEAST, 1.0)
    return Calibration(
        n=len(p),
        n_wrong=int((y == 0).sum()),
        ece=float((off * count).sum() / len(p)),
        brier=float(((p - y) ** 2).mean()),
        nll=float(-np.log(given).mean()),
        edges=np.linspace(0.0, 1.0, bins + 1),
        confidence=means[0],
        accuracy=means[1],
        count=count,
    )


def review(confidence: ArrayLike, right: ArrayLike, share: float = 0.02) -> float:
    """The share of all mistakes that is found by looking at the least sure decisions; nan if there are no mistakes.

    Of decisions that are equally sure, so many count as the share has room for, with as many mistakes as they have on
    average: what is found does not depend on the order of rows.

    Of ten decisions two were wrong; the least sure of them was one.

    >>> review([0.2, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9], [False] + [True] * 8 + [False], share=0.1)
    0.5

    Args:
        confidence: (N,) probabilities.
        right: (N,) whether each decision was right.
        share: of the decisions that are looked at; at least one is.

    Raises:
        InputError: see `calibration`; or the share is not above 0 and at most 1.
    """
    p, y = _columns(confidence, right)
    if not 0 < share <= 1:
        raise InputError(f"share is {share}; wanted a share of the decisions above 0 and at most 1, like 0.02")
    looked_at = max(1.0, np.ceil(share * len(p) - 1e-9))
    _, count, wrong = _levels(p, y)
    room = np.clip(looked_at - (np.cumsum(count) - count), 0.0, count)
    return float((wrong * room / count).sum() / wrong.sum()) if wrong.sum() else float("nan")


def risk_coverage(confidence: ArrayLike, right: ArrayLike) -> tuple[Floats, Floats]:
    """How many mistakes are left (risk) among the surest decisions, for every share of them (coverage).

    >>> coverage, risk = risk_coverage([0.9, 0.8, 0.8, 0.3], [True, True, False, False])
    >>> coverage.tolist(), risk.round(3).tolist()
    ([0.25, 0.75, 1.0], [0.0, 0.333, 0.5])

    Returns:
        coverage and risk, (L,) each, from the surest decisions on; one for each different confidence.
    """
    p, y = _columns(confidence, right)
    _, count, wrong = _levels(p, y)
    covered = np.cumsum(count[::-1])
    return covered / len(p), np.cumsum(wrong[::-1]) / covered


def judge(identity: Ints, track: Ints) -> tuple[Ints, Bools, Bools]:
    """Which of a tracker's decisions can be judged by the truth, and which of them were right.

    A link is right where the row before it in its track that is somebody is the same individual. A start is right where
    the individual was not seen before; else its track was broken. Rows that are nobody (-1), and links to nobody, are
    not judged: whether a detection is somebody was not the tracker's decision.

    Track 7 takes individual 0, nobody, 1 (wrong) and 1; track 8 begins with individual 0 (wrong).

    >>> rows, right, is_link = judge(np.array([0, -1, 1, 0, 1]), np.array([7, 7, 7, 8, 7]))
    >>> rows.tolist(), right.tolist(), is_link.tolist()
    ([0, 2, 3, 4], [True, False, False, True], [False, True, False, True])

    Args:
        identity: (N,) who each row truly is, -1 for nobody or unknown, in the order of time.
        track: (N,) the track that it was given, -1 for none.

    Returns:
        the judged rows (J,), whether each decision was right (J,), and whether it was a link or else a start (J,).
    """
    starts = np.zeros(len(track), np.bool_)
    starts[np.unique(track, return_index=True)[1]] = True
    rows = np.flatnonzero((identity >= 0) & (track >= 0))
    who, where = identity[rows], track[rows]
    order = np.argsort(where, kind="stable")
    follows = np.diff(where[order]) == 0
    before = np.full(len(rows), -1)
    before[order[1:][follows]] = order[:-1][follows]
    is_new = np.zeros(len(rows), np.bool_)
    is_new[np.unique(who, return_index=True)[1]] = True
    is_link = ~starts[rows]
    right = np.where(is_link, (before >= 0) & (who[before] == who), is_new)
    known = ~is_link | (before >= 0)
    return rows[known], right[known], is_link[known]


@dataclass(frozen=True, eq=False)
class Decisions:
    """A tracker's decisions that the truth can judge. Sequences are pooled by adding these.

    Args:
        confidence: (J,) how sure it was.
        right: (J,) whether it was right.
        is_link: (J,) whether it was a link, or else the start of a track.
    """

    confidence: Floats = field(default_factory=lambda: np.zeros(0))
    right: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    is_link: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))

    @classmethod
    def of(cls, identity: Ints, track: Ints, confidence: Floats) -> Self:
        """The decisions on rows that have a confidence; see `judge`."""
        rows, right, is_link = judge(identity, track)
        known = ~np.isnan(confidence[rows])
        return cls(confidence[rows][known], right[known], is_link[known])

    def __len__(self) -> int:
        return len(self.right)

    def take(self, rows: Bools) -> Self:
        """Some of them."""
        return type(self)(self.confidence[rows], self.right[rows], self.is_link[rows])

    @classmethod
    def pooled(cls, several: "Sequence[Decisions]") -> Self:
        """Those of several sequences."""
        return cls(
            np.concatenate([cls().confidence, *(d.confidence for d in several)]),
            np.concatenate([cls().right, *(d.right for d in several)]),
            np.concatenate([cls().is_link, *(d.is_link for d in several)]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Their calibration, and what a review of the least sure 2 % finds, as JSON takes them."""
        found = review(self.confidence, self.right)
        kinds = {"links": int(self.is_link.sum()), "starts": int((~self.is_link).sum())}
        return {
            **kinds,
            **calibration(self.confidence, self.right).to_dict(),
            "found_in_least_sure_2_percent": None if np.isnan(found) else found,
        }


def _levels(p: Floats, y: Floats) -> tuple[Floats, Ints, Floats]:
    """The different confidences, ascending, how many decisions have each, and how many of them were wrong."""
    level, place, count = np.unique(p, return_inverse=True, return_counts=True)
    wrong = np.bincount(place, weights=1.0 - y, minlength=len(level))
    return level, np.asarray(count, np.int64), np.asarray(wrong, np.float64)


def _columns(confidence: ArrayLike, right: ArrayLike) -> tuple[Floats, Floats]:
    """Both as float64, once it is known that they can be compared."""
    p, y = np.asarray(confidence, np.float64), np.asarray(right)
    if p.ndim != 1 or p.shape != y.shape:
        raise InputError(
            f"confidence has shape {p.shape} and right has shape {y.shape}; wanted one number and one truth for each "
            "decision, (N,) both"
        )
    if not len(p):
        raise InputError("there are no decisions, so nothing can be said of their confidence; give one at least")
    wrong = np.flatnonzero(~((p >= 0) & (p <= 1)))
    if len(wrong):
        raise InputError(
            f"confidence[{wrong[0]}] is {p[wrong[0]]}; wanted probabilities between 0 and 1: leave out the rows for "
            "which nothing was decided (nan)"
        )
    if not np.isin(y, (0, 1)).all():
        raise InputError("right holds values other than True and False (or 1 and 0); say of each decision which it was")
    return p, y.astype(np.float64)
