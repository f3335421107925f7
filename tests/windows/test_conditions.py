"""What the memory tells of a scene: how often one is missed, how many come and go, how they move."""

import numpy as np
import pytest

from kintrack.core import boxes
from kintrack.core.detections import Detections
from kintrack.core.sightings import Memory, Sightings
from kintrack.windows.conditions import UNKNOWN, USUAL_RATE, conditions_of


def memory_of(rows, depth=8):
    """The memory after rows (frame, x, y, track), each a box of 10 x 10 pixels."""
    frame, x, y, track = np.array(sorted(rows), np.float64).T
    detections = Detections(frame.astype(np.int32), boxes.from_centre(np.stack([x, y], axis=1), 10.0))
    seen, memory = Sightings.of(detections), None
    for t in np.unique(frame):
        now = seen.take(frame == t)
        memory = (memory or Memory.like(now)).remember(now, track[frame == t].astype(np.int64), depth)
    return memory


def asked(memory, frame):
    """What the memory tells when a frame is asked about in which there is one, far away from all."""
    query = Sightings.of(Detections.of([frame], np.array([[-1e4, -1e4, 10 - 1e4, 10 - 1e4]])))
    return conditions_of(query, memory, np.zeros((0, 2), np.int64))


def rate(value, n, doubt=10.0):
    """What happened, from the logarithm of the ratio that a scene of n sightings gives."""
    return (np.exp(value) * (n + doubt) - doubt) * USUAL_RATE


def test_of_an_empty_memory_nothing_is_known():
    empty = Sightings.of(Detections.of([], np.zeros((0, 4))))
    assert conditions_of(empty, Memory.like(empty), np.zeros((0, 2), np.int64)) == UNKNOWN


def test_it_counts_gaps_flashes_births_and_losses():
    rows = [(t, 50 * k, 0, k) for t in range(6) for k in range(4)]  # four who are always there
    rows = [row for row in rows if row[::3] not in [(2, 0), (3, 1), (5, 2)]]  # two gaps, and one is not seen at last
    rows += [(3, 500, 500, 7)]  # seen once
    rows += [(4, 900, 0, 8), (5, 900, 0, 8)]  # begins
    scene = asked(memory_of(rows), 6)
    n, steps = len(rows), len(rows) - 6
    assert rate(scene.misses, steps) == pytest.approx(2)
    assert rate(scene.flashes, n) == pytest.approx(1)
    assert rate(scene.losses, n) == pytest.approx(1)
    assert rate(scene.births, n) == pytest.approx(5)  # the first four have begun, too, as far as is known
    assert scene.gap == pytest.approx(2 * np.log(2) / (steps + 10))


def test_what_is_long_ago_is_not_counted():
    early = [(t, 50 * k, 0, k) for t in (0, 2, 3) for k in range(4)]
    late = [(t, 50 * k, 0, k) for t in range(20, 26) for k in range(4)]
    gone = [(t, 500, 0, 9) for t in (0, 1)]
    scene = asked(memory_of(early + gone + late, depth=6), 26)
    assert scene.misses < 0 and scene.losses < 0 and scene.births < 0


def test_it_measures_steps_and_scatter_in_sizes():
    rng = np.random.default_rng(0)
    straight = memory_of([(t, 3.0 * t, 90.0 * k, k) for t in range(8) for k in range(6)])
    shaky = memory_of(
        [(t, 3.0 * t + dx, 90.0 * k + dy, k) for t in range(8) for k, (dx, dy) in enumerate(rng.normal(0, 4, (6, 2)))]
    )
    one, other = asked(straight, 8), asked(shaky, 8)
    assert one.step == pytest.approx(0.3, rel=0.05)
    assert one.scatter < 0.02 and other.scatter > 0.2


def test_a_common_motion_is_seen_although_one_goes_another_way():
    rows = [(t, 4.0 * t, 2.0 * t + 90 * k, k) for t in range(6) for k in range(5)]
    rows += [(t, 900 - 30.0 * t, 0, 9) for t in range(6)]
    assert asked(memory_of(rows), 6).velocity == pytest.approx([4.0, 2.0], abs=0.6)
