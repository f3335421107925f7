"""Which predicted row may be matched to which true row, and how alike the two are.

Three ways to say how alike (`Matcher.kind`); in each the similarity is 1 for the same and 0 for nothing in common:

    iou      intersection over union of the two boxes
    centre   max(0, 1 - d / D), where d is the distance of the two centres and D is `distance`, in pixels or in the
             true individual's own size
    rows     1 where the two are one and the same detection, else 0: for trackers that were given the truth's detections

Only rows of one frame are ever compared. Everything else in `kintrack.metrics` counts these pairs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree as KDTree

from kintrack.core import boxes
from kintrack.core.detections import Bools, Detections, Floats, Ints
from kintrack.core.tracks import Tracks
from kintrack.errors import AlignmentError, InputError

Kind = Literal["iou", "centre", "rows"]
Unit = Literal["size", "pixel"]

EPSILON = float(np.finfo("float").eps)
"""By how much a similarity may miss a threshold, for what rounding did to it; TrackEval's value."""

_SAME_BOX = 0.01
"""Pixels by which the corners of one detection may differ between two tables: text files round."""

_PAIRS_AT_ONCE = 1_000_000
"""Pairs looked at together, at worst: bounds memory on long or crowded videos."""


@dataclass(frozen=True)
class Matcher:
    """How alike a true and a predicted row are, and how alike they must be to count as a match.

    Args:
        kind: ``iou``, ``centre`` or ``rows``, see the module.
        threshold: similarity from which CLEAR and the identity measures accept a match; HOTA takes 19 of its own.
        distance: for ``centre``, the distance at which similarity has fallen to 0. With a threshold of 0.5 the
            farthest match is at half of it.
        unit: of ``distance``: ``size`` (the side of the square as large as the true box) or ``pixel``.

    Raises:
        InputError: at a value that is not allowed.
    """

    kind: Kind = "iou"
    threshold: float = 0.5
    distance: float = 1.0
    unit: Unit = "size"

    def __post_init__(self) -> None:
        for name, given, known in (("match", self.kind, get_args(Kind)), ("unit", self.unit, get_args(Unit))):
            if given not in known:
                raise InputError(f"{name} is {given!r}; wanted one of {', '.join(known)}")
        if not 0 < self.threshold <= 1:
            raise InputError(f"threshold is {self.threshold}; wanted a similarity above 0 and at most 1, like 0.5")
        if not (0 < self.distance < np.inf):
            raise InputError(f"distance is {self.distance}; wanted a positive number, in {self.unit}s")

    def provenance(self) -> dict[str, str | float]:
        """What decided about matches, to be kept with the numbers."""
        known: dict[str, str | float] = {"match": self.kind, "threshold": self.threshold}
        return known | ({"distance": self.distance, "unit": self.unit} if self.kind == "centre" else {})


@dataclass(frozen=True, eq=False)
class Candidates:
    """Every pair of a true and a predicted row of one frame that have anything in common.

    Args:
        true_row: (E,) rows of truth, never decreasing.
        predicted_row: (E,) rows of the prediction.
        similarity: (E,) in (0, 1].
        true_frame: (N,) frame of every true row.
        predicted_frame: (M,) frame of every predicted row.
        individual: (N,) whose true row it is, numbered 0, 1, 2, …
        track: (M,) the predicted track of the row, numbered 0, 1, 2, … An untracked row is a track of its own.
    """

    true_row: Ints
    predicted_row: Ints
    similarity: Floats
    true_frame: NDArray[np.int32]
    predicted_frame: NDArray[np.int32]
    individual: Ints
    track: Ints

    @property
    def n_individuals(self) -> int:
        """How many individuals the truth has."""
        return int(self.individual.max(initial=-1)) + 1

    @property
    def n_tracks(self) -> int:
        """How many tracks the prediction has, untracked rows counted one by one."""
        return int(self.track.max(initial=-1)) + 1

    def identities(self, pairs: Ints) -> tuple[Ints, Ints]:
        """The individual and the track that each of the given pairs would match."""
        return self.individual[self.true_row[pairs]], self.track[self.predicted_row[pairs]]

    def settle(self, pairs: Ints) -> tuple[Ints, list[tuple[int, Ints]]]:
        """Of the given pairs, those that are matched in any case, and by frame those of frames with a choice.

        A frame has no choice where none of its rows is in two pairs; then the best matching is all of its pairs.
        """
        rows, columns = self.true_row[pairs], self.predicted_row[pairs]
        contested = (np.bincount(rows)[rows] > 1) | (np.bincount(columns)[columns] > 1) if len(pairs) else rows > 0
        frame = self.true_frame[rows]
        frames = np.unique(frame[contested])
        first, last = np.searchsorted(frame, frames, "left"), np.searchsorted(frame, frames, "right")
        choices = [(int(f), pairs[a:b]) for f, a, b in zip(frames, first, last, strict=True)]
        return pairs[~np.isin(frame, frames)], choices

    def best(self, frame: int, pairs: Ints, weight: Floats) -> Ints:
        """Of a frame's pairs, the one-to-one matching of the greatest total weight (Kuhn 1955; all weights > 0)."""
        top, bottom = np.searchsorted(self.true_frame, [frame, frame + 1])
        left, right = np.searchsorted(self.predicted_frame, [frame, frame + 1])
        cell = self.true_row[pairs] - top, self.predicted_row[pairs] - left
        # The whole frame, not only its contested part: where two matchings tie, TrackEval's choice is made here too.
        matrix, pair_of = np.zeros((bottom - top, right - left)), np.full((bottom - top, right - left), -1)
        matrix[cell], pair_of[cell] = weight, pairs
        found = pair_of[linear_sum_assignment(-matrix)]
        return np.asarray(found[found >= 0], dtype=np.int64)


