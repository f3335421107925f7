"""Sightings: what an associator knows of N detections, free of the table that they came from; and the memory of tracks.

A tracker that lives on from one chunk of a video to the next cannot name rows of tables that are gone. So what it
remembers of a detection travels as columns, and the same columns are what a score is computed from: the new detections
are the queries, the remembered ones the references.
"""

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from kintrack.core import boxes
from kintrack.core.detections import Detections, Floats, Ints

# Four ways to follow a track, from one that trusts the newest sighting to one that trusts the past: alpha-beta filters,
# (share of a surprise that corrects the position, share that corrects the velocity).
FILTERS = ((1.0, 0.7), (1.0, 0.3), (0.5, 0.15), (0.25, 0.04))
FAST, SLOW, SMOOTH, STEADY = range(len(FILTERS))
_SHARES = np.array(FILTERS).T[:, None]  # (2, 1, F)
SHAPES = (0.25, 0.05)  # shares of the newest sighting in two running means of a track's sides: as of late, and by build
SCATTER = 0.15  # share of the newest surprise in the running mean of their squares
DAMPING = 0.85  # what is left of a velocity after each frame in which nothing was seen
FAR = 20.0  # neighbours farther than this many sizes count as this far


@dataclass(frozen=True, eq=False)
class Sightings:
    """N detections as an associator sees them. Lengths in pixels, times in frames.

    Args:
        row: (N,) int64, each one's row in the table that it came from; without a meaning once that table is gone.
        frame: (N,) int64.
        box: (N, 2*ndim).
        centre: (N, ndim), the mean of the keypoints or the middle of the box.
        size: (N,) side of the square of the box's area; of a point, what stands for it. Always positive, or nan.
        crowding: (N,) distance to the nearest other detection of the frame, in sizes, at most `FAR`.
        score: (N,) the detector's confidence; nan where unknown.
        area: (N,) pixels of the mask; nan where unknown.
        level: (N, F, ndim) where each of the `FILTERS` puts the row's track at this row; the centre where the track is
            not known.
        velocity: (N, F, ndim) pixels per frame, by each filter; 0 where the track is not known or has one sighting.
        shape: (N, S, ndim) running means of the logarithm of the track's sides; 0 of a side without length.
        scatter: (N,) running mean of the squared surprises of the `SMOOTH` filter, in square pixels per frame: how far
            off its track a detector's eye and an individual's whim throw a sighting; 0 before the third sighting.
        count: (N,) sightings of the row's track up to and with this row; 0 where the track is not known.
        keypoints: (N, K, ndim) or None.
        token: (N, D) float32, what the model's encoder made of the row, or None.
        appearance: (N, A) float32, what its visual encoder made of the row's crop, or None.
    """

    row: Ints
    frame: Ints
    box: Floats
    centre: Floats
    size: Floats
    crowding: Floats
    score: Floats
    area: Floats
    level: Floats
    velocity: Floats
    shape: Floats
    scatter: Floats
    count: Ints
    keypoints: Floats | None = None
    token: NDArray[np.float32] | None = None
    appearance: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, detections: Detections, size: float | None = None) -> Self:
        """What is known of each row before anything is tracked.

        Args:
            size: what stands for the size of points, in pixels; see `point_size` for the default.
        """
        n = len(detections)
        centre = detections.centre
        side = boxes.size(detections.box)
        if n and not (side > 0).all():
            # A point, or a line, has no area: it is as large as its longest side or the table's typical object.
            longest = boxes.sides(detections.box).max(axis=1)
            typical = size or (float(np.median(side[side > 0])) if (side > 0).any() else point_size(detections))
            side = np.where(side > 0, side, np.where(longest > 0, np.maximum(longest, 0.5 * typical), typical))
        nowhere = np.asarray(np.isnan(detections.box).any(axis=1))
        side = np.where(nowhere, np.nan, side)
        # Keypoints without a box have no size to measure by: nobody's neighbour, as they are nobody's candidate.
        centre = np.where(nowhere[:, None], np.nan, centre)
        unknown = np.full(n, np.nan)
        return cls(
            row=np.arange(n),
            frame=detections.frame.astype(np.int64),
            box=detections.box,
            centre=centre,
            size=side,
            crowding=_crowding(detections.frame, centre, side),
            score=unknown if detections.score is None else detections.score,
            area=unknown if detections.area is None else detections.area,
            level=np.repeat(centre[:, None], len(FILTERS), axis=1),
            velocity=np.zeros((n, len(FILTERS), detections.ndim)),
            shape=np.repeat(_log_sides(detections.box)[:, None], len(SHAPES), axis=1),
            scatter=np.zeros(n),
            count=np.zeros(n, np.int64),
            keypoints=detections.keypoints,
        )

    def __len__(self) -> int:
        return len(self.frame)

    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns that are there, by name."""
        return {name: column for name, column in vars(self).items() if column is not None}

    def take(self, rows: Any) -> Self:
        """The given rows of every column."""
        return type(self)(**{name: column[rows] for name, column in self.columns().items()})

    def expected(self, rows: Any, gap: NDArray[Any], motion: int | slice = slice(None)) -> Floats:
        """(E, ndim) where the tracks of the given rows are expected by one of the `FILTERS`, or (E, F, ndim) by all.

        Args:
            gap: (E,) frames after each row's own; rows and gap may have more axes than one.
        """
        return np.asarray(self.level[rows, motion] + travel(self.velocity[rows, motion], gap))

    def with_columns(self, **columns: Any) -> Self:
        """The same rows with some columns replaced or added."""
        return dataclasses.replace(self, **columns)

    @classmethod
    def concat(cls, first: Self, second: Self) -> Self:
        """The rows of two, one after the other; both must have the same columns."""
        a, b = first.columns(), second.columns()
        return cls(**{name: np.concatenate([a[name], b[name]]) for name in a})


def point_size(detections: Detections) -> float:
    """What stands for the size of objects given as points: a quarter of the median distance to the nearest neighbour.

    Where no frame holds two points, a thirtieth of the span of all of them; 1 pixel where that is nothing either.
    """
    points = detections.centre
    seen = ~np.isnan(points).any(axis=1)
    points, frame = points[seen], detections.frame[seen]
    if not len(points):
        return 1.0
    apart = _nearest(frame, points)
    apart = apart[np.isfinite(apart) & (apart > 0)]
    guess = 0.25 * np.median(apart) if len(apart) else np.ptp(points, axis=0).max() / 30.0
    return float(guess) if guess > 0 else 1.0


def neighbours(frame: NDArray[Any], centre: Floats, k: int) -> Ints:
    """(E, 2) pairs of rows (row, one of its k nearest others in the same frame), in the order of the rows.

    One tree serves all frames: time is a further axis on which frames are too far apart to be neighbours.
    """
    known = np.flatnonzero(~np.isnan(centre).any(axis=1))
    if k < 1 or len(known) < 2:
        return np.zeros((0, 2), np.int64)
    points = centre[known]
    span = 4.0 * (np.ptp(points, axis=0).max() + 1.0)
    tree = cKDTree(np.column_stack([points, frame[known] * span]))
    distance, index = tree.query(tree.data, k=min(k + 1, len(known)), distance_upper_bound=span / 2)
    own = index == np.arange(len(known))[:, None]
    # Where many points coincide the row itself may not be among its k + 1 nearest: then the last one goes instead.
    own[:, -1] |= ~own.any(axis=1)
    keep = np.isfinite(distance) & ~own
    row, place = np.nonzero(keep)
    return np.stack([known[row], known[index[row, place]]], axis=1)


def _nearest(frame: NDArray[Any], centre: Floats) -> Floats:
    """(N,) distance to the nearest other row of the frame, inf where there is none."""
    pairs = neighbours(frame, centre, 1)
    distance = np.full(len(frame), np.inf)
    distance[pairs[:, 0]] = np.linalg.norm(centre[pairs[:, 0]] - centre[pairs[:, 1]], axis=1)
    return distance


def _crowding(frame: NDArray[Any], centre: Floats, size: Floats) -> Floats:
    return np.minimum(_nearest(frame, centre) / np.where(size > 0, size, 1.0), FAR)


def travel(velocity: Floats, gap: NDArray[Any]) -> Floats:
    """How far each row's track is expected to go in `gap` frames: its velocity, damped frame by frame.

        velocity * (1 + d + d² + ... + d^(gap - 1)),  d = DAMPING

    Args:
        velocity: (N, ..., ndim) pixels per frame.
        gap: (N,) frames, at least 0; of more axes, if the velocity begins with them.
    """
    reach = (1.0 - DAMPING ** np.asarray(gap, np.float64)) / (1.0 - DAMPING)
    return np.asarray(velocity * reach.reshape(*reach.shape, *[1] * (velocity.ndim - reach.ndim)))


@dataclass(frozen=True, eq=False)
class Memory:
    """The last sightings of each track that is still looked for. A small value: it can be kept, copied and handed on.

    Args:
        sightings: R rows.
        track: (R,) int64, each row's track.
        rank: (R,) int64, how many later sightings of its track are remembered: 0 is the last one.
    """

    sightings: Sightings
    track: Ints
    rank: Ints

    def __len__(self) -> int:
        return len(self.track)

    @cached_property
    def last(self) -> Ints:
        """(M,) the rows that are the last sighting of their track."""
        return np.flatnonzero(self.rank == 0)

    @cached_property
    def steps(self) -> tuple[Ints, Ints]:
        """Rows of each two remembered sightings of a track that follow each other: the later ones, the earlier ones."""
        newest_first = np.lexsort((self.rank, self.track))
        later, earlier = newest_first[:-1], newest_first[1:]
        same = self.track[later] == self.track[earlier]
        return later[same], earlier[same]

    @cached_property
    def before(self) -> Ints:
        """(R,) the row of the sighting of the same track before each; a row itself where none is remembered."""
        row = np.arange(len(self))
        later, earlier = self.steps
        row[later] = earlier
        return row

    def history(self, frame: int | None = None) -> Ints:
        """(H, 2) pairs of rows (last sighting, earlier one of the same track); of the tracks last seen in a frame, if
        one is given."""
        last = self.last if frame is None else np.flatnonzero((self.rank == 0) & (self.sightings.frame == frame))
        past = np.flatnonzero(self.rank > 0)
        owner = self._among(last, self.track[past])
        return np.asarray(np.stack([owner, past], axis=1)[owner >= 0])

    def remember(self, seen: Sightings, track: Ints, depth: int) -> "Memory":
        """The memory after each of the sightings (all of one frame) was given to a track.

        What has no track (-1), or no place (nan), is not remembered.

        Args:
            depth: sightings of a track that are kept.
        """
        known = (track >= 0) & (seen.size > 0)
        if not known.all():
            seen, track = seen.take(known), track[known]
        if not len(track):
            return self
        seen = _with_motion(seen, self.sightings, self._among(self.last, track))
        rank = self.rank + (_lookup(track, self.track) >= 0)
        keep = np.flatnonzero(rank < depth)
        return Memory(
            Sightings.concat(self.sightings.take(keep), seen),
            np.concatenate([self.track[keep], track]),
            np.concatenate([rank[keep], np.zeros(len(track), np.int64)]),
        )

    def _among(self, last: Ints, track: Ints) -> Ints:
        """(N,) the row of each track's last sighting, if that is among the given ones, and -1 if not."""
        return np.concatenate([last, [-1]])[_lookup(self.track[last], track)]

    def live(self, frame: int, max_gap: int, gap_per_sighting: float = np.inf) -> "Memory":
        """The tracks that are still looked for in a frame.

        A track is, for as many frames as `max_gap`, and as its sightings times `gap_per_sighting`: what was seen once
        was likely nothing.
        """
        last = self.last
        seen = self.sightings
        patience = np.minimum(max_gap, gap_per_sighting * seen.count[last])
        gone = frame - seen.frame[last] > patience
        if not gone.any():
            return self
        rows = np.isin(self.track, self.track[last][~gone])
        return Memory(seen.take(rows), self.track[rows], self.rank[rows])

    @classmethod
    def like(cls, sightings: Sightings) -> Self:
        """An empty memory for sightings with these columns."""
        none = np.zeros(0, np.int64)
        return cls(sightings.take(slice(0, 0)), none, none)


