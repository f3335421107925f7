"""Who keeps identities apart? Trackers on the same true boxes: kintrack, nearest neighbour, SORT, ByteTrack, OC-SORT.

    python benchmarks/association.py                     the reporting half, written to benchmarks/results
    python benchmarks/association.py --quick             a sequence of each kind, 200 frames; nothing is written
    python benchmarks/association.py --half tuning       the half that settings may be chosen on
    python benchmarks/association.py --model a.safetensors --model b.safetensors --only kintrack

Only association is judged: detections are given, so AssA and IDF1 say how far each individual kept one identity, and
what a tracker leaves without an id counts as a track of one. Losses stand beside wins; every sequence is in the JSON.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from contenders import NEAREST, Answer, Contender, kintrack, nearest_neighbour, one_thread, peer
from environments import NoEnvironment
from report import RESULTS, machine, markdown
from sequences import CONDITIONS, DATA, HALVES, NOISE, Scene, scenes

from kintrack.errors import CheckpointError
from kintrack.metrics import evaluate

PEERS = {"SORT": "sort", "ByteTrack": "bytetrack", "OC-SORT": "ocsort"}
MEASURES = ("assa", "idf1", "num_switches")
Scores = dict[str, Any]


def main() -> None:
    options = arguments()
    one_thread()
    half = "quick" if options.quick else options.half
    if not options.data.is_dir():
        sys.exit(f"{options.data} is no folder; give the one that holds bee24, gmot and dancetrack with --data")
    given = list(scenes(half, tuple(options.conditions), options.data, options.seed))
    if options.tune_nearest:
        return tune_nearest(given)
    about = machine()
    found: dict[str, list[Scores]] = {}
    notes: list[str] = []
    for name, contender in contenders(options, notes).items():
        print(f"{name} ", end="", file=sys.stderr, flush=True)
        try:
            answers = contender(given)
        except NoEnvironment as error:
            notes.append(f"{name} was not measured: {error}.")
            continue
        found[name] = [score(scene, answers[scene.key]) for scene in given]
        print(file=sys.stderr)
    text = summary(half, options, about, found, notes)
    print(text)
    output = options.output or (RESULTS if half == "reporting" and not options.only else None)
    if output:
        output.mkdir(parents=True, exist_ok=True)
        (output / "association.md").write_text(text, encoding="utf-8")
        kept = {"about": about, "half": half, "seed": options.seed, "noise": NOISE, "nearest": NEAREST}
        (output / "association.json").write_text(json.dumps(kept | {"scores": found}, indent=1), encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=("reporting", "tuning"), default="reporting", help="which sequences")
    parser.add_argument("--quick", action="store_true", help="a sequence of each kind, its first 200 frames")
    parser.add_argument("--conditions", nargs="+", choices=list(CONDITIONS), default=list(CONDITIONS))
    parser.add_argument("--model", action="append", help="a model by name or path, as often as you like (general)")
    parser.add_argument("--only", nargs="+", choices=("nearest", "kintrack", *PEERS.values()), help="only these")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with bee24, gmot and dancetrack")
    parser.add_argument("--seed", type=int, default=0, help="of the noise and of the order of rows")
    parser.add_argument("--output", type=Path, help="folder of the results (benchmarks/results for a whole run)")
    parser.add_argument("--tune-nearest", action="store_true", help="what settings give the nearest neighbour")
    return parser.parse_args()


def contenders(options: argparse.Namespace, notes: list[str]) -> dict[str, Contender]:
    """The trackers by name; a model that is not there is left out, and a note says so."""
    wanted = options.only or ("nearest", *PEERS.values(), "kintrack")
    chosen: dict[str, Contender] = {"nearest neighbour": nearest_neighbour()} if "nearest" in wanted else {}
    for name, key in PEERS.items():
        if key in wanted:
            chosen |= {name: peer(key), f"{name}, ids at once": peer(key, minimum_consecutive_frames=1)}
    if "kintrack" in wanted:
        for model in options.model or ["general"]:
            try:
                chosen[f"kintrack {Path(model).stem}"] = kintrack(model)
            except CheckpointError as error:
                notes.append(f"kintrack was not measured: {error}.")
    return chosen


def score(scene: Scene, answer: Answer) -> Scores:
    """The measures of one tracker on one scene."""
    truth, prediction = scene.scored(answer.track)
    found = evaluate(truth, prediction, "rows")
    about = {"group": scene.group, "name": scene.name, "condition": scene.condition, "rows": len(truth)}
    work = {"frames": scene.detections.n_frames, "seconds": answer.seconds, "unassigned": answer.unassigned}
    return about | {name: found[name] for name in MEASURES} | work


def pooled(scores: Sequence[Scores]) -> Scores:
    """Sequences together: the mean of AssA and of IDF1 (each sequence counts the same), the sum of everything else."""
    mean = {name: sum(s[name] for s in scores) / len(scores) for name in ("assa", "idf1")}
    return mean | {name: sum(s[name] for s in scores) for name in ("num_switches", "frames", "seconds", "unassigned")}


def summary(
    half: str, options: argparse.Namespace, about: str, found: Mapping[str, list[Scores]], notes: Sequence[str]
) -> str:
    """All the tables, and everything one must know to read them."""
    groups = HALVES[half]
    lines = [
        "# Association with the detections given",
        "",
        f"`python benchmarks/association.py`, the {half} sequences, seed {options.seed}, one thread. {about}.",
        "",
        "AssA / IDF1 / identity switches; AssA and IDF1 are means over the sequences of a column, switches are sums. "
        "frames/s is tracking alone, on one core.",
        "",
        *[f"* {name}: {', '.join(names)}" for name, names in groups.items()],
        "* Every tracker is given the same boxes, without scores, rows of a frame in random order. A row that a "
        "tracker gives no id counts as a track of one; `alone` is how many in a thousand rows that is. SORT, ByteTrack "
        "and OC-SORT are the package trackers 2.6.1 with its default settings, which withhold the id of a track until "
        "it was seen three times; `ids at once` does not (minimum_consecutive_frames=1). Switches of a tracker "
        "with many rows alone are inflated by this way of counting: look at AssA first.",
        f"* nearest neighbour: gate {NEAREST['gate']} sizes, given up after {NEAREST['max_gap']} frames, chosen on the "
        "tuning sequences.",
        *[f"* {note}" for note in notes],
    ]
    for condition in options.conditions:
        lines += ["", f"## {condition}: {CONDITIONS[condition]}", "", table(condition, list(groups), found)]
    return "\n".join(lines) + "\n"


def table(condition: str, groups: Sequence[str], found: Mapping[str, list[Scores]]) -> str:
    """Trackers under each other, groups of sequences beside each other."""
    rows = []
    for name, scores in found.items():
        here = [s for s in scores if s["condition"] == condition]
        cells = [cell(pooled([s for s in here if s["group"] == group])) for group in groups]
        total = pooled(here)
        alone = 1000 * total["unassigned"] / sum(s["rows"] for s in here)
        rows.append([name, *cells, cell(total), f"{alone:.0f}", f"{total['frames'] / total['seconds']:.0f}"])
    return markdown(["", *groups, "all", "alone", "frames/s"], rows)


def cell(scores: Scores) -> str:
    return f"{scores['assa']:.3f} / {scores['idf1']:.3f} / {scores['num_switches']:.0f}"


def tune_nearest(given: list[Scene]) -> None:
    """Mean AssA over the scenes for each setting of the nearest neighbour."""
    rows = []
    for gate, max_gap in product((0.5, 1.0, 2.0, 4.0), (1, 3, 10, 30)):
        answers = nearest_neighbour({"gate": gate, "max_gap": max_gap})(given)
        scores = [score(scene, answers[scene.key]) for scene in given]
        each = [pooled([s for s in scores if s["condition"] == c])["assa"] for c in {s["condition"]: 0 for s in scores}]
        rows.append([f"{gate} sizes, {max_gap} frames", *(f"{x:.3f}" for x in each), f"{sum(each) / len(each):.3f}"])
    print(markdown(["gate, max_gap", *dict.fromkeys(s.condition for s in given), "mean AssA"], rows))


if __name__ == "__main__":
    main()
