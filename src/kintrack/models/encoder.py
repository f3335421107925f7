"""Visual encoders: crops (N, C, S, S) to features (N, D) of length one."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kintrack.config import EncoderConfig


class ConvEncoder(nn.Module):
    """Four stages of strided convolutions, the mean over the image, a linear layer: 3.7 million multiplications for
    a grey crop of 64 pixels with the default widths.

    Group norm keeps a crop's feature free of the other crops of its batch.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        before = config.channels
        for stage in range(4):
            width = config.width * 2**stage
            stages += [
                nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False),
                nn.GroupNorm(4, width),
                nn.GELU(),
            ]
            before = width
        self.stages = nn.Sequential(*stages)
        self.project = nn.Linear(before, config.dim)

    def forward(self, crops: Float[Tensor, "n c s s"]) -> Float[Tensor, "n d"]:
        """Features of crops whose pixels are in [0, 1]."""
        centred = crops - crops.mean(dim=(2, 3), keepdim=True)  # how bright the lamp is says nothing of who it is
        x = self.stages(4.0 * centred.to(memory_format=torch.channels_last))  # (n, 8w, s/16, s/16)
        return nn.functional.normalize(self.project(x.mean(dim=(2, 3))), dim=1)


def no_encoder(config: EncoderConfig) -> None:
    """Geometry alone: there is nothing to encode."""
    return None


ENCODERS: dict[str, Callable[[EncoderConfig], nn.Module | None]] = {"none": no_encoder, "conv": ConvEncoder}


def build_encoder(config: EncoderConfig) -> nn.Module | None:
    """The encoder that a config names; None for `none`."""
    return ENCODERS[config.kind](config)
