"""How well a prediction did: two `Tracks` in, numbers out. numpy and scipy alone; nothing given is changed.

evaluate(truth, prediction)      one sequence
evaluate_many({name: (truth, prediction)})   several, each and all together
find_switches(truth, prediction) where identities change
combine([...])                   evaluations of several sequences as one
mot_challenge(truth, prediction) what MOTChallenge takes out before it counts
calibration(confidence, right)   whether confidences hold what they say; review and risk_coverage: what they find
"""

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

from kintrack.core.detections import Ints
from kintrack.core.tracks import Tracks
from kintrack.errors import InputError
from kintrack.metrics.calibration import Calibration, Decisions, calibration, judge, review, risk_coverage
from kintrack.metrics.evaluation import MEASURES, Counts, Evaluation, combine, table
from kintrack.metrics.hota import count_hota
from kintrack.metrics.matching import Candidates, Kind, Matcher, Unit, counts, find_candidates, finds, set_aside
from kintrack.metrics.mot import count_clear, count_identity, match_frames, switched
from kintrack.metrics.mot_challenge import mot_challenge

__all__ = [
    "MEASURES",
    "Calibration",
    "Decisions",
    "Evaluation",
    "Matcher",
    "calibration",
    "combine",
    "evaluate",
    "evaluate_many",
    "find_switches",
    "judge",
    "mot_challenge",
    "review",
    "risk_coverage",
    "table",
]

Untracked = Literal["own", "drop"]


def evaluate(
    truth: Tracks,
    prediction: Tracks,
    match: Kind = "iou",
    *,
    threshold: float = 0.5,
    distance: float = 1.0,
    unit: Unit = "size",
    untracked: Untracked = "own",
) -> Evaluation:
    """How well the prediction finds the truth's individuals and keeps them apart.

    Two individuals, side by side for four frames; the prediction exchanges them in the middle: two switches, and
    each true identity agrees with half of its best track.

    >>> import numpy as np
    >>> from kintrack.core.detections import Detections
    >>> from kintrack.core.tracks import Tracks
    >>> box = np.array([[0, 0, 2, 2], [4, 0, 6, 2]] * 4)
    >>> seen = Detections(frame=np.repeat(np.arange(4), 2), box=box)
    >>> truth, prediction = Tracks(seen, [0, 1, 0, 1, 0, 1, 0, 1]), Tracks(seen, [0, 1, 0, 1, 1, 0, 1, 0])
    >>> found = evaluate(truth, prediction)
    >>> found["num_switches"], found["mota"], found["idf1"], found["deta"], round(found["assa"], 4)
    (2.0, 0.75, 0.5, 1.0, 0.3333)

    Args:
        truth: the annotated tracks.
        prediction: the tracks to be judged.
        match: when a predicted row may be a true row: ``iou`` of the boxes, ``centre`` distance, or the same ``rows``.
        threshold: similarity from which CLEAR and the identity measures accept a match.
        distance: for ``centre``, where similarity reaches 0; at a threshold of 0.5 matches are at most half as far.
        unit: of distance: ``size`` of the true individual, or ``pixel``.
        untracked: what a predicted row with id -1 is. ``own``: a detection without identity, counted as a track of its
            own: it finds what it is on, but whoever it finds has changed identity; on nothing it is a false positive.
            These are TrackEval's numbers where each such row has an id of its own. ``drop``: no prediction at all,
            as if the tracker had not written it: what it is on is missed.

    True rows with id -1 are individuals that nobody identified. They count neither for nor against the prediction: they
    are set aside, with the predicted rows that match them, as MOTChallenge does with distractors.

    Raises:
        InputError: where the two cannot be compared in this way, or truth has rows but no identity.
        AlignmentError: with ``match="rows"``, where no detection is in both.
    """
    matcher = Matcher(match, threshold, distance, unit)
    if untracked not in get_args(Untracked):
        raise InputError(f"untracked is {untracked!r}; wanted 'own' or 'drop'")
    if len(truth) and (truth.track < 0).all():
        raise InputError(
            f"truth has {len(truth)} rows but no identities (all are -1); give the annotated tracks first, "
            "then the prediction"
        )
    provenance = {**matcher.provenance(), "untracked": untracked, **counts(truth, prediction)}
    if untracked == "drop":
        prediction = prediction.take(prediction.track >= 0)
    nobody = truth.track < 0
    if nobody.any():
        before = len(prediction)
        truth, prediction = set_aside(truth, prediction, nobody, matcher)
        provenance |= {"ignored_objects": int(nobody.sum()), "ignored_predictions": before - len(prediction)}
    candidates = find_candidates(truth, prediction, matcher)
    counted = Counts(
        clear=count_clear(candidates, threshold),
        identity=count_identity(candidates, threshold),
        hota=count_hota(candidates),
        decisions=_decisions(candidates, prediction, threshold),
    )
    return Evaluation(counted, provenance)


def find_switches(
    truth: Tracks,
    prediction: Tracks,
    match: Kind = "iou",
    *,
    threshold: float = 0.5,
    distance: float = 1.0,
    unit: Unit = "size",
) -> Ints:
    """(S,) the predicted rows at which an individual is found by another track than before: where `evaluate` counts a
    switch, in the order of time. The arguments are those of `evaluate`; untracked rows are tracks of their own.

    >>> import numpy as np
    >>> from kintrack.core.detections import Detections
    >>> from kintrack.core.tracks import Tracks
    >>> seen = Detections(frame=np.arange(4), box=np.tile([0, 0, 2, 2], (4, 1)))
    >>> find_switches(Tracks(seen, [0, 0, 0, 0]), Tracks(seen, [5, 5, 8, 8]))
    array([2])
    """
    matcher, nobody = Matcher(match, threshold, distance, unit), truth.track < 0
    judged = np.flatnonzero(~finds(truth, prediction, nobody, matcher))
    candidates = find_candidates(truth.take(~nobody), prediction.take(judged), matcher)
    matched = match_frames(candidates, threshold)
    return judged[candidates.predicted_row[matched[switched(*candidates.identities(matched))]]]


def _decisions(candidates: Candidates, prediction: Tracks, threshold: float) -> Decisions:
    """What the tracker was how sure of, where the truth can say whether it was right."""
    if prediction.confidence is None:
        return Decisions()
    identity = np.full(len(prediction), -1, np.int64)
    matched = match_frames(candidates, threshold)
    identity[candidates.predicted_row[matched]] = candidates.individual[candidates.true_row[matched]]
    return Decisions.of(identity, prediction.track, prediction.confidence)


def evaluate_many(
    sequences: Mapping[str, tuple[Tracks, Tracks]],
    match: Kind = "iou",
    *,
    threshold: float = 0.5,
    distance: float = 1.0,
    unit: Unit = "size",
    untracked: Untracked = "own",
) -> tuple[dict[str, Evaluation], Evaluation]:
    """Each sequence's evaluation by its name, and all of them together; see `evaluate` and `combine`."""
    each = {
        name: evaluate(truth, prediction, match, threshold=threshold, distance=distance, unit=unit, untracked=untracked)
        for name, (truth, prediction) in sequences.items()
    }
    return each, combine(each)