def _lookup(known: Ints, wanted: Ints) -> Ints:
    """(N,) the position of each wanted id among the known ones (each there once), -1 where it is not there."""
    if not len(known):
        return np.full(len(wanted), -1)
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known, wanted, sorter=order), len(known) - 1)
    found = order[place]
    return np.where(known[found] == wanted, found, -1)


def _with_motion(seen: Sightings, memory: Sightings, before: Ints) -> Sightings:
    """The sightings with the motion of their tracks, whose last sightings are the memory's rows `before` (-1: none).

    Alpha-beta filters. With the surprise e = z - (x + travel(v, gap)) of a sighting z after `gap` frames,

        x <- x + travel(v, gap) + a e,    v <- v + b e / gap,    a = 1 - (1 - alpha)^gap,    b = 1 - (1 - beta)^gap

    where alpha and beta are at least those by which n sightings are fitted with a straight line,
    2 (2n - 1) / (n (n + 1)) and 6 / (n (n + 1)) (Bar-Shalom, Li and Kirubarajan 2001, on growing-memory filters): a
    young track takes what it gets, an old one has seen it all.
    """
    count = np.ones(len(seen), np.int64)
    follows = np.flatnonzero(before >= 0)
    if not len(follows):
        return seen.with_columns(count=count)
    row = before[follows]
    gap = (seen.frame[follows] - memory.frame[row]).astype(np.float64)
    n = memory.count[row] + 1.0
    line = np.stack([4.0 * n - 2.0, np.full(len(n), 6.0)]) / (n * (n + 1.0))  # (2, n)
    a, b = 1.0 - (1.0 - np.minimum(np.maximum(_SHARES, line[..., None]), 1.0)) ** gap[:, None]  # (n, F) each
    expected = memory.expected(row, gap)
    surprise = seen.centre[follows][:, None] - expected  # (n, F, ndim)
    level, velocity, shape = seen.level.copy(), seen.velocity.copy(), seen.shape.copy()
    level[follows] = expected + a[..., None] * surprise
    velocity[follows] = memory.velocity[row] + (b / gap[:, None])[..., None] * surprise
    newest = np.maximum(np.array(SHAPES), (1.0 / n)[:, None])[..., None]  # (n, S, 1)
    shape[follows] = memory.shape[row] + newest * (seen.shape[follows] - memory.shape[row])
    # The first step of a track is a surprise to a filter that knows no velocity: it says nothing.
    square = (surprise[:, SMOOTH] ** 2).sum(axis=1) / gap
    share = np.where(n > 2, np.maximum(SCATTER, 1.0 / np.maximum(n - 2.0, 1.0)), 0.0)
    scatter = seen.scatter.copy()
    scatter[follows] = memory.scatter[row] + share * (square - memory.scatter[row])
    count[follows] = memory.count[row] + 1
    return seen.with_columns(level=level, velocity=velocity, shape=shape, scatter=scatter, count=count)


