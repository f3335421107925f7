"""What dreem-track says: matrices and tracks, for dreem_parity.py, which starts this in dreem's environment.

    python dreem_oracle.py DATA FOLDER {matrices,tracks} [NAME ...]

Nothing of kintrack is imported here but the grid of configs, which is data.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import pytorch_lightning as pl  # noqa: E402
import torch  # noqa: E402
from dreem.datasets import CellTrackingDataset, SleapDataset  # noqa: E402
from dreem.inference.tracker import Tracker  # noqa: E402
from dreem.models import GTRRunner  # noqa: E402
from dreem_grid import CLIPS, GRID, PADDING, TRACKERS  # noqa: E402

FRAMES = 5  # of a window


def dataset(data: Path, name: str) -> Any:
    """DREEM's reader of a clip, unshuffled."""
    clip = CLIPS[name]
    path = data / clip["path"]
    common = {
        "data_dirs": [str(path.parent)],
        "crop_size": clip["crop_size"],
        "padding": PADDING,
        "mode": "test",
        "clip_length": 10000,
    }
    if clip["kind"] == "slp":
        return SleapDataset([str(path)], [str(path.with_suffix(".mp4"))], anchors="centroid", chunk=True, **common)
    truth = sorted(map(str, (path.parent / f"{path.name}_GT" / "TRA").glob("*.tif")))
    return CellTrackingDataset([truth], [sorted(map(str, path.glob("*.tif")))], chunk=True, **common)


def frames_of(data: Path, name: str, n: int | None = None) -> list[Any]:
    made = dataset(data, name)
    n = CLIPS[name]["frames"] if n is None else n
    frames = []
    for start in range(0, n, 16):  # a few frames at a time: it holds whole images
        index = list(range(start, min(start + 16, n)))
        frames += made.get_instances(0, torch.tensor(index))
    return frames


def model_of(name: str, folder: Path) -> Any:
    """A model with weights drawn from the config's place in the grid; its checkpoint is written."""
    pl.seed_everything(list(GRID).index(name), verbose=False)
    runner = GTRRunner(model_cfg=GRID[name])
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(runner)
    trainer.save_checkpoint(folder / f"{name}.ckpt")
    return runner.model.eval()


@torch.no_grad()
def matrices(data: Path, folder: Path, names: list[str]) -> None:
    windows = {clip: frames_of(data, clip, FRAMES) for clip in CLIPS if CLIPS[clip]["window"]}
    for clip, frames in windows.items():
        instances = [i for f in frames for i in f.instances]
        np.savez(
            folder / f"window {clip}.npz",
            frame=np.array([int(f.frame_id) for f in frames for _ in f.instances]),
            box=np.concatenate([i.bbox.numpy().reshape(1, 4) for i in instances]),
            crop=np.concatenate([i.crop.numpy() for i in instances]),
            shape=np.array(frames[0].img_shape).reshape(-1),
        )
    for name in names or GRID:
        model, out = model_of(name, folder), {}
        for clip, frames in windows.items():
            instances = [i for f in frames for i in f.instances]
            for instance in instances:
                instance.features = None
            found = model(instances, list(frames[-1].instances), retain_crops=True)
            out[clip] = np.stack([m.matrix.numpy() for m in found])
        np.savez(folder / f"{name}.npz", **out)
        print(name, file=sys.stderr, flush=True)


@torch.no_grad()
def tracks(data: Path, folder: Path, names: list[str]) -> None:
    for name in names or TRACKERS:
        given = TRACKERS[name]
        model = model_of(given["model"], folder)
        frames = frames_of(data, given["clip"])
        for frame in frames:
            for instance in frame.instances:
                instance.gt_track_id = torch.tensor([-1])
        found = Tracker(**given["tracker"])(model, frames)
        rows = [
            {
                "frame": int(f.frame_id), "id": int(i.pred_track_id), "score": float(i.track_score),
                "box": i.bbox.numpy().reshape(-1).tolist(),
            }
            for f in found for i in f.instances
        ]  # fmt: skip
        flagged = [int(f.frame_id) for f in found if f.is_flagged]
        (folder / f"{name}.json").write_text(json.dumps({"rows": rows, "flagged": flagged}))
        print(name, file=sys.stderr, flush=True)


if __name__ == "__main__":
    {"matrices": matrices, "tracks": tracks}[sys.argv[3]](Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[4:])
