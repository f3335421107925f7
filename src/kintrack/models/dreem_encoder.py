"""DREEM's visual encoders: crops (N, C, S, S) to features (N, F)."""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kintrack.errors import ConfigError, InputError, MissingExtraError
from kintrack.models.dreem_config import DreemConfig, DreemEncoderConfig
from kintrack.models.resnet import RESNETS, ResNet
from kintrack.models.vit import DinoViT


class CnnEncoder(nn.Module):
    """A convolutional network, a linear layer, and the feature scaled to length one."""

    def __init__(self, config: DreemEncoderConfig, dim: int) -> None:
        super().__init__()
        self.channels = config.in_chans
        self.feature_extractor, width = _backbone(config)
        self.out_layer = nn.Linear(width, dim)
        self.dim = dim

    def forward(self, crops: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        if crops.shape[1] == 1:  # grey is shown as three equal colours
            crops = crops.expand(-1, 3, -1, -1)
        if crops.shape[1] != self.channels:
            raise InputError(
                f"the crops have {crops.shape[1]} channels and this model wants {self.channels}: three for each anchor"
            )
        kind = next(self.feature_extractor.parameters()).dtype
        crops = crops.to(kind, memory_format=torch.channels_last)
        return nn.functional.normalize(self.out_layer(self.feature_extractor(crops).float()), dim=1)


def _backbone(config: DreemEncoderConfig) -> tuple[nn.Module, int]:
    """The network of a config and the length of what it gives."""
    name = config.model_name.partition(".")[0]  # what follows says with what it was trained, not how it is built
    if name in RESNETS and not config.options:
        network = ResNet(name, config.in_chans)
        return network, network.dim
    if config.backend != "timm":
        raise ConfigError(f"torchvision's {config.model_name!r} is not a network that DREEM takes; it has resnet18, 50")
    try:
        import timm
    except ImportError:
        raise MissingExtraError(
            "timm", "timm", f"the visual encoder {config.model_name!r} of this checkpoint"
        ) from None
    try:
        made: Any = timm.create_model(
            config.model_name, pretrained=False, in_chans=config.in_chans, num_classes=0, **config.options
        )
    except Exception as error:  # timm raises whatever its models raise
        raise ConfigError(f"timm cannot make the visual encoder {config.model_name!r}: {error}") from error
    return made, int(made.num_features)


def quick(encoder: nn.Module, half: bool = False) -> nn.Module:
    """The same function where nothing is learned, in two thirds of the time; the encoder itself stays as it is.

    Batch norms are in the convolutions, and the colours of a pixel lie side by side, as convolutions like them. What
    comes out differs by rounding alone; with ``half``, where the network's numbers are of half the length, in the third
    digit.
    """
    if not isinstance(encoder, CnnEncoder) or encoder.training:
        return encoder
    made = copy.copy(encoder)
    made._modules = dict(encoder._modules)
    trunk = encoder.feature_extractor
    made.feature_extractor = trunk.fused() if isinstance(trunk, ResNet) else copy.deepcopy(trunk)
    made.feature_extractor.to(torch.bfloat16 if half else torch.float32)
    return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


class DescriptorEncoder(nn.Module):
    """Moments of a crop's first channel: its inertia tensor and the mean, and Hu's seven if wanted. Nothing to learn.

    The inertia tensor is of the brightness as mass: with the central moments m[p, q] = Σ I (y - ȳ)^p (x - x̄)^q,

        m[0, 2] / m[0, 0]   -m[1, 1] / m[0, 0]
       -m[1, 1] / m[0, 0]    m[2, 0] / m[0, 0]

    Hu (1962): his seven invariants of the normalised moments m[p, q] / m[0, 0] ** ((p + q) / 2 + 1). A dark crop has
    no centre: all nan, as in DREEM.
    """

    def __init__(self, hu_moments: bool) -> None:
        super().__init__()
        self.hu_moments = hu_moments
        self.dim = 12 if hu_moments else 5

    def forward(self, crops: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        image = crops[:, 0].double()  # third powers of pixels do not fit in single precision
        m = _central_moments(image)
        total = m[:, 0, 0]
        off = -m[:, 1, 1] / total
        mean = image.mean(dim=(1, 2))
        features = [m[:, 0, 2] / total, off, off, m[:, 2, 0] / total, mean]
        if self.hu_moments:
            features += _hu(m)
        return torch.stack(features, dim=1).to(crops.dtype)


def _central_moments(image: Float[Tensor, "n h w"]) -> Float[Tensor, "n 4 4"]:
    """(N, 4, 4) the sum of each image times the powers 0..3 of y and of x about its centre of brightness."""
    power = torch.arange(4, device=image.device)
    total = image.sum(dim=(1, 2))
    y = torch.arange(image.shape[1], device=image.device, dtype=image.dtype)
    x = torch.arange(image.shape[2], device=image.device, dtype=image.dtype)
    up = y - (image.sum(dim=2) @ y / total)[:, None]  # (n, h)
    across = x - (image.sum(dim=1) @ x / total)[:, None]  # (n, w)
    return torch.einsum("nhw,nhp,nwq->npq", image, up[..., None] ** power, across[..., None] ** power)


def _hu(m: Float[Tensor, "n 4 4"]) -> list[Tensor]:
    """Hu's seven invariants of central moments."""

    def eta(p: int, q: int) -> Tensor:
        return m[:, p, q] / m[:, 0, 0] ** ((p + q) / 2 + 1)

    n20, n02, n11, n30, n03, n21, n12 = (eta(*of) for of in ((2, 0), (0, 2), (1, 1), (3, 0), (0, 3), (2, 1), (1, 2)))
    a, b, c, d = n30 + n12, n21 + n03, n30 - 3 * n12, 3 * n21 - n03
    return [
        n20 + n02,
        (n20 - n02) ** 2 + 4 * n11**2,
        c**2 + d**2,
        a**2 + b**2,
        c * a * (a**2 - 3 * b**2) + d * b * (3 * a**2 - b**2),
        (n20 - n02) * (a**2 - b**2) + 4 * n11 * a * b,
        d * a * (a**2 - 3 * b**2) - c * b * (3 * a**2 - b**2),
    ]


class DinoEncoder(nn.Module):
    """DINOv2's small vision transformer, and a linear layer where its feature is not as long as a token."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.model = DinoViT()
        self.mlp: nn.Module = nn.Identity() if self.model.dim == dim else nn.Linear(self.model.dim, dim)
        self.dim = dim

    def forward(self, crops: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        return self.mlp(self.model(crops))  # type: ignore[no-any-return]


def build_dreem_encoder(config: DreemConfig) -> CnnEncoder | DescriptorEncoder | DinoEncoder:
    """The encoder that a config names."""
    if config.encoder.kind == "descriptor":
        return DescriptorEncoder(config.encoder.hu_moments)
    if config.encoder.kind == "dino":
        return DinoEncoder(config.d_model)
    return CnnEncoder(config.encoder, config.d_model)


__all__ = ["build_dreem_encoder"]
