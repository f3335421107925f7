"""The association head: a pair's token to one logit."""

from jaxtyping import Float
from torch import Tensor, nn


class PairHead(nn.Module):
    """How much a pair is one individual: a logit, where 0 is the null's."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 1))

    def forward(self, pair: Float[Tensor, "e d"]) -> Float[Tensor, " e"]:
        return self.layers(pair)[:, 0]  # type: ignore[no-any-return]