def _log_sides(box: Floats) -> Floats:
    """(N, ndim) the logarithm of each side; 0 of a point's."""
    sides = boxes.sides(box)
    return np.log(np.where(sides > 0, sides, 1.0))


def candidates(
    query: Sightings, memory: Memory, nearest: int, gate: float, gate_gap: int, every_sighting: bool = False
) -> Ints:
    """(E, 2) pairs (query row, memory row) that are worth a score, in the order of the queries.

    For each query the `nearest` tracks by distance to where the track is expected, in sizes, over the square root of
    the gap; none beyond `gate`.

    Args:
        gate_gap: gap in frames beyond which the gate does not widen any more.
        every_sighting: all remembered sightings of a chosen track are references, not its last one alone.
    """
    last = memory.last
    if not len(query) or not len(last):
        return np.zeros((0, 2), np.int64)
    distance = gated_distance(query, memory.sightings.take(last), gate_gap)
    allowed = distance <= gate  # nan compares false: a row without a place has no candidates
    if len(last) > nearest:
        order = np.argpartition(np.where(allowed, distance, np.inf), nearest - 1, axis=1)[:, :nearest]
        near = np.zeros_like(allowed)
        near[np.arange(len(near))[:, None], order] = True
        allowed &= near
    if not every_sighting:
        pairs = np.argwhere(allowed)
        pairs[:, 1] = last[pairs[:, 1]]
        return pairs
    column = _lookup(memory.track[last], memory.track)  # (R,) where each row's track stands among the last ones
    return np.argwhere(allowed[:, column])


def gated_distance(query: Sightings, last: Sightings, gate_gap: int) -> Floats:
    """(Q, M) how far each query is from where each track is expected, or from where it was last seen if that is nearer.

    In sizes, over the square root of the gap in frames (at most `gate_gap`).
    """
    # All queries are of one frame here, so each track has one gap and one place where it is expected.
    gap = np.maximum(query.frame[:1] - last.frame, 1).astype(np.float64)  # (M,)
    far: Floats = cdist(query.centre, last.expected(slice(None), gap, FAST))
    np.minimum(far, cdist(query.centre, last.centre), out=far)  # in place: a crowd's matrices are large
    unit = np.sqrt(query.size[:, None] * last.size[None, :])
    unit *= np.sqrt(np.minimum(gap, gate_gap))
    far /= unit
    return far
