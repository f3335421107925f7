"""Which detections are tracked: not those that say again what others have said, and not more than there can be."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from kintrack.config_data import AdmitConfig
from kintrack.core import boxes
from kintrack.core.detections import Bools, Detections, Floats, Ints
from kintrack.errors import ConfigError


class SetAside(NamedTuple):
    """Rows that are not tracked, by why; none is in both.

    Args:
        overlapping: (N,) those that overlap a better one.
        excess: (N,) those that are too many in their frame.
    """

    overlapping: Bools
    excess: Bools


def set_aside(detections: Detections, config: AdmitConfig | Mapping[str, Any] | None = None) -> SetAside:
    """Which rows a config leaves out of tracking.

    Of two rows that overlap too much the better one stays: by a person rather than by a detector, with more keypoints
    seen, with a higher score, the earlier row. The best are looked at first, and who is set aside sets nobody else
    aside. Rows made by a person, and in an excess rows without a score, are never set aside: an unknown score is not a
    low one.

    Masks and poses overlap as their boxes do: the masks of a label image share no pixel. Points overlap nobody.

    Raises:
        ConfigError: frames hold too many, and no detection has a score to tell them by.
    """
    config = AdmitConfig.of(config)
    none = np.zeros(len(detections), np.bool_)
    overlapping = none if config.max_overlap is None else _overlapping(detections, config)
    excess = none if config.max_objects is None else _excess(detections, ~overlapping, config.max_objects)
    return SetAside(overlapping, excess)


def _overlapping(detections: Detections, config: AdmitConfig) -> Bools:
    """(N,) the rows that overlap a better one by more than they may."""
    pairs = _beside(detections)
    a, b = detections.box[pairs[:, 0]], detections.box[pairs[:, 1]]
    shared, sizes = boxes.intersection(a, b), (boxes.area(a), boxes.area(b))
    whole = np.minimum(*sizes) if config.overlap == "smaller" else sizes[0] + sizes[1] - shared
    too_much = (shared > (config.max_overlap or 0.0) * whole) & (whole > 0)
    rank = _rank(detections)
    better, worse = np.sort(rank[pairs[too_much]], axis=1).T
    row = np.argsort(rank)
    user, aside = _by_person(detections), np.zeros(len(detections), np.bool_)
    for i in np.argsort(better, kind="stable"):  # the best first: whether they stay is then known
        winner, loser = row[better[i]], row[worse[i]]
        aside[loser] |= not aside[winner] and not user[loser]
    return aside


def _beside(detections: Detections) -> Ints:
    """(E, 2) pairs of rows of one frame whose boxes overlap along x.

    One sweep serves all frames: each is shifted along x until none reaches into the next.
    """
    known = np.flatnonzero(np.isfinite(detections.box).all(axis=1))
    if not len(known):
        return np.zeros((0, 2), np.int64)
    first, last = detections.box[known, 0], detections.box[known, detections.ndim]
    shift = detections.frame[known] * (last.max() - first.min() + 1.0)
    order = np.argsort(first + shift, kind="stable")
    begin, end = (first + shift)[order], (last + shift)[order]
    n = np.maximum(np.searchsorted(begin, end) - np.arange(len(order)) - 1, 0)
    one = np.repeat(np.arange(len(order)), n)
    other = one + 1 + np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    return np.stack([known[order[one]], known[order[other]]], axis=1)


def _rank(detections: Detections) -> Ints:
    """(N,) 0 for the best row of all, 1 for the next; see `set_aside`."""
    seen = np.zeros(len(detections))
    if detections.keypoints is not None:
        seen = (~np.isnan(detections.keypoints).any(axis=2)).sum(axis=1)
    order = np.lexsort((-_score(detections), -seen, ~_by_person(detections)))
    rank = np.empty(len(detections), np.int64)
    rank[order] = np.arange(len(order))
    return rank


def _score(detections: Detections) -> Floats:
    """(N,) the scores; infinite where they are not known."""
    return np.full(len(detections), np.inf) if detections.score is None else np.nan_to_num(detections.score, nan=np.inf)


def _by_person(detections: Detections) -> Bools:
    return np.zeros(len(detections), np.bool_) if detections.is_user is None else detections.is_user


def _excess(detections: Detections, candidate: Bools, most: int) -> Bools:
    """(N,) the rows of the lowest scores in frames with too many candidates."""
    score = np.where(_by_person(detections), np.inf, _score(detections))
    rows = np.flatnonzero(candidate)
    rows = rows[np.lexsort((-score[rows], detections.frame[rows]))]
    frame = detections.frame[rows]
    place = np.arange(len(rows)) - np.searchsorted(frame, frame)
    too_many = rows[place >= most]
    if len(too_many) and not np.isfinite(score).any() and not _by_person(detections).all():
        raise ConfigError(
            f"frame {frame[place >= most][0]} holds more than {most} detections (admit.max_objects), and none has a "
            "score by which to choose; leave it out, or give tracker.max_tracks, which limits the identities alone"
        )
    aside = np.zeros(len(detections), np.bool_)
    aside[too_many] = np.isfinite(score[too_many])
    return aside


__all__ = ["SetAside", "set_aside"]
