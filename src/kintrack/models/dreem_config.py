"""What a model of DREEM is made of, read from the config that its checkpoints carry.

DREEM builds a model from nested dictionaries in which keys that do not belong are passed on, ignored, or fail somewhere
deep inside. Here each has its place, and one that has none is named.
"""

from collections.abc import Mapping
from typing import Any, Literal

import pydantic
from pydantic import Field

from kintrack.config import Config
from kintrack.errors import ConfigError


class DreemMlp(Config):
    """The layers after an embedding of several anchors."""

    hidden_dim: int = Field(ge=1)
    """Width of the layers between."""
    num_layers: int = Field(ge=1)
    """Layers."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of activations dropped in training."""


class DreemEmbedding(Config):
    """How a place or a time becomes a vector."""

    mode: Literal["off", "learned", "fixed"] = "off"
    """Nothing, a table of vectors between which is interpolated, or sines and cosines."""
    n_points: int = Field(1, ge=1)
    """Anchors, and so boxes, of a detection."""
    emb_num: int = Field(16, ge=1)
    """Vectors in a table."""
    over_boxes: Literal[True] = True
    """Corners are embedded. (Centres and sizes, DREEM's other choice, fail there in the first step.)"""
    temperature: float = Field(10000.0, gt=0)
    """Longest wave of the sines."""
    normalize: bool = False
    """Whether boxes are divided by those of the last anchor before the sines are taken."""
    scale: float | None = None
    """What they are then multiplied by; 2π where not given."""
    mlp_cfg: DreemMlp | None = None
    """Layers after the embedding of several anchors."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> "DreemEmbedding":
        if self.scale is not None and not self.normalize:
            raise ValueError("scale means nothing without normalize: true; DREEM refuses it, too")
        return self


class DreemEncoderConfig(Config):
    """What turns a crop into a feature."""

    kind: Literal["cnn", "descriptor", "dino"] = "cnn"
    """A convolutional network and a linear layer, five or twelve moments of the image, or DINOv2 (ViT-S/14)."""
    model_name: str = "resnet18"
    """The network, by timm's or torchvision's name."""
    backend: Literal["timm", "torchvision"] = "timm"
    """Whose names the weights had in the checkpoint."""
    in_chans: int = Field(3, ge=1)
    """Channels of a crop: three for each anchor. DREEM makes three of one."""
    hu_moments: bool = False
    """Whether the descriptor has Hu's seven moments."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of a timm model."""

    @classmethod
    def of_dreem(cls, given: Mapping[str, Any]) -> "DreemEncoderConfig":
        """From DREEM's ``encoder_cfg``."""
        if "encoder_type" not in given:
            kind, arguments = "resnet", dict(given)
        else:
            # `ndim` is the width of the feature for the Fourier projection, which follows from the rest here. Whatever
            # else stands beside encoder_type, DREEM does not look at.
            kind, arguments = str(given["encoder_type"]), dict(given.get("encoder_type_args") or {})
        if kind not in ("resnet", "descriptor", "dino"):
            raise ConfigError(
                f"the checkpoint's encoder_type is {kind!r}, which somebody registered with DREEM; kintrack knows "
                "resnet, descriptor and dino"
            )
        if kind == "descriptor":
            return cls(kind="descriptor", hu_moments=bool(arguments.get("use_hu_moments", False)))
        if kind == "dino":
            return cls(kind="dino", model_name="dinov2_vits14_reg")
        # A checkpoint brings its own weights; what DREEM would download first is not wanted.
        arguments.pop("pretrained", None)
        arguments.pop("d_model", None)
        known: dict[str, Any] = {
            key: arguments.pop(key) for key in ("model_name", "backend", "in_chans") if key in arguments
        }
        known["in_chans"] = 3 if known.get("in_chans", 3) == 1 else known.get("in_chans", 3)
        return cls.of({**known, "options": arguments})


_AS_THEY_ARE = (
    "d_model", "nhead", "num_encoder_layers", "num_decoder_layers", "dropout", "activation", "return_intermediate_dec",
    "norm", "num_layers_attn_head", "dropout_attn_head", "decoder_self_attn",
)  # fmt: skip
_WITHOUT_EFFECT = ("return_embedding", "ckpt_path")  # on the numbers


