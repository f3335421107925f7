"""Puts the weights of a training into the package, with what their card says in the file itself.

python scripts/ship_weights.py runs/general general
"""

import argparse
from pathlib import Path

from kintrack.config import TrainConfig, read_yaml
from kintrack.loading import WEIGHTS
from kintrack.models.checkpoint import load_model, save_model

ABOUT = {
    "general": "geometry and poses; learned from simulated worlds, dancers, flies and fish",
}
LICENCE = "BSD-3-Clause"
CALIBRATED = ("confidence_temperature", "confidence_bias")
"""What scripts/calibrate.py has fitted to these weights, and the recipe cannot know."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of the training")
    parser.add_argument("name", choices=list(ABOUT), help="what the weights are called in the package")
    parser.add_argument("--last", action="store_true", help="the last epoch's weights, not those of the least loss")
    options = parser.parse_args()
    model = load_model(options.run / ("last.ckpt" if options.last else "model.safetensors"))
    recipe = TrainConfig.of(read_yaml(WEIGHTS / f"{options.name}.yaml"))
    card = {**model.card, "about": ABOUT[options.name], "licence": LICENCE, "card": f"{options.name}.md"}
    known = model.card.get("tracker", {})
    card["tracker"] = recipe.tracker.of_any_video() | {key: known[key] for key in CALIBRATED if key in known}
    path = save_model(model, WEIGHTS / f"{options.name}.safetensors", card=card)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {sum(p.numel() for p in model.parameters()):,} parameters")


if __name__ == "__main__":
    main()
