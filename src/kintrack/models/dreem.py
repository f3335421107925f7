"""DREEM's association model, number for number: what its checkpoints were trained as (github.com/talmolab/dreem).

It descends from the same transformer as ours (Zhou et al. 2022), on dense windows: every detection of the window looks
at every other, and a dot product is the logit. What is odd about it is reproduced, since the weights were trained with
it; each oddity is named where it is, with its number in our list of DREEM's defects.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kintrack.errors import InputError
from kintrack.models.dreem_config import DreemConfig, DreemEmbedding
from kintrack.models.dreem_encoder import build_dreem_encoder
from kintrack.models.gtr import AssociationMatrix

WAVES = 8  # learned frequencies, each as a sine and a cosine


@dataclass(frozen=True)
class DreemWindow:
    """What the model is asked: N detections of some frames, and which of them want to know who they are.

    Args:
        boxes: (N, A, 4) ``x0 y0 x1 y1`` in pixels, a box for each of A anchors (one, mostly): those of the crops, in
            DREEM's coordinates, where an integer is the middle of a pixel. nan where there is no place.
        frame: (N,) the number of each one's frame.
        query: (Q,) rows that ask. All rows are their references, they themselves too.
        shape: (Y, X) of the image.
        crops: (N, C, S, S) what each looks like, or
        features: (N, F) what `encode` made of it.
    """

    boxes: Float[Tensor, "n a 4"]
    frame: Int[Tensor, " n"]
    query: Int[Tensor, " q"]
    shape: tuple[int, int]
    crops: Float[Tensor, "n c h w"] | None = None
    features: Float[Tensor, "n f"] | None = None


class DreemTransformer(nn.Module):
    """A model of DREEM. Pure: it changes nothing that it is given, and keeps nothing between calls.

    Attributes:
        card: what the file of its weights says of them, with the `tracker` that it was trained beside.
    """

    def __init__(self, config: DreemConfig | Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.config = DreemConfig.of(config)
        self.card: dict[str, Any] = {}
        self.visual_encoder = build_dreem_encoder(self.config)
        self.transformer = _Transformer(self.config, self.visual_encoder.dim)

    def encode(self, crops: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """(N, F) what each crop looks like; done once for each detection."""
        return self.visual_encoder(crops)  # type: ignore[no-any-return]

    def forward(self, window: DreemWindow) -> list[AssociationMatrix]:
        """The logits (Q, N) of each decoder layer that the config asks for; the last is the answer.

        The null of a softmax over the columns of one frame has logit 0.
        """
        features = window.features
        if features is None:
            if window.crops is None:
                raise InputError("the window has neither crops nor features; give one of them")
            features = self.encode(window.crops)
        place, time = _places(window.boxes, window.shape), _ranks(window.frame)
        return [AssociationMatrix(layer) for layer in self.transformer(features, place, time, window.query)]

    def logits(self, windows: Iterable[DreemWindow]) -> Float[Tensor, "l e"]:
        """(L, E) the logits of each layer for several windows with crops, one after the other, row by row.

        All crops are encoded at once; in training, batch norm takes its statistics over all of them.
        """
        given = list(windows)
        crops = [window.crops for window in given if window.crops is not None]
        if len(crops) < len(given):
            raise InputError("a model of DREEM looks at pixels, but a clip has no crops; give each detection its crop")
        features = torch.split(self.encode(torch.cat(crops)), [len(each) for each in crops])
        found = [self(replace(w, crops=None, features=f)) for w, f in zip(given, features, strict=True)]
        return torch.stack([torch.cat([layer.matrix.flatten() for layer in each]) for each in zip(*found, strict=True)])


def _places(boxes: Float[Tensor, "n a 4"], shape: tuple[int, int]) -> Float[Tensor, "n a 4"]:
    """Boxes as the model knows them: y0 x0 y1 x1 in shares of the image.

    Odd (D-A4): y is divided by the image's width and x by its height, and nothing keeps them in [0, 1]; so in a wide
    image much of it has x > 1. A place that is not known is -1.
    """
    height, width = shape
    ordered = boxes[..., [1, 0, 3, 2]]
    shares = ordered / torch.tensor([width, height, width, height], device=boxes.device)
    return torch.where(shares.isnan(), -1.0, shares)


def _ranks(frame: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Times as the model knows them.

    Odd (D-A11): the rank of the frame among those of the window, so that a gap of 500 frames is one step.
    """
    rank: Tensor = torch.unique(frame, return_inverse=True)[1]
    return rank.float()


