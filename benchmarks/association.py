"""Who keeps identities apart? Trackers on the same detections: kintrack, nearest neighbour, and SORT with its heirs.

    python benchmarks/association.py                     the reporting half, written to benchmarks/results
    python benchmarks/association.py --seeds 3           the same, with three seeds of the noise
    python benchmarks/association.py --quick             a sequence of each kind, 200 frames; nothing is written
    python benchmarks/association.py --half tuning       the half that settings may be chosen on
    python benchmarks/association.py --model a.safetensors --model b.safetensors --only kintrack
    python benchmarks/association.py --tune squares      how large squares serve those who need boxes for points

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

import sequences
from contenders import NEAREST, Answer, Contender, dreem_style, kintrack, nearest_neighbour, one_thread, peer
from environments import NoEnvironment
from report import RESULTS, machine, markdown
from sequences import CONDITIONS, DATA, HALVES, NOISE, SQUARE, Scene, scenes
from standings import PLAIN, Scores, goals_table, pick, pooled, range_table, short_table, whole_table

from kintrack.errors import CheckpointError
from kintrack.metrics import evaluate

PEERS: Mapping[str, tuple[str, dict[str, float]]] = {
    "SORT": ("sort", {}),
    "ByteTrack": ("bytetrack", {}),
    "OC-SORT": ("ocsort", {}),
    "BoT-SORT": ("botsort", {"enable_cmc": 0}),
    "C-BIoU": ("cbiou", {}),
}
"""By name, the key in `peers.py` and what is not left at its default."""
AT_ONCE = {"minimum_consecutive_frames": 1}
DREEM = "DREEM-style"
ALL = ("nearest", "motion", *(key for key, _ in PEERS.values()), "dreem", "kintrack")
MEASURES = ("assa", "idf1", "num_switches")


def main() -> None:
    options = arguments()
    one_thread()
    if not options.data.is_dir():
        sys.exit(f"{options.data} is no folder; give the one that holds bee24, gmot and dancetrack with --data")
    if options.tune:
        return TUNE[options.tune](options)
    half = "quick" if options.quick else options.half
    seeds = range(options.seed, options.seed + options.seeds)
    given = list(scenes(half, tuple(options.conditions), options.data, seeds))
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
        kept = {"about": about, "half": half, "seeds": list(seeds), "noise": NOISE, "nearest": NEAREST}
        kept |= {"square": SQUARE}
        (output / "association.json").write_text(json.dumps(kept | {"scores": found}, indent=1), encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=("reporting", "tuning"), default="reporting", help="which sequences")
    parser.add_argument("--quick", action="store_true", help="a sequence of each kind, its first 200 frames")
    parser.add_argument("--conditions", nargs="+", choices=list(CONDITIONS), default=list(CONDITIONS))
    parser.add_argument("--model", action="append", help="a model by name or path, as often as you like (general)")
    parser.add_argument("--only", nargs="+", choices=ALL, help="only these")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with bee24, gmot and dancetrack")
    parser.add_argument("--seed", type=int, default=0, help="of the noise and of the order of rows")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds of the noise, from --seed on")
    parser.add_argument("--output", type=Path, help="folder of the results (benchmarks/results for a whole run)")
    parser.add_argument("--tune", choices=list(TUNE), help="what settings give on the tuning half; nothing is written")
    return parser.parse_args()


def contenders(options: argparse.Namespace, notes: list[str]) -> dict[str, Contender]:
    """The trackers by name; a model that is not there is left out, and a note says so."""
    wanted = options.only or ALL
    chosen: dict[str, Contender] = {"nearest neighbour": nearest_neighbour()} if "nearest" in wanted else {}
    for name, (key, settings) in PEERS.items():
        if key in wanted:
            chosen |= {name: peer(key, **settings), f"{name}, ids at once": peer(key, **settings, **AT_ONCE)}
    if "dreem" in wanted:
        chosen[DREEM] = dreem_style(options.data)
    if "motion" in wanted:
        chosen[PLAIN] = kintrack("motion")
    if "kintrack" in wanted:
        for model in options.model or ["general"]:
            try:
                chosen[our_name(model)] = kintrack(model)
            except CheckpointError as error:
                notes.append(f"kintrack was not measured: {error}.")
    return chosen


def our_name(model: str) -> str:
    return f"kintrack {Path(model).stem}"


def score(scene: Scene, answer: Answer) -> Scores:
    """The measures of one tracker on one scene."""
    truth, prediction = scene.scored(answer.track)
    found = evaluate(truth, prediction, "rows")
    about = {"group": scene.group, "name": scene.name, "condition": scene.condition, "seed": scene.seed}
    work = {"frames": scene.detections.n_frames, "seconds": answer.seconds, "unassigned": answer.unassigned}
    return about | {name: found[name] for name in MEASURES} | work | {"rows": len(truth)}


def summary(
    half: str, options: argparse.Namespace, about: str, found: Mapping[str, list[Scores]], notes: Sequence[str]
) -> str:
    """All the tables, and everything one must know to read them."""
    seeds = "seed" if options.seeds == 1 else "seeds"
    numbers = ", ".join(map(str, range(options.seed, options.seed + options.seeds)))
    ours = our_name((options.model or ["general"])[0])
    lines = [
        "# Association with the detections given",
        "",
        f"`python benchmarks/association.py`, the {half} sequences, {seeds} {numbers}, one thread. {about}.",
        "",
        *in_short(found, ours),
        "## How to read the tables",
        "",
        "AssA / IDF1 / identity switches; AssA and IDF1 are means over the sequences of a column, switches are sums"
        + (", both means over the seeds. " if options.seeds > 1 else ". ")
        + "frames/s is tracking alone, on one core.",
        "",
        *[f"* {name}: {', '.join(names)}" for name, names in HALVES[half].items()],
        *[f"* {note}" for note in (*about_trackers(), *notes)],
    ]
    for condition in options.conditions:
        if not any(pick(scores, condition=condition) for scores in found.values()):
            continue
        lines += ["", f"## {condition}: {CONDITIONS[condition]}", "", whole_table(condition, found)]
        if condition == "noisy" and options.seeds > 1:
            lines += ["", "Least and greatest over the seeds, AssA / switches:", "", range_table(condition, found)]
    lines += [
        "",
        "## Goals",
        "",
        f"What {ours} is to reach: on true boxes and on every third frame at most half the error (1 - AssA) and a "
        "quarter of the switches of the best peer, with noise 0.7 and a third; and more than `motion`, which has no "
        "weights, everywhere. A peer is everybody but kintrack's own models: the one with the highest AssA for the "
        "error, the one with the fewest switches for the switches. ✓ is reached, ✗ is not.",
        "",
        goals_table(found, ours),
    ]
    return "\n".join(lines) + "\n"


def in_short(found: Mapping[str, list[Scores]], ours: str) -> list[str]:
    """The one table for a newcomer."""
    variants = {name: [key for key in (name, f"{name}, ids at once") if key in found] for name in PEERS}
    columns = {"nearest neighbour": ["nearest neighbour"], **variants, DREEM: [DREEM]}
    columns |= {PLAIN: [PLAIN], "kintrack": [ours]}
    there = {name: keys for name, keys in columns.items() if keys and all(key in found for key in keys)}
    if not there:
        return []
    return [
        "## In short",
        "",
        "How well identities are kept (AssA, 1 is perfect) / how often one changes, by what is followed and how it was "
        "detected. Of a peer's two settings the one with the higher mean AssA.",
        "",
        short_table(found, there),
        "",
    ]


def about_trackers() -> list[str]:
    return [
        "Every tracker is given the same detections, without scores, rows of a frame in random order. A row that a "
        "tracker gives no id counts as a track of one; `alone` is how many in a thousand rows that is. Switches of a "
        "tracker with many rows alone are inflated by this way of counting: look at AssA first.",
        "SORT, ByteTrack, OC-SORT, BoT-SORT and C-BIoU are the package trackers 2.6.1 with its default settings, which "
        "withhold the id of a track until it was seen two or three times; `ids at once` does not "
        "(minimum_consecutive_frames=1). BoT-SORT is without its compensation of camera motion (enable_cmc=False), "
        "because no pixels are given.",
        about_dreem(),
        f"nearest neighbour: gate {NEAREST['gate']} sizes, given up after {NEAREST['max_gap']} frames, chosen on the "
        "tuning sequences. motion: kintrack's model without weights, its numbers chosen on them (tune_motion.py).",
        f"receptors are points. kintrack is given the points and takes their size from how far apart they are; the "
        f"others are given squares of {SQUARE:g} pixels around them, the side that serves them best on the tuning "
        "sequences (--tune squares).",
    ]


def about_dreem() -> str:
    from dreem_style import STEPS, TRAINING  # which needs torch

    return (
        f"{DREEM} is the incumbent's architecture on boxes alone, trained by us for {STEPS:,} steps of "
        f"{TRAINING['clips']} clips, such as `general` learns from; followed by DREEM's tracker, its settings "
        "chosen on the tuning sequences. DREEM itself sees pixels, and its weights cannot be asked without."
    )


def tune_nearest(options: argparse.Namespace) -> None:
    """Mean AssA over the scenes for each setting of the nearest neighbour."""
    given, rows = list(scenes("tuning", tuple(options.conditions), options.data, (options.seed,))), []
    for gate, max_gap in product((0.5, 1.0, 2.0, 4.0), (1, 3, 10, 30)):
        answers = nearest_neighbour({"gate": gate, "max_gap": max_gap})(given)
        scores = [score(scene, answers[scene.key]) for scene in given]
        rows.append([f"{gate} sizes, {max_gap} frames", *by_condition(scores)])
    print(markdown(["gate, max_gap", *dict.fromkeys(s.condition for s in given), "mean AssA"], rows))


def tune_squares(options: argparse.Namespace) -> None:
    """Mean AssA on points for each side of the squares that stand for them, by tracker."""
    given = [s for s in scenes("tuning", tuple(options.conditions), options.data) if s.group == "receptors"]
    options.only, rows = ["nearest", *(key for key, _ in PEERS.values())], []
    for side in (4.0, 8.0, 16.0, 24.0, 32.0, 48.0):
        sequences.SQUARE = side
        for name, contender in contenders(options, []).items():
            answers = contender(given)
            scores = [score(scene, answers[scene.key]) for scene in given]
            rows.append([f"{side:g} pixels, {name}", *by_condition(scores)])
    print(markdown(["side", *dict.fromkeys(s.condition for s in given), "mean AssA"], rows))


def by_condition(scores: Sequence[Scores]) -> list[str]:
    """Mean AssA in each condition, and their mean."""
    each = [pooled(pick(scores, condition=c))["assa"] for c in dict.fromkeys(s["condition"] for s in scores)]
    return [*(f"{assa:.3f}" for assa in each), f"{sum(each) / len(each):.3f}"]


TUNE: Mapping[str, Any] = {"nearest": tune_nearest, "squares": tune_squares}


if __name__ == "__main__":
    main()
