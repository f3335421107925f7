"""The incumbent's architecture on boxes alone: what DREEM's way of comparing can do where it is not given pixels.

    python benchmarks/dreem_style.py               trains it, unless that was done, and says where the weights are
    python benchmarks/dreem_style.py --tune        and how settings of its tracker do on the tuning half
    python benchmarks/dreem_style.py --steps 3     whether training works at all; nothing is kept

DREEM's own weights look at crops, so they cannot be asked here. This is `kintrack.models.dreem`, which computes what
DREEM does number for number, trained by us on the clips that `general` is trained on, and followed by DREEM's tracker.
It is not DREEM: that sees pixels. Nor is it DREEM's default config, but what should serve it best among its options:

* the feature of every detection is zero, so nothing is seen, and all that a token says is where and when it is;
* places are learned vectors for the corners of boxes, in shares of the longer side of what the detections cover: so
  the height and the width that DREEM confuses are one, and nothing lies beyond the table, whose vectors begin as
  large as the times' (with DREEM's, which begin small, training hardly gets under way);
* times are ranks in the window, told by sines: DREEM's default, a table, knows only two;
* layer norms, which its default leaves out, and no dropout, which teaches nothing to geometry.

As in DREEM's own training all detections of a stretch of video are queries and references of each other, and each query
chooses in each other frame one reference or none.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environments import ENVIRONMENTS, NoEnvironment
from numpy.random import Generator
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sequences import DATA
from torch import Tensor

from kintrack.config import DataConfig, read_yaml
from kintrack.config_dreem import DreemTrackerConfig
from kintrack.core import boxes
from kintrack.core.clip import Clip
from kintrack.core.detections import Detections, Floats, Ints
from kintrack.core.sightings import Sightings, point_size
from kintrack.loading import find_config
from kintrack.models.dreem import DreemTransformer, DreemWindow
from kintrack.tracking.dreem import DreemTracker
from kintrack.training.annotated import load_annotated
from kintrack.training.data import Clips
from kintrack.training.loss import AssoLoss
from kintrack.training.optimizers import warmup_cosine
from kintrack.windows.dreem import DreemScorer
from training import DANCERS

MODEL: Mapping[str, Any] = {
    "d_model": 128, "nhead": 4, "num_encoder_layers": 2, "num_decoder_layers": 2, "norm": True, "dropout": 0.0,
    "num_layers_attn_head": 2, "dropout_attn_head": 0.0, "decoder_self_attn": True,
    "encoder": {"kind": "descriptor"}, "pos": {"mode": "learned", "emb_num": 16}, "temp": {"mode": "fixed"},
}  # fmt: skip
"""The encoder, which has no weights here, is never asked."""
STEPS = 4000
TRAINING: Mapping[str, Any] = {
    "seed": 0, "clips": 4, "longest": 16, "smallest": 0.5, "lr": 1e-3, "warmup": 100, "clip_gradient": 1.0,
}  # fmt: skip
"""Clips a step, the most frames of a stretch of each, the least share of the image that it covers, and Adam's."""
TRACKER: Mapping[str, Any] = {"window_size": 8, "max_gap": 8}
"""Else DREEM's defaults, but that it forgets no track; the best of what --tune tries on the tuning half."""
SOURCES = (*(f"boxes/{d}" for d in DANCERS), "flies/two_flies.slp", "flies/three_flies.slp", "fish/ten_zfish.slp")
"""What `general` is trained on, in the folder above --data: as in scripts/train_general.sh."""
UNIT = (1, 1)
"""The shape of an image in which places are shares already."""


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    if options.steps:
        train(options.data, options.steps)
        return
    model = trained(options.data)
    print(f"the weights are {weights()}", file=sys.stderr)
    if options.tune:
        tune(model, options.data)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with dancetrack; flies and fish beside it")
    parser.add_argument("--tune", action="store_true", help="what settings give on the tuning half")
    parser.add_argument("--steps", type=int, help="train for this many steps only, and keep nothing")
    return parser.parse_args()


def weights() -> Path:
    return ENVIRONMENTS / "dreem_style.safetensors"


def trained(data: Path) -> DreemTransformer:
    """The model, in `eval()` mode; it is trained the first time, and again where the recipe is another one."""
    recipe = json.dumps({"model": MODEL, "steps": STEPS, **TRAINING, "data": learned_from()}, sort_keys=True)
    if weights().is_file():
        with safe_open(weights(), "pt") as file:
            same = (file.metadata() or {}).get("recipe") == recipe
        if same:
            model = DreemTransformer(MODEL)
            model.load_state_dict(load_file(weights()))
            return model.eval()
    print(f"training {weights()}, once ...", file=sys.stderr, flush=True)
    model = train(data, STEPS)
    ENVIRONMENTS.mkdir(exist_ok=True)
    draft = weights().with_suffix(".draft")
    save_file(model.state_dict(), draft, {"recipe": recipe})
    draft.replace(weights())
    return model


def learned_from() -> dict[str, Any]:
    """How `general` takes its clips."""
    return DataConfig.of(read_yaml(find_config("general"))["data"]).to_dict()


def say(step: int, loss: float) -> None:
    print(f"step {step}: loss {loss:.3f}, {time.process_time():.0f} s of CPU", file=sys.stderr, flush=True)


