"""What a tracker weighed in a frame, for whoever wants to know why it decided as it did."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from numpy import floating
from numpy.typing import NDArray

from kintrack.core.detections import Floats, Ints
from kintrack.core.sightings import Memory, Sightings


@dataclass(frozen=True)
class Weighed:
    """The candidates of one frame and their scores: Q detections, R remembered sightings of M tracks, E pairs.

    Args:
        ids: (M,) the tracks.
        pairs: (E, 2) of a detection and a sighting, by their positions.
        logits: (E,) how much each pair is one individual, as the model says.
        scores: (Q, M) how much each detection is each track, -inf where that was not asked; the last one is what was
            assigned, the ones before are steps on the way to it, by name.
        probability: (Q, M) what that is among all tracks and none, or among all tracks.
    """

    ids: Ints
    pairs: Ints
    logits: NDArray[floating]
    scores: Mapping[str, Floats]
    probability: Floats


@dataclass(frozen=True)
class FrameRecord:
    """One frame, as a tracker saw it.

    Args:
        query: its Q detections.
        memory: what was remembered before it.
        track: (Q,) the tracks that they were given, -1 for none.
        confidence: (Q,) of that; nan where nothing was decided.
        weighed: how it came to that; None where nothing was remembered, or nobody was near.
    """

    query: Sightings
    memory: Memory
    track: Ints
    confidence: Floats
    weighed: Weighed | None


Watch = Callable[[FrameRecord], None]
"""Is told of each frame when it is decided."""
