"""Does training work on real data? Two trainings from nothing, each tried on animals that they have not seen.

    python benchmarks/training.py                both, written to benchmarks/results
    python benchmarks/training.py --only flies   `two_flies` with crops, validated on `three_flies`
    python benchmarks/training.py --only dance   eight DanceTrack sequences, geometry alone, tried on bees

Each is what `kintrack train` does with the options in `FLIES` and `DANCE`. The bees are all of BEE24's three sequences;
nothing was chosen on them here, and the best epoch is chosen by the training loss where there is no validation.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from contenders import kintrack, nearest_neighbour
from report import RESULTS, machine, markdown
from sequences import CONDITIONS, DATA, make_scene, read_truth

from kintrack import api, io
from kintrack.metrics import Evaluation, combine, evaluate

FLIES: dict[str, Any] = {
    "model": {"encoder": {"kind": "conv", "channels": 1}},
    "data": {"clips": 240, "frames": 12, "simulated": 0.0, "max_stride": 4},
    "optimizer": {"lr": 0.002},
    "max_epochs": 8,
    "batch_size": 4,
    "warmup": 40,
    "ema": 0.98,
}
DANCE: dict[str, Any] = {
    "data": {"clips": 2400, "simulated": 0.0, "max_stride": 6},
    "optimizer": {"lr": 0.002},
    "batch_size": 12,
    "max_epochs": 3,
    "max_minutes": 14,
    "workers": 1,
}
DANCERS = tuple(f"dancetrack/dancetrack{i}" for i in ("0005", "0007", "0019", "0025", "0035", "0041", "0043", "0047"))
BEES = ("bee24/BEE2412", "bee24/BEE2413", "bee24/BEE2416")


def main() -> None:
    options = arguments()
    if not options.data.is_dir():
        sys.exit(f"{options.data} is no folder; give the one that holds bee24 and dancetrack with --data")
    about = machine()
    with tempfile.TemporaryDirectory() as folder:
        parts = {
            name: run(options.data, Path(folder) / name) for name, run in TRAININGS.items() if name in options.only
        }
    text = f"# Training\n\n{about}\n\n" + "\n\n".join(text for text, _ in parts.values()) + "\n"
    print(text)
    if set(options.only) == set(TRAININGS):
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "training.md").write_text(text, encoding="utf-8")
        kept = {"about": about, "flies": FLIES, "dance": DANCE} | {f"{n}_found": f for n, (_, f) in parts.items()}
        (RESULTS / "training.json").write_text(json.dumps(kept, indent=2), encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(TRAININGS), default=list(TRAININGS), help="which trainings")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with bee24 and dancetrack; flies beside it")
    return parser.parse_args()


Part = tuple[str, dict[str, Any]]


def flies(data: Path, run: Path) -> Part:
    """Learns two flies with crops; is tried on three that it was validated on."""
    folder = data.parent / "flies"
    minutes, weights = train([folder / "two_flies.slp"], run, FLIES, [folder / "three_flies.slp"])
    truth = io.load(folder / "three_flies.slp")
    tracks = api.track(truth.detections, model=weights, video=folder / "three_flies.mp4", device="cpu")
    score = evaluate(truth, tracks, match="rows")
    head = f"## two_flies with crops, validated on three_flies\n\nTrained in {minutes:.1f} minutes.\n\n"
    return head + markdown(["", *HEAD], [["three_flies", *cells(score)]]), {"minutes": minutes, **score.to_dict()}


def dance(data: Path, run: Path) -> Part:
    """Learns eight dance sequences by geometry alone; is tried on bees beside nearest neighbour."""
    minutes, weights = train([data / name for name in DANCERS], run, DANCE)
    rows, found = [], {}
    for condition in [c for c in CONDITIONS if c != "detected"]:
        scenes = [make_scene(read_truth(data, name), name, "bees", condition, seed=0) for name in BEES]
        for who, contender in (("nearest neighbour", nearest_neighbour()), ("trained on dancers", kintrack(weights))):
            answers = contender(scenes)
            score = combine([evaluate(*scene.scored(answers[scene.key].track), match="rows") for scene in scenes])
            rows.append([condition, who, *cells(score)])
            found[f"{condition}, {who}"] = score.to_dict()["measures"]
    head = f"## Eight DanceTrack sequences by geometry alone, tried on BEE24\n\nTrained in {minutes:.1f} minutes.\n\n"
    return head + markdown(["bees", "tracker", *HEAD], rows), {"minutes": minutes, **found}


TRAININGS: dict[str, Callable[[Path, Path], Part]] = {"flies": flies, "dance": dance}
HEAD = ("AssA", "IDF1", "switches")


def train(
    sources: Sequence[Path], run: Path, config: dict[str, Any], val: Sequence[Path] | None = None
) -> tuple[float, Path]:
    """The minutes that it took, and the weights."""
    before = time.monotonic()
    fitted = api.train(sources, run, val=val, device="cpu", config=config)
    return (time.monotonic() - before) / 60, fitted.path


def cells(score: Evaluation) -> list[str]:
    return [f"{score['assa']:.3f}", f"{score['idf1']:.3f}", f"{score['num_switches']:.0f}"]


if __name__ == "__main__":
    main()