class DreemConfig(Config):
    """The architecture of a DREEM model; names and defaults are those of its constructor."""

    kind: Literal["dreem"] = "dreem"
    """Says that such a model is meant."""
    d_model: int = Field(1024, ge=1)
    """Length of a token."""
    nhead: int = Field(8, ge=1)
    """Attention heads."""
    num_encoder_layers: int = Field(6, ge=0)
    """Layers in which all detections of a window look at each other."""
    num_decoder_layers: int = Field(6, ge=1)
    """Layers in which queries look at the window."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of activations dropped in training."""
    activation: Literal["relu", "gelu"] = "relu"
    """Of the feed-forward blocks."""
    return_intermediate_dec: bool = False
    """A matrix for each decoder layer, not just the last."""
    norm: bool = False
    """Whether there is any layer norm."""
    num_layers_attn_head: int = Field(2, ge=1)
    """Layers of the association head's two projections."""
    dropout_attn_head: float = Field(0.1, ge=0, lt=1)
    """Share of activations dropped in the head, in training."""
    decoder_self_attn: bool = False
    """Whether queries look at each other."""
    pos: DreemEmbedding = DreemEmbedding()
    """The embedding of boxes."""
    temp: DreemEmbedding = DreemEmbedding()
    """The embedding of times."""
    fourier: bool = False
    """Whether times are also told by learned frequencies, mixed into the features."""
    encoder: DreemEncoderConfig = DreemEncoderConfig()
    """The visual encoder."""

    @classmethod
    def of_dreem(cls, model_cfg: Mapping[str, Any]) -> "DreemConfig":
        """From the ``model_cfg`` among the hyper-parameters of a DREEM checkpoint.

        Raises:
            ConfigError: naming a key that DREEM does not have, or a value with which DREEM itself fails.
        """
        rest = {key: value for key, value in model_cfg.items() if key not in _WITHOUT_EFFECT}
        meta = dict(rest.pop("embedding_meta", None) or {})
        encoder_cfg = dict(rest.pop("encoder_cfg", None) or {})
        meta.pop("embedding_agg_method", None)  # DREEM averages whatever it says
        tree: dict[str, Any] = {key: rest.pop(key) for key in _AS_THEY_ARE if key in rest}
        tree |= {key: meta.pop(key) or {} for key in ("pos", "temp") if key in meta}
        tree["fourier"] = bool(meta.pop("use_fourier", False)) or encoder_cfg.get("encoder_type") == "descriptor"
        if odd := sorted([*rest, *(f"embedding_meta.{key}" for key in meta)]):
            raise ConfigError(f"the model config of DREEM has no {', '.join(odd)}")
        if encoder_cfg.get("encoder_type") is None and tree["fourier"]:
            raise ConfigError("embedding_meta.use_fourier needs encoder_cfg.encoder_type; without it DREEM fails, too")
        return cls.of({**tree, "encoder": DreemEncoderConfig.of_dreem(encoder_cfg)})

    @property
    def n_anchors(self) -> int | None:
        """Crops of a detection that the model wants; None if any number will do."""
        if self.pos.mode != "off":
            return self.pos.n_points
        return max(self.encoder.in_chans // 3, 1) if self.encoder.kind == "cnn" else None

    @pydantic.model_validator(mode="after")
    def _check(self) -> "DreemConfig":
        d, points = self.d_model, self.pos.n_points
        if d % self.nhead:
            raise ValueError(f"d_model {d} cannot be divided among {self.nhead} heads (nhead)")
        if self.fourier and d % 16:
            raise ValueError(f"d_model {d} is no multiple of 16, which the learned frequencies (use_fourier) need")
        if self.pos.mode == "fixed" and d % 8:
            raise ValueError(f"d_model {d} is no multiple of 8, which a fixed embedding of boxes needs")
        if self.pos.mode == "fixed" and points > 1 and self.pos.mlp_cfg is None:
            raise ValueError(f"a fixed embedding of {points} anchors needs pos.mlp_cfg")
        if self.pos.mode == "learned" and d % (4 * points) and self.pos.mlp_cfg is None:
            raise ValueError(f"d_model {d} is no multiple of {4 * points}, which a learned embedding of boxes needs")
        return self


__all__ = ["DreemConfig", "DreemEmbedding", "DreemEncoderConfig", "DreemMlp"]
