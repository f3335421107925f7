"""Residual networks (He et al. 2015) as image encoders: crops (N, C, S, S) to features (N, F).

The shape that everybody's weights have: batch norm, the stride of a bottleneck in its 3 x 3 convolution, and the names
that timm and torchvision share, so that a state dict of theirs fits.
"""

import copy
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around which the input goes by."""

    expansion = 1

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(before, width, stride)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        y = nn.functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return nn.functional.relu(y + self.downsample(x), inplace=True)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions around which the input goes by; the last widens four times."""

    expansion = 4

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _shortcut(before, 4 * width, stride)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        y = nn.functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = nn.functional.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return nn.functional.relu(y + self.downsample(x), inplace=True)


def _shortcut(before: int, after: int, stride: int) -> nn.Module:
    """The way around a block: nothing where the shapes agree, else a 1 x 1 convolution."""
    if stride == 1 and before == after:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))


RESNETS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}


class ResNet(nn.Module):
    """A residual network without its classifier: the mean of the last stage over the image.

    Args:
        name: a key of `RESNETS`.
        channels: of a crop.
    """

    def __init__(self, name: str, channels: int = 3) -> None:
        super().__init__()
        block, depths = RESNETS[name]
        self.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        before = 64
        for stage, depth in enumerate(depths):
            width = 64 * 2**stage
            blocks: list[nn.Module] = []
            for place in range(depth):
                blocks.append(block(before, width, 2 if stage and not place else 1))
                before = width * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.dim = before
        self.stages = len(depths)

    def forward(self, crops: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        x = self.maxpool(nn.functional.relu(self.bn1(self.conv1(crops)), inplace=True))
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x.mean(dim=(2, 3))  # type: ignore[no-any-return]

    def fused(self) -> "ResNet":
        """The same function for inference: each batch norm, a factor and a shift then, is in its convolution."""
        network = copy.deepcopy(self).eval()
        parts = [network, *(m for m in network.modules() if isinstance(m, BasicBlock | Bottleneck))]
        for part in parts:
            for n in "123":
                if hasattr(part, f"bn{n}"):
                    setattr(part, f"conv{n}", fuse_conv_bn_eval(getattr(part, f"conv{n}"), getattr(part, f"bn{n}")))
                    setattr(part, f"bn{n}", nn.Identity())
            if isinstance(shortcut := getattr(part, "downsample", None), nn.Sequential):
                around: tuple[Any, Any] = (shortcut[0], shortcut[1])
                part.downsample = fuse_conv_bn_eval(*around)
        return network


__all__ = ["RESNETS", "ResNet"]