def find_candidates(truth: Tracks, prediction: Tracks, matcher: Matcher) -> Candidates:
    """What could be matched to what, in every frame.

    Raises:
        InputError: where one is 2-D and the other 3-D, or where boxes without area are to be matched by overlap or by
            distances in their own size.
        AlignmentError: where detections are to be the same and none is.
    """
    a, b = truth.detections, prediction.detections
    if not len(a) or not len(b):
        i, j, similarity = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    elif a.ndim != b.ndim:
        raise InputError(f"truth is {a.ndim}-D but the prediction is {b.ndim}-D; give both in the same dimensions")
    elif matcher.kind == "rows" and _same_table(a, b):
        i = j = np.arange(len(a))
        similarity = np.ones(len(a))
    else:
        i, j, similarity = _pairs(
            a, b, {"iou": _by_iou, "centre": _by_centre, "rows": _by_rows}[matcher.kind](a, b, matcher)
        )
    if matcher.kind == "rows" and len(a) and len(b) and not len(i):
        raise AlignmentError(
            f"truth ({len(a)} rows) and prediction ({len(b)} rows) have no detection in common; match='rows' is for a "
            "tracker that was given the truth's own detections: use match='iou' or match='centre'"
        )
    return Candidates(i, j, similarity, a.frame, b.frame, _numbered(truth.track), _numbered(prediction.track))


def _numbered(track: Ints) -> Ints:
    """Ids as 0, 1, 2, …, then a number of its own for each untracked row."""
    ids, number = np.unique(np.where(track < 0, np.iinfo(np.int64).max, track), return_inverse=True)
    loose = track < 0
    n = len(ids) - bool(loose.any())
    number = np.asarray(number, dtype=np.int64)
    number[loose] = n + np.arange(int(loose.sum()))
    return number


@dataclass(frozen=True, eq=False)
class _Likeness:
    """How alike rows are, and how far apart two can be that have anything in common.

    Rows whose positions differ by more than the sum of their reaches, along any axis, have similarity 0.
    """

    a_position: Floats
    b_position: Floats
    a_reach: Floats
    b_reach: Floats
    similarity: Callable[[Ints, Ints], Floats]


def _pairs(a: Detections, b: Detections, likeness: _Likeness) -> tuple[Ints, Ints, Floats]:
    """Pairs of rows of one frame with a similarity above 0, ordered by a's row, then b's; and the similarity."""
    found = []
    for rows_a, rows_b in _slices(a, b):
        i, j = _near(a.frame[rows_a], b.frame[rows_b], rows_a, rows_b, likeness)
        similarity = likeness.similarity(i, j)
        some = similarity > 0
        found.append((i[some], j[some], similarity[some]))
    i, j, similarity = (np.concatenate(column) for column in zip(*found, strict=True))
    return i, j, similarity


def _slices(a: Detections, b: Detections) -> Iterator[tuple[slice, slice]]:
    """Runs of frames, each of a bounded number of pairs at worst."""
    frames, count = np.unique(a.frame, return_counts=True)
    in_b = np.searchsorted(b.frame, frames, "right") - np.searchsorted(b.frame, frames, "left")
    run = np.cumsum(count * in_b) // _PAIRS_AT_ONCE
    first = np.flatnonzero(np.diff(run, prepend=-1))
    for start, stop in zip(frames[first], [*frames[first[1:]], frames[-1] + 1], strict=True):
        yield a.rows(start, stop), b.rows(start, stop)


