"""How fast, and in how much memory: whole processes, as a user starts them, and tracking alone.

    python benchmarks/speed.py                     everything but the incumbent, written to benchmarks/results
    python benchmarks/speed.py --dreem             dreem-track 0.5.1 too; makes its environment once (7 GB, Python 3.12)
    python benchmarks/speed.py --dreem-python ENVIRONMENT/bin/python    the same, in an environment that is there
    python benchmarks/speed.py --only start crowds
    python benchmarks/speed.py --quick             fewer runs, shorter videos; nothing is written

start    `kintrack --help`, and whether torch was imported for it
crowds   geometry alone, at 10 to 500 individuals in a frame, simulated
flies    `kintrack track` with crops on the video three_flies: 128 frames of 1024 x 1024 pixels, three animals
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from environments import NoEnvironment, dreem_python
from measure import CommandFailed, Cost, measure
from report import RESULTS, machine, markdown

FLIES = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "flies"
KINTRACK = (sys.executable, "-m", "kintrack")
CROWDS = {10: 2000, 100: 500, 200: 300, 500: 100}
"""Frames of the video, by individuals."""
NOISE = {"miss": 0.05, "jitter": 0.03, "false_rate": 0.03}
Section = tuple[str, dict[str, Any]]


def main() -> None:
    options = arguments()
    about = machine()
    parts: dict[str, Callable[[argparse.Namespace], Section]] = {"start": start, "crowds": crowds, "flies": flies}
    lines = ["# Speed and memory", "", f"`python benchmarks/speed.py`. {about}.", ""]
    numbers: dict[str, Any] = {"about": about}
    for name in options.only or parts:
        print(f"{name} ...", file=sys.stderr, flush=True)
        text, numbers[name] = parts[name](options)
        lines += [text, ""]
    text = "\n".join(lines)
    print(text)
    output = options.output or (None if options.quick or options.only else RESULTS)
    if output:
        output.mkdir(parents=True, exist_ok=True)
        (output / "speed.md").write_text(text, encoding="utf-8")
        (output / "speed.json").write_text(json.dumps(numbers, indent=1), encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=("start", "crowds", "flies"), help="only these")
    parser.add_argument("--quick", action="store_true", help="fewer runs, shorter videos; nothing is written")
    parser.add_argument("--model", default="general", help="for crowds: a model by name or path")
    parser.add_argument("--crop-model", help="for flies: a model with a visual encoder (conv with random weights)")
    parser.add_argument("--data", type=Path, default=FLIES, help="the folder with three_flies.slp and three_flies.mp4")
    parser.add_argument("--dreem", action="store_true", help="measure dreem-track too, in an environment of its own")
    parser.add_argument("--python312", default="python3.12", help="the Python that dreem's environment is made with")
    parser.add_argument("--dreem-python", type=Path, help="the interpreter of an environment that has dreem already")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated worlds and of random weights")
    parser.add_argument("--output", type=Path, help="folder of the results (benchmarks/results for a whole run)")
    return parser.parse_args()


def start(options: argparse.Namespace) -> Section:
    """`--help`, as whole processes."""
    runs = 3 if options.quick else 7
    help_ = [*KINTRACK, "--help"]
    told = subprocess.run([sys.executable, "-X", "importtime", *help_[1:]], capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in told.stderr.splitlines()}
    torch = "torch" in imported
    cost = {"kintrack --help": measure(help_, runs)}
    dreem, why_not = incumbent(options)
    if dreem:
        cost["dreem --help"] = measure([dreem.with_name("dreem"), "--help"], runs)
    rows = [[name, f"{c.seconds:.2f} s", f"{c.fastest:.2f} s", f"{c.peak_mb:.0f} MB"] for name, c in cost.items()]
    text = "\n".join(
        [
            "## start",
            "",
            f"Median of {runs} whole processes. kintrack imported torch: {'yes' if torch else 'no'}.",
            "",
            markdown(["", "median", "fastest", "peak memory"], rows),
            *(["", why_not] if why_not else []),
        ]
    )
    return text, {"torch": torch} | {name: c._asdict() for name, c in cost.items()}


def crowds(options: argparse.Namespace) -> Section:
    """Tracking without pixels, in this process and as a whole one."""
    from kintrack import io
    from kintrack.follow import TrackConfig, follow
    from kintrack.loading import load_model, model_card
    from kintrack.metrics import evaluate

    rows, numbers = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, note = geometry_model(options, folder)
        network = load_model(model, "cpu")
        config = TrackConfig.of({"tracker": model_card(model).get("tracker", {}), "threads": 1})
        follow(crowd(10, 20, options.seed)[1], network, None, config)  # what is imported at first is not tracking
        for n, n_frames in CROWDS.items():
            n_frames = max(n_frames // 10, 20) if options.quick else n_frames
            truth, seen = crowd(n, n_frames, options.seed)
            took = []
            for _ in range(1 if options.quick else 5):
                begin = time.perf_counter()
                tracks = follow(seen, network, None, config)
                took.append(time.perf_counter() - begin)
            alone, fastest = n_frames / statistics.median(took), n_frames / min(took)
            given, written = folder / "seen.csv", folder / "tracked.csv"
            io.save(type(tracks).untracked(seen), given, overwrite=True)
            whole = measure(
                [*KINTRACK, "track", given, "-o", written, "--model", model, "--overwrite", "--quiet"],
                1 if options.quick else 3,
            )
            found = {"frames": n_frames, "rows": len(seen), "frames_per_second": alone, "fastest": fastest}
            numbers[str(n)] = found | {"whole": whole._asdict(), "idf1": evaluate(truth, tracks)["idf1"]}
            speeds = [f"{alone:.0f}", f"{fastest:.0f}", f"{n_frames / whole.seconds:.0f}"]
            costs = [f"{whole.seconds:.1f} s", f"{whole.peak_mb:.0f} MB"]
            rows.append([str(n), str(n_frames), *speeds, *costs, f"{numbers[str(n)]['idf1']:.3f}"])
    head = ["individuals", "frames", "frames/s", "fastest", "whole process, frames/s", "time", "peak memory", "IDF1"]
    text = [
        "## crowds",
        "",
        f"{note} Simulated run-and-tumble worlds, a tenth of the arena covered, seed {options.seed}. The detector "
        "misses 5 %, displaces by 3 % of the size, and adds 3 % false boxes. frames/s is everything from detections to "
        "identities, with one thread: the median of 5 runs, and the fastest. "
        "The whole process is `kintrack track seen.csv -o tracked.csv`: starting, "
        "reading, tracking and writing, with as many threads as it chooses, median of 3. IDF1 (at an overlap of 0.5) "
        "says whether identities were found, too.",
        "",
        markdown(head, rows),
    ]
    return "\n".join(text), numbers


def crowd(n: int, n_frames: int, seed: int) -> tuple[Any, Any]:
    """The truth and the detections of n individuals in an arena of which they cover a tenth."""
    from kintrack.sim import observe, simulate

    size = 30
    side = round(size * (n / 0.1) ** 0.5)
    world = {"family": "run_and_tumble", "n_individuals": n, "n_frames": n_frames, "arena": (side, side), "size": size}
    truth = simulate(world, seed)
    return truth, observe(truth, NOISE, seed).detections


def geometry_model(options: argparse.Namespace, folder: Path) -> tuple[Path, str]:
    """The model for crowds; random weights where there is none, which is said."""
    from kintrack.errors import CheckpointError
    from kintrack.loading import find_model

    try:
        path = find_model(options.model)
        return path, f"Model: {path.stem}."
    except CheckpointError as error:
        return random_model(folder / "random.safetensors", "none", options.seed), (
            f"Model: random weights, which follow nobody and so remember more tracks than a trained one ({error})."
        )


def random_model(path: Path, encoder: str, seed: int) -> Path:
    """A checkpoint of the default model with random weights; pixels cost as much as with trained ones."""
    import torch

    from kintrack.models import GlobalTrackingTransformer
    from kintrack.models.checkpoint import save_model

    torch.manual_seed(seed)
    return save_model(GlobalTrackingTransformer({"encoder": {"kind": encoder}}), path)


def flies(options: argparse.Namespace) -> Section:
    """The same real file, by kintrack with crops and by the incumbent."""
    labels, video = options.data / "three_flies.slp", options.data / "three_flies.mp4"
    if not (labels.is_file() and video.is_file()):
        return f"## flies\n\nnot measured: {labels} and {video} are not there; see --data.", {}
    runs, cost = (1 if options.quick else 3), {}
    with copied(labels, video) as (given, folder):
        model = options.crop_model or random_model(folder / "conv.safetensors", "conv", options.seed)
        command = [*KINTRACK, "track", given / labels.name, "--video", given / video.name, "-o", folder / "out.slp"]
        cost["kintrack track"] = measure([*command, "--model", model, "--overwrite", "--quiet"], runs)
        dreem, why_not = incumbent(options)
        if dreem:
            try:
                cost["dreem track"] = measure(dreem_command(dreem, given, folder), runs, folder)  # it leaves logs
            except CommandFailed as error:
                why_not = f"dreem-track: not measured: {error}"
    rows = [[name, f"{c.seconds:.1f} s", f"{c.fastest:.1f} s", f"{c.peak_mb:.0f} MB"] for name, c in cost.items()]
    text = [
        "## flies",
        "",
        f"Whole processes, median of {runs}, CPU, as many threads as each of them chooses. kintrack: "
        f"{options.crop_model or 'conv encoder with random weights'}, its default crops. dreem-track 0.5.1: its "
        "default model (ResNet-18) with random weights, `--crop-size 128 --no-gpu`, the rest its defaults.",
        "",
        markdown(["", "median", "fastest", "peak memory"], rows),
        "",
        ratio(cost) if "dreem track" in cost else why_not,
    ]
    return "\n".join(text), {name: c._asdict() for name, c in cost.items()}


def ratio(cost: dict[str, Cost]) -> str:
    ours, theirs = cost["kintrack track"], cost["dreem track"]
    faster, less = theirs.seconds / ours.seconds, theirs.peak_mb / ours.peak_mb
    return f"kintrack is {faster:.1f} times as fast, in 1/{less:.1f} of the memory."


@contextmanager
def copied(*files: Path) -> Iterator[tuple[Path, Path]]:
    """A folder with copies of the files and nothing else, and another one for results."""
    with tempfile.TemporaryDirectory() as name:
        given, results = Path(name) / "given", Path(name) / "results"
        given.mkdir()
        results.mkdir()
        for file in files:
            shutil.copy(file, given)
        yield given, results


def incumbent(options: argparse.Namespace) -> tuple[Path | None, str]:
    """The interpreter of dreem's environment, and why it is not measured where there is none."""
    if options.dreem_python:
        return options.dreem_python.absolute(), ""
    if not options.dreem:
        return None, "dreem-track: not measured (see --dreem)."
    try:
        return dreem_python(options.python312), ""
    except NoEnvironment as error:
        return None, f"dreem-track: not measured: {error}."


def dreem_command(python: Path, given: Path, folder: Path) -> Sequence[str | Path]:
    """`dreem track` on a folder of files, with a checkpoint of its default model with random weights."""
    checkpoint = folder / "dreem.ckpt"
    maker = Path(__file__).with_name("dreem_checkpoint.py")
    subprocess.run([python, maker, checkpoint], check=True, capture_output=True, cwd=folder)
    out = folder / "dreem"
    return [python.with_name("dreem"), "track", given, "-ckpt", checkpoint, "-o", out, "-cs", "128", "--no-gpu", "-q"]


if __name__ == "__main__":
    main()
