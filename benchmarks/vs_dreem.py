"""kintrack beside dreem-track 0.5.1, with the same checkpoint, on the same files, in one run.

    python benchmarks/vs_dreem.py                                    makes dreem's environment once (7 GB, Python 3.12)
    python benchmarks/vs_dreem.py --dreem-python ENVIRONMENT/bin/python    in an environment that is there
    python benchmarks/vs_dreem.py --only start track
    python benchmarks/vs_dreem.py --quick      one run of each, a short world; nothing is written

start    `--help`, and the import of what tracks
track    whole processes: `dreem track` and `kintrack track` on three_flies, and on a simulated world of ten flies with
         drawn frames, once whole and once its beginning: the difference is the steady state. Are the ids the same?
         And once more with numbers of half the length, which DREEM does not have
eval     `dreem eval` and `kintrack eval`, which both track first and then measure
train    `dreem train` and `kintrack train`: the same architecture, clips of 32 frames, nothing varied; the difference
         of a longer and a shorter training

Both have the same number of threads (--threads). Weights are drawn from a seed: speed does not depend on what they
know.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from environments import dreem_python
from measure import Cost, measure
from report import RESULTS, machine, markdown
from scipy.optimize import linear_sum_assignment

from kintrack import io
from kintrack.core.tracks import Tracks

FLIES = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "flies"
KINTRACK = (sys.executable, "-m", "kintrack")
PADDING = 5  # what dreem-track shows around a crop when it tracks
WORLD = {"preset": "flies", "n_individuals": 10, "arena": (1024, 1024), "size": 40}
CROPS = {"three_flies": 70, "world": 64}
"""Side of a crop: as DREEM's own configs have it for these flies; and what a fly of the world fits into."""
FRAMES = {"world": 512, "beginning": 128}  # multiples of 32: DREEM drops what is left over (its defect D1)
EPOCHS = (1, 3)
GOALS = {"whole process": 8.0, "steady state": 10.0, "memory": 3.0, "training": 4.0}


