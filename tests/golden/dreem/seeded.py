"""Weights, windows and configs that come out the same in every environment, for DREEM's models and ours.

Imports numpy alone. `RandomState` draws the same numbers in all versions of numpy.
"""

import zlib
from typing import Any

import numpy as np

SHAPE = (480, 640)  # Y, X of the image: wide, so that what is odd about wide images shows


def weights(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor of a name, in float32: matrices under which nothing grows, positive variances."""
    draw = np.random.RandomState(zlib.crc32(name.encode()) % 2**31)
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    # A prime number of them over and over: millions would take the tests longer than the networks.
    values = np.resize(draw.standard_normal(4093), shape)
    if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
        values = 1.0 + 0.2 * np.tanh(values)
    elif len(shape) > 1 and "lookup" not in name and "freq" not in name:
        values *= 0.6 / np.sqrt(np.prod(shape[1:]))
    else:
        values *= 0.5
    return values.astype(np.float32)


def window(d: int, anchors: int = 1, channels: int = 3, side: int = 24) -> dict[str, np.ndarray]:
    """Eleven detections of four frames, three of them asking; corners in the order y0 x0 y1 x1."""
    draw = np.random.RandomState(7)
    frame = np.array([3, 3, 3, 4, 4, 9, 9, 9, 20, 20, 20])
    corner = draw.uniform(-20, [440, 600], (len(frame), anchors, 2))
    boxes = np.concatenate([corner, corner + 60], axis=2)
    boxes[4, 0] = np.nan
    features = draw.standard_normal((len(frame), d))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    crops = draw.uniform(0, 1, (len(frame), channels * anchors, side, side))
    return {
        "frame": frame, "boxes": boxes.astype(np.float32), "features": features.astype(np.float32),
        "crops": crops.astype(np.float32), "query": np.array([8, 9, 10]),
    }  # fmt: skip


def _cfg(pos: Any = None, temp: Any = None, **more: Any) -> dict[str, Any]:
    small = {"d_model": 16, "nhead": 2, "num_encoder_layers": 1, "num_decoder_layers": 1, "num_layers_attn_head": 1}
    meta = {"pos": pos, "temp": temp} | more.pop("meta", {})
    return small | {"embedding_meta": meta} | more


_MLP = {"hidden_dim": 8, "num_layers": 2, "dropout": 0.1}
_LEARNED = {"mode": "learned", "emb_num": 16}

CONFIGS: dict[str, dict[str, Any]] = {
    "nothing": _cfg(),
    "learned": _cfg({**_LEARNED, "normalize": True, "over_boxes": True}, _LEARNED, decoder_self_attn=True),
    "learned places": _cfg({"mode": "learned", "emb_num": 7}, {"mode": "off"}),
    "learned times": _cfg({"mode": "off"}, {"mode": "learned", "emb_num": 3}),
    "fixed": _cfg({"mode": "fixed"}, {"mode": "fixed"}),
    "fixed, normalised": _cfg({"mode": "fixed", "normalize": True, "scale": 3.0, "temperature": 20}, _LEARNED),
    "anchors, learned": _cfg({**_LEARNED, "n_points": 3, "mlp_cfg": _MLP}, _LEARNED),
    "anchors, learned, no mlp": _cfg({**_LEARNED, "n_points": 2}, _LEARNED),
    "anchors, fixed": _cfg({"mode": "fixed", "n_points": 3, "normalize": True, "mlp_cfg": _MLP}, {"mode": "fixed"}),
    "heads": _cfg(_LEARNED, _LEARNED, nhead=8, activation="gelu"),
    "norm": _cfg(_LEARNED, {"mode": "fixed"}, norm=True, num_decoder_layers=2),
    "deep": _cfg(
        _LEARNED, _LEARNED, norm=True, decoder_self_attn=True, num_encoder_layers=3, num_decoder_layers=3,
        return_intermediate_dec=True, num_layers_attn_head=3,
    ),
    "descriptor": _cfg(_LEARNED, _LEARNED, encoder_cfg={"encoder_type": "descriptor", "ndim": 5}),
    "descriptor, hu": _cfg(
        encoder_cfg={"encoder_type": "descriptor", "encoder_type_args": {"use_hu_moments": True}, "ndim": 12}
    ),
    "waves": _cfg(
        _LEARNED, _LEARNED, meta={"use_fourier": True}, decoder_self_attn=True, d_model=32,
        encoder_cfg={"encoder_type": "resnet", "encoder_type_args": {"model_name": "resnet18"}, "ndim": 32},
    ),
}  # fmt: skip

# Encoders: what they are, and the names of the tensors in a checkpoint where these differ.
ENCODERS: dict[str, dict[str, Any]] = {
    "resnet18": {"model_name": "resnet18", "backend": "timm", "in_chans": 3, "pretrained": False},
    "resnet34, six channels": {"model_name": "resnet34", "in_chans": 6},
    "resnet50, torchvision": {"model_name": "resnet50", "backend": "torchvision", "pretrained": False},
    "resnet18, one channel": {"model_name": "resnet18", "in_chans": 1},
}

DINO = {"cls_token": (1, 1, 384), "register_tokens": (1, 4, 384), "pos_embed": (1, 1370, 384)}


def walk(n_frames: int = 14, n: int = 6, d: int = 16) -> dict[str, np.ndarray]:
    """Animals that wander, look almost as they did, are missed at times, and leave: boxes y0 x0 y1 x1 and features."""
    draw = np.random.RandomState(11)
    looks = draw.standard_normal((n, d))
    place = draw.uniform(60, 360, (n, 2))
    frame, box, feature, who = [], [], [], []
    for t in range(n_frames):
        place = place + draw.normal(0, 9, place.shape)
        for i in draw.permutation(n):
            if draw.rand() < 0.15 or (i == 0 and 4 <= t < 8):
                continue
            seen = looks[i] + 0.5 * draw.standard_normal(d)
            frame.append(t)
            who.append(i)
            box.append(np.concatenate([place[i] - 20, place[i] + 20]))
            feature.append(seen / np.linalg.norm(seen))
    return {
        "frame": np.array(frame), "box": np.array(box, np.float32), "features": np.array(feature, np.float32),
        "who": np.array(who),
    }  # fmt: skip


# Trackers whose ids are compared: arguments of DREEM's, and the model.
TRACKERS: dict[str, tuple[str, dict[str, Any]]] = {
    "command line": ("learned", {"overlap_thresh": 0.01, "iou": "mult"}),
    "greatest overlap": ("learned", {"overlap_thresh": 0.3, "iou": "max", "mult_thresh": False}),
    "no overlap": ("deep", {"overlap_thresh": 0.1, "iou": None, "window_size": 3}),
    "distance": (
        "nothing",
        {"overlap_thresh": 0.1, "iou": "mult", "max_center_dist": 25, "distance_penalty_multiplier": 1.5},
    ),
    "gap": ("fixed", {"overlap_thresh": 0.05, "iou": "mult", "window_size": 2, "max_gap": 3}),
}


# Who is who in `window`: three that come and go, one seen twice, and two that nobody knows.
IDENTITY = np.array([0, 1, 2, 0, -1, 2, 1, 5, 0, 5, -1])


def clip(d: int, side: int = 24) -> dict[str, np.ndarray]:
    """`window` with a place for everybody: a box of nan makes DREEM's loss call its whole frame unmatched."""
    given = window(d, side=side)
    given["boxes"][4] = given["boxes"][3] + 7
    return given


# Losses that are compared: the model, and arguments of DREEM's AssoLoss.
LOSSES: dict[str, tuple[str, dict[str, Any]]] = {
    "as it is": ("learned", {}),
    "every layer": ("deep", {}),
    "unmatched too": ("norm", {"neg_unmatched": True}),
    "weighted": ("deep", {"neg_unmatched": True, "epsilon": 2.5, "asso_weight": 0.3}),
}

# A model whose training is compared step by step: nothing is left to chance in it.
LEARNER = _cfg(
    _LEARNED, _LEARNED, decoder_self_attn=True, return_intermediate_dec=True, dropout=0.0, dropout_attn_head=0.0,
    num_decoder_layers=2, encoder_cfg={"model_name": "resnet18", "backend": "timm", "in_chans": 3, "pretrained": False},
)  # fmt: skip
STEPS = 4
ADAM = {"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
