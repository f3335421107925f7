"""DREEM's tracker, step by step as it has them, for any score; and without what is wrong with it.

Each detection has a score for each track: the sum of its probabilities over the track's remembered sightings, changed
by overlap, distance and turn. The assignment of the greatest total wins, and pairs at or below a threshold are cut.

Where it differs, on purpose (the numbers are those of our list of DREEM's defects): every video begins anew (T1); ids
are 0, 1, 2, … and never used twice, whatever the input says (T2, T5, T6); `max_tracks` is a limit from the first frame
on (T7); `max_gap` counts frames, and small ones count (T8, D6); tracks are forgotten at some time (T9).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from kintrack.config_dreem import DreemTrackerConfig
from kintrack.core.detections import Bools, Detections, Floats, Ints, Skeleton
from kintrack.core.records import FrameRecord, Watch, Weighed
from kintrack.core.sightings import Memory, Sightings
from kintrack.core.tracks import Tracks
from kintrack.errors import AlignmentError, ConfigError, nearest_name
from kintrack.tracking import dreem_scores as scores
from kintrack.tracking.tracker import Score


class DreemTracker:
    """Identities for detections, in the order of time, as DREEM gives them.

    Args:
        config: a `DreemTrackerConfig`, or a mapping of its keys.
        shape: (Y, X) of the image, in whose diagonals DREEM measures distance; hardly matters.
        axis: (N, 3) where each row of the table points, see `dreem_scores.axes`; made from keypoints where not given.
        skeleton: names the keypoints.
        persistent_tracking: whether the memory lives on from one call to the next (chunks of one video), or each call
            is a video of its own.

    Attributes:
        flagged: the frames that a person should look at.
        watch: is told of each frame what was weighed; nobody, unless it is set.
    """

    def __init__(
        self,
        config: DreemTrackerConfig | Mapping[str, Any] | None = None,
        *,
        shape: tuple[int, int] | None = None,
        axis: Floats | None = None,
        skeleton: Skeleton | None = None,
        persistent_tracking: bool = False,
    ) -> None:
        self.config = DreemTrackerConfig.of(config)
        self.persistent_tracking = persistent_tracking
        self.watch: Watch | None = None
        self.diagonal = float(np.hypot(*shape)) if shape else 1.0
        self._axis = axis
        self._front = _positions(self.config.front_nodes, skeleton)
        self._back = _positions(self.config.back_nodes, skeleton)
        self.reset()

    def reset(self) -> None:
        """Forgets everything: the next frame is the first."""
        self._memory: Memory | None = None
        self._next_id = 0
        self.flagged: list[int] = []

    def __call__(self, score: Score, detections: Detections, seen: Sightings | None = None) -> Tracks:
        """The tracks of a table of detections.

        Args:
            score: says how much a query is a remembered sighting.
            detections: in the order of time.
            seen: the same rows as the score wants to see them; their boxes are what overlaps.
        """
        if not self.persistent_tracking:
            self.reset()
        track, confidence = self.update(score, Sightings.of(detections) if seen is None else seen)
        return Tracks(detections, track, confidence=confidence)

    def update(self, score: Score, seen: Sightings) -> tuple[Ints, Floats]:
        """Goes on with the next frames: the track and the certainty of each sighting, (N,) each.

        A track of -1 is a detection without a place, or one too many for `max_tracks`. The certainty is a probability,
        nan where a track begins. (DREEM gives its logarithm, and -1: its defect O1.)

        Raises:
            AlignmentError: what is given does not go on with what was given before.
        """
        if self._memory is not None and len(self._memory) and len(seen):
            last = int(self._memory.sightings.frame.max())
            if seen.frame[0] <= last:
                raise AlignmentError(
                    f"the tracker was given frame {seen.frame[0]} after frame {last}; give whole frames in the order "
                    "of time, or reset() it where another video begins"
                )
        track, certainty = np.full(len(seen), -1, np.int64), np.full(len(seen), np.nan)
        known = np.flatnonzero(seen.size > 0)  # not nan: what has no place cannot be followed
        for frame in np.unique(seen.frame[known]):
            rows = known[seen.frame[known] == frame]
            track[rows], certainty[rows] = self._step(score, seen.take(rows))
        return track, certainty

    def _step(self, score: Score, query: Sightings) -> tuple[Ints, Floats]:
        """One frame."""
        memory = Memory.like(query) if self._memory is None else self._forget(self._memory, int(query.frame[0]))
        track, certainty, weighed = np.full(len(query), -1, np.int64), np.full(len(query), np.nan), None
        if len(memory):
            ids, column = np.unique(memory.track, return_inverse=True)
            pairs = np.stack(np.divmod(np.arange(len(query) * len(memory)), len(memory)), axis=1)
            logits = np.asarray(score(query, memory, pairs))
            steps = self._scores(logits.reshape(len(query), len(memory)), query, memory, column, len(ids))
            matrix = steps["score"]
            log_p = scores.log_certainty(matrix, self.config.temperature)
            if scores.uncertain(log_p, self.config.confidence_threshold):
                self.flagged.append(int(query.frame[0]))
            rows, columns = linear_sum_assignment(matrix, maximize=True)
            kept = self._is_enough(matrix[rows, columns], np.bincount(column)[columns])
            rows, columns = rows[kept], columns[kept]
            track[rows], certainty[rows] = ids[columns], np.exp(log_p[rows, columns])
            weighed = Weighed(ids, pairs, logits, steps, np.exp(log_p))
        self._begin(query, track)
        self._memory = memory.remember(query, track, self.config.window_size)
        if self.watch is not None:
            self.watch(FrameRecord(query, memory, track, certainty, weighed))
        return track, certainty

    def _scores(self, logits: Floats, query: Sightings, memory: Memory, column: Ints, n: int) -> dict[str, Floats]:
        """(Q, M) the `score` of each detection and track, and what it was before each step, by DREEM's names."""
        c, seen = self.config, memory.sightings
        last = seen.take(memory.last[np.argsort(memory.track[memory.last])])  # in the order of their ids
        matrix = scores.summed(scores.frame_probability(logits, seen.frame), column, n)
        steps = {"traj_score": matrix}
        if c.iou is not None:
            steps["weight_iou"] = matrix = scores.with_overlap(matrix, query.box, last.box, c.iou)
        if c.max_center_dist is not None:
            far = scores.too_far(query.box, last.box, c.max_center_dist, self.diagonal)
            steps["max_center_dist"] = matrix = scores.penalised(matrix, far, c.distance_penalty_multiplier)
        if c.max_angle_diff > 0:
            turned = scores.too_turned(self._axes(query), self._axes(last), np.radians(c.max_angle_diff))
            steps["angle_diff_weight"] = matrix = scores.penalised(matrix, turned, c.angle_diff_penalty_multiplier)
        return steps | {"score": matrix}

    def _is_enough(self, score: Floats, sightings: Ints) -> Bools:
        """Which pairs are kept: those above the threshold, or all once there may be no more tracks."""
        c = self.config
        if c.max_tracks is not None and self._next_id >= c.max_tracks:
            return np.ones(len(score), bool)
        return np.asarray(score > c.overlap_thresh * (sightings if c.mult_thresh else 1.0))

    def _begin(self, query: Sightings, track: Ints) -> None:
        """Gives new ids, in place, to the detections that fit no track; the surest first where there are not enough."""
        alone = np.flatnonzero(track < 0)
        if self.config.max_tracks is not None:
            free = max(self.config.max_tracks - self._next_id, 0)
            best = np.argsort(-np.nan_to_num(query.score[alone], nan=0.0), kind="stable")[:free]
            alone = np.sort(alone[best])
        track[alone] = np.arange(self._next_id, self._next_id + len(alone))
        self._next_id += len(alone)

    def _forget(self, memory: Memory, frame: int) -> Memory:
        """The memory without tracks that were not seen for too long; those of a known number are never forgotten."""
        c = self.config
        if c.max_gap is None or c.max_tracks is not None:
            return memory
        return memory.live(frame, c.max_gap)

    def _axes(self, seen: Sightings) -> Floats:
        """(N, 3) where each one points."""
        if self._axis is not None:
            return self._axis[seen.row]
        if seen.keypoints is None:
            return np.full((len(seen), 3), np.nan)
        return scores.axes(seen.keypoints, self._front, self._back)


def _positions(names: tuple[str, ...], skeleton: Skeleton | None) -> list[int]:
    """Where the named keypoints stand.

    Raises:
        ConfigError: there is no keypoint of that name. (DREEM fails somewhere in a tensor: its defect T4.)
    """
    known = skeleton.names if skeleton else ()
    for name in names:
        if name not in known:
            has = nearest_name(name, known) if known else "the detections have no named keypoints"
            raise ConfigError(f"front_nodes and back_nodes name {name!r}, which is no keypoint here: {has}")
    return [known.index(name) for name in names]


__all__ = ["DreemTracker"]
