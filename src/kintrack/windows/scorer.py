"""A model as a tracker sees it: sightings in, logits out."""

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


class Scorer:
    """Scores pairs of a query and a remembered sighting with a model; a `kintrack.tracking.Score`.

    Args:
        model: is used as it is: put it on its device and into `eval()` first.
    """

    def __init__(self, model: GlobalTrackingTransformer) -> None:
        self.model = model
        self.device = next(model.parameters()).device

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
        remembered = self._tensor(reference.token)
        history = History(self._tensor(edges), self._tensor(past))
        track = self.model.recall(remembered[rows], remembered, history)
        asked = np.stack([pairs[:, 0], position[pairs[:, 1]]], axis=1)
        logits = self.model.associate(self._tensor(query.token), track, self._tensor(asked), features, False)
        return np.asarray(logits[-1].mean(dim=0).float().cpu().numpy())

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


def _whole_frames(frame: Ints) -> Iterator[slice]:
    """Batches of rows, cut between frames: a detection's token needs the others of its frame, and nothing else."""
    start = 0
    while start < len(frame):
        last = frame[min(start + BATCH, len(frame)) - 1]
        stop = int(np.searchsorted(frame, last, side="right"))
        yield slice(start, stop)
        start = stop


__all__ = ["Scorer"]
