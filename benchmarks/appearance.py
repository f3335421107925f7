"""Do pixels help where individuals can be told apart, and do no harm where they cannot?

    python benchmarks/appearance.py            written to benchmarks/results
    python benchmarks/appearance.py --quick    seconds; shows that it runs

Two models begin with the weights `general`, and are trained alike, step for step, on the same simulated worlds: one by
geometry alone, one that also sees crops of the drawn worlds, as after `kintrack train --init general --set
model.encoder.kind=conv`. Both then track worlds that neither has seen, drawn frame by frame as a video from which the
crops are cut, as `kintrack track` does it. The seeds of these worlds are used for nothing else; nothing was chosen on
them.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from report import RESULTS, machine, markdown

from kintrack.config import DataConfig, TrainConfig, merge
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks
from kintrack.core.video import Video
from kintrack.follow import TrackConfig, follow
from kintrack.loading import load_model
from kintrack.metrics import Evaluation, combine, evaluate
from kintrack.models import GlobalTrackingTransformer
from kintrack.sim import draw, observe, stage
from kintrack.training.begin import model_to_begin
from kintrack.training.data import Clips
from kintrack.training.fit import fit
from kintrack.windows.crops import crop_detections

RECIPE: dict[str, Any] = {
    "data": {
        "clips": 6000,
        "simulated": 1.0,
        "max_rows": 200,
        "max_objects": 8,
        "own": 0.0,
        "hidden": 0.6,
        "augment": {"turn_each": 1.0},
    },
    "optimizer": {"lr": 0.003},
    "batch_size": 6,
    "max_epochs": 1,
    "warmup": 30,
    "ema": 0.98,
    "blank_appearance": 0.2,
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


KINDS = {"clones": 0.0, "individuals": 0.8}
"""How much of their looks is their own."""
NOISES = {"short gaps": DETECTOR, "hidden for 20 to 60 frames": HIDING}


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
        recipe, seeds = merge(RECIPE, {"data": {"clips": 12}, "warmup": 1}), 1
    torch.set_num_threads(1)
    minutes, models = {}, {}
    for name, model in (("geometry alone", {}), ("with crops", SEES)):
        before = time.process_time()
        models[name] = train(recipe, model)
        minutes[name] = (time.process_time() - before) / 60
        print(f"trained {name}: {minutes[name]:.1f} minutes", file=sys.stderr, flush=True)
    alike = {kind: told_apart(models["with crops"], kind) for kind in ("clones", "individuals")}
    rows, found = [], {}
    for noise in NOISES:
        for kind, scores in judge(noise, models, seeds, 60 if options.quick else 240).items():
            rows.append([f"{kind}, {noise}", *(cell for score in scores.values() for cell in cells(score))])
            found[f"{kind}, {noise}"] = {who: score.to_dict()["measures"] for who, score in scores.items()}
    text = report(about, recipe, minutes, alike, len(CROWDS) * seeds, rows)
    print(text)
    if not options.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "appearance.md").write_text(text, encoding="utf-8")
        kept = {"about": about, "recipe": RECIPE, "model": SEES, "minutes": minutes, "alike": alike, "found": found}
        (RESULTS / "appearance.json").write_text(json.dumps(kept, indent=2), encoding="utf-8")


def report(
    about: str,
    recipe: dict[str, Any],
    minutes: dict[str, float],
    alike: dict[str, float],
    n_worlds: int,
    rows: list[list[str]],
) -> str:
    head = ["worlds", *(f"{who}: {what}" for who in WHO for what in ("AssA", "switches"))]
    trained = ", ".join(f"{name} {m:.1f} minutes" for name, m in minutes.items())
    steps = recipe["data"]["clips"] * recipe["max_epochs"] // recipe["batch_size"]
    told = ", ".join(f"{share:.2f} of {kind}" for kind, share in alike.items())
    return (
        f"# Appearance\n\n{about}\n\nBoth begin with `general` and learn for {steps} steps on one thread (processor "
        f"time): {trained}. {n_worlds} worlds of {CROWD['n_individuals']} individuals in each row.\n\n"
        f"{markdown(head, rows)}\n\n"
        "Two crops of one individual, 20 frames or more apart, look more alike than one of them and another "
        f"individual's: {told} (0.5 is by chance).\n"
    )


def train(recipe: dict[str, Any], model: dict[str, Any]) -> GlobalTrackingTransformer:
    """A model that has gone on learning from simulated worlds, drawn if it looks at them."""
    begin = model_to_begin(load_model("general", "cpu"), {"model": model})
    assert isinstance(begin, GlobalTrackingTransformer)
    config = TrainConfig.of({**recipe, "tracker": begin.card["tracker"], "accelerator": "cpu", "devices": 1})
    encoder = begin.config.encoder if model else None
    with tempfile.TemporaryDirectory() as folder:
        clips = Clips([], DataConfig.of(config.data), encoder=encoder, seed=config.seed)
        fitted = fit(clips, None, Path(folder) / "run", config, model=begin).model.eval()
    assert isinstance(fitted, GlobalTrackingTransformer)
    return fitted


WHO = ("geometry alone", "with crops", "the same, blind")


def judge(
    noise: str, models: dict[str, GlobalTrackingTransformer], seeds: int, n_frames: int
) -> dict[str, dict[str, Evaluation]]:
    """Both models on the same worlds, of clones and of individuals; that which sees also with closed eyes."""
    found: dict[str, dict[str, list[Evaluation]]] = {kind: {who: [] for who in WHO} for kind in KINDS}
    for i, world in enumerate(CROWDS.values()):
        for seed in range(FIRST_SEED + 100 * i, FIRST_SEED + 100 * i + seeds):
            scenes = {kind: make_scene(kind, noise, CROWD | world | {"n_frames": n_frames}, seed) for kind in KINDS}
            scene = next(iter(scenes.values()))
            for who, model in ((WHO[0], models["geometry alone"]), (WHO[2], models["with crops"])):
                score = tracked(scene, model, None)  # who does not look finds the same in both
                for kind in KINDS:
                    found[kind][who].append(score)
            for kind, scene in scenes.items():
                found[kind][WHO[1]].append(tracked(scene, models["with crops"], scene.video))
    return {kind: {who: combine(each) for who, each in scores.items()} for kind, scores in found.items()}


def tracked(scene: Scene, model: GlobalTrackingTransformer, video: Video | None) -> Evaluation:
    config = TrackConfig.of({"threads": 1, "tracker": model.card["tracker"]})
    return evaluate(scene.truth, follow(scene.detections, model, video, config), match="rows")


def told_apart(model: GlobalTrackingTransformer, kind: str) -> float:
    """How often two crops of one individual look more alike than one of them and another individual's (the area under
    the curve), 20 frames or more apart, in a world of each crowd."""
    shares = []
    for i, world in enumerate(CROWDS.values()):
        scene = make_scene(kind, "short gaps", CROWD | world | {"n_frames": 120}, FIRST_SEED + 100 * i + 50)
        rows = np.flatnonzero((scene.truth.track >= 0) & (scene.detections.frame % 4 == 0))
        some = scene.detections.take(rows)
        crops = crop_detections(scene.video, some, np.arange(len(rows)), model.config.encoder)
        with torch.inference_mode():
            looks = model.encode(torch.from_numpy(crops)).numpy()
        alike, who, frame = looks @ looks.T, scene.truth.track[rows], some.frame
        far = np.abs(frame[:, None] - frame) >= 20
        same, other = (np.sort(alike[far & is_same]) for is_same in (who[:, None] == who, who[:, None] != who))
        shares.append(float(np.searchsorted(other, same).mean() / len(other)))
    return float(np.mean(shares))


def make_scene(kind: str, noise: str, world: dict[str, Any], seed: int) -> Scene:
    stage_ = stage(world, seed)
    detections, identity = observe(stage_.tracks, NOISES[noise], seed)
    return Scene(detections, Tracks(detections, identity), draw(stage_, {"distinctiveness": KINDS[kind]}, seed))


def cells(score: Evaluation) -> list[str]:
    return [f"{score['assa']:.3f}", f"{score['num_switches']:.0f}"]


if __name__ == "__main__":
    main()
