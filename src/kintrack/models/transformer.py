"""Encoder and decoder layers of the Global Tracking Transformer, bottom-up.

Both attend along edges that carry a token of their own: the relative space-time encoding. What a layer knows of place
and time is only ever the relation of two detections (how many sizes apart, how many frames, how well the motion fits),
never a position; so nothing changes when a scene is shifted, mirrored or scaled.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kintrack.models.blocks import Count, EdgeAttention, FeedForward, group_attention, joint_linear


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
        one, another = edges.unbind(dim=1)
        # (e, 2d): the other, and where it is. Here and below, index_select is [] with a gradient many times as fast.
        seen = torch.cat([self.norm(other).index_select(0, another), edge], dim=1)
        token = token + self.attention(nn.functional.gelu(self.look(seen)), one, token.shape[0])
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
        q, r = pairs.unbind(dim=1)
        n_queries, n_references = query.shape[0], reference.shape[0]  # what len() gives is fixed in a traced model
        heard_by_query, heard_by_reference, own = self._attend(self.norm(pair), q, r, n_queries, n_references)
        query = self.query_feedforward(query + self.rows.out(heard_by_query))
        reference = self.reference_feedforward(reference + self.columns.out(heard_by_reference))
        # Projecting the ends before they are spread over the pairs costs a matrix product per row, not per pair.
        from_query = self.from_query(self.query_norm(query)).index_select(0, q)
        from_reference = self.from_reference(self.reference_norm(reference)).index_select(0, r)
        pair = pair + self.out(own + from_query + from_reference)  # (e, d)
        return query, reference, pair

    def _attend(
        self,
        seen: Float[Tensor, "e d"],
        q: Int[Tensor, " e"],
        r: Int[Tensor, " e"],
        n_queries: Count,
        n_references: Count,
    ) -> tuple[Float[Tensor, "q d"], Float[Tensor, "r d"], Float[Tensor, "e k"]]:
        """What queries hear, what references hear, and what each pair makes of itself.

        `rows(seen, q, ...)`, `columns(seen, r, ...)` and `own(seen)`, but in one pass: a tracker asks of a few dozen
        pairs at a time, where it is the number of operations that costs.
        """
        rows, columns, n_heads, dim = self.rows, self.columns, self.rows.heads, seen.shape[1]
        both = joint_linear(seen, rows.weigh, columns.weigh, rows.bring, columns.bring, self.own)
        logits, values, own = both.split_with_sizes([2 * n_heads, 2 * dim, self.own.out_features], dim=1)
        # Each pair is heard twice: by its query, and by its reference, which are numbered after the queries.
        logits, values = logits.view(-1, 2, n_heads), values.view(-1, 2, n_heads, dim // n_heads)
        group = torch.stack([q, r + n_queries], dim=1)  # (e, 2)
        heard = group_attention(logits, values, group, n_queries + n_references)
        return heard[:n_queries], heard[n_queries:], own
