"""Which sequences the trackers are compared on, which of them may be tuned on, and what is done to their detections."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from particles import read_particles

from kintrack import io
from kintrack.core import boxes
from kintrack.core.detections import Detections, Ints, VideoInfo
from kintrack.core.tracks import Tracks
from kintrack.sim import observe

DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "boxes"
"""Where BEE24, GMOT-40 and DanceTrack lie unless --data says otherwise; `particles` and `flies` lie beside it."""

# A sequence is looked at while settings are chosen, or it is reported; never both. DanceTrack 0005 to 0047 are in
# neither half, because models are trained on them. There is one sequence of receptors: its first fifty frames are for
# choosing, the others are reported, as [first:stop] says.
TUNING: Mapping[str, tuple[str, ...]] = {
    "bees": ("bee24/BEE2412",),
    "animals": ("gmot/bird-2-FRCNN",),
    "things": ("gmot/ball-3-FRCNN", "gmot/car-3-FRCNN"),
    "dancers": ("dancetrack/dancetrack0063", "dancetrack/dancetrack0073", "dancetrack/dancetrack0079"),
    "receptors": ("particles/receptors[0:50]",),
}
REPORTING: Mapping[str, tuple[str, ...]] = {
    "bees": ("bee24/BEE2413", "bee24/BEE2416"),
    "animals": ("gmot/stock-3-FRCNN",),
    "things": ("gmot/airplane-2-FRCNN", "gmot/balloon-2-FRCNN", "gmot/boat-3-FRCNN"),
    "dancers": ("dancetrack/dancetrack0065", "dancetrack/dancetrack0077", "dancetrack/dancetrack0081",
                "dancetrack/dancetrack0097"),
    "receptors": ("particles/receptors[50:100]",),
    "flies": ("flies/centered_pair",),
}  # fmt: skip
QUICK: Mapping[str, tuple[str, ...]] = {
    "bees": ("bee24/BEE2413",),
    "animals": ("gmot/stock-3-FRCNN",),
    "things": ("gmot/boat-3-FRCNN",),
    "dancers": ("dancetrack/dancetrack0077",),
    "receptors": ("particles/receptors[50:100]",),
    "flies": ("flies/centered_pair",),
}
HALVES = {"tuning": TUNING, "reporting": REPORTING, "quick": QUICK}

CONDITIONS: Mapping[str, str] = {
    "clean": "the true boxes",
    "noisy": "10 % of the true boxes missing, the others displaced by 5 % of their size (standard deviation; width and "
    "height by 5 % too), and 5 % false boxes, half of them on or beside a true one; false boxes are not scored",
    "third": "every third frame of the true boxes, numbered 0, 1, 2, … as a video of a third of the frame rate is",
    "detected": "what a detector really found; its false detections are not scored",
}
DETECTED = ("flies",)
"""Groups whose detections are a detector's, not the truth's: they are in that condition, the others in the others."""
SQUARE = 16.0
"""Side in pixels of the squares that stand for points, for trackers that need boxes."""
NOISE = {"miss": 0.10, "jitter": 0.05, "scale_jitter": 0.05, "false_rate": 0.05}


@dataclass(frozen=True, eq=False)
class Scene:
    """One sequence in one condition.

    Args:
        name: the sequence's folder.
        group: what it shows.
        condition: a key of `CONDITIONS`.
        seed: of the noise and of the order of rows.
        detections: what every tracker is given: frames and boxes or points, no scores; rows of a frame in random order,
            because the files are sorted by identity, and an order that knows the answer decides ties.
        identity: (N,) who each row is; -1 for false boxes.
    """

    name: str
    group: str
    condition: str
    seed: int
    detections: Detections
    identity: Ints

    @property
    def key(self) -> str:
        """A name for files."""
        return f"{self.condition}|{self.seed}|{self.name}"

    @property
    def boxed(self) -> Detections:
        """The detections for trackers that need boxes: a point is the middle of a square of `SQUARE` pixels."""
        box = self.detections.box
        flat = (boxes.area(box) <= 0)[:, None]
        square = boxes.from_centre(boxes.centre(box), SQUARE)
        return self.detections.with_columns(box=np.where(flat, square, box))

    def until(self, frame: int) -> "Scene":
        """The frames before one."""
        kept = np.flatnonzero(self.detections.frame < frame)
        return replace(self, detections=self.detections.take(kept), identity=self.identity[kept])

    def scored(self, track: Ints) -> tuple[Tracks, Tracks]:
        """Truth and prediction on the rows that are somebody."""
        real = np.flatnonzero(self.identity >= 0)
        rows = self.detections.take(real)
        return Tracks(rows, self.identity[real]), Tracks(rows, track[real])


def scenes(half: str, conditions: tuple[str, ...], data: Path = DATA, seeds: Sequence[int] = (0,)) -> Iterator[Scene]:
    """Every sequence of a half in every condition; each seed where noise is drawn, else the first."""
    for group, names in HALVES[half].items():
        here = [c for c in conditions if (c == "detected") == (group in DETECTED)]
        for name in names if here else ():
            truth = read_truth(data, name)
            if half == "quick":
                truth = truth.take(truth.detections.frame < 200)
            for condition in here:
                for seed in seeds if condition == "noisy" else seeds[:1]:
                    yield make_scene(truth, name, group, condition, seed)


def read_truth(data: Path, name: str) -> Tracks:
    """The annotated boxes or points of a sequence; -1 for what a detector invented."""
    if name.startswith("particles/"):
        return _read_receptors(data.parent, name)
    if name.startswith("flies/"):
        return _read_flies(data.parent / name)
    # GMOT-40's gt.txt is one half of a sequence; what ends in `all.txt` is the whole of it.
    whole = sorted((data / name).glob("gt/g*all.txt"))
    truth = io.load(whole[0] if whole else data / name / "gt" / "gt.txt", "mot")
    truth = truth.take(truth.track >= 0)
    info = truth.detections.video
    # Its length is left out: seqinfo.ini may count frames that these rows do not cover.
    shape = None if info is None else VideoInfo(shape=info.shape)
    return Tracks(Detections(truth.detections.frame, truth.detections.box, video=shape), truth.track)


def _read_receptors(data: Path, name: str) -> Tracks:
    """Some frames of the simulated receptors, numbered from 0."""
    folder, first, stop = re.fullmatch(r"(.+)\[(\d+):(\d+)\]", name).groups()
    truth = read_particles(next((data / folder).glob("*.xml")))
    truth = truth.take((truth.detections.frame >= int(first)) & (truth.detections.frame < int(stop)))
    return Tracks(Detections(truth.detections.frame - int(first), truth.detections.box), truth.track)


def _read_flies(folder: Path) -> Tracks:
    """Two flies as a network for poses found them: who is there throughout is a fly, the rest it has invented."""
    found = io.load(next(folder.glob("*.slp")))
    real = np.bincount(found.track)[found.track] == found.detections.n_frames
    return Tracks(Detections(found.detections.frame, found.detections.box), np.where(real, found.track, -1))


def make_scene(truth: Tracks, name: str, group: str, condition: str, seed: int) -> Scene:
    """A sequence as the trackers see it in a condition; the same for the same seed."""
    if condition == "third":
        kept = np.flatnonzero(truth.detections.frame % 3 == 0)
        rows = truth.detections.take(kept)
        truth = Tracks(Detections(rows.frame // 3, rows.box), truth.track[kept])
    seen, identity = observe(truth, NOISE if condition == "noisy" else None, seed)
    return Scene(name, group, condition, seed, Detections(seen.frame, seen.box), identity)
