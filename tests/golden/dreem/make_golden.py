"""Writes matrices.npz and two checkpoints: what dreem-track 0.5.1 says. Run in its environment, from this folder.

    python make_golden.py

Nothing of DREEM is in these files but numbers that it computed from our weights and windows, and two checkpoints.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import torch

warnings.filterwarnings("ignore")

import pytorch_lightning as pl  # noqa: E402
from dreem.inference.tracker import Tracker  # noqa: E402
from dreem.io import Frame, Instance  # noqa: E402
from dreem.models import GlobalTrackingTransformer, GTRRunner  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import seeded  # noqa: E402


def fill(model):
    state = {name: torch.from_numpy(seeded.weights(name, tuple(t.shape))) for name, t in model.state_dict().items()}
    model.load_state_dict(state)
    return model.eval()


def frames(given, crops: bool):
    """DREEM's frames of a window, and its instances in order."""
    height, width = seeded.SHAPE
    made, instances = {}, []
    for i, number in enumerate(given["frame"].tolist()):
        has = {"crop": torch.from_numpy(given["crops"][i : i + 1])} if crops else {}
        if not crops:
            has["features"] = torch.from_numpy(given["features"][i : i + 1])
        instance = Instance(gt_track_id=i, bbox=torch.from_numpy(given["boxes"][i : i + 1]), **has)
        instances.append(instance)
        made.setdefault(number, []).append(instance)
    for number, inside in made.items():
        frame = Frame(video_id=0, frame_id=number, img_shape=torch.tensor([3, height, width]), instances=inside)
        for instance in inside:
            instance.frame = frame
    return instances


def walkers():
    """DREEM's frames of `seeded.walk`."""
    given, (height, width) = seeded.walk(), seeded.SHAPE
    made = []
    for number in np.unique(given["frame"]):
        inside = [
            Instance(
                gt_track_id=-1, bbox=torch.from_numpy(given["box"][i]).view(1, 1, 4),
                crop=torch.zeros(1, 3, 4, 4), features=torch.from_numpy(given["features"][i : i + 1]),
            )
            for i in np.flatnonzero(given["frame"] == number)
        ]  # fmt: skip
        shape = torch.tensor([3, height, width])
        made.append(Frame(video_id=0, frame_id=int(number), img_shape=shape, instances=inside))
        for instance in inside:
            instance.frame = made[-1]
    return made


@torch.no_grad()
def dino() -> torch.Tensor:
    """What timm's own DINOv2 (ViT-S/14 with registers) makes of crops; DREEM would download Facebook's code for it."""
    import timm

    model = timm.create_model("vit_small_patch14_reg4_dinov2", num_classes=0, dynamic_img_size=True).eval()
    own = {name: torch.from_numpy(seeded.weights(f"model.{name}", shape)) for name, shape in seeded.DINO.items()}
    own |= {
        name: torch.from_numpy(seeded.weights(f"model.{name}", tuple(tensor.shape)))
        for name, tensor in model.state_dict().items()
        if name.startswith(("blocks", "norm", "patch"))
    }
    own["cls_token"] = own["cls_token"] + own["pos_embed"][:, :1]  # timm adds the place of the class token beforehand
    own["pos_embed"], own["reg_token"] = own["pos_embed"][:, 1:], own.pop("register_tokens")
    model.load_state_dict(own)
    return model(torch.from_numpy(seeded.window(16, side=42)["crops"]))


@torch.no_grad()
def main() -> None:
    out: dict[str, np.ndarray] = {}
    for name, config in seeded.CONFIGS.items():
        model = fill(GlobalTrackingTransformer(**config))
        anchors = (config["embedding_meta"]["pos"] or {}).get("n_points", 1)
        given = seeded.window(config["d_model"], anchors)
        instances = frames(given, crops="descriptor" in name)
        found = model(instances, [instances[i] for i in given["query"]])
        out[name] = np.stack([m.matrix.numpy().reshape(3, -1) for m in found])
        out[f"{name}/names"] = np.array(
            [f"{n} {tuple(t.shape)}" for n, t in model.state_dict().items() if "visual" not in n]
        )
    for name, encoder in seeded.ENCODERS.items():
        model = fill(
            GlobalTrackingTransformer(
                encoder_cfg=encoder, d_model=16, nhead=1, num_encoder_layers=1, num_decoder_layers=1
            )
        )
        crops = seeded.window(16, anchors=2 if "six" in name else 1, channels=1 if "one" in name else 3, side=40)[
            "crops"
        ]
        out[f"encoder/{name}"] = model.visual_encoder(torch.from_numpy(crops)).numpy()
        if "torchvision" in name:
            out[f"encoder/{name}/names"] = np.array([n for n in model.state_dict() if n.startswith("visual")])
    out["encoder/dino"] = dino().numpy()
    for name, (of, config) in seeded.TRACKERS.items():
        model = fill(GlobalTrackingTransformer(**seeded.CONFIGS[of]))
        found = Tracker(**config)(model, walkers())
        seen = [i for frame in found for i in frame.instances]
        out[f"tracks/{name}/id"] = np.array([int(i.pred_track_id) for i in seen])
        out[f"tracks/{name}/score"] = np.array([float(i.track_score) for i in seen])
    np.savez_compressed(HERE / "matrices.npz", **out)

    runner = GTRRunner(
        model_cfg=seeded.CONFIGS["descriptor"], tracker_cfg={"window_size": 5, "iou": "mult", "max_gap": 9}
    )
    fill(runner.model)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(runner)
    trainer.save_checkpoint(HERE / "descriptor.ckpt")
    # What older versions wrote: the same with a config of OmegaConf's.
    older = torch.load(HERE / "descriptor.ckpt", weights_only=True)
    older["hyper_parameters"] = OmegaConf.create({"model_cfg": seeded.CONFIGS["descriptor"], "tracker_cfg": {}})
    torch.save(older, HERE / "omegaconf.ckpt")


if __name__ == "__main__":
    main()
