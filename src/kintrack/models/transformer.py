"""Encoder and decoder layers of the Global Tracking Transformer, bottom-up.

Both attend along edges that carry a token of their own: the relative space-time encoding. What a layer knows of place
and time is only ever the relation of two detections (how many sizes apart, how many frames, how well the motion fits),
never a position; so nothing changes when a scene is shifted, mirrored or scaled.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kintrack.models.blocks import EdgeAttention, FeedForward


class EncoderLayer(nn.Module):
    """Each detection looks at others: at its neighbours in the same frame, or at earlier sightings of its track."""

    def __init__(self, dim: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.look = nn.Linear(2 * dim, dim)
        self.attention = EdgeAttention(dim, heads)
        self.feedforward = FeedForward(dim, feedforward * dim, dropout)

    def forward(
        self,
        token: Float[Tensor, "n d"],
        other: Float[Tensor, "m d"],
        edge: Float[Tensor, "e d"],
        edges: Int[Tensor, "e 2"],
    ) -> Float[Tensor, "n d"]:
        seen = torch.cat([self.norm(other)[edges[:, 1]], edge], dim=1)  # (e, 2d): the other, and where it is
        token = token + self.attention(nn.functional.gelu(self.look(seen)), edges[:, 0], len(token))
        return self.feedforward(token)  # type: ignore[no-any-return]


class DecoderLayer(nn.Module):
    """Queries look at their candidates, references at theirs, and each pair at both ends.

    The two attentions let the candidates of one query compete, and the queries that want one reference: what a dot
    product of two embeddings cannot see.
    """

    def __init__(self, dim: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.rows = EdgeAttention(dim, heads)
        self.columns = EdgeAttention(dim, heads)
        self.query_feedforward = FeedForward(dim, feedforward * dim, dropout)
        self.reference_feedforward = FeedForward(dim, feedforward * dim, dropout)
        self.query_norm = nn.LayerNorm(dim)
        self.reference_norm = nn.LayerNorm(dim)
        self.own = nn.Linear(dim, feedforward * dim)
        self.from_query = nn.Linear(dim, feedforward * dim, bias=False)
        self.from_reference = nn.Linear(dim, feedforward * dim, bias=False)
        self.out = nn.Sequential(nn.GELU(), nn.Dropout(dropout), nn.Linear(feedforward * dim, dim))

    def forward(
        self,
        query: Float[Tensor, "q d"],
        reference: Float[Tensor, "r d"],
        pair: Float[Tensor, "e d"],
        pairs: Int[Tensor, "e 2"],
    ) -> tuple[Float[Tensor, "q d"], Float[Tensor, "r d"], Float[Tensor, "e d"]]:
        q, r = pairs[:, 0], pairs[:, 1]
        seen = self.norm(pair)
        query = self.query_feedforward(query + self.rows(seen, q, len(query)))
        reference = self.reference_feedforward(reference + self.columns(seen, r, len(reference)))
        # Projecting the ends before they are spread over the pairs costs a matrix product per row, not per pair.
        ends = self.from_query(self.query_norm(query))[q] + self.from_reference(self.reference_norm(reference))[r]
        pair = pair + self.out(self.own(seen) + ends)  # (e, d)
        return query, reference, pair
