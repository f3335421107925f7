"""Visual encoders: crops (N, C, S, S) to features (N, D) of length one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kintrack.config import TIMM, EncoderConfig
from kintrack.errors import ConfigError, MissingExtraError
from kintrack.models.lite0 import DIM, Lite0, load_pretrained


class ConvEncoder(nn.Module):
    """Four stages of strided convolutions, the mean over the image, a linear layer: 3.7 million multiplications for
    a grey crop of 64 pixels with the default widths.

    Group norm keeps a crop's feature free of the other crops of its batch.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        before = config.channels * len(config.anchors)
        for stage in range(4):
            width = config.width * 2**stage
            stages += [
                nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False),
                nn.GroupNorm(4, width),
                nn.GELU(),
            ]
            before = width
        self.stages = nn.Sequential(*stages).requires_grad_(not config.frozen)
        self.project = nn.Linear(before, config.dim)

    def forward(self, crops: Float[Tensor, "n c s s"]) -> Float[Tensor, "n d"]:
        """Features of crops whose pixels are in [0, 1]."""
        centred = crops - crops.mean(dim=(2, 3), keepdim=True)  # how bright the lamp is says nothing of who it is
        x = self.stages(4.0 * centred.to(memory_format=torch.channels_last))  # (n, 8w, s/16, s/16)
        return nn.functional.normalize(self.project(x.mean(dim=(2, 3))), dim=1)


class PretrainedEncoder(nn.Module):
    """A network that has learned to see elsewhere, and a linear layer that makes a feature of what it says.

    The statistics of its batch norms stay as they were learned, also where its weights are trained on: then a crop's
    feature is free of the other crops of its batch.

    Args:
        config: dim and frozen are used.
        backbone: images (N, 3, H, W) in [0, 1] to (N, F).
        n_features: F.
    """

    def __init__(self, config: EncoderConfig, backbone: nn.Module, n_features: int) -> None:
        super().__init__()
        self.backbone = backbone.eval().requires_grad_(not config.frozen)
        self.n_anchors = len(config.anchors)
        # Such features are all of one sign and size; without their mean and scale they differ by more.
        self.level = nn.LayerNorm(n_features, elementwise_affine=False)
        self.project = nn.Linear(n_features * self.n_anchors, config.dim)

    def train(self, mode: bool = True) -> "PretrainedEncoder":
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, crops: Float[Tensor, "n c s s"]) -> Float[Tensor, "n d"]:
        """Features of crops whose pixels are in [0, 1]; grey is shown as three equal colours, each anchor by itself."""
        n, channels, *size = crops.shape
        single = crops.reshape(n * self.n_anchors, channels // self.n_anchors, *size)
        found = self.level(self.backbone(single.expand(-1, 3, -1, -1)))  # (n a, f)
        return nn.functional.normalize(self.project(found.reshape(n, self.n_anchors * found.shape[1])), dim=1)


class _Standardised(nn.Module):
    """A network of timm's with the mean and the spread of colours that it was trained with."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n f"]:
        return self.network((images - self.mean) / self.std)  # type: ignore[no-any-return]


_from_elsewhere: ContextVar[bool] = ContextVar("from_elsewhere", default=False)


@contextmanager
def weights_follow() -> Iterator[None]:
    """Models that are built inside get their weights afterwards: nothing pretrained is looked for or downloaded."""
    before = _from_elsewhere.set(True)
    try:
        yield
    finally:
        _from_elsewhere.reset(before)


def no_encoder(config: EncoderConfig) -> None:
    """Geometry alone: there is nothing to encode."""
    return None


def lite0_encoder(config: EncoderConfig) -> PretrainedEncoder:
    """EfficientNet-Lite0, by its package's weights unless others follow."""
    network = Lite0()
    if not _from_elsewhere.get():
        load_pretrained(network)
    return PretrainedEncoder(config, network, DIM)


def timm_encoder(config: EncoderConfig) -> PretrainedEncoder:
    """A network of timm's by name; its weights come the way timm gets them (it downloads) unless others follow.

    Raises:
        MissingExtraError: timm is not installed.
        ConfigError: timm has no such network, or cannot get its weights.
    """
    name = config.kind.removeprefix(TIMM)
    try:
        import timm
    except ImportError:
        raise MissingExtraError("timm", "timm", f"encoder.kind {config.kind}") from None
    try:
        made: Any = timm.create_model(name, pretrained=not _from_elsewhere.get(), num_classes=0)
    except Exception as error:  # timm raises whatever its models and its downloads raise
        raise ConfigError(f"timm cannot make the visual encoder {name!r}: {error}") from error
    learned = made.pretrained_cfg
    return PretrainedEncoder(config, _Standardised(made, learned["mean"], learned["std"]), int(made.num_features))


ENCODERS: dict[str, Callable[[EncoderConfig], nn.Module | None]] = {
    "none": no_encoder,
    "conv": ConvEncoder,
    "efficientnet_lite0": lite0_encoder,
    TIMM: timm_encoder,
}


def build_encoder(config: EncoderConfig) -> nn.Module | None:
    """The encoder that a config names; None for `none`."""
    return ENCODERS[TIMM if config.kind.startswith(TIMM) else config.kind](config)
