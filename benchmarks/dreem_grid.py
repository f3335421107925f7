"""The models, clips and trackers that dreem_parity.py compares. Plain data: read in both environments."""

from typing import Any

PADDING = 5  # what dreem-track shows around a crop when it tracks

CLIPS: dict[str, dict[str, Any]] = {
    "three flies": {"path": "flies/three_flies.slp", "kind": "slp", "crop_size": 70, "frames": 128, "window": True},
    "two flies": {"path": "flies/two_flies.slp", "kind": "slp", "crop_size": 80, "frames": 128, "window": False},
    "nuclei": {"path": "cells/sim_nuclei_10/01", "kind": "ctc", "crop_size": 32, "frames": 10, "window": True},
}

_RESNET = {"model_name": "resnet18", "backend": "timm", "in_chans": 3, "pretrained": False}
_OFF, _LEARNED, _FIXED = {"mode": "off"}, {"mode": "learned", "emb_num": 16, "normalize": True}, {"mode": "fixed"}


def _model(pos: Any, temp: Any, layers: int, heads: int, norm: bool, self_attn: bool, each: bool, depth: int) -> Any:
    return {
        "d_model": 128, "nhead": heads, "num_encoder_layers": layers, "num_decoder_layers": layers, "norm": norm,
        "decoder_self_attn": self_attn, "return_intermediate_dec": each, "num_layers_attn_head": depth,
        "embedding_meta": {"pos": pos, "temp": temp, "embedding_agg_method": "average"},
        "encoder_cfg": _RESNET, "dropout": 0.1, "dropout_attn_head": 0.1,
    }  # fmt: skip


# Each value of each option beside each value of every other one, at least once in most pairs.
GRID: dict[str, dict[str, Any]] = {
    "default": _model(_LEARNED, _LEARNED, 1, 1, False, True, True, 1),
    "bare": _model(_OFF, _OFF, 1, 1, False, False, False, 1),
    "fixed": _model(_FIXED, _FIXED, 1, 2, False, False, True, 2),
    "places": _model(_LEARNED, _OFF, 2, 4, True, False, False, 2),
    "times": _model(_OFF, _LEARNED, 2, 8, False, True, False, 3),
    "sines and table": _model({**_FIXED, "normalize": True}, _LEARNED, 3, 4, True, True, True, 1),
    "table and sines": _model(_LEARNED, _FIXED, 3, 8, True, False, True, 3),
    "deep": _model(_FIXED, _FIXED, 3, 2, True, True, False, 2),
    "many heads": _model(_OFF, _FIXED, 1, 8, True, True, True, 2),
    "two layers": _model(_FIXED, _OFF, 2, 1, True, True, True, 3),
}

# dreem-track's command line sets overlap_thresh 0.01 and iou mult; the rest are its class's defaults.
_CLI = {"overlap_thresh": 0.01, "iou": "mult"}
TRACKERS: dict[str, dict[str, Any]] = {
    "three flies, as its command line": {"model": "default", "clip": "three flies", "tracker": _CLI},
    "nuclei, as its command line": {"model": "default", "clip": "nuclei", "tracker": _CLI},
    "nuclei, greatest overlap": {
        "model": "deep", "clip": "nuclei", "tracker": {"overlap_thresh": 0.2, "iou": "max", "window_size": 3},
    },
    "nuclei, distance": {
        "model": "table and sines", "clip": "nuclei",
        "tracker": {"overlap_thresh": 0.05, "mult_thresh": False, "max_center_dist": 15, "iou": None,
                    "distance_penalty_multiplier": 2.0},
    },
}  # fmt: skip
