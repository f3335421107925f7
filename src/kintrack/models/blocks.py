"""Operations on groups: softmax, log-sum-exp and attention over edges that share a number.

Windows differ in how many detections a frame has and how many references a query. Instead of padding all to the
largest, edges are kept as flat lists, and each carries the number of the group in which it competes.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

Count = int | Tensor
"""How many groups there are: a number, or while a model is traced what stands for any."""


def group_sum(values: Float[Tensor, "e *d"], group: Int[Tensor, " e"], n_groups: Count) -> Float[Tensor, "g *d"]:
    """The sum of each group's values; 0 of a group without any.

    >>> group_sum(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 1, 1]), 3)
    tensor([1., 6., 0.])
    """
    total = values.new_zeros(n_groups, *values.shape[1:])  # type: ignore[arg-type]  # its stub knows no traced sizes
    return total.index_add_(0, group, values)


def group_logsumexp(logits: Float[Tensor, " e"], group: Int[Tensor, " e"], n_groups: int) -> Float[Tensor, " g"]:
    """How strongly each group claims anything at all, the null included.

        out[g] = log(1 + sum of exp(logits[e]) over the edges e of group g)

    The 1 is the null, "not here", whose logit is 0; so a group without edges gives 0.

    >>> group_logsumexp(torch.zeros(3), torch.tensor([0, 0, 1]), 3).exp()
    tensor([3., 2., 1.])
    """
    # The largest exponent of each group, at least the null's 0, keeps exp() from overflowing.
    top = logits.new_zeros(n_groups).scatter_reduce(0, group, logits.detach(), "amax")
    rest = torch.exp(logits - top[group])
    return top + torch.log(torch.exp(-top) + group_sum(rest, group, n_groups))


def group_attention(
    logits: Float[Tensor, "*e h"], values: Float[Tensor, "*e h c"], group: Int[Tensor, "*e"], n_groups: Count
) -> Float[Tensor, "g d"]:
    """The values of each group's edges, averaged by a softmax of their logits for each of h heads; d = h * c.

    Logits are squashed into ±8, where exp() needs no maximum taken away first. A group without edges gives 0.
    """
    weight = torch.exp(8.0 * torch.tanh(logits / 8.0)).unsqueeze(-1)  # (*e, h, 1)
    # One pass sums the weighted values and the weights.
    both = torch.cat([values * weight, weight], dim=-1)  # (*e, h, c + 1)
    total = group_sum(both.flatten(0, group.ndim - 1), group.flatten(), n_groups)
    weighted, weights = total.split_with_sizes([values.shape[-1], 1], dim=2)
    return (weighted / weights.clamp_min(1e-6)).flatten(1)


def joint_linear(x: Float[Tensor, "n d"], *layers: nn.Linear) -> Float[Tensor, "n k"]:
    """What several linear layers make of one input, side by side: one large matrix product, not many small ones."""
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    return nn.functional.linear(x, weight, bias)


class FeedForward(nn.Module):
    """Pre-norm two-layer block; adds to its input."""

    def __init__(self, dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, dim)
        )

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return x + self.layers(x)  # type: ignore[no-any-return]


class EdgeAttention(nn.Module):
    """Pre-norm attention in which each edge's own token says how much it matters and what it brings."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.weigh = nn.Linear(dim, heads)
        self.bring = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, edge: Float[Tensor, "e d"], group: Int[Tensor, " e"], n_groups: Count) -> Float[Tensor, "g d"]:
        values = self.bring(edge).unflatten(1, (self.heads, -1))  # (e, h, c)
        return self.out(group_attention(self.weigh(edge), values, group, n_groups))  # type: ignore[no-any-return]
