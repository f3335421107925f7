"""Fits a model's confidences to what was right and wrong, and writes the two numbers into its card.

    python scripts/calibrate.py runs/general                     a training's weights
    python scripts/calibrate.py general --dry-run                only say what would be written
    python scripts/calibrate.py runs/general --data boxes/       where BEE24, GMOT-40 and DanceTrack lie

The tuning half of benchmarks/sequences.py is tracked in every condition with the tracker settings in the card. Of each
link and each start the truth says whether it was right (see `kintrack.metrics.judge`; rows that are nobody are left
out), and the temperature and the bias of the least NLL go into the card, as `confidence_temperature` and
`confidence_bias` of its tracker. What benchmarks/confidence.py reports is of the other half.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from confidence import Judged, judge_all
from report import markdown
from sequences import CONDITIONS, DATA, scenes

from kintrack.loading import find_model, load_model
from kintrack.metrics import Decisions, calibration, review
from kintrack.models.checkpoint import save_model
from kintrack.tracking.confidence import fit_calibration

AS_IT_IS = {"confidence_temperature": 1.0, "confidence_bias": 0.0}
SURE = 1 - 1e-15  # what is nearer to 1 than this is 1 in floating point, and its log-odds are lost


def main() -> None:
    options = arguments()
    path = find_model(options.model)
    if path.suffix != ".safetensors":
        sys.exit(f"{path} has no card to write into; give a .safetensors, or the folder of a training")
    model = load_model(path, "cpu")
    tracker = {**model.card.get("tracker", {}), **AS_IT_IS}
    judged = list(judge_all(model, tracker, scenes("tuning", tuple(options.conditions), options.data)))
    plain = Decisions.pooled([j.decisions for j in judged])
    temperature, bias = (round(x, 4) for x in fit_calibration(log_odds(plain), plain.is_link, plain.right))
    after = calibrated(plain, temperature, bias)
    print(markdown(["", "decisions", "wrong", "ECE", "NLL", "review 2 %"], [row("before", plain), row("after", after)]))
    print(f"temperature {temperature}, bias {bias}")
    if not options.dry_run:
        card = {
            **model.card,
            "tracker": {**tracker, "confidence_temperature": temperature, "confidence_bias": bias},
            "calibration": about(judged, after, options.conditions),
        }
        print(f"written to {save_model(model, path, card=card)}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model by name, its path, or the folder of a training")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with bee24, gmot and dancetrack")
    parser.add_argument("--conditions", nargs="+", choices=list(CONDITIONS), default=list(CONDITIONS))
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    return parser.parse_args()


def log_odds(decisions: Decisions) -> np.ndarray:
    """What the tracker made the confidences of, when it was told to leave log-odds as they are."""
    p = np.clip(decisions.confidence, 1 - SURE, SURE)
    return np.log(p) - np.log1p(-p)


def calibrated(plain: Decisions, temperature: float, bias: float) -> Decisions:
    """The decisions as the tracker would make them with these numbers."""
    z = (log_odds(plain) + np.where(plain.is_link, bias, -bias)) / temperature
    return Decisions(1 / (1 + np.exp(-z)), plain.right, plain.is_link)


def row(name: str, decisions: Decisions) -> list[str]:
    c = calibration(decisions.confidence, decisions.right)
    held = review(decisions.confidence, decisions.right)
    return [name, f"{c.n:,}", f"{c.n_wrong:,}", f"{c.ece:.4f}", f"{c.nll:.4f}", f"{held:.1%}"]


def about(judged: list[Judged], after: Decisions, conditions: list[str]) -> dict[str, object]:
    """What the card says of the calibration: on what it was made, and how well it fits that."""
    c = calibration(after.confidence, after.right)
    fitted = {"decisions": c.n, "wrong": c.n_wrong, "ece": round(c.ece, 5), "nll": round(c.nll, 5)}
    return {"sequences": list(dict.fromkeys(j.scene.name for j in judged)), "conditions": conditions, **fitted}


if __name__ == "__main__":
    main()
