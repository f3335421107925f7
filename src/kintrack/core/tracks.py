"""Tracks: an identity for each row of a table of detections, and the parent of each track."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kintrack.core.detections import Bools, Detections, Floats, Ints, _frozen
from kintrack.errors import InputError

UNTRACKED = -1
REVIEW_FRAMES = 50
"""Frames that a person can look at, after a video was tracked."""
REVIEW_BELOW = 0.9
"""Confidence below which a decision is worth a look."""


@dataclass(frozen=True, eq=False)
class Tracks:
    """Who is who, and who came from whom: an id for each row of `detections`, and the parent of each track.

    A track has at most one detection in a frame and may have gaps. A division ends a track and starts others that
    name it as their parent. All of this is checked when a value is made.

    Args:
        detections: N rows.
        track: (N,) int64, the id of each row's track; -1 is untracked.
        parent: (P, 2) int64, rows of (child, parent).
        names: what people call the tracks, where they have names.
        confidence: (N,) float64 in [0, 1], the probability that what was decided for a row is right: that it is the
            same individual as the row before it in its track; for a track's first row, that it is none of those who
            were looked for near it. nan where nothing was decided: nobody was near, or a person made the track.
    """

    detections: Detections
    track: Ints
    parent: Ints = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    names: Mapping[int, str] = field(default_factory=dict)
    confidence: Floats | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "track", _frozen(self.track, np.int64, "track"))
        parent = np.asarray(self.parent)
        object.__setattr__(self, "parent", _frozen(parent if parent.size else np.zeros((0, 2)), np.int64, "parent"))
        object.__setattr__(self, "names", dict(self.names))
        if self.confidence is not None:
            object.__setattr__(self, "confidence", _frozen(self.confidence, np.float64))
        self._check_rows()
        self._check_parents()

    def _check_rows(self) -> None:
        n = len(self.detections)
        if self.track.shape != (n,):
            raise InputError(
                f"track has shape {self.track.shape} but there are {n} detections; give one id a row, -1 for untracked"
            )
        if self.confidence is not None and self.confidence.shape != (n,):
            raise InputError(
                f"confidence has shape {self.confidence.shape} but there are {n} detections; give one a row"
            )
        if self.confidence is not None and ((self.confidence < 0) | (self.confidence > 1)).any():
            raise InputError(
                "confidence is a probability; wanted numbers between 0 and 1, or nan where nothing was decided"
            )
        if n and self.track.min() < UNTRACKED:
            raise InputError(f"track id {self.track.min()} is negative; ids count from 0, and -1 means untracked")
        order = np.lexsort((self.detections.frame, self.track))
        frame, track = self.detections.frame[order], self.track[order]
        twice = np.flatnonzero((np.diff(frame) == 0) & (np.diff(track) == 0) & (track[1:] >= 0))
        if len(twice):
            i = twice[0]
            raise InputError(
                f"track {track[i]} has two detections in frame {frame[i]} (rows {order[i]} and {order[i + 1]}); "
                "a track has at most one in a frame: give one of them another id, or -1"
            )

    def _check_parents(self) -> None:
        if self.parent.ndim != 2 or self.parent.shape[1] != 2:
            raise InputError(f"parent has shape {self.parent.shape}; wanted (P, 2), rows of child and parent")
        if not len(self.parent):
            return
        child = self.parent[:, 0]
        if len(np.unique(child)) < len(child):
            ids, count = np.unique(child, return_counts=True)
            raise InputError(
                f"track {ids[count > 1][0]} has several parents; a track comes from one (merges cannot be told)"
            )
        spans = self.spans()
        for c, p in self.parent.tolist():
            for which, known in (("child", c), ("parent", p)):
                if known not in spans:
                    raise InputError(f"parent table names track {known} as a {which}, but no detection has that id")
            if spans[c][0] <= spans[p][1]:
                raise InputError(
                    f"track {c} starts in frame {spans[c][0]} but its parent {p} lasts until frame {spans[p][1]}; "
                    "a child starts after its parent ends"
                )

    @classmethod
    def untracked(cls, detections: Detections) -> Self:
        """Every row with id -1."""
        return cls(detections, np.full(len(detections), UNTRACKED))

    @classmethod
    def from_links(cls, detections: Detections, links: ArrayLike) -> Self:
        """Tracks from (E, 2) pairs of rows, earlier then later.

        A row with one link out continues its track; a row with several ends it, and each later row starts a track with
        that parent. Rows without links are tracks of one. Raises where two links lead to one row (a merge) or where a
        link does not lead forward in time.
        """
        pairs = np.asarray(links, dtype=np.int64)
        pairs = pairs if pairs.size else np.zeros((0, 2), np.int64)
        if pairs.ndim != 2 or pairs.shape[1] != 2:
            raise InputError(f"links have shape {pairs.shape}; wanted (E, 2), pairs of rows")
        source, target = pairs[:, 0], pairs[:, 1]
        n = len(detections)
        if len(pairs) and (pairs.min() < 0 or pairs.max() >= n):
            odd = pairs.max() if pairs.max() >= n else pairs.min()
            raise InputError(f"a link names row {odd}, but the table has {n} rows, counted from 0")
        merged = np.flatnonzero(np.bincount(target, minlength=n) > 1)
        if len(merged):
            raise InputError(
                f"row {merged[0]} (frame {detections.frame[merged[0]]}) has several predecessors; tracks may divide "
                "but not merge: keep one of its links"
            )
        back = np.flatnonzero(detections.frame[source] >= detections.frame[target])
        if len(back):
            s, t = pairs[back[0]]
            raise InputError(
                f"link {s} -> {t} leads from frame {detections.frame[s]} to {detections.frame[t]}; links lead forward "
                "in time"
            )
        before = np.full(n, -1)
        before[target] = source
        divides = np.bincount(source, minlength=n) > 1
        track = np.empty(n, np.int64)
        parent = []
        next_id = 0
        for row in range(n):  # rows are sorted by frame, so a predecessor is always done
            b = before[row]
            if b >= 0 and not divides[b]:
                track[row] = track[b]
                continue
            track[row] = next_id
            if b >= 0:
                parent.append((next_id, track[b]))
            next_id += 1
        return cls(detections, track, np.asarray(parent, np.int64).reshape(-1, 2))

    def __len__(self) -> int:
        return len(self.detections)

    def __repr__(self) -> str:
        loose = int((self.track < 0).sum())
        parts = [f"{len(self.ids)} tracks", f"{len(self)} rows"]
        parts += [f"{loose} untracked"] * bool(loose) + [f"{len(self.divisions())} divisions"] * bool(len(self.parent))
        return f"Tracks({', '.join(parts)})"

    @property
    def ids(self) -> Ints:
        """(M,) the ids of the tracks, ascending, without -1."""
        found = np.unique(self.track)
        return found[found >= 0]

    def name(self, track: int) -> str:
        """What people call the track: its name, else its number."""
        return self.names.get(track, str(track))

    def spans(self) -> dict[int, tuple[int, int]]:
        """First and last frame of each track."""
        order = np.argsort(self.track, kind="stable")  # within a track still by frame
        track, frame = self.track[order], self.detections.frame[order]
        starts = np.flatnonzero(np.r_[True, np.diff(track) != 0]) if len(track) else np.zeros(0, int)
        ends = np.r_[starts[1:], len(track)] - 1 if len(track) else starts
        return {
            int(track[s]): (int(frame[s]), int(frame[e])) for s, e in zip(starts, ends, strict=True) if track[s] >= 0
        }

    def links(self) -> Ints:
        """(E, 2) pairs of rows, earlier then later, within tracks and from parent to child, sorted by the later row."""
        order = np.argsort(self.track, kind="stable")
        track = self.track[order]
        same = (np.diff(track) == 0) & (track[1:] >= 0)
        pairs = np.stack([order[:-1][same], order[1:][same]], axis=1) if len(order) else np.zeros((0, 2), np.int64)
        if len(self.parent):
            first: dict[int, int] = {}
            last: dict[int, int] = {}
            for row in range(len(track)):
                last[int(track[row])] = int(order[row])
                first.setdefault(int(track[row]), int(order[row]))
            across = [(last[p], first[c]) for c, p in self.parent.tolist()]
            pairs = np.concatenate([pairs, np.asarray(across, np.int64)])
        return pairs[np.argsort(pairs[:, 1], kind="stable")]

    def gaps(self) -> Ints:
        """(E, 2) the links that skip frames."""
        links = self.links()
        frame = self.detections.frame
        return links[frame[links[:, 1]] - frame[links[:, 0]] > 1]

    def divisions(self) -> dict[int, list[int]]:
        """The children of every track that ends in a division (two children or more)."""
        children: dict[int, list[int]] = {}
        for child, parent in self.parent.tolist():
            children.setdefault(parent, []).append(child)
        return {parent: sorted(found) for parent, found in children.items() if len(found) > 1}

    def lineages(self) -> dict[int, int]:
        """For each track the founder of its lineage: the oldest ancestor, itself where it has no parent."""
        parent = dict(self.parent.tolist())
        founder: dict[int, int] = {}
        for track in self.ids.tolist():
            path = [track]
            while path[-1] in parent:
                path.append(parent[path[-1]])
            founder[track] = path[-1]
        return founder

    def doubtful(self, frames: int = REVIEW_FRAMES, below: float = REVIEW_BELOW) -> Ints:
        """The rows to look at first: links and starts below this confidence, the least sure first.

        >>> seen = Detections(frame=[0, 1, 2, 3], box=np.zeros((4, 4)))
        >>> tracks = Tracks(seen, [0, 0, 0, 0], confidence=[np.nan, 0.8, 0.99, 0.3])
        >>> tracks.doubtful().tolist(), tracks.doubtful(frames=1).tolist()
        ([3, 1], [3])

        Args:
            frames: in at most so many frames, those of the least sure decisions.
            below: confidence from which a decision is sure enough.
        """
        if self.confidence is None:
            return np.zeros(0, np.int64)
        rows = np.flatnonzero(self.confidence < below)  # nan compares false: nothing was decided
        rows = rows[np.argsort(self.confidence[rows], kind="stable")]
        found, first = np.unique(self.detections.frame[rows], return_index=True)
        chosen = found[np.argsort(first)[:frames]]
        return rows[np.isin(self.detections.frame[rows], chosen)]

    def take(self, rows: slice | Sequence[int] | Ints | Bools) -> Self:
        """The given rows. Parents whose child or parent has no row left are dropped with it."""
        track = self.track[rows]
        left = np.unique(track)
        keep = np.isin(self.parent, left).all(axis=1) if len(self.parent) else np.zeros(0, bool)
        confidence = None if self.confidence is None else self.confidence[rows]
        return type(self)(self.detections.take(rows), track, self.parent[keep], self.names, confidence)

    def renumbered(self) -> Self:
        """The same tracks with ids 0, 1, 2, … in the order in which they first appear."""
        ids, first = np.unique(self.track, return_index=True)
        order = ids[np.argsort(first, kind="stable")]
        order = order[order >= 0]
        new = {int(old): i for i, old in enumerate(order)}
        lookup = np.vectorize(lambda old: new.get(int(old), UNTRACKED), otypes=[np.int64])
        track = lookup(self.track) if len(self.track) else self.track
        parent = lookup(self.parent) if len(self.parent) else self.parent
        names = {new[old]: name for old, name in self.names.items() if old in new}
        return type(self)(self.detections, track, parent, names, self.confidence)


def same_tracks(a: NDArray[np.int64], b: NDArray[np.int64]) -> bool:
    """Whether two columns of ids tell the same individuals apart, whatever the numbers.

    >>> same_tracks(np.array([0, 1, 0]), np.array([7, 3, 7]))
    True
    """
    if a.shape != b.shape or ((a < 0) != (b < 0)).any():
        return False
    pairs = len(np.unique(np.stack([a, b]), axis=1).T)
    return bool(pairs == len(np.unique(a)) == len(np.unique(b)))
