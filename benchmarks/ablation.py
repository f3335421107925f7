"""What is each ingredient worth? Short trainings of the same recipe, each with one thing off, on the tuning sequences.

    python benchmarks/ablation.py                         all variants; goes on where it was interrupted
    python benchmarks/ablation.py --only everything "one layer"
    python benchmarks/ablation.py --steps 2 --only everything --output /tmp/try    whether it works at all

Each variant is the recipe below with some of its options changed. It is trained from nothing with the same seed and the
same number of steps, and then follows the tuning sequences in all conditions. A variant whose result is in the JSON is
not trained again. Single short runs: differences under 0.02 in mean AssA are chance.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from association import score
from contenders import kintrack, one_thread
from report import RESULTS, machine, markdown
from sequences import DATA, Scene, scenes
from standings import Scores, pick, pooled

from kintrack import api
from kintrack.config import PAIR_FEATURES, TrainConfig, merge, parse_overrides


def _without(*parts: str) -> str:
    """The option that takes every feature of a pair away whose name has one of these in it."""
    return f"model.pair_features=[{', '.join(n for n in PAIR_FEATURES if not any(part in n for part in parts))}]"


VARIANTS: Mapping[str, Sequence[str]] = {
    "everything": (),
    "no look back at a track's history": ("model.history_layers=0",),
    "no conditions of the scene": (_without("scene", "common"),),
    "no vote on the camera's motion": (_without("camera"),),
    "no doubt in the last sighting": (_without("before"),),
    "no smoothed motion": (_without("smooth", "steady", "scatter", "along", "across"),),
    "no overlap and shape": (_without("overlap", "change"),),
    "no competition": (_without("margin", "crowding"), "model.decoder_layers=1"),
    "no simulated worlds": ("data.simulated=0",),
    "simulated worlds only": ("data.simulated=1",),
    "no noise": ("data.noisy=0",),
    "no own mistakes": ("data.own=0",),
    "loss from one side": ("loss.both_ways=false",),
}
"""By name, the options that differ from the recipe, written as for --set."""

EPOCHS = 5
RECIPE: Sequence[str] = (
    "data.max_stride=8", "data.simulated=0.4", "data.own=0.5", "data.own_after=0.3", "optimizer.lr=0.002",
    "batch_size=6", "warmup=50", "ema=0.99", f"max_epochs={EPOCHS}", "accelerator=cpu", "workers=0",
)  # fmt: skip
"""That of the weights `general` in short."""

SOURCES = (
    *(f"boxes/dancetrack/dancetrack{i}" for i in ("0005", "0007", "0019", "0025", "0035", "0041", "0043", "0047")),
    "flies/two_flies.slp", "flies/three_flies.slp", "fish/ten_zfish.slp",
)  # fmt: skip
"""What is learned from, in the folder above --data: as in scripts/train_general.sh."""

JUDGED = ("clean", "noisy", "third")


def main() -> None:
    options = arguments()
    one_thread()
    if not options.data.is_dir():
        sys.exit(f"{options.data} is no folder; give the one that holds bee24, gmot and dancetrack with --data")
    file = options.output / "ablation.json"
    recipe = {"recipe": list(RECIPE), "steps": options.steps, "seed": options.seed, "frames": options.frames}
    known = read_known(file, recipe)
    todo = [name for name in options.only if known.get(name, {}).get("changed") != list(VARIANTS[name])]
    for name in todo:
        config_of(name, options.steps, options.seed)  # a misspelt option is told before hours are spent
    given = [s.until(options.frames) for s in scenes("tuning", JUDGED, options.data)] if todo else []
    about = machine()
    for name in todo:
        print(f"{name} ", end="", file=sys.stderr, flush=True)
        known[name] = {"changed": list(VARIANTS[name]), **result(name, given, options), "about": about}
        options.output.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps({**recipe, "variants": known}, indent=1), encoding="utf-8")
        draft.replace(file)
        print(file=sys.stderr)
    text = summary({name: known[name] for name in VARIANTS if name in known}, recipe)
    print(text)
    (options.output / "ablation.md").write_text(text, encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), help="which variants")
    parser.add_argument("--steps", type=int, default=300, help="of the optimiser, in each training")
    parser.add_argument("--seed", type=int, default=0, help="of weights, clips and noise")
    parser.add_argument("--frames", type=int, default=250, help="of each sequence, to be followed")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with bee24, gmot and dancetrack")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of ablation.json and ablation.md")
    return parser.parse_args()


def read_known(file: Path, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The variants that were trained before, by the same recipe."""
    if not file.is_file():
        return {}
    found = json.loads(file.read_text(encoding="utf-8"))
    other = [f"{key} {found.get(key)!r}, now {value!r}" for key, value in recipe.items() if found.get(key) != value]
    if other:
        sys.exit(f"{file} was made with another recipe ({'; '.join(other)}); give another --output, or delete it")
    return dict(found["variants"])