@dataclass
class Setting:
    """What is measured with what."""

    dreem: Path
    folder: Path
    data: Path
    threads: int
    runs: int
    quick: bool
    seed: int

    @property
    def checkpoint(self) -> Path:
        return self.folder / "dreem.ckpt"

    def cost(self, command: Sequence[str | Path], runs: int | None = None) -> Cost:
        """Of a command, in a folder of its own for what it leaves, with as many threads as both have."""
        here = self.folder / "here"
        here.mkdir(exist_ok=True)
        threads = {name: str(self.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        return measure(command, runs or self.runs, here, threads)

    def ours(self, given: Path, output: Path, crop: int) -> list[str | Path]:
        """`kintrack track` of the one clip in a folder."""
        clip = next(given.glob("*.slp"))
        files = [clip, "--video", clip.with_suffix(".mp4"), "-o", output, "--model", self.checkpoint]
        return [*KINTRACK, "track", *files, *self.options(crop), "--overwrite", "--quiet"]

    def options(self, crop: int) -> list[str]:
        """What makes kintrack do as DREEM does: its padding, and tracks that never end."""
        options = ["tracker.kind=dreem", "tracker.max_gap=null", f"dreem.crop_size={crop}", f"dreem.padding={PADDING}"]
        return [word for option in [*options, f"threads={self.threads}"] for word in ("--set", option)]

    def theirs(self, verb: str, given: Path, output: Path, crop: int) -> list[str | Path]:
        """`dreem track`, or eval, of a folder."""
        program = self.dreem.with_name("dreem")
        return [program, verb, given, "-ckpt", self.checkpoint, "-o", output, "-cs", str(crop), "--no-gpu", "-q"]


def main() -> None:
    options = arguments()
    about = machine()
    parts: dict[str, Callable[[Setting], dict[str, Any]]] = {
        "start": start, "track": track, "eval": evaluate, "train": train,
    }  # fmt: skip
    python = options.dreem_python.absolute() if options.dreem_python else dreem_python(options.python312)
    numbers: dict[str, Any] = {"about": about, "threads": options.threads}
    with tempfile.TemporaryDirectory() as name:
        runs = 1 if options.quick else options.runs
        setting = Setting(python, Path(name), options.data, options.threads, runs, options.quick, options.seed)
        maker = Path(__file__).with_name("dreem_checkpoint.py")
        subprocess.run([python, maker, setting.checkpoint], check=True, capture_output=True, cwd=name)
        for part in options.only or parts:
            print(f"{part} ...", file=sys.stderr, flush=True)
            numbers[part] = parts[part](setting)
            print(json.dumps(numbers[part], indent=1), file=sys.stderr, flush=True)
    text = report(numbers)
    print(text)
    output = options.output or (None if options.quick or options.only else RESULTS)
    if output:
        output.mkdir(parents=True, exist_ok=True)
        (output / "vs_dreem.md").write_text(text + "\n", encoding="utf-8")
        (output / "vs_dreem.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=("start", "track", "eval", "train"), help="only these")
    parser.add_argument("--quick", action="store_true", help="one run of each, a short world; nothing is written")
    parser.add_argument("--data", type=Path, default=FLIES, help="the folder with three_flies and two_flies")
    parser.add_argument("--dreem-python", type=Path, help="the interpreter of an environment that has dreem already")
    parser.add_argument("--python312", default="python3.12", help="the Python that dreem's environment is made with")
    parser.add_argument("--threads", type=int, default=2, help="of each of the two programs")
    parser.add_argument("--runs", type=int, default=3, help="of each command; the fastest counts")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated world")
    parser.add_argument("--output", type=Path, help="folder of the results (benchmarks/results for a whole run)")
    return parser.parse_args()


def start(setting: Setting) -> dict[str, Any]:
    """`--help` of both, and the import of all that tracks."""
    ours = "import kintrack.api, kintrack.models.checkpoint, kintrack.windows.dreem, kintrack.tracking.dreem"
    theirs = "import dreem.inference.track, dreem.models, dreem.datasets"
    costs = {
        "help": (setting.cost([setting.dreem.with_name("dreem"), "--help"]), setting.cost([*KINTRACK, "--help"])),
        "import": (setting.cost([setting.dreem, "-c", theirs]), setting.cost([sys.executable, "-c", ours])),
    }
    return {name: _pair(*pair) for name, pair in costs.items()}


def _pair(theirs: Cost, ours: Cost, **more: Any) -> dict[str, Any]:
    return {"dreem": theirs._asdict(), "kintrack": ours._asdict(), **more}


def track(setting: Setting) -> dict[str, Any]:
    """Whole processes, on real and on drawn flies."""
    folders = {"three_flies": copied(setting, "three_flies"), **worlds(setting)}
    found = {}
    for name, given in folders.items():
        crop = CROPS["three_flies" if name == "three_flies" else "world"]
        output, theirs = setting.folder / f"{name}.slp", setting.folder / f"dreem {name}"
        pair = (
            setting.cost(setting.theirs("track", given, theirs, crop)),
            setting.cost(setting.ours(given, output, crop)),
        )
        rows, golden = io.load(output), io.load(max(theirs.glob("*.slp")))
        half = setting.cost([*setting.ours(given, output, crop), "--set", "precision=half"])
        same = {"exact": same_identity(rows, golden), "half": same_identity(io.load(output), golden)}
        n_frames = len(np.unique(rows.detections.frame))
        found[name] = _pair(*pair, half=half._asdict(), frames=n_frames, rows=len(rows), same_identity=same)
    return found


def copied(setting: Setting, name: str) -> Path:
    """A folder with one clip of real flies and nothing else."""
    folder = setting.folder / f"given {name}"
    folder.mkdir(exist_ok=True)
    for suffix in (".slp", ".mp4"):
        shutil.copy(setting.data / f"{name}{suffix}", folder)
    return folder


def worlds(setting: Setting) -> dict[str, Path]:
    """Folders with a simulated world, whole and its beginning: annotated poses, and a movie of drawn frames."""
    from kintrack.sim import draw, stage

    long, short = (128, 32) if setting.quick else (FRAMES["world"], FRAMES["beginning"])
    scene = stage({**WORLD, "n_frames": long}, setting.seed)
    # Without a camera's noise, which a movie would have to hold: real ones are as small as this one.
    video = draw(scene, {"distinctiveness": 0.3, "channels": 1, "noise": 0.0}, setting.seed)
    folders = {name: setting.folder / f"given {name}" for name in ("world", "beginning")}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    movie = folders["world"] / "world.mp4"
    io.write_video(movie, (image for _, image in video.frames()), 30.0)
    shutil.copy(movie, folders["beginning"] / "beginning.mp4")  # it is opened whole, and read as far as there are poses
    truth = scene.tracks
    io.save(truth, folders["world"] / "world.slp")
    io.save(truth.take(truth.detections.rows(0, short)), folders["beginning"] / "beginning.slp")
    return folders


def same_identity(ours: Tracks, theirs: Tracks) -> float:
    """The share of our rows that DREEM has, too, with the same identity, whatever numbers identities have."""
    place = {_key(theirs, row): int(theirs.track[row]) for row in range(len(theirs))}
    both = np.array([(int(ours.track[row]), place.get(_key(ours, row), -1)) for row in range(len(ours))])
    known = both[(both >= 0).all(axis=1)]
    (a, left), (b, right) = (np.unique(column, return_inverse=True) for column in known.T)
    table = np.zeros((len(a), len(b)))
    np.add.at(table, (left, right), 1)
    return float(table[linear_sum_assignment(table, maximize=True)].sum() / len(ours))


def _key(tracks: Tracks, row: int) -> tuple[int, ...]:
    """Frame and place of a row, in tenths of a pixel."""
    centre = np.rint(10 * tracks.detections.centre[row]).astype(int)
    return int(tracks.detections.frame[row]), *centre.tolist()


def evaluate(setting: Setting) -> dict[str, Any]:
    """Tracking, and measuring against the truth that is in the file."""
    given, crop = copied(setting, "three_flies"), CROPS["three_flies"]
    theirs = setting.theirs("eval", given, setting.folder / "dreem eval", crop)
    clip = next(given.glob("*.slp"))
    ours = [*KINTRACK, "eval", clip, "--model", setting.checkpoint, *setting.options(crop), "--quiet"]
    return {"three_flies": _pair(setting.cost(theirs), setting.cost(ours))}


def train(setting: Setting) -> dict[str, Any]:
    """Steps in a second: what a longer training takes beyond a shorter one. Batches of one clip of 32 frames."""
    learned, checked = setting.folder / "learned", setting.folder / "checked"
    for folder in (learned, checked):
        folder.mkdir(exist_ok=True)
    names = ("three_flies",) if setting.quick else ("three_flies", "two_flies")
    for name in names:
        for suffix in (".slp", ".mp4"):
            shutil.copy(setting.data / f"{name}{suffix}", learned)
    truth = io.load(setting.data / "two_flies.slp")
    io.save(truth.take(truth.detections.rows(0, 32)), checked / "checked.slp")  # one clip to validate on
    shutil.copy(setting.data / "two_flies.mp4", checked / "checked.mp4")
    crop, runs = CROPS["three_flies"], 1 if setting.quick else 2
    costs = []
    for epochs in EPOCHS:
        theirs = [
            setting.dreem.with_name("dreem"),
            "train",
            learned,
            "-vd",
            checked,
            "-cs",
            crop,
            "-e",
            epochs,
            "--no-gpu",
        ]
        theirs += ["--set", "dataset.train_dataset.augmentations=null", "-q"]
        options = ["model.kind=dreem", f"dreem.crop_size={crop}", f"max_epochs={epochs}", "accelerator=cpu"]
        options += ["data.other_light=0", "metrics=[]"]
        sets = [word for option in options for word in ("--set", option)]
        files = [*KINTRACK, "train", learned, "--val", checked, "-o", setting.folder / "run", "--overwrite", "--quiet"]
        costs.append((setting.cost(list(map(str, theirs)), runs), setting.cost([*files, *sets], runs)))
    steps = 4 * len(names)
    found = {str(e): _pair(*pair, steps=e * steps) for e, pair in zip(EPOCHS, costs, strict=True)}
    return {"epochs": found, "steps in an epoch": steps}


def report(numbers: dict[str, Any]) -> str:
    """The tables."""
    lines = [
        "# Beside DREEM",
        "",
        f"`python benchmarks/vs_dreem.py`: dreem-track 0.5.1 and kintrack, the same checkpoint (DREEM's default model, "
        f"drawn from a seed) and the same files, {numbers['threads']} threads each, no GPU. {numbers['about']}.",
        "",
        "Whole processes as a user starts them: the fastest run, and what the processors worked in the run in which "
        "that was least (CPU), which other people's work on the machine changes little. Memory is that of all "
        "processes together. More than 1 is in kintrack's favour. Logits are DREEM's within 1e-4 (`dreem_parity.py`), "
        "but with `precision=half`, where features differ in their third digit.",
        "",
        markdown(
            ["", "DREEM", "kintrack", "ratio", "DREEM, CPU", "kintrack, CPU", "ratio of CPU", "goal"],
            [
                row
                for part in ("start", "track", "eval", "train")
                if part in numbers
                for row in _rows(part, numbers[part])
            ],
        ),
    ]
    if "track" in numbers:
        shares = [
            f"{name} {100 * found['same_identity']['exact']:.2f} % (half: {100 * found['same_identity']['half']:.2f} %)"
            for name, found in numbers["track"].items()
        ]
        lines += ["", f"Rows with the same identity as DREEM gives them: {', '.join(shares)}."]
    return "\n".join(lines)


def _rows(part: str, found: dict[str, Any]) -> list[list[str]]:
    if part == "start":
        return [_line({"help": "`--help`", "import": "import"}[name], pair) for name, pair in found.items()]
    if part == "eval":
        return [_line("evaluation of three_flies, whole process", found["three_flies"])]
    if part == "train":
        short, long = (found["epochs"][str(epochs)] for epochs in EPOCHS)
        return [
            _rate("training, steps/s", short, long, "steps", GOALS["training"]),
            _line(f"training, {long['steps']} steps, whole process", long),
            _memory("training, memory", long),
        ]
    rows = []
    for name, pair in found.items():
        whole = f"track {name}, {pair['frames']} frames, whole process"
        rows += [_line(whole, pair, GOALS["whole process"]), _memory(f"track {name}, memory", pair, GOALS["memory"])]
    short, long = found["beginning"], found["world"]
    rows.append(_rate("track world, steady state, frames/s", short, long, "frames", GOALS["steady state"]))
    short, long = ({**pair, "kintrack": pair["half"]} for pair in (short, long))
    return [*rows, _rate("the same with `precision=half`, frames/s", short, long, "frames", GOALS["steady state"])]


def _line(name: str, pair: dict[str, Any], goal: float | None = None) -> list[str]:
    cells = []
    for key in ("fastest", "cpu_seconds"):
        theirs, ours = pair["dreem"][key], pair["kintrack"][key]
        cells += [f"{theirs:.1f} s", f"{ours:.1f} s", f"{theirs / ours:.1f}"]
    return [name, *cells, _goal(cells[2], goal)]


def _memory(name: str, pair: dict[str, Any], goal: float | None = None) -> list[str]:
    key = "peak_mb" if np.isnan(pair["dreem"]["tree_mb"]) else "tree_mb"
    theirs, ours = pair["dreem"][key], pair["kintrack"][key]
    ratio = f"{theirs / ours:.1f}"
    return [name, f"{theirs:.0f} MB", f"{ours:.0f} MB", ratio, "", "", "", _goal(ratio, goal)]


def _rate(name: str, short: dict[str, Any], long: dict[str, Any], what: str, goal: float) -> list[str]:
    cells = []
    for key in ("fastest", "cpu_seconds"):
        rates = [(long[what] - short[what]) / (long[who][key] - short[who][key]) for who in ("dreem", "kintrack")]
        cells += [f"{rates[0]:.2f}", f"{rates[1]:.2f}", f"{rates[1] / rates[0]:.1f}"]
    return [name, *cells, _goal(cells[2], goal)]


def _goal(ratio: str, goal: float | None) -> str:
    return "" if goal is None else f"{goal:g}, {'reached' if float(ratio) >= goal else 'missed'}"


if __name__ == "__main__":
    main()
