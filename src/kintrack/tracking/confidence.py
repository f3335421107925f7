"""How sure is a decision of the tracker? From scores to probabilities that hold what they say. Pure functions.

A link's alternatives are that its detection is another track, that its track is another detection, or that there is no
link at all. So with scores s (logits; the null's is 0) a link of detection q to track m has the log-odds

    s[q, m] - log(1 + sum of exp s over the rest of its row + sum of exp s over the rest of its column)

and a detection that starts a track although there were candidates has those of "none of them"

    -log(sum of exp s over its row)

Two numbers turn log-odds z into probabilities: links sigmoid((z + bias) / temperature), starts sigmoid((z - bias) /
temperature). The bias is what speaks for a link in general, against the null; the temperature is how far the scores are
to be believed. `fit_calibration` finds both where the truth is known (temperature scaling: Guo, Pleiss, Sun &
Weinberger 2017; with an offset: Platt 1999).
"""

import numpy as np
from scipy.special import expit

from kintrack.core.detections import Bools, Floats, Ints
from kintrack.errors import InputError


def decision_log_odds(scores: Floats, rows: Ints, columns: Ints) -> Floats:
    """(Q,) the log-odds of what was decided for each detection: its link, or that it is none of its candidates.

    nan for a detection without candidates: nothing was decided.

    Two detections and two tracks; the first link has a rival in its row, the second one in its column, no other.

    >>> scores = np.array([[np.log(4), 0.0], [-np.inf, np.log(6)]])
    >>> np.exp(decision_log_odds(scores, np.array([0, 1]), np.array([0, 1]))).round(9).tolist()
    [2.0, 3.0]
    >>> np.exp(decision_log_odds(scores, np.array([1]), np.array([1]))).round(9).tolist()
    [0.2, 3.0]

    Args:
        scores: (Q, M) logits of detections and tracks, -inf for what is no candidate.
        rows: (L,) the linked detections.
        columns: (L,) their tracks.
    """
    found = -_log_sum(scores, axis=1)
    found[np.isneginf(scores).all(axis=1)] = np.nan
    others = scores.copy()
    others[rows, columns] = -np.inf
    of_row, of_column = _log_sum(others, axis=1)[rows], _log_sum(others, axis=0)[columns]
    found[rows] = scores[rows, columns] - np.logaddexp(0.0, np.logaddexp(of_row, of_column))
    return found


def confidence(scores: Floats, rows: Ints, columns: Ints, temperature: float = 1.0, bias: float = 0.0) -> Floats:
    """(Q,) the probability that what was decided for each detection is right; nan where there were no candidates.

    >>> scores = np.array([[np.log(4), 0.0], [-np.inf, np.log(6)]])
    >>> confidence(scores, np.array([0, 1]), np.array([0, 1])).round(3).tolist()
    [0.667, 0.75]

    Args:
        scores: (Q, M) logits of detections and tracks, -inf for what is no candidate.
        rows: (L,) the linked detections.
        columns: (L,) their tracks.
        temperature: above 1 brings probabilities nearer to one half, below 1 nearer to 0 and 1.
        bias: log-odds that speak for links, and against starts.
    """
    side = np.full(len(scores), -1.0)
    side[rows] = 1.0
    return np.asarray(expit((decision_log_odds(scores, rows, columns) + side * bias) / temperature))


def share(scores: Floats) -> Floats:
    """(Q, M) the probability of each track among those that a detection may be, where "none of them" has score 0.

    >>> share(np.array([[np.log(4), 0.0, -np.inf]])).round(3).tolist()
    [[0.667, 0.167, 0.0]]
    """
    return np.asarray(np.exp(scores - np.logaddexp(0.0, _log_sum(scores, axis=1))[:, None]))


def fit_calibration(log_odds: Floats, is_link: Bools, right: Bools) -> tuple[float, float]:
    """The temperature and the bias that make right decisions likely and wrong ones unlikely (least NLL).

    A weak prior says that the log-odds are right as they are (normal, of width 1, on 1 / temperature and on bias /
    temperature), so that a set without a mistake has an answer, too.

    Args:
        log_odds: (N,) of `decision_log_odds`, finite.
        is_link: (N,) True for links, False for starts.
        right: (N,) whether the decision was right.

    Raises:
        InputError: there is nothing to fit to, or surer decisions are not more often right.
    """
    if not len(log_odds):
        raise InputError("there is no decision to calibrate on; give sequences in which something was linked")
    x = np.stack([log_odds, np.where(is_link, 1.0, -1.0)], axis=1)
    weight, wanted = _AS_THEY_ARE, right.astype(np.float64)
    loss = _loss(weight, x, wanted)
    for _ in range(100):
        p = expit(x @ weight)
        gradient = x.T @ (p - wanted) + weight - _AS_THEY_ARE
        step = np.linalg.solve((x.T * (p * (1 - p))) @ x + np.eye(2), gradient)
        # Newton's step may be too long where probabilities are near 0 and 1.
        while (lower := _loss(weight - step, x, wanted)) > loss and np.abs(step).max() > 1e-12:
            step /= 2
        if loss - lower < 1e-9 * loss:
            break
        weight, loss = weight - step, lower
    if weight[0] <= 0:
        raise InputError(
            f"the {len(right)} decisions are not better where the model is surer, so no temperature calibrates them; "
            "calibrate on sequences like those the model is for, or train it longer"
        )
    return float(1 / weight[0]), float(weight[1] / weight[0])


_AS_THEY_ARE = np.array([1.0, 0.0])
"""1 / temperature and bias / temperature that leave log-odds as they are."""


def _loss(weight: Floats, x: Floats, wanted: Floats) -> float:
    """NLL of the decisions and of the prior, summed."""
    z = x @ weight
    return float((np.logaddexp(0.0, z) - wanted * z).sum() + ((weight - _AS_THEY_ARE) ** 2).sum() / 2)


def _log_sum(scores: Floats, axis: int) -> Floats:
    """log of the sum of exp along an axis; -inf where there is nothing to sum."""
    top = np.maximum(scores.max(axis=axis, initial=-np.inf, keepdims=True), 0.0)
    with np.errstate(divide="ignore"):
        total: Floats = np.log(np.exp(scores - top).sum(axis=axis))
    total += np.squeeze(top, axis)
    return total
