"""Writes losses.npz: what dreem-track 0.5.1 makes of its objective. Run in its environment, from this folder.

    python make_losses.py

For each of `seeded.LOSSES`, the loss and its gradient in the last layer's matrix; and the losses of a few steps of
training the whole of `seeded.LEARNER`, encoder and batch norm and all.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import torch

warnings.filterwarnings("ignore")

from dreem.models import GlobalTrackingTransformer  # noqa: E402
from dreem.training.losses import AssoLoss  # noqa: E402

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import seeded  # noqa: E402
from make_golden import fill, frames  # noqa: E402


def clip(given, crops: bool):
    """DREEM's frames of a window, its instances in order, each with its identity."""
    instances = frames(given, crops=crops)
    for instance, who in zip(instances, seeded.IDENTITY, strict=True):
        instance.gt_track_id = torch.tensor([int(who)])
    inside = list({id(i.frame): i.frame for i in instances}.values())
    return inside, instances


def main() -> None:
    out: dict[str, np.ndarray] = {}
    for name, (of, arguments) in seeded.LOSSES.items():
        config = seeded.CONFIGS[of]
        inside, instances = clip(seeded.clip(config["d_model"]), crops=False)
        with torch.no_grad():
            found = fill(GlobalTrackingTransformer(**config))(instances)
        matrices = [m.matrix.detach().requires_grad_() for m in found]
        loss = AssoLoss(**arguments)(matrices, inside)
        loss.backward()
        out[f"{name}/loss"], out[f"{name}/gradient"] = loss.detach().numpy(), matrices[-1].grad.numpy()

    model = fill(GlobalTrackingTransformer(**seeded.LEARNER)).train()
    optimizer, losses = torch.optim.Adam(model.parameters(), **seeded.ADAM), []
    for _ in range(seeded.STEPS):
        inside, instances = clip(seeded.clip(16, side=40), crops=True)
        loss = AssoLoss()([m.matrix for m in model(instances)], inside)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    out["training"] = np.array(losses)
    np.savez_compressed(HERE / "losses.npz", **out)


if __name__ == "__main__":
    main()
