"""Are confidences to be believed, and do they find the mistakes? Links and starts, judged by the truth.

    python benchmarks/confidence.py                      the reporting half; written to results/ and docs/images
    python benchmarks/confidence.py --quick              a sequence of each kind, 200 frames; nothing is written
    python benchmarks/confidence.py --half tuning        the half that scripts/calibrate.py fits to
    python benchmarks/confidence.py --model runs/mine    another model, by name, path, or folder of a training

Every sequence is tracked as `kintrack track` does; then the truth says of each link and each start whether it was right
(see `kintrack.metrics.judge`). The picture needs the extra `benchmarks`.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from contenders import one_thread
from report import RESULTS, machine, markdown
from sequences import CONDITIONS, DATA, HALVES, Scene, scenes

from kintrack.follow import TrackConfig, follow
from kintrack.loading import load_model
from kintrack.metrics import Decisions, calibration, review, risk_coverage

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "reliability.png"
SHARE = 0.02
COLOURS = {"clean": "#0072b2", "noisy": "#d55e00", "third": "#009e73", "detected": "#777777"}


@dataclass(frozen=True, eq=False)
class Judged:
    """What a model was how sure of in one scene, and whether it was right."""

    scene: Scene
    decisions: Decisions


def main() -> None:
    options = arguments()
    one_thread()
    half = "quick" if options.quick else options.half
    if not options.data.is_dir():
        sys.exit(f"{options.data} is no folder; give the one that holds bee24, gmot and dancetrack with --data")
    about = machine()
    model = load_model(options.model, "cpu")
    tracker = model.card.get("tracker", {})
    judged = list(judge_all(model, tracker, scenes(half, tuple(options.conditions), options.data, (options.seed,))))
    text = summary(judged, half, options, about, tracker)
    print(text)
    if half == "reporting" or options.output:
        output = options.output or RESULTS
        output.mkdir(parents=True, exist_ok=True)
        (output / "confidence.md").write_text(text, encoding="utf-8")
        kept = {"about": about, "half": half, "seed": options.seed, "tracker": tracker, "scenes": numbers(judged)}
        (output / "confidence.json").write_text(json.dumps(kept, indent=1), encoding="utf-8")
        draw(judged, output / PICTURE.name if options.output else PICTURE)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=("reporting", "tuning"), default="reporting", help="which sequences")
    parser.add_argument("--quick", action="store_true", help="a sequence of each kind, its first 200 frames")
    parser.add_argument("--conditions", nargs="+", choices=list(CONDITIONS), default=list(CONDITIONS))
    parser.add_argument("--model", default="general", help="a model by name or path (general)")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with bee24, gmot and dancetrack")
    parser.add_argument("--seed", type=int, default=0, help="of the noise and of the order of rows")
    parser.add_argument("--output", type=Path, help="folder of the results and the picture")
    return parser.parse_args()


def judge_all(model: Any, tracker: dict[str, Any], given: Iterator[Scene]) -> Iterator[Judged]:
    """Tracks every scene and judges its decisions."""
    config = TrackConfig.of({"tracker": tracker, "threads": 1})
    for scene in given:
        tracks = follow(scene.detections, model, None, config)
        yield Judged(scene, Decisions.of(scene.identity, tracks.track, tracks.confidence))
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def pooled(judged: Sequence[Judged], **wanted: str) -> Decisions:
    """The decisions of the scenes of a group or a condition, together."""
    return Decisions.pooled(
        [j.decisions for j in judged if all(getattr(j.scene, key) == value for key, value in wanted.items())]
    )


def summary(
    judged: Sequence[Judged], half: str, options: argparse.Namespace, about: str, tracker: dict[str, Any]
) -> str:
    """All the tables, and what one must know to read them."""
    everything = pooled(judged)
    links = everything.take(everything.is_link)
    fitted = {key: tracker.get(f"confidence_{key}", default) for key, default in (("temperature", 1.0), ("bias", 0.0))}
    return "\n".join(
        [
            "# Are confidences to be believed?",
            "",
            f"`python benchmarks/confidence.py`, the {half} sequences, seed {options.seed}, model "
            f"{Path(options.model).stem}, temperature {fitted['temperature']:.4g} and bias {fitted['bias']:.4g} (from "
            f"its card). {about}.",
            "",
            *[f"* {name}: {', '.join(names)}" for name, names in HALVES[half].items()],
            *[f"* {name}: {CONDITIONS[name]}" for name in options.conditions],
            "* A link is right if it is the same individual as its track had last, a start if the individual was not "
            "seen before. Rows that are nobody are not judged.",
            "* ECE: 15 bins of equal width. Review: the share of all mistakes that is among the least sure 2 % of the "
            "decisions, `-` where there is no mistake; where more than 2 % were wrong, no order could bring all of "
            "them into 2 %: `best` is what a perfect order would.",
            "",
            "## All together",
            "",
            markdown(HEAD, [row("links and starts", everything), row("links alone", links)]),
            "",
            "![Reliability diagram](../../docs/images/reliability.png)",
            "",
            "## By condition, links and starts",
            "",
            markdown(HEAD, [row(c, pooled(judged, condition=c)) for c in options.conditions if found(judged, c)]),
            "",
            "## By group and condition: ECE / review (wrong)",
            "",
            by_group(judged, list(HALVES[half]), options.conditions, lambda decisions: decisions),
            "",
            "## The same of links alone",
            "",
            by_group(
                judged, list(HALVES[half]), options.conditions, lambda decisions: decisions.take(decisions.is_link)
            ),
            "",
        ]
    )


HEAD = ["", "decisions", "wrong", "ECE", "Brier", "NLL", "review", "best", "error among the surest 90 %"]


def found(judged: Sequence[Judged], condition: str) -> bool:
    return any(j.scene.condition == condition for j in judged)


def row(name: str, decisions: Decisions) -> list[str]:
    """A line of the first tables."""
    c = calibration(decisions.confidence, decisions.right)
    coverage, risk = risk_coverage(decisions.confidence, decisions.right)
    rest = risk[min(int(np.searchsorted(coverage, 0.9)), len(risk) - 1)]
    best = review(decisions.right.astype(float), decisions.right, SHARE)
    held = review(decisions.confidence, decisions.right, SHARE)
    numbers = [f"{c.ece:.4f}", f"{c.brier:.4f}", f"{c.nll:.4f}", percent(held), percent(best), f"{rest:.3%}"]
    return [name, f"{c.n:,}", f"{c.n_wrong:,}", *numbers]


def by_group(
    judged: Sequence[Judged], groups: Sequence[str], conditions: Sequence[str], of: Callable[[Decisions], Decisions]
) -> str:
    """Groups of sequences under each other, conditions beside each other."""
    known = [c for c in conditions if found(judged, c)]
    rows = [[g, *(cell(of(pooled(judged, group=g, condition=c))) for c in known)] for g in groups]
    return markdown(["", *known], rows)


def cell(decisions: Decisions) -> str:
    if not len(decisions):
        return ""
    ece = calibration(decisions.confidence, decisions.right).ece
    held = review(decisions.confidence, decisions.right, SHARE)
    return f"{ece:.3f} / {percent(held)} ({int((~decisions.right).sum())})"


def percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{share:.0%}"


def numbers(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Every scene's figures, for the JSON."""
    return [
        {"group": j.scene.group, "name": j.scene.name, "condition": j.scene.condition, **j.decisions.to_dict()}
        for j in judged
        if len(j.decisions)
    ]