def train(data: Path, steps: int) -> DreemTransformer:
    """The model after so many steps, in `eval()` mode.

    Raises:
        NoEnvironment: what it is to learn from is not there.
    """
    sources = [data.parent / name for name in SOURCES]
    if missing := [str(source) for source in sources if not source.exists()]:
        raise NoEnvironment(f"it is trained on files that are not there: {', '.join(missing)}")
    with ExitStack() as stack:
        truth, _ = load_annotated(stack, sources, None, None)
    clips = Clips(truth, DataConfig.of(learned_from()), seed=TRAINING["seed"])
    torch.manual_seed(TRAINING["seed"])
    rng = np.random.default_rng(TRAINING["seed"])
    model = DreemTransformer(MODEL).train()
    torch.nn.init.normal_(model.transformer.pos_emb.lookup.weight)
    optimizer, mean = torch.optim.Adam(model.parameters(), TRAINING["lr"]), math.nan
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = TRAINING["lr"] * warmup_cosine(step, steps, TRAINING["warmup"])
        optimizer.zero_grad()
        total = 0.0
        for number in range(step * TRAINING["clips"], (step + 1) * TRAINING["clips"]):
            clips.set_epoch(number // len(clips))
            loss = surprise(model, clips[number % len(clips)], rng) / TRAINING["clips"]
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(model.parameters(), TRAINING["clip_gradient"])
        optimizer.step()
        mean = total if math.isnan(mean) else 0.98 * mean + 0.02 * total
        if (step + 1) % 100 == 0 or step + 1 == steps:
            say(step + 1, mean)
    return model.eval()


def surprise(model: DreemTransformer, clip: Clip, rng: Generator) -> Tensor:
    """The loss of one stretch of a clip: DREEM's, and false detections, which it leaves out, want nobody."""
    length = int(rng.integers(2, TRAINING["longest"] + 1))
    first = int(rng.integers(0, max(clip.detections.n_frames - length, 0) + 1))
    rows = clip.detections.rows(first, first + length)
    seen = clip.detections.take(rows)
    rows = np.arange(len(clip.detections))[rows][np.isfinite(seen.box).all(axis=1)]
    if not len(rows):
        return model.transformer.pos_emb.lookup.weight.sum() * 0.0  # no detection, nothing to learn
    seen, identity = clip.detections.take(rows), torch.from_numpy(clip.identity[rows])
    frame = torch.from_numpy(seen.frame.astype(np.int64))
    box = moved(placed(boxed(seen)), rng).astype(np.float32)
    query, features = torch.arange(len(rows)), torch.zeros(len(rows), MODEL["d_model"])
    logits = model(DreemWindow(torch.from_numpy(box)[:, None], frame, query, UNIT, features=features))[-1].matrix
    logits = logits.masked_fill(frame[:, None] == frame, -torch.inf)  # in its own frame it is itself
    target = (identity[:, None] == identity) & (identity >= 0)
    loss: Tensor = AssoLoss(both_ways=False, focal=0.0)(logits[None], target, frame, frame)
    return loss


def boxed(detections: Detections) -> Floats:
    """(N, 4) boxes; where there are points, squares around them."""
    flat = (boxes.area(detections.box) <= 0)[:, None]
    square = boxes.from_centre(detections.centre, point_size(detections) if flat.any() else 1.0)
    return np.where(flat, square, detections.box)


def placed(box: Floats) -> Floats:
    """(N, 4) the boxes in shares of the longer side of what all of them cover."""
    lower, upper = box[:, :2].min(axis=0), box[:, 2:].max(axis=0)
    return (box - np.tile(lower, 2)) / (upper - lower).max()


def moved(box: Floats, rng: Generator) -> Floats:
    """(N, 4) mirrored, turned by right angles, and as a part of a larger image: a clip shows not all of one."""
    x0, y0, x1, y1 = box.T
    if rng.random() < 0.5:
        x0, x1 = 1.0 - x1, 1.0 - x0
    if rng.random() < 0.5:
        y0, y1 = 1.0 - y1, 1.0 - y0
    if rng.random() < 0.5:
        x0, y0, x1, y1 = y0, x0, y1, x1
    share = rng.uniform(TRAINING["smallest"], 1.0)
    return np.stack([x0, y0, x1, y1], axis=1) * share + np.tile(rng.random(2) * (1.0 - share), 2)


def follow(model: DreemTransformer, detections: Detections, settings: Mapping[str, Any] = TRACKER) -> Ints:
    """(N,) the track of each box, by DREEM's tracker."""
    seen = Sightings.of(Detections(detections.frame, placed(detections.box)))
    model.visual_encoder.dim = MODEL["d_model"]  # what stands for its features; see MODEL
    seen = seen.with_columns(token=np.zeros((len(seen), MODEL["d_model"]), np.float32))
    return DreemTracker(DreemTrackerConfig.of(settings))(DreemScorer(model, UNIT), detections, seen).track


def tune(model: DreemTransformer, data: Path) -> None:
    """Mean AssA over the first frames of the tuning scenes, for each of some settings of the tracker."""
    from association import by_condition, score
    from contenders import Answer
    from report import markdown
    from sequences import scenes

    conditions = ("clean", "noisy", "third")
    given, rows = [scene.until(150) for scene in scenes("tuning", conditions, data)], []
    for iou, max_gap, threshold in product(("mult", None), (8, 30), (0.01, 0.3)):
        settings = {"window_size": 8, "iou": iou, "max_gap": max_gap, "overlap_thresh": threshold}
        scores = [score(scene, Answer(follow(model, scene.boxed, settings), 1.0, 0)) for scene in given]
        rows.append([f"iou {iou}, max_gap {max_gap}, overlap_thresh {threshold}", *by_condition(scores)])
        print(*rows[-1], file=sys.stderr, flush=True)
    print(markdown(["tracker", *conditions, "mean AssA"], rows))


if __name__ == "__main__":
    main()
