"""Do ten minutes on a user's own corrected frames help? `general`, and `general` that has learned some frames more.

    python benchmarks/finetune.py            bees and receptors, written to benchmarks/results
    python benchmarks/finetune.py --only bees

Each is what `kintrack train FILE --init general --config finetune` does with some frames of a sequence of the tuning
half of `sequences.py` as the corrected ones. It is tried on the reporting sequences of the same kind, to see whether it
helps, and on those of all other kinds, to see what is unlearned.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contenders import kintrack, one_thread
from report import RESULTS, machine, markdown
from sequences import CONDITIONS, DATA, DETECTED, REPORTING, Scene, read_truth, scenes

from kintrack import api, io
from kintrack.config import read_yaml
from kintrack.loading import find_config
from kintrack.metrics import evaluate

CORRECTED = {"bees": ("bee24/BEE2412", 200), "receptors": ("particles/receptors[0:50]", 50)}
"""The sequence of each kind, and how many of its first frames somebody has corrected."""
HEAD = ("AssA", "IDF1", "switches")
Means = tuple[float, float, float]


def main() -> None:
    options = arguments()
    one_thread()
    if not options.data.is_dir():
        sys.exit(f"{options.data} is no folder; give the one that holds bee24, gmot and dancetrack with --data")
    about = machine()
    given = [s for s in scenes("reporting", tuple(CONDITIONS), options.data) if s.group not in DETECTED]
    before = measured("general", given)
    rows, found = [], {}
    for kind in options.only:
        minutes, n, after = tuned(kind, options.data, given)
        found[kind] = {"minutes": minutes, "detections": n, "before": means(before), "after": means(after)}
        rows += table(kind, before, after)
        print(f"{kind}: {n} detections, {minutes:.1f} minutes", file=sys.stderr)
    text = report(about, found, rows)
    print(text)
    if set(options.only) == set(CORRECTED):
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "finetune.md").write_text(text, encoding="utf-8")
        (RESULTS / "finetune.json").write_text(json.dumps({"about": about, "found": found}, indent=1), encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(CORRECTED), default=list(CORRECTED), help="which kinds")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with bee24, gmot and dancetrack")
    return parser.parse_args()


def tuned(kind: str, data: Path, given: Sequence[Scene]) -> tuple[float, int, dict[str, Any]]:
    """The minutes that a fine-tuning took, the detections that it learned from, and what came of it on every scene."""
    name, n_frames = CORRECTED[kind]
    truth = read_truth(data, name)
    truth = truth.take(truth.detections.frame < n_frames)
    with tempfile.TemporaryDirectory() as folder:
        corrected = Path(folder) / "corrected.csv"
        io.save(truth, corrected)
        begin = time.monotonic()
        config = read_yaml(find_config("finetune"))
        fitted = api.train([corrected], Path(folder) / "run", model="general", device="cpu", config=config)
        minutes = (time.monotonic() - begin) / 60
        return minutes, len(truth), measured(fitted.path, given)


def measured(model: str | Path, given: Sequence[Scene]) -> dict[str, Any]:
    """AssA, IDF1 and switches of every scene."""
    answers = kintrack(model)(list(given))
    found = {}
    for scene in given:
        score = evaluate(*scene.scored(answers[scene.key].track), match="rows")
        found[scene.key] = {"group": scene.group, "condition": scene.condition}
        found[scene.key] |= {name: score[name] for name in ("assa", "idf1", "num_switches")}
    print(file=sys.stderr)
    return found


def means(found: dict[str, Any]) -> dict[str, Means]:
    """Per group and condition: the means of AssA and IDF1, the sum of the switches."""
    pooled = {}
    for group in REPORTING:
        for condition in CONDITIONS:
            here = [s for s in found.values() if (s["group"], s["condition"]) == (group, condition)]
            if here:
                pooled[f"{group}, {condition}"] = over(here)
    return pooled


def over(scores: Sequence[dict[str, Any]]) -> Means:
    mean = [sum(s[name] for s in scores) / len(scores) for name in ("assa", "idf1")]
    return mean[0], mean[1], sum(s["num_switches"] for s in scores)


def table(kind: str, before: dict[str, Any], after: dict[str, Any]) -> list[list[str]]:
    """Its own kind, and all others, in each condition, before and after."""
    rows = []
    for condition in [c for c in CONDITIONS if c != "detected"]:
        for where, own in ((kind, True), ("all others", False)):
            cells = [
                cell(over([s for s in f.values() if s["condition"] == condition and (s["group"] == kind) == own]))
                for f in (before, after)
            ]
            rows.append([kind, where, condition, *cells])
    return rows


def cell(scores: Means) -> str:
    return f"{scores[0]:.3f} / {scores[1]:.3f} / {scores[2]:.0f}"


def report(about: str, found: dict[str, Any], rows: list[list[str]]) -> str:
    learned = "; ".join(
        f"{kind}: the first {CORRECTED[kind][1]} frames of {CORRECTED[kind][0]} ({f['detections']} detections), "
        f"{f['minutes']:.1f} minutes"
        for kind, f in found.items()
    )
    head = (
        "# Fine-tuning\n\n`python benchmarks/finetune.py`: `kintrack train FILE --init general --config finetune`, "
        f"tried on the reporting sequences; {' / '.join(HEAD)}, means over sequences, switches summed. {about}.\n\n"
        f"Learned from {learned}.\n\n"
    )
    return head + markdown(["learned from", "tried on", "condition", "general", "fine-tuned"], rows) + "\n"


if __name__ == "__main__":
    main()