class _Transformer(nn.Module):
    """Features, places and times to logits."""

    def __init__(self, config: DreemConfig, width: int) -> None:
        super().__init__()
        d = config.d_model
        self.config = config
        self.pos_emb = _PlaceEmbedding(config.pos, d)
        self.temp_emb = _TimeEmbedding(config.temp, d)
        if config.fourier:
            self.fourier_embeddings = _Waves(d)
            self.fourier_proj = nn.Linear(width + d, d)
            self.fourier_norm = nn.LayerNorm(d)
        self.encoder = _Stack(_EncoderLayer(config) for _ in range(config.num_encoder_layers))
        self.decoder = _Stack(_DecoderLayer(config) for _ in range(config.num_decoder_layers))
        self.encoder.norm, self.decoder.norm = _norm(config), _norm(config)
        self.attn_head = _Head(config)
        # DREEM draws every matrix of the transformer anew, the tables and frequencies too (D-A6).
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(
        self,
        features: Float[Tensor, "n f"],
        place: Float[Tensor, "n a 4"],
        time: Float[Tensor, " n"],
        query: Int[Tensor, " q"],
    ) -> list[Tensor]:
        """(Q, N) for each decoder layer that is asked for."""
        # Half of each, also where the other is off.
        where = (self.pos_emb(place) + self.temp_emb(time)) / 2  # (n, d)
        x = self._mixed(features, time)
        asking = x[query]
        for layer in self.encoder.layers:
            x = layer(x, where)
        memory = self.encoder.norm(x)
        matrices = []
        for layer in self.decoder.layers:
            asking = layer(asking, where[query], memory, where)
            matrices.append(self.attn_head(self.decoder.norm(asking), memory))
        return matrices if self.config.return_intermediate_dec else matrices[-1:]

    def _mixed(self, features: Float[Tensor, "n f"], time: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """The features, with the waves of their times mixed in where the config says so."""
        if not self.config.fourier:
            return features
        both = torch.cat([features, self.fourier_embeddings(time)], dim=1)
        return self.fourier_norm(self.fourier_proj(both))  # type: ignore[no-any-return]


class _Stack(nn.Module):
    """Layers and a norm after the last (after each that gives a matrix, in the decoder)."""

    norm: nn.Module

    def __init__(self, layers: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


class _Layer(nn.Module):
    """What encoder and decoder layers share: a feed-forward block as wide as a token, and norms after each block."""

    def __init__(self, config: DreemConfig) -> None:
        super().__init__()
        d = config.d_model
        self.linear1 = nn.Linear(d, d)
        self.linear2 = nn.Linear(d, d)
        self.dropout = nn.Dropout(config.dropout)
        self.activation = nn.functional.relu if config.activation == "relu" else nn.functional.gelu
        self.norm1, self.norm2 = _norm(config), _norm(config)

    def _feedforward(self, x: Tensor) -> Tensor:
        inner = self.dropout(self.activation(self.linear1(x)))
        return x + self.dropout(self.linear2(inner))  # type: ignore[no-any-return]


class _EncoderLayer(_Layer):
    """Every detection looks at every other.

    Odd: what is known of places and times is added anew in each layer, to the values and to what goes by as well.
    """

    def __init__(self, config: DreemConfig) -> None:
        super().__init__(config)
        self.self_attn = _attention(config)

    def forward(self, x: Float[Tensor, "n d"], where: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        x = x + where
        x = self.norm1(x + self.dropout(self.self_attn(x, x, x, need_weights=False)[0]))
        return self.norm2(self._feedforward(x))  # type: ignore[no-any-return]


class _DecoderLayer(_Layer):
    """Queries look at each other, if wanted, then at the window."""

    def __init__(self, config: DreemConfig) -> None:
        super().__init__(config)
        self.norm3 = _norm(config)
        self.self_attn = _attention(config) if config.decoder_self_attn else None
        self.multihead_attn = _attention(config)

    def forward(
        self,
        y: Float[Tensor, "q d"],
        y_where: Float[Tensor, "q d"],
        memory: Float[Tensor, "n d"],
        where: Float[Tensor, "n d"],
    ) -> Float[Tensor, "q d"]:
        y, seen = y + y_where, memory + where
        if self.self_attn is not None:
            y = self.norm1(y + self.dropout(self.self_attn(y, y, y, need_weights=False)[0]))
        y = self.norm2(y + self.dropout(self.multihead_attn(y, seen, seen, need_weights=False)[0]))
        return self.norm3(self._feedforward(y))  # type: ignore[no-any-return]


def _norm(config: DreemConfig) -> nn.Module:
    return nn.LayerNorm(config.d_model) if config.norm else nn.Identity()


def _attention(config: DreemConfig) -> nn.MultiheadAttention:
    return nn.MultiheadAttention(config.d_model, config.nhead, config.dropout)


class _Head(nn.Module):
    """Logits as dot products of what two networks make of queries and of references; not scaled by their length.

    Odd: the references are the encoder's output without places and times, which the decoder was given with them.
    """

    def __init__(self, config: DreemConfig) -> None:
        super().__init__()
        d, n = config.d_model, config.num_layers_attn_head
        self.q_proj = _Mlp([d] * (n + 1), config.dropout_attn_head)
        self.k_proj = _Mlp([d] * (n + 1), config.dropout_attn_head)

    def forward(self, query: Float[Tensor, "q d"], reference: Float[Tensor, "n d"]) -> Float[Tensor, "q n"]:
        return self.q_proj(query) @ self.k_proj(reference).T  # type: ignore[no-any-return]


class _Mlp(nn.Module):
    """Linear layers with a ReLU and dropout between them."""

    def __init__(self, widths: list[int], dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "n a"]) -> Float[Tensor, "n b"]:
        for layer in self.layers[:-1]:
            x = self.dropout(nn.functional.relu(layer(x)))
        return self.layers[-1](x)  # type: ignore[no-any-return]


class _PlaceEmbedding(nn.Module):
    """(N, A, 4) places to (N, D); 0 where it is off."""

    def __init__(self, config: DreemEmbedding, dim: int) -> None:
        super().__init__()
        self.config, self.dim = config, dim
        points, mlp = config.n_points, config.mlp_cfg
        self.share = dim // (4 * points) if config.mode == "learned" else dim // 4  # of a coordinate
        if config.mode == "learned":
            self.lookup = nn.Embedding(config.emb_num * 4 * points, self.share)
        self.mlp: nn.Module = nn.Identity()
        if mlp is not None and config.mode != "off":
            between = [mlp.hidden_dim] * (mlp.num_layers - 1)
            self.mlp = _Mlp([4 * points * self.share, *between, dim], mlp.dropout)

    def forward(self, place: Float[Tensor, "n a 4"]) -> Float[Tensor, "n d"]:
        if self.config.mode == "off":
            return place.new_zeros(len(place), self.dim)
        if place.shape[1] != self.config.n_points:
            raise InputError(
                f"the detections have {place.shape[1]} anchors and the model's embedding is of {self.config.n_points}; "
                "give it crops of as many"
            )
        parts = self._looked_up(place) if self.config.mode == "learned" else self._waves(place)  # (n, a, 4, share)
        return self.mlp(parts.flatten(1))  # type: ignore[no-any-return]

    def _looked_up(self, place: Float[Tensor, "n a 4"]) -> Float[Tensor, "n a 4 f"]:
        """Each coordinate of each anchor from a table of its own."""
        table = self.lookup.weight.view(self.config.emb_num, self.config.n_points, 4, self.share)
        anchor = torch.arange(self.config.n_points, device=place.device)[:, None]
        corner = torch.arange(4, device=place.device)
        low, high, weight = _between(place, self.config.emb_num)
        return weight * table[high, anchor, corner] + (1 - weight) * table[low, anchor, corner]

    def _waves(self, place: Float[Tensor, "n a 4"]) -> Float[Tensor, "n a 4 f"]:
        """Sines of the even waves, then cosines of the odd ones.

        Odd (D-A3): with `normalize`, boxes are divided by the last anchor's; where there is but one it is divided by
        itself, and every place is the same.
        """
        if self.config.normalize:
            scale = 2 * torch.pi if self.config.scale is None else self.config.scale
            place = place / (place[:, -1:] + 1e-6) * scale
        wave = torch.arange(self.share, device=place.device, dtype=place.dtype)
        angle = place[..., None] / self.config.temperature ** (2 * (wave // 2) / self.share)  # (n, a, 4, share)
        return torch.cat([angle[..., 0::2].sin(), angle[..., 1::2].cos()], dim=-1)


class _TimeEmbedding(nn.Module):
    """(N,) ranks to (N, D); 0 where it is off.

    Odd (D-A2): a table of n vectors is meant for shares in [0, 1], and ranks are whole numbers; so rank 0 has the first
    vector and all others have the last.
    """

    def __init__(self, config: DreemEmbedding, dim: int) -> None:
        super().__init__()
        self.config, self.dim = config, dim
        if config.mode == "learned":
            self.lookup = nn.Embedding(config.emb_num, dim)

    def forward(self, time: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        if self.config.mode == "off":
            return time.new_zeros(len(time), self.dim)
        if self.config.mode == "learned":
            low, high, weight = _between(time, self.config.emb_num)
            return weight * self.lookup.weight[high] + (1 - weight) * self.lookup.weight[low]
        wave = torch.arange(self.dim, device=time.device, dtype=time.dtype)
        angle = time[:, None] / self.config.temperature ** (2 * (wave // 2) / self.dim)
        return torch.where(wave % 2 == 0, angle.sin(), angle.cos())


def _between(share: Float[Tensor, "*n"], n: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two vectors of a table of n that a share in [0, 1] lies between, and how much of the second it wants.

    Odd: what lies below 0 is extrapolated; what lies above the last vector is that vector.
    """
    position = share * n
    low = position.clamp(0, n - 1).long()
    high = (low + 1).clamp(max=n - 1)
    return low, high, (position - low)[..., None]


class _Waves(nn.Module):
    """(N,) ranks to (N, D): sines and cosines of learned frequencies, repeated until they are as long as a token."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.freq = nn.Parameter(torch.zeros(1, WAVES))

    def forward(self, time: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
        angle = 0.5 * torch.pi * time[:, None] * self.freq
        return torch.cat([angle.sin(), angle.cos()], dim=1).repeat(1, self.dim // (2 * WAVES))


__all__ = ["DreemTransformer", "DreemWindow"]