def draw(judged: Sequence[Judged], path: Path) -> None:
    """The reliability diagram: accuracy over confidence for each condition, and below how many decisions there are."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (top, below) = plt.subplots(
        2, 1, figsize=(4.6, 5.4), height_ratios=(3, 1), sharex=True, layout="constrained"
    )
    top.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1, label="as it should be")
    for condition in (c for c in CONDITIONS if found(judged, c)):
        here = pooled(judged, condition=condition)
        c = calibration(here.confidence, here.right, bins=10)
        some = c.count >= 10  # of fewer an accuracy says little
        error = np.sqrt(c.accuracy * (1 - c.accuracy) / np.maximum(c.count, 1))[some]
        look = {"color": COLOURS[condition], "markersize": 4, "linewidth": 1.2, "capsize": 2}
        named = f"{condition}: ECE {calibration(here.confidence, here.right).ece:.3f}"
        top.errorbar(c.confidence[some], c.accuracy[some], error, marker="o", label=named, **look)
        below.step(c.edges, np.r_[c.count, c.count[-1]], where="post", color=COLOURS[condition], linewidth=1.2)
    top.set(ylabel="share that was right", xlim=(0, 1), ylim=(0, 1.02), aspect="auto")
    top.legend(frameon=False, fontsize=8, loc="lower right")
    below.set(xlabel="confidence", ylabel="decisions", yscale="log")
    for axes in (top, below):
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
