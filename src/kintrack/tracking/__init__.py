"""From scores to identities. numpy and scipy: what scores is handed in, so ground truth cannot reach it."""

from kintrack.tracking.tracker import Score, Tracker

__all__ = ["Score", "Tracker"]
