"""The online tracker: frame by frame, detections to identities."""

import itertools
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kintrack.config import TrackerConfig
from kintrack.core.detections import Detections, Floats, Ints
from kintrack.core.records import FrameRecord, Watch, Weighed
from kintrack.core.sightings import Memory, Sightings, candidates, gated_distance
from kintrack.core.tracks import Tracks
from kintrack.errors import AlignmentError
from kintrack.tracking.assign import assign
from kintrack.tracking.confidence import confidence as confidence_of
from kintrack.tracking.confidence import share
from kintrack.tracking.scores import track_scores


class Score(Protocol):
    """Whatever can say how much a query is a remembered sighting: a model, or five lines in a test."""

    def __call__(self, query: Sightings, memory: Memory, pairs: Ints, /) -> NDArray[np.floating]:
        """(E,) a logit for each pair (query row, memory row); 0 is as likely as not."""
        ...


class Tracker:
    """Identities for detections, in the order of time.

    Each frame's detections are compared with the last sightings of the tracks that are still looked for; the
    assignment of the greatest total score wins, where staying alone scores 0; what stays alone starts a track. No
    frame ever has an id twice, no detection is lost, and the result does not depend on how a video is cut into chunks
    of whole frames (where its detections are points: if their `size` is given).
    What is true of the detections cannot reach it: it is handed sightings, and they hold none.

    Args:
        config: a `TrackerConfig`, or a mapping of its keys.
        persistent_tracking: whether the memory lives on from one call to the next (chunks of one video), or each call
            is a video of its own.

    Attributes:
        watch: is told of each frame what was weighed; nobody, unless it is set.
    """

    def __init__(
        self, config: TrackerConfig | Mapping[str, Any] | None = None, persistent_tracking: bool = False
    ) -> None:
        self.config = TrackerConfig.of(config)
        self.persistent_tracking = persistent_tracking
        self.watch: Watch | None = None
        self.reset()

    def reset(self) -> None:
        """Forgets everything: the next frame is the first."""
        self._memory: Memory | None = None
        self._next_id = 0

    def __call__(self, score: Score, detections: Detections, seen: Sightings | None = None) -> Tracks:
        """The tracks of a table of detections.

        Args:
            score: says how much a query is a remembered sighting.
            detections: in the order of time.
            seen: the same rows as the score wants to see them (with a model's tokens); measured here if not given.
        """
        if not self.persistent_tracking:
            self.reset()
        seen = Sightings.of(detections, self.config.size) if seen is None else seen
        track, confidence = self.update(score, seen)
        return Tracks(detections, track, confidence=confidence)

    def update(self, score: Score, seen: Sightings) -> tuple[Ints, Floats]:
        """Goes on with the next frames: the track and the confidence of each sighting, (N,) each.

        A track of -1 is a detection without a place, or one too many for `max_tracks`.

        Raises:
            AlignmentError: what is given does not go on with what was given before.
        """
        self._check_goes_on(seen)
        track = np.full(len(seen), -1, np.int64)
        confidence = np.full(len(seen), np.nan)
        known = np.flatnonzero(seen.size > 0)  # not nan: what has no place cannot be followed
        placed = seen if len(known) == len(seen) else seen.take(known)
        bounds = [0, *(np.flatnonzero(np.diff(placed.frame)) + 1).tolist(), len(known)]
        for start, stop in itertools.pairwise(bounds) if len(known) else ():
            rows = known[start:stop]
            track[rows], confidence[rows] = self._step(score, placed.take(slice(start, stop)))
        return track, confidence

    def _check_goes_on(self, seen: Sightings) -> None:
        """Half a frame, or a step back in time, would end in an id twice in a frame."""
        if self._memory is None or not len(seen):
            return
        if len(self._memory) and seen.frame[0] <= (last := int(self._memory.sightings.frame.max())):
            raise AlignmentError(
                f"the tracker was given frame {seen.frame[0]} after frame {last}; give whole frames in the order of "
                "time, or reset() it where another video begins"
            )
        before, now = ({n: c.shape[1:] for n, c in s.columns().items()} for s in (self._memory.sightings, seen))
        if odd := sorted(n for n in before.keys() | now.keys() if before.get(n) != now.get(n)):
            raise AlignmentError(
                f"the tracker remembers sightings whose {', '.join(odd)} differ from what it was given now; give all "
                "chunks of a video the same columns, or reset() it where another video begins"
            )

    def _step(self, score: Score, query: Sightings) -> tuple[Ints, Floats]:
        """One frame."""
        c = self.config
        memory = Memory.like(query) if self._memory is None else self._memory
        memory = self._still_looked_for(memory, int(query.frame[0]))
        track, confidence, weighed = self._link(score, query, memory)
        first = self._next_id
        alone = track < 0
        self._start(query, memory, track)
        confidence[alone & (track < first)] = np.nan  # it is left over, or guessed at by `_bind_lost`: no start
        self._memory = memory.remember(query, track, c.memory)
        if self.watch is not None:
            self.watch(FrameRecord(query, memory, track, confidence, weighed))
        return track, confidence

    def _still_looked_for(self, memory: Memory, frame: int) -> Memory:
        """The memory without the tracks that are given up. Those of a known number of individuals never are."""
        c = self.config
        if c.max_tracks is not None:
            return memory
        max_gap = min(c.max_gap, c.max_lost) if c.returning == "new" else c.max_gap
        return memory.live(frame, max_gap, c.gap_per_sighting)

    def _link(self, score: Score, query: Sightings, memory: Memory) -> tuple[Ints, Floats, Weighed | None]:
        """Each detection's track among those remembered, -1 for none, and how sure that is; nan without candidates."""
        c = self.config
        track = np.full(len(query), -1, np.int64)
        confidence = np.full(len(query), np.nan)
        weighed = None
        pairs = candidates(query, memory, c.candidates, c.gate, c.gate_gap, c.compare == "sightings")
        if len(pairs):
            ids, column = np.unique(memory.track, return_inverse=True)
            logits = score(query, memory, pairs)
            scores = track_scores(logits, pairs, column, memory.rank, (len(query), len(ids)), c.combine)
            rows, columns = assign(scores - np.log(c.threshold / (1.0 - c.threshold)))
            track[rows] = ids[columns]
            confidence = confidence_of(scores, rows, columns, c.confidence_temperature, c.confidence_bias)
            if self.watch is not None:
                weighed = Weighed(ids, pairs, logits, {"score": scores}, share(scores))
        return track, confidence, weighed

    def _start(self, query: Sightings, memory: Memory, track: Ints) -> None:
        """Gives ids to the detections that fit no track, in place: new ones, or lost ones once all are given out."""
        c = self.config
        alone = np.flatnonzero(track < 0)
        if c.min_score is not None:
            alone = alone[~(query.score[alone] < c.min_score)]  # an unknown score is not a low one
        if c.max_tracks is None:
            track[alone] = self._new_ids(len(alone))
            return
        free = c.max_tracks - self._next_id
        if len(alone) > free:
            alone = self._bind_lost(query, memory, track, alone)
        best = alone[np.argsort(-np.nan_to_num(query.score[alone], nan=0.0), kind="stable")[:free]]
        track[np.sort(best)] = self._new_ids(len(best))

    def _new_ids(self, n: int) -> Ints:
        first = self._next_id
        self._next_id += n
        return np.arange(first, first + n)

    def _bind_lost(self, query: Sightings, memory: Memory, track: Ints, alone: Ints) -> Ints:
        """Gives the nearest lost ids to detections when there are no new ones to give; returns those still alone.

        An id reaches `gate` sizes for each frame that it is lost: whoever it is may be anywhere in the end, but a false
        detection on the other side does not take the id of one who was missed for a moment.
        """
        last = memory.sightings.take(memory.last)
        ids = memory.track[memory.last]
        lost = np.flatnonzero(~np.isin(ids, track))
        if not len(lost):
            return alone
        far = gated_distance(query.take(alone), last.take(lost), self.config.gate_gap)
        gap = (query.frame[0] - last.frame[lost]).astype(np.float64)
        reach = self.config.gate * gap / np.sqrt(np.minimum(gap, self.config.gate_gap))  # in the unit of `far`
        rows, columns = assign(np.where(far <= reach, 1.0 / (1.0 + far), 0.0))
        track[alone[rows]] = ids[lost[columns]]
        return np.delete(alone, rows)
