"""Which sequences the trackers are compared on, which of them may be tuned on, and what is done to their detections."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kintrack import io
from kintrack.core.detections import Detections, Ints, VideoInfo
from kintrack.core.tracks import Tracks
from kintrack.sim import observe

DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "boxes"
"""Where BEE24, GMOT-40 and DanceTrack lie unless --data says otherwise."""

# A sequence is looked at while settings are chosen, or it is reported; never both. DanceTrack 0005 to 0047 are in
# neither half, because models are trained on them.
TUNING: Mapping[str, tuple[str, ...]] = {
    "bees": ("bee24/BEE2412",),
    "animals": ("gmot/bird-2-FRCNN",),
    "things": ("gmot/ball-3-FRCNN", "gmot/car-3-FRCNN"),
    "dancers": ("dancetrack/dancetrack0063", "dancetrack/dancetrack0073", "dancetrack/dancetrack0079"),
}
REPORTING: Mapping[str, tuple[str, ...]] = {
    "bees": ("bee24/BEE2413", "bee24/BEE2416"),
    "animals": ("gmot/stock-3-FRCNN",),
    "things": ("gmot/airplane-2-FRCNN", "gmot/balloon-2-FRCNN", "gmot/boat-3-FRCNN"),
    "dancers": ("dancetrack/dancetrack0065", "dancetrack/dancetrack0077", "dancetrack/dancetrack0081",
                "dancetrack/dancetrack0097"),
}  # fmt: skip
QUICK: Mapping[str, tuple[str, ...]] = {
    "bees": ("bee24/BEE2413",),
    "animals": ("gmot/stock-3-FRCNN",),
    "things": ("gmot/boat-3-FRCNN",),
    "dancers": ("dancetrack/dancetrack0077",),
}
HALVES = {"tuning": TUNING, "reporting": REPORTING, "quick": QUICK}

CONDITIONS: Mapping[str, str] = {
    "clean": "the true boxes",
    "noisy": "10 % of the true boxes missing, the others displaced by 5 % of their size (standard deviation; width and "
    "height by 5 % too), and 5 % false boxes, half of them on or beside a true one; false boxes are not scored",
    "third": "every third frame of the true boxes, numbered 0, 1, 2, … as a video of a third of the frame rate is",
}
NOISE = {"miss": 0.10, "jitter": 0.05, "scale_jitter": 0.05, "false_rate": 0.05}


@dataclass(frozen=True, eq=False)
class Scene:
    """One sequence in one condition.

    Args:
        name: the sequence's folder.
        group: what it shows.
        condition: a key of `CONDITIONS`.
        detections: what every tracker is given: frames and boxes, no scores; rows of a frame in random order, because
            the files are sorted by identity, and an order that knows the answer decides ties.
        identity: (N,) who each row is; -1 for false boxes.
    """

    name: str
    group: str
    condition: str
    detections: Detections
    identity: Ints

    @property
    def key(self) -> str:
        """A name for files."""
        return f"{self.condition}|{self.name}"

    def scored(self, track: Ints) -> tuple[Tracks, Tracks]:
        """Truth and prediction on the rows that are somebody."""
        real = np.flatnonzero(self.identity >= 0)
        rows = self.detections.take(real)
        return Tracks(rows, self.identity[real]), Tracks(rows, track[real])


def scenes(half: str, conditions: tuple[str, ...], data: Path = DATA, seed: int = 0) -> Iterator[Scene]:
    """Every sequence of a half in every condition."""
    for group, names in HALVES[half].items():
        for name in names:
            truth = read_truth(data / name)
            if half == "quick":
                truth = truth.take(truth.detections.frame < 200)
            for condition in conditions:
                yield make_scene(truth, name, group, condition, seed)


def read_truth(folder: Path) -> Tracks:
    """The annotated boxes. GMOT-40's gt.txt is one half of a sequence; what ends in `all.txt` is the whole of it."""
    whole = sorted(folder.glob("gt/g*all.txt"))
    truth = io.load(whole[0] if whole else folder / "gt" / "gt.txt", "mot")
    truth = truth.take(truth.track >= 0)
    info = truth.detections.video
    # Its length is left out: seqinfo.ini may count frames that these rows do not cover.
    shape = None if info is None else VideoInfo(shape=info.shape)
    return Tracks(Detections(truth.detections.frame, truth.detections.box, video=shape), truth.track)


def make_scene(truth: Tracks, name: str, group: str, condition: str, seed: int) -> Scene:
    """A sequence as the trackers see it in a condition; the same for the same seed."""
    if condition == "third":
        kept = np.flatnonzero(truth.detections.frame % 3 == 0)
        rows = truth.detections.take(kept)
        truth = Tracks(Detections(rows.frame // 3, rows.box), truth.track[kept])
    seen, identity = observe(truth, NOISE if condition == "noisy" else None, seed)
    return Scene(name, group, condition, Detections(seen.frame, seen.box), identity)