def result(name: str, given: Sequence[Scene], options: argparse.Namespace) -> dict[str, Any]:
    """Trains a variant and follows the scenes with it."""
    config = config_of(name, options.steps, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        before = time.monotonic()
        sources = [options.data.parent / source for source in SOURCES]
        fitted = api.train(sources, Path(folder) / "run", device="cpu", config=config)
        minutes = (time.monotonic() - before) / 60
        answers = kintrack(fitted.path)(list(given))
    parameters = sum(weight.numel() for weight in fitted.model.parameters())
    scores = [score(scene, answers[scene.key]) for scene in given]
    return {"minutes": minutes, "parameters": parameters, "scores": scores}


def config_of(name: str, steps: int, seed: int) -> TrainConfig:
    """The whole config of a variant; an option that is not there is an error before anything is trained."""
    tree = merge(parse_overrides(RECIPE), parse_overrides(VARIANTS[name]))
    clips = max(steps // EPOCHS, 1) * TrainConfig.of(tree).batch_size
    return TrainConfig.of(merge(tree, {"seed": seed, "data": {"clips": clips}}))


def summary(known: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    """A row for each variant: mean AssA over the groups and all switches in each condition, and how they differ."""
    lines = [
        "# What each ingredient is worth",
        "",
        f"`python benchmarks/ablation.py`: {recipe['steps']} steps of the recipe `{' '.join(recipe['recipe'])}` with "
        f"seed {recipe['seed']}, each variant trained from nothing with one thread. AssA (the mean over the groups of "
        f"the tuning sequences, their first {recipe['frames']} frames) / identity switches; in brackets the mean AssA "
        "of the three conditions less that of the first row. Single short trainings: less than 0.02 is chance.",
        "",
        markdown(["", *JUDGED, "mean AssA", "parameters", "minutes", "options"], list(rows_of(known))),
    ]
    if left := [name for name in VARIANTS if name not in known]:
        lines += ["", f"Not run yet: {', '.join(left)}."]
    return "\n".join(lines) + "\n"


def rows_of(known: Mapping[str, Any]) -> Iterator[list[str]]:
    first = None
    for name, found in known.items():
        each = [by_groups(pick(found["scores"], condition=condition)) for condition in JUDGED]
        mean = sum(s["assa"] for s in each) / len(each)
        first = mean if first is None else first
        cells = [f"{s['assa']:.3f} / {s['num_switches']:.0f}" for s in each]
        costs = [f"{found['parameters']:,}", f"{found['minutes']:.0f}"]
        # A list of what is left is long, and the variant's name says what is not.
        changed = " ".join(f"`{c if len(c) < 60 else c.partition('[')[0] + '[…]'}`" for c in found["changed"])
        yield [name, *cells, f"{mean:.3f} ({mean - first:+.3f})", *costs, changed]


def by_groups(scores: Sequence[Scores]) -> Scores:
    """The mean AssA of the groups, however many sequences each has, and all switches."""
    each = [pooled(pick(scores, group)) for group in dict.fromkeys(s["group"] for s in scores)]
    switches = sum(s["num_switches"] for s in each)
    return {"assa": sum(s["assa"] for s in each) / len(each), "num_switches": switches}


if __name__ == "__main__":
    main()
