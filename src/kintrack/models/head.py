"""The association head: a token to one logit."""

from jaxtyping import Float
from torch import Tensor, nn


class LogitHead(nn.Module):
    """One number for each token: how much a pair is one individual, or how much a query or a reference is alone."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 1))

    def forward(self, token: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        return self.layers(token).squeeze(1)  # type: ignore[no-any-return]
