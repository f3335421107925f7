"""Chooses the numbers of the model `motion`, on the tuning sequences alone, in all conditions.

    python benchmarks/tune_motion.py                 a hundred trials: half an hour on one core
    python benchmarks/tune_motion.py --frames 120    a rougher and faster search
    python benchmarks/tune_motion.py --trials 0      what the numbers in the package give, and their calibration

A search by chance: each trial changes a few numbers of the best so far and is kept where the mean over groups and
conditions of 1 - AssA + 5 switches for each row is less. Last, the confidence is calibrated on the same sequences.
Prints what goes into src/kintrack/tracking/motion.py.
"""

import argparse
import math
from typing import Any, NamedTuple

import numpy as np
from contenders import one_thread
from report import markdown
from sequences import CONDITIONS, DATA, Scene, scenes

from kintrack.config import TrackerConfig
from kintrack.core.sightings import Sightings
from kintrack.metrics import evaluate
from kintrack.tracking import Tracker
from kintrack.tracking.confidence import fit_calibration
from kintrack.tracking.motion import TRACKER, Motion, MotionConfig

CHANGED = 3
"""Numbers that a trial changes, on average."""
AT_LEAST_ONE = ("max_gap", "gap_per_sighting", "unknown")
FIXED = ("memory", "candidates", "confidence_temperature", "confidence_bias")
STEP = 0.35
"""Standard deviation of a change, in the logarithm."""


class Found(NamedTuple):
    """What some numbers gave."""

    loss: float
    cells: dict[tuple[str, str], tuple[float, int]]
    """AssA and switches of each group in each condition."""
    decisions: tuple[Any, Any, Any]
    """(N,) each: the log-odds of what was decided, whether it was a link, whether it was right."""


def main() -> None:
    options = arguments()
    one_thread()
    given = [s.until(options.frames) for s in scenes("tuning", tuple(CONDITIONS), options.data)]
    best = {"model": Motion().config.to_dict(), "tracker": dict(TRACKER)}
    found = tried(best, given)
    print(f"as in the package: {found.loss:.4f}", flush=True)
    rng = np.random.default_rng(options.seed)
    for trial in range(options.trials):
        changed = varied(best, rng)
        new = tried(changed, given)
        if new.loss < found.loss:
            best, found = changed, new
            print(f"{trial:4d}: {found.loss:.4f} {best}", flush=True)
    print(table(found))
    temperature, bias = fit_calibration(*found.decisions)
    for name, value in {**best["model"], **best["tracker"]}.items():
        print(f"{name} = {value:.3g}")
    print(f"confidence_temperature = {temperature:.3g}\nconfidence_bias = {bias:.3g}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--frames", type=int, default=300, help="of each sequence: the dancers' are long")
    parser.add_argument("--seed", type=int, default=0, help="of the search; the noise has its own")
    parser.add_argument("--data", type=type(DATA), default=DATA, help="the folder with bee24, gmot and dancetrack")
    return parser.parse_args()


def varied(settings: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """The settings with some numbers changed by chance; frames stay whole, and nothing is outside what is allowed."""
    n = sum(len(part) for part in settings.values()) - len(FIXED)
    new: dict[str, Any] = {}
    for part, numbers in settings.items():
        new[part] = {}
        for name, value in numbers.items():
            if name in FIXED or rng.random() > CHANGED / n:
                new[part][name] = value
                continue
            changed = value * math.exp(rng.normal(0.0, STEP)) + (0.02 if not value else 0.0)
            if name in AT_LEAST_ONE:
                changed = max(changed, 1.0)
            new[part][name] = round(changed, None if isinstance(value, int) else 4)
    return new


def tried(settings: dict[str, Any], given: list[Scene]) -> Found:
    """What settings give on the scenes."""
    motion, tracker = Motion(MotionConfig.of(settings["model"])), TrackerConfig.of(settings["tracker"])
    by_cell: dict[tuple[str, str], list[tuple[float, int, int]]] = {}
    decided = []
    for scene in given:
        track, confidence = Tracker(tracker).update(motion, Sightings.of(scene.detections))
        found = evaluate(*scene.scored(track), "rows")
        cell = found["assa"], int(found["num_switches"]), len(track)
        by_cell.setdefault((scene.group, scene.condition), []).append(cell)
        decided.append(decisions(scene, track, confidence, tracker))
    cells = {
        key: (float(np.mean([c[0] for c in cell])), sum(c[1] for c in cell), sum(c[2] for c in cell))
        for key, cell in by_cell.items()
    }
    loss = np.mean([1.0 - assa + 5.0 * switches / rows for assa, switches, rows in cells.values()])
    kept = {key: cell[:2] for key, cell in cells.items()}
    log_odds, is_link, right = (np.concatenate(column) for column in zip(*decided, strict=True))
    return Found(float(loss), kept, (log_odds, is_link, right))


def decisions(scene: Scene, track: Any, confidence: Any, tracker: TrackerConfig) -> tuple[Any, Any, Any]:
    """The log-odds of each decision, before calibration; whether it was a link; and whether it was right.

    A link is right between two rows of one individual. A start is right for a false box, and for an individual who was
    not there in the frames that the tracker looks back on.
    """
    frame, identity = scene.detections.frame, scene.identity
    before, seen = previous(track, frame), previous(identity, frame)
    is_link = before >= 0
    known = (seen >= 0) & (identity >= 0) & (frame - frame[seen] <= tracker.max_gap)
    right = np.where(is_link, (identity[before] == identity) & (identity >= 0), ~known)
    p = np.clip(confidence, 1e-12, 1.0 - 1e-12)
    log_odds = tracker.confidence_temperature * np.log(p / (1.0 - p))
    log_odds -= np.where(is_link, 1.0, -1.0) * tracker.confidence_bias
    there = ~np.isnan(confidence)
    return log_odds[there], is_link[there], right[there]


def previous(label: Any, frame: Any) -> Any:
    """(N,) the row before each one with the same label, -1 for the first."""
    order = np.lexsort((frame, label))
    same = label[order[1:]] == label[order[:-1]]
    found = np.full(len(label), -1)
    found[order[1:][same]] = order[:-1][same]
    return found


def table(found: Found) -> str:
    groups = list(dict.fromkeys(group for group, _ in found.cells))
    rows = []
    for condition in dict.fromkeys(condition for _, condition in found.cells):
        cells = [found.cells[group, condition] for group in groups]
        rows.append([condition, *(f"{assa:.3f} / {switches}" for assa, switches in cells)])
    return markdown(["AssA / switches", *groups], rows)


if __name__ == "__main__":
    main()
