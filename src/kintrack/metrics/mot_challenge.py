"""What MOTChallenge takes out of truth and prediction before it counts.

MOTChallenge's truth holds more than what is scored: people on vehicles, statues, reflections and other distractors, and
rows that are marked with a 0. A tracker may find distractors or not; it may not find what is marked.
"""

from collections.abc import Sequence

import numpy as np

from kintrack.core.tracks import Tracks
from kintrack.errors import InputError
from kintrack.metrics.matching import Matcher, set_aside

PEDESTRIAN = 1
"""The class that is scored."""

DISTRACTORS = (2, 7, 8, 12)
"""Person on vehicle, static person, distractor, reflection. For MOT20 add 6, non-motorised vehicle."""


def mot_challenge(
    truth: Tracks, prediction: Tracks, *, scored: int = PEDESTRIAN, distractors: Sequence[int] = DISTRACTORS
) -> tuple[Tracks, Tracks]:
    """Truth and prediction as MOTChallenge scores them; `evaluate` these for its numbers.

    Predicted rows that match a distractor are taken out, each frame matched to all of truth by the overlap of boxes, at
    0.5 or more. Then all true rows are taken out that are of another class than the scored one, or marked with a 0.

    Args:
        truth: with the extra column ``class``, and the mark as its score, as `kintrack.io` reads MOTChallenge's gt.txt.
        prediction: of any tracker.
        scored: the class that is scored.
        distractors: classes that may be found or not.

    Raises:
        InputError: where truth does not say the class of its rows.
    """
    found = truth.detections
    if "class" not in found.extra:
        raise InputError(
            f"truth has no column 'class' (its columns: {', '.join(found.columns())}), so distractors cannot be told; "
            "give a MOTChallenge gt.txt with 9 columns, or evaluate() the two as they are"
        )
    kind = np.asarray(found.extra["class"])
    counted = kind == scored
    if found.score is not None:
        counted &= found.score != 0
    return set_aside(truth, prediction, np.isin(kind, list(distractors)), Matcher("iou", 0.5), keep=counted)
