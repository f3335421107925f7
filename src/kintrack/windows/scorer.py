"""A model as a tracker sees it: sightings in, logits out."""

import warnings
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kintrack.core.detections import Ints
from kintrack.core.sightings import Memory, Sightings
from kintrack.models import GlobalTrackingTransformer
from kintrack.models.gtr import Graph, History
from kintrack.models.likeness import remembered_look, with_likeness
from kintrack.windows.conditions import conditions_of
from kintrack.windows.features import history_features, pair_features
from kintrack.windows.window import build_graph

Batches = Iterable[tuple[Ints, NDArray[np.float32]]]


BATCH = 2048
"""Detections that are encoded at once, or as many more as their last frame has."""
PATIENCE = 200
"""Frames after which a model is compiled: that takes as long as it then saves in a few hundred of them."""


class Scorer:
    """Scores pairs of a query and a remembered sighting with a model; a `kintrack.tracking.Score`.

    Args:
        model: is used as it is: put it on its device and into `eval()` first, and do not train it meanwhile.
        patience: frames after which it is compiled, on a CPU. 1: at once, for who cannot wait later.
    """

    def __init__(self, model: GlobalTrackingTransformer, patience: int = PATIENCE) -> None:
        self.model = model
        self.patience = patience
        self.device = next(model.parameters()).device
        self._answer: torch.nn.Module = _Answer(model)
        self._n_asked = 0

    @torch.inference_mode()
    def embed(self, seen: Sightings, crops: Batches | None = None) -> Sightings:
        """The sightings with what the model makes of each of them: tokens, and appearance where there are crops.

        Args:
            crops: batches of (rows, pixels (n, C, S, S) in [0, 1]) that together cover every row.
        """
        appearance = None
        if crops is not None:
            appearance = torch.zeros(len(seen), self.model.config.encoder.dim)
            for rows, pixels in crops:
                appearance[torch.from_numpy(rows)] = self.model.encode(self._tensor(pixels)).float().cpu()
        tokens = [np.zeros((0, self.model.config.dim), np.float32)]
        for part in _whole_frames(seen.frame):
            graph = build_graph(seen.take(part), self.model.config)
            looks = None if appearance is None else appearance[part].to(self.device)
            tokens.append(self.model.embed(Graph(*(t.to(self.device) for t in graph)), looks).float().cpu().numpy())
        return seen.with_columns(
            token=np.concatenate(tokens), appearance=None if appearance is None else appearance.numpy()
        )

    @torch.inference_mode()
    def __call__(self, query: Sightings, memory: Memory, pairs: Ints) -> NDArray[np.float32]:
        """(E,) the logit of each pair of a query's row and a memory's row."""
        reference = memory.sightings
        if query.token is None or reference.token is None:
            raise AssertionError("sightings without tokens: call embed() on them first")
        # Tracks are compared as wholes, each of which looks back once, or sighting by sighting, and none looks back.
        wholes = not memory.rank[pairs[:, 1]].any()
        rows = memory.last if wholes else np.arange(len(memory))
        edges = memory.history() if wholes else np.zeros((0, 2), np.int64)
        features = self._measured(query, memory, pairs, edges)
        past = history_features(reference, edges)
        position = np.full(len(memory), -1)
        position[rows] = np.arange(len(rows))
        edges[:, 0] = position[edges[:, 0]]
        asked = np.stack([pairs[:, 0], position[pairs[:, 1]]], axis=1)
        arrays = (query.token, reference.token, rows, edges, past, asked)
        given = (*(self._tensor(array) for array in arrays), features)
        self._n_asked += 1
        if self._n_asked == self.patience and self.device.type == "cpu":
            self._answer = _compiled(self._answer, given)
        return np.asarray(self._answer(*given).float().cpu().numpy())

    def _measured(self, query: Sightings, memory: Memory, pairs: Ints, history: Ints) -> Tensor:
        """What is measured of the pairs, and how alike the two look where both were looked at."""
        reference = memory.sightings
        conditions = conditions_of(query, memory, pairs)
        features = self._tensor(pair_features(query, memory, pairs, conditions))
        if query.appearance is None or reference.appearance is None:
            return features
        last = self._tensor(reference.appearance)
        track = remembered_look(last, self._tensor(history))
        return with_likeness(features, self._tensor(pairs), self._tensor(query.appearance), last, track)

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


class _Answer(torch.nn.Module):
    """All that a frame asks of a model, from tokens to logits."""

    def __init__(self, model: GlobalTrackingTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, query: Tensor, remembered: Tensor, last: Tensor, edges: Tensor, past: Tensor, pairs: Tensor, pair: Tensor
    ) -> Tensor:
        """(E,) the logits of the pairs; `last` are the remembered sightings that are the last ones of their tracks."""
        track = self.model.recall(remembered.index_select(0, last), remembered, History(edges, past))
        return self.model.associate(query, track, pairs, pair, every_layer=False)[-1].mean(dim=0)


def _compiled(answer: torch.nn.Module, given: tuple[Tensor, ...]) -> torch.nn.Module:
    """The same without Python: with few individuals much of its time is calls of tiny modules.

    The operations and their order stay as they are. TorchScript is deprecated, but torch.compile, which is to follow
    it, wants a C++ compiler on the user's machine. Where TorchScript is gone, the model stays as it is.
    """
    try:
        with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
            warnings.simplefilter("ignore")
            # What inference mode has made cannot be traced; a copy can.
            given = tuple(t.clone() for t in given)
            traced = torch.jit.trace(answer.eval(), given, check_trace=False)  # type: ignore[no-untyped-call]
            return torch.jit.freeze(traced, optimize_numerics=False)  # type: ignore[no-any-return]
    except (AttributeError, RuntimeError):
        return answer


def _whole_frames(frame: Ints) -> Iterator[slice]:
    """Batches of rows, cut between frames: a detection's token needs the others of its frame, and nothing else."""
    start = 0
    while start < len(frame):
        last = frame[min(start + BATCH, len(frame)) - 1]
        stop = int(np.searchsorted(frame, last, side="right"))
        yield slice(start, stop)
        start = stop


__all__ = ["Scorer"]
