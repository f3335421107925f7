"""The Global Tracking Transformer: from what is measured of detections and pairs to who is the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kintrack.config import HISTORY_FEATURES, NEIGHBOUR_FEATURES, NODE_FEATURES, PAIR_FEATURES, ModelConfig
from kintrack.errors import ConfigError
from kintrack.models.encoder import build_encoder
from kintrack.models.head import LogitHead
from kintrack.models.likeness import remembered_look, with_likeness
from kintrack.models.transformer import DecoderLayer, EncoderLayer


@dataclass(frozen=True)
class AssociationMatrix:
    """How much each query is the same individual as each reference, by one decoder layer.

    Args:
        matrix: (Q, R) raw logits; -inf where the pair was no candidate. The null, "none of them", has logit 0.
    """

    matrix: Float[Tensor, "q r"]


class Graph(NamedTuple):
    """Detections and the edges to their neighbours in the same frame."""

    node: Float[Tensor, "n f"]  # what is measured of each detection
    edges: Int[Tensor, "e 2"]  # (detection, neighbour)
    neighbour: Float[Tensor, "e g"]  # what is measured of the two


class History(NamedTuple):
    """The edges from the last sighting of a track to the earlier ones that are remembered."""

    edges: Int[Tensor, "h 2"]  # (last sighting, one that is remembered from before)
    past: Float[Tensor, "h g"]  # what is measured of the two


@runtime_checkable
class Inputs(Protocol):
    """What `forward` reads of a window (`kintrack.windows.window.Window` is one)."""

    @property
    def graph(self) -> Graph: ...
    @property
    def history(self) -> History: ...
    @property
    def crops(self) -> Tensor | None: ...
    @property
    def shown(self) -> Tensor: ...
    @property
    def query(self) -> Tensor: ...
    @property
    def reference(self) -> Tensor: ...
    @property
    def pairs(self) -> Tensor: ...
    @property
    def pair(self) -> Tensor: ...


class GlobalTrackingTransformer(nn.Module):
    """Association between detections: queries ask, references answer.

        crops -> encode -> appearance ┐
        detections, neighbours ───────┴─> embed -> tokens ┐
        a track's earlier sightings ──────────────────────┼─> recall -> the track's token ┐
        candidate pairs, measured ────────────────────────┴───────────────────────────────┴─> associate -> logits

    Pure: it changes nothing that it is given, and keeps nothing between calls.

    Args:
        config: a `ModelConfig`, or a mapping of its keys.

    Attributes:
        card: what the file of its weights says of them, with the `tracker` they were trained for; empty in a new model.
    """

    _node_columns: Tensor
    _pair_columns: Tensor

    def __init__(self, config: ModelConfig | Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.config = c = ModelConfig.of(config)
        self.card: dict[str, Any] = {}
        self.visual_encoder = build_encoder(c.encoder)
        d = c.dim
        self.node = nn.Sequential(nn.Linear(len(c.node_features), d), nn.GELU(), nn.Linear(d, d))
        self.appearance = nn.Linear(c.encoder.dim, d, bias=False) if self.visual_encoder else None
        self.neighbour = nn.Linear(len(NEIGHBOUR_FEATURES), d)
        self.encoder = nn.ModuleList(
            EncoderLayer(d, c.heads, c.feedforward, c.dropout) for _ in range(c.encoder_layers)
        )
        self.past = nn.Linear(len(HISTORY_FEATURES), d) if c.history_layers else None
        self.history = nn.ModuleList(
            EncoderLayer(d, c.heads, c.feedforward, c.dropout) for _ in range(c.history_layers)
        )
        self.pair = nn.Sequential(
            nn.Linear(len(c.pair_features), c.feedforward * d), nn.GELU(), nn.Linear(c.feedforward * d, d)
        )
        self.from_query = nn.Linear(d, d, bias=False)
        self.from_reference = nn.Linear(d, d, bias=False)
        self.decoder = nn.ModuleList(
            DecoderLayer(d, c.heads, c.feedforward, c.dropout) for _ in range(c.decoder_layers)
        )
        self.heads = nn.ModuleList(LogitHead(d) for _ in range(c.decoder_layers))
        self.births = nn.ModuleList(LogitHead(d) for _ in range(c.decoder_layers))
        self.misses = nn.ModuleList(LogitHead(d) for _ in range(c.decoder_layers))
        self.register_buffer("_node_columns", _columns(c.node_features, NODE_FEATURES), persistent=False)
        self.register_buffer("_pair_columns", _columns(c.pair_features, PAIR_FEATURES), persistent=False)

    def encode(self, crops: Float[Tensor, "n c s s"]) -> Float[Tensor, "n a"]:
        """Features of crops whose pixels are in [0, 1], each of length one.

        Raises:
            ConfigError: if the model was built without a visual encoder.
        """
        if self.visual_encoder is None:
            raise ConfigError("this model has no visual encoder; build it with encoder.kind=conv, or give it no crops")
        return self.visual_encoder(crops)  # type: ignore[no-any-return]

    def embed(self, graph: Graph, appearance: Float[Tensor, "n a"] | None = None) -> Float[Tensor, "n d"]:
        """A token for each detection, from itself and its neighbours in the same frame: a frame is all it takes.

        Without appearance, a model with a visual encoder works by geometry alone.
        """
        token = self.node(graph.node[:, self._node_columns])
        if appearance is not None and self.appearance is not None:
            token = token + self.appearance(appearance)
        edge = self.neighbour(graph.neighbour)  # (e, d)
        for layer in self.encoder:
            token = layer(token, token, edge, graph.edges)
        return token  # type: ignore[no-any-return]

    def recall(
        self, last: Float[Tensor, "m d"], remembered: Float[Tensor, "n d"], history: History
    ) -> Float[Tensor, "m d"]:
        """The tokens of tracks: that of each one's last sighting, which has looked back at those remembered.

        A track of one sighting goes through the same layers, or its token would depend on whether others remember more.
        """
        if self.past is not None:
            past = self.past(history.past)  # (h, d)
            for layer in self.history:
                last = layer(last, remembered, past, history.edges)
        return last

    def associate(
        self,
        query: Float[Tensor, "q d"],
        reference: Float[Tensor, "r d"],
        pairs: Int[Tensor, "e 2"],
        pair: Float[Tensor, "e p"],
        every_layer: bool = True,
    ) -> Float[Tensor, "l 2 e"]:
        """Two logits of each candidate pair after each decoder layer; the last layer's are the answer.

        Both say how much the two are one individual; the first against "the query is someone new" (a birth), the second
        against "the reference is not in this frame" (a miss). Their mean is what a link gains over leaving both alone.

        Args:
            pairs: rows of query and of reference.
            pair: what is measured of each pair, in the order of `PAIR_FEATURES`.
            every_layer: False leaves out all but the answer.
        """
        q, r = pairs.unbind(dim=1)
        token = self.pair(pair.index_select(1, self._pair_columns))  # (e, d)
        token = token + self.from_query(query).index_select(0, q) + self.from_reference(reference).index_select(0, r)
        logits, last = [], self.decoder[-1]
        for layer, same, birth, miss in zip(self.decoder, self.heads, self.births, self.misses, strict=True):
            query, reference, token = layer(query, reference, token, pairs)
            if every_layer or layer is last:
                alone = torch.stack([birth(query).index_select(0, q), miss(reference).index_select(0, r)])
                logits.append(same(token) - alone)
        return torch.stack(logits)

    def logits(self, window: Inputs, shown: Float[Tensor, "s a"] | None = None) -> Float[Tensor, "l 2 e"]:
        """`encode`, `embed`, `recall` and `associate` in a row: the logits of a window's candidate pairs.

        Args:
            shown: features of the window's crops, where they were made already.
        """
        if window.crops is None:
            token, pair = self.embed(window.graph), window.pair
        else:
            shown = self.encode(window.crops) if shown is None else shown
            # What nobody has seen looks like nothing at all: 0 adds nothing to its token.
            appearance = shown.new_zeros(len(window.graph.node), shown.shape[1]).index_copy(0, window.shown, shown)
            token, pair = self.embed(window.graph, appearance), self._with_appearance(window, appearance)
        track = self.recall(token, token, window.history)
        query, reference = token.index_select(0, window.query), track.index_select(0, window.reference)
        return self.associate(query, reference, window.pairs, pair)

    def forward(self, window: Inputs) -> list[AssociationMatrix]:
        """One matrix (Q, R) for each decoder layer; the last is the answer."""
        shape = (len(window.query), len(window.reference))
        q, r = window.pairs[:, 0], window.pairs[:, 1]
        return [
            AssociationMatrix(layer.new_full(shape, -torch.inf).index_put((q, r), layer))
            for layer in self.logits(window).mean(dim=1)
        ]

    def _with_appearance(self, window: Inputs, appearance: Tensor) -> Tensor:
        """The pairs' measurements with how alike the two look, which in training only the model can tell."""
        track = remembered_look(appearance, window.history.edges)[window.reference]
        return with_likeness(window.pair, window.pairs, appearance[window.query], appearance[window.reference], track)


def _columns(chosen: tuple[str, ...], known: tuple[str, ...]) -> Tensor:
    return torch.tensor([known.index(name) for name in chosen])
