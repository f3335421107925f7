"""The vision transformer ViT-S/14 with four registers as DINOv2 has it (Oquab et al. 2023, Darcet et al. 2023)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kintrack.errors import InputError

PATCH, GRID = 14, 37  # side of a patch in pixels; patches along a side of the images it was trained on
DINO_DIM = 384  # length of a token, and so of the feature
REGISTERS = 4  # tokens that see the image and are of no place in it


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (n, heads, t, c) each
        seen = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.proj(seen.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class _FeedForward(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
        return self.fc2(nn.functional.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class _Scale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
        return x * self.gamma


class _Block(nn.Module):
    """Pre-norm attention and feed-forward, each scaled channel by channel before it is added."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = _Attention(dim, heads)
        self.ls1 = _Scale(dim)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = _FeedForward(dim)
        self.ls2 = _Scale(dim)

    def forward(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))  # type: ignore[no-any-return]


class _Patches(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, PATCH, PATCH)

    def forward(self, image: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d y x"]:
        return self.proj(image)  # type: ignore[no-any-return]


class DinoViT(nn.Module):
    """Images (N, 3, H, W), whose sides are multiples of 14 pixels, to the class token (N, 384). Names are DINOv2's."""

    def __init__(self, dim: int = DINO_DIM, heads: int = 6, depth: int = 12) -> None:
        super().__init__()
        self.dim = dim
        self.patch_embed = _Patches(dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.register_tokens = nn.Parameter(torch.zeros(1, REGISTERS, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + GRID**2, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, dim))  # for its training; part of the weights
        self.blocks = nn.ModuleList(_Block(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        if image.shape[1] != 3 or image.shape[2] % PATCH or image.shape[3] % PATCH:
            raise InputError(
                f"crops are {tuple(image.shape[1:])}; the DINO encoder wants 3 channels and sides (crop size and twice "
                f"the padding) that are multiples of {PATCH} pixels"
            )
        patches = self.patch_embed(image)
        x = patches.flatten(2).transpose(1, 2) + self._places(patches.shape[2], patches.shape[3])  # (n, t, d)
        n = len(image)
        first = (self.cls_token + self.pos_embed[:, :1]).expand(n, -1, -1)
        x = torch.cat([first, self.register_tokens.expand(n, -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0]  # type: ignore[no-any-return]

    def _places(self, rows: int, columns: int) -> Float[Tensor, "1 t d"]:
        """The embeddings of patches' places, resized from those that it was trained with."""
        places = self.pos_embed[:, 1:]
        if (rows, columns) != (GRID, GRID):
            grid = places.reshape(1, GRID, GRID, self.dim).permute(0, 3, 1, 2)
            grid = nn.functional.interpolate(grid, (rows, columns), mode="bicubic", antialias=True)
            places = grid.flatten(2).transpose(1, 2)
        return places


__all__ = ["DINO_DIM", "DinoViT"]