def _near(
    a_frame: NDArray[np.int32], b_frame: NDArray[np.int32], rows_a: slice, rows_b: slice, likeness: _Likeness
) -> tuple[Ints, Ints]:
    """Pairs of rows of one frame that are within reach of each other; rows without a position are in none."""
    a_position, b_position = likeness.a_position[rows_a], likeness.b_position[rows_b]
    a_there = np.flatnonzero(np.isfinite(a_position).all(axis=1))
    b_there = np.flatnonzero(np.isfinite(b_position).all(axis=1))
    if not len(a_there) or not len(b_there):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    reach = 1e-6 + float(likeness.a_reach[rows_a][a_there].max() + likeness.b_reach[rows_b][b_there].max())
    # Time as one more axis, its frames out of each other's reach: one search for all frames of the run.
    a_place = np.column_stack([(a_frame[a_there] - a_frame[0]) * (2 * reach), a_position[a_there]])
    b_place = np.column_stack([(b_frame[b_there] - a_frame[0]) * (2 * reach), b_position[b_there]])
    trees = [KDTree(place, balanced_tree=False, compact_nodes=False) for place in (a_place, b_place)]
    near = trees[0].sparse_distance_matrix(trees[1], reach, p=np.inf, output_type="ndarray")
    i, j = a_there[near["i"]] + rows_a.start, b_there[near["j"]] + rows_b.start
    order = np.lexsort((j, i))
    return i[order], j[order]


def _by_iou(a: Detections, b: Detections, matcher: Matcher) -> _Likeness:
    for name, table in (("truth", a), ("the prediction", b)):
        if not (boxes.area(table.box) > 0).any():
            raise InputError(
                f"no box of {name} has an area (points?), so none overlaps another; "
                "use match='centre' with distance= in pixels, or match='rows'"
            )
    return _Likeness(
        boxes.centre(a.box),
        boxes.centre(b.box),
        boxes.sides(a.box).max(axis=1) / 2,
        boxes.sides(b.box).max(axis=1) / 2,
        lambda i, j: boxes.paired_iou(a.box[i], b.box[j]),
    )


def _by_centre(a: Detections, b: Detections, matcher: Matcher) -> _Likeness:
    reach = np.full(len(a), matcher.distance)
    if matcher.unit == "size":
        size = boxes.size(a.box)
        known = size > 0
        if not known.any():
            raise InputError(
                "no box of truth has a size (points?), so distances cannot be counted in sizes; "
                "use unit='pixel' and give distance= in pixels"
            )
        reach = matcher.distance * np.where(known, size, np.median(size[known]))
    a_centre, b_centre = a.centre, b.centre

    def similarity(i: Ints, j: Ints) -> Floats:
        apart = np.sqrt(((a_centre[i] - b_centre[j]) ** 2).sum(axis=1))
        return np.asarray(1.0 - apart / reach[i], dtype=np.float64)

    return _Likeness(a_centre, b_centre, reach, np.zeros(len(b)), similarity)


def _same_table(a: Detections, b: Detections) -> bool:
    """Whether row for row the two hold the same detections."""
    same_frames = np.array_equal(a.frame, b.frame)
    return a is b or (same_frames and np.allclose(a.box, b.box, rtol=0, atol=_SAME_BOX, equal_nan=True))


def _by_rows(a: Detections, b: Detections, matcher: Matcher) -> _Likeness:
    return _Likeness(
        boxes.centre(a.box),
        boxes.centre(b.box),
        np.full(len(a), _SAME_BOX),
        np.zeros(len(b)),
        lambda i, j: (np.abs(a.box[i] - b.box[j]).max(axis=1) <= _SAME_BOX).astype(np.float64),
    )


def set_aside(
    truth: Tracks, prediction: Tracks, ignored: Bools, matcher: Matcher, keep: Bools | None = None
) -> tuple[Tracks, Tracks]:
    """Truth without the ignored rows, and the prediction without the rows that match them.

    For true rows that must count neither for nor against a tracker: it may find them or not.

    Args:
        truth: N rows.
        prediction: M rows.
        ignored: (N,) True for the rows of truth that may be found or not.
        matcher: what matches, and from which similarity.
        keep: (N,) True for the rows of truth that stay; all that are not ignored where not given.
    """
    stays = ~finds(truth, prediction, ignored, matcher)
    return truth.take(~ignored if keep is None else keep), prediction.take(stays)


def finds(truth: Tracks, prediction: Tracks, some: Bools, matcher: Matcher) -> Bools:
    """(M,) which predicted rows are matched to some of the true rows, (N,).

    In each frame the prediction is matched to all true rows, with the greatest total similarity of pairs at or above
    the threshold.
    """
    candidates = find_candidates(truth, prediction, matcher)
    pairs = np.flatnonzero(candidates.similarity >= matcher.threshold - EPSILON)
    sure, choices = candidates.settle(pairs)
    chosen = [candidates.best(frame, choice, candidates.similarity[choice]) for frame, choice in choices]
    matched = np.concatenate([sure, *chosen])
    found = np.zeros(len(prediction), dtype=np.bool_)
    found[candidates.predicted_row[matched[some[candidates.true_row[matched]]]]] = True
    return found


def counts(truth: Tracks, prediction: Tracks) -> dict[str, Any]:
    """How much was compared, to be kept with the numbers."""
    return {
        "num_frames": max(truth.detections.n_frames, prediction.detections.n_frames),
        "untracked_predictions": int((prediction.track < 0).sum()),
    }
