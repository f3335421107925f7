"""Do pixels help where individuals can be told apart, and do no harm where they cannot?

    python benchmarks/appearance.py            written to benchmarks/results
    python benchmarks/appearance.py --quick    seconds; shows that it runs

Two small models are trained alike, step for step, on simulated worlds: one by geometry alone, one that also sees crops
of the drawn worlds. Both then track worlds that neither has seen, drawn frame by frame as a video from which the crops
are cut, as `kintrack track` does it. The seeds of these worlds are used for nothing else; nothing was chosen on them.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from report import RESULTS, machine, markdown

from kintrack.config import DataConfig, TrainConfig, merge
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks
from kintrack.core.video import Video
from kintrack.follow import TrackConfig, follow
from kintrack.metrics import Evaluation, combine, evaluate
from kintrack.models import GlobalTrackingTransformer
from kintrack.sim import draw, observe, stage
from kintrack.training.data import Clips
from kintrack.training.fit import fit

RECIPE: dict[str, Any] = {
    "data": {"clips": 480, "simulated": 1.0, "max_rows": 150, "max_objects": 12, "own": 0.0},
    "optimizer": {"lr": 0.003},
    "batch_size": 6,
    "max_epochs": 5,
    "warmup": 50,
    "ema": 0.99,
}
SEES: dict[str, Any] = {"encoder": {"kind": "conv", "crop_size": 32, "width": 12, "dim": 24}}

CROWDS: dict[str, dict[str, Any]] = {
    "run_and_tumble": {"family": "run_and_tumble", "speed": 0.15},
    "ornstein_uhlenbeck": {"family": "ornstein_uhlenbeck", "speed": 0.15, "persistence": 15},
    "flock": {"family": "flock", "speed": 0.12, "body": "box", "aspect": 1.5},
    "bouts": {"family": "bouts", "speed": 0.15, "body": "articulated"},
}
CROWD: dict[str, Any] = {"n_individuals": 10, "n_frames": 240, "arena": (420, 420), "size": 36, "aspect": 1.8}
DETECTOR: dict[str, Any] = {"miss": 0.02, "jitter": 0.02, "occlusion": 0.7}
HIDING: dict[str, Any] = DETECTOR | {"burst": 0.3, "burst_length": (20, 60)}
FIRST_SEED = 1_000_000
"""Of the held-out worlds. Training draws from (0, epoch, clip)."""


class Setting(NamedTuple):
    """What the worlds look like, and how well they are seen."""

    name: str
    distinctiveness: float
    noise: dict[str, Any]


SETTINGS = (
    Setting("clones, short gaps", 0.0, DETECTOR),
    Setting("clones, hidden for 20 to 60 frames", 0.0, HIDING),
    Setting("individuals, short gaps", 0.8, DETECTOR),
    Setting("individuals, hidden for 20 to 60 frames", 0.8, HIDING),
)


class Scene(NamedTuple):
    """A world as it is tracked."""

    detections: Detections
    truth: Tracks
    video: Video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few steps, a few frames; nothing is written")
    options = parser.parse_args()
    about, recipe, seeds = machine(), RECIPE, 2
    if options.quick:
        recipe, seeds = merge(RECIPE, {"data": {"clips": 12}, "max_epochs": 1, "warmup": 1}), 1
    torch.set_num_threads(1)
    minutes, models = {}, {}
    for name, model in (("geometry alone", {}), ("with crops", SEES)):
        before = time.monotonic()
        models[name] = train(recipe, model)
        minutes[name] = (time.monotonic() - before) / 60
    rows, found = [], {}
    for setting in SETTINGS:
        scores = judge(setting, models, seeds, 60 if options.quick else 240)
        rows.append([setting.name, *(cell for score in scores.values() for cell in cells(score))])
        found[setting.name] = {who: score.to_dict()["measures"] for who, score in scores.items()}
    head = ["worlds", *(f"{who}: {what}" for who in WHO for what in ("AssA", "switches"))]
    trained = ", ".join(f"{name} {m:.1f} minutes" for name, m in minutes.items())
    about_worlds = f"{len(CROWDS) * seeds} worlds of {CROWD['n_individuals']} individuals in each row."
    text = f"# Appearance\n\n{about}\n\nTrained on one thread: {trained}. {about_worlds}\n\n{markdown(head, rows)}\n"
    print(text)
    if not options.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "appearance.md").write_text(text, encoding="utf-8")
        kept = {"about": about, "recipe": RECIPE, "model": SEES, "minutes": minutes, "found": found}
        (RESULTS / "appearance.json").write_text(json.dumps(kept, indent=2), encoding="utf-8")


def train(recipe: dict[str, Any], model: dict[str, Any]) -> GlobalTrackingTransformer:
    """A model that has learned from simulated worlds, drawn if it looks at them."""
    config = TrainConfig.of({**recipe, "model": model, "accelerator": "cpu", "devices": 1})
    encoder = None if config.model.encoder.kind == "none" else config.model.encoder
    with tempfile.TemporaryDirectory() as folder:
        clips = Clips([], DataConfig.of(config.data), encoder=encoder, seed=config.seed)
        return fit(clips, None, Path(folder) / "run", config).model.eval()


WHO = ("geometry alone", "with crops", "the same, blind")


def judge(
    setting: Setting, models: dict[str, GlobalTrackingTransformer], seeds: int, n_frames: int
) -> dict[str, Evaluation]:
    """Both models on the same worlds; that which sees also with closed eyes."""
    found: dict[str, list[Evaluation]] = {who: [] for who in WHO}
    for i, world in enumerate(CROWDS.values()):
        for seed in range(FIRST_SEED + 100 * i, FIRST_SEED + 100 * i + seeds):
            scene = make_scene(setting, CROWD | world | {"n_frames": n_frames}, seed)
            for who in WHO:
                model = models["geometry alone" if who == WHO[0] else "with crops"]
                video = scene.video if who == "with crops" else None
                tracks = follow(scene.detections, model, video, TrackConfig(threads=1))
                found[who].append(evaluate(scene.truth, tracks, match="rows"))
    return {who: combine(each) for who, each in found.items()}


def make_scene(setting: Setting, world: dict[str, Any], seed: int) -> Scene:
    stage_ = stage(world, seed)
    detections, identity = observe(stage_.tracks, setting.noise, seed)
    look = {"distinctiveness": setting.distinctiveness}
    return Scene(detections, Tracks(detections, identity), draw(stage_, look, seed))


def cells(score: Evaluation) -> list[str]:
    return [f"{score['assa']:.3f}", f"{score['num_switches']:.0f}"]


if __name__ == "__main__":
    main()
