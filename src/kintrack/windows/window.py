"""Windows: batches in flight. The only crossing from numpy to torch.

A window holds questions of the kind that a tracker asks, frame after frame: which of the remembered sightings are the
detections of this frame? It is made by walking through a clip with the tracker's own memory, so that what a model is
trained on is what it meets.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from kintrack.config import HISTORY_FEATURES, PAIR_FEATURES, ModelConfig, TrackerConfig
from kintrack.core.detections import Bools, Ints
from kintrack.core.sightings import Memory, Sightings, candidates, neighbours
from kintrack.models.gtr import Graph, History
from kintrack.windows.conditions import conditions_of
from kintrack.windows.features import Features, history_features, neighbour_features, node_features, pair_features


@dataclass(frozen=True, eq=False)
class Window:
    """Detections, and pairs of them between which a model is to choose.

    Args:
        graph: all N detections of the clips and the edges to their neighbours in the same frame.
        history: of those detections the edges to the earlier sightings that their track remembers.
        crops: (S, C, H, W) pixels in [0, 1] of those detections that have any, or None.
        shown: (S,) which detections these are.
        who: (S, 2) the clip of each crop, and whom it shows, -1 for nobody known; None where there are no crops, or
            nobody knows.
        query: (Q,) the detection of each query.
        reference: (R,) the detection of each reference; asked in several frames, it is there several times.
        pairs: (E, 2) positions in `query` and in `reference`.
        pair: (E, P) what is measured of each pair.
        row_group: (E,) edges with the same number are the answers between which a query chooses (or none of them).
        column_group: (E,) edges with the same number are the queries that want one reference in one frame.
        target: (E,) whether the two are one individual; None where nobody knows.
        frame: (Q,) each query's frame.
    """

    graph: Graph
    history: History
    crops: Float[Tensor, "s c h w"] | None
    shown: Int[Tensor, " s"]
    query: Int[Tensor, " q"]
    reference: Int[Tensor, " r"]
    pairs: Int[Tensor, "e 2"]
    pair: Float[Tensor, "e p"]
    row_group: Int[Tensor, " e"]
    column_group: Int[Tensor, " e"]
    target: Bool[Tensor, " e"] | None = None
    frame: Int[Tensor, " q"] | None = None
    who: Int[Tensor, "s 2"] | None = None

    def without_crops(self) -> "Window":
        """The same questions for someone who cannot see."""
        return dataclasses.replace(self, crops=None, shown=self.shown[:0], who=None)

    def to(self, device: torch.device | str) -> "Window":
        """The same window on another device."""

        def moved(value: Any) -> Any:
            if isinstance(value, Graph | History):
                return type(value)(*(t.to(device, non_blocking=True) for t in value))
            return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value

        fields: dict[str, Any] = {f.name: moved(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return dataclasses.replace(self, **fields)

    @classmethod
    def collate(cls, windows: Sequence["Window"]) -> "Window":
        """Several windows as one: their lists, one after the other, with shifted numbers. Nothing is padded."""
        if len(windows) == 1:
            return windows[0]
        n = _offsets([len(w.graph.node) for w in windows])
        q = _offsets([len(w.query) for w in windows])
        r = _offsets([len(w.reference) for w in windows])
        rows = _offsets([_n_groups(w.row_group) for w in windows])
        columns = _offsets([_n_groups(w.column_group) for w in windows])
        join = torch.cat
        graph = Graph(
            join([w.graph.node for w in windows]),
            join([w.graph.edges + o for w, o in zip(windows, n, strict=True)]),
            join([w.graph.neighbour for w in windows]),
        )
        history = History(
            join([w.history.edges + o for w, o in zip(windows, n, strict=True)]),
            join([w.history.past for w in windows]),
        )
        crops = [w.crops for w in windows if w.crops is not None]
        targets = [w.target for w in windows if w.target is not None]
        frames = [w.frame for w in windows if w.frame is not None]
        who = [w.who + torch.tensor([i, 0]) for i, w in enumerate(windows) if w.who is not None]
        return cls(
            graph=graph,
            history=history,
            crops=join(crops) if crops else None,
            shown=join([w.shown + o for w, o in zip(windows, n, strict=True)]),
            query=join([w.query + o for w, o in zip(windows, n, strict=True)]),
            reference=join([w.reference + o for w, o in zip(windows, n, strict=True)]),
            pairs=join([w.pairs + torch.tensor([i, j]) for w, i, j in zip(windows, q, r, strict=True)]),
            pair=join([w.pair for w in windows]),
            row_group=join([w.row_group + o for w, o in zip(windows, rows, strict=True)]),
            column_group=join([w.column_group + o for w, o in zip(windows, columns, strict=True)]),
            target=join(targets) if len(targets) == len(windows) else None,
            frame=join(frames) if len(frames) == len(windows) else None,
            who=join(who) if sum(map(len, who)) == sum(map(len, crops)) > 0 else None,
        )


def _offsets(lengths: list[int]) -> list[int]:
    return [0, *np.cumsum(lengths)[:-1].tolist()]


def _n_groups(group: Tensor) -> int:
    return int(group.max()) + 1 if len(group) else 0


def build_graph(seen: Sightings, config: ModelConfig) -> Graph:
    """What the model's encoder reads of detections."""
    edges = neighbours(seen.frame, seen.centre, config.neighbours)
    return Graph(*map(torch.from_numpy, (node_features(seen), edges, neighbour_features(seen, edges))))


@dataclass(eq=False)
class _Question:
    """What one frame asks of the memory: rows of the clip, and pairs of positions in them."""

    query: Ints
    reference: Ints
    pairs: Ints
    pair: Features
    rank: Ints
    target: Bools


def follow(
    seen: Sightings,
    identity: Ints,
    model: ModelConfig,
    tracker: TrackerConfig,
    track: Ints | None = None,
    crops: NDArray[np.float32] | None = None,
    easy: int = 1,
) -> Window:
    """The window of a clip: in every frame, who among those remembered is who?

    Args:
        seen: the clip's detections, sorted by frame.
        identity: (N,) the truth; -1 is nobody (a false detection).
        track: (N,) the tracks by which the memory is kept, by default the truth. A tracker's own tracks, or the truth
            with mistakes, teach a model to live with them.
        crops: (N, C, S, S) pixels in [0, 1].
        easy: of the frames in which whoever is nearest is the one, only every so many are asked.
    """
    track = identity if track is None else track
    memory = Memory.like(seen)
    questions: list[_Question] = []
    pasts: list[tuple[Ints, Features]] = []
    n_easy = 0
    wholes = tracker.compare == "track"
    for start, stop in _frames(seen.frame):
        query = seen.take(slice(start, stop))
        memory = memory.live(int(query.frame[0]), tracker.max_gap, tracker.gap_per_sighting)
        pairs = candidates(query, memory, tracker.candidates, tracker.gate, tracker.gate_gap, not wholes)
        if len(pairs):
            conditions = conditions_of(query, memory, pairs)
            features = pair_features(query, memory, pairs, conditions)
            same = _same(identity, query.row, memory, pairs, wholes)
            hard = is_hard(features, pairs, same)
            n_easy += not hard
            if hard or n_easy % easy == 0:
                questions.append(_question(query, memory, pairs, features, same))
        memory = memory.remember(query, _own_ids(track[start:stop], memory), tracker.memory)
        if wholes and (model.history_layers or crops is not None):
            edges = memory.history(int(query.frame[0]))
            past = history_features(memory.sightings, edges)
            pasts.append((memory.sightings.row[edges], past))
    window = _window(seen, model, questions, crops, tracker.memory, pasts)
    if crops is None:
        return window
    who = np.stack([np.zeros(len(identity), np.int64), identity], axis=1)
    return dataclasses.replace(window, who=torch.from_numpy(who))


def _question(query: Sightings, memory: Memory, pairs: Ints, features: Features, same: Bools) -> _Question:
    """What a frame asks of those remembered sightings that are anybody's candidate."""
    asked, position = np.unique(pairs[:, 1], return_inverse=True)
    answers = np.stack([pairs[:, 0], position], axis=1)
    return _Question(query.row, memory.sightings.row[asked], answers, features, memory.rank[pairs[:, 1]], same)


def is_hard(pair: Features, pairs: Ints, target: Bools) -> bool:
    """Whether a frame has anything to learn from: one who is not clearly the nearest to where it is expected, or a
    detection that is nobody's although there are tracks near it."""
    column = PAIR_FEATURES.index
    clear = np.log(0.5)
    nearest = (pair[:, column("margin_query")] < clear) & (pair[:, column("margin_reference")] < clear)
    if (target & ~nearest).any():
        return True
    known = np.zeros(int(pairs[:, 0].max(initial=-1)) + 1, bool)
    known[pairs[target, 0]] = True
    near = pair[:, column("residual_per_gap")] < np.log1p(2.0)
    return bool((near & ~known[pairs[:, 0]]).any())


def _frames(frame: Ints) -> list[tuple[int, int]]:
    """(start, stop) rows of each frame that has any."""
    bounds = np.r_[0, np.flatnonzero(np.diff(frame)) + 1, len(frame)].tolist() if len(frame) else []
    return list(itertools.pairwise(bounds))


def _own_ids(track: Ints, memory: Memory) -> Ints:
    """The frame's tracks; a false detection (-1) starts a track of its own, as it does for a tracker."""
    loose = np.flatnonzero(track < 0)
    track = track.copy()
    # Far above real ids; above those already given, so that no two false detections meet in one track.
    track[loose] = max(int(memory.track.max(initial=0)) + 1, 1 << 40) + np.arange(len(loose))
    return track


def _same(identity: Ints, query: Ints, memory: Memory, pairs: Ints, wholes: bool) -> Bools:
    """(E,) whether the query is who the reference's track (or, not of `wholes`, the reference itself) is.

    Where an individual's track was broken, only the piece that saw it last is its own; linking to an older one would be
    wrong.
    """
    who = identity[memory.sightings.row]  # (R,)
    whose = _owner(who, memory) if wholes else who
    own = np.flatnonzero(who == whose)
    latest_first = own[np.argsort(memory.sightings.frame[own], kind="stable")[::-1]]
    ids, place = np.unique(whose[latest_first], return_index=True)
    newest = memory.track[latest_first[place]]  # of each of the ids
    is_newest = memory.track == newest[np.searchsorted(ids, whose)]
    q, r = identity[query[pairs[:, 0]]], pairs[:, 1]
    return np.asarray((q >= 0) & (q == whose[r]) & is_newest[r])


def _owner(who: Ints, memory: Memory) -> Ints:
    """(R,) who each remembered sighting's track is: whom it saw most often, the later one of two, -1 if never anybody.

    So a track that has taken one detection of another individual, or a false one, is taught to come back from it.
    """
    track = np.unique(memory.track, return_inverse=True)[1]
    n_ids = int(who.max(initial=0)) + 2
    seen, vote = np.unique(track * n_ids + who + 1, return_inverse=True)
    # Ties go to the later ones. False detections are outvoted by anything real.
    weight = np.bincount(vote, weights=1.0 - 1e-4 * memory.rank) * np.where(seen % n_ids, 1.0, 1e-6)
    least_first = np.lexsort((weight, seen // n_ids))
    best = least_first[np.r_[np.flatnonzero(np.diff(seen[least_first] // n_ids)), len(seen) - 1]]
    return np.asarray(seen[best] % n_ids - 1)[track]


def between(
    seen: Sightings,
    query: Ints,
    reference: Ints,
    model: ModelConfig,
    identity: Ints | None = None,
    crops: NDArray[np.float32] | None = None,
) -> Window:
    """The window in which every query may be any reference, whatever the frames; no track is known.

    Here, as in GTR, the references of each frame are the answers between which a query chooses. In its own frame it may
    only be itself: two detections of one frame are two individuals.

    Args:
        query: (Q,) rows of `seen`.
        reference: (R,) rows of `seen`.
        identity: (N,) the truth, where there is one.
    """
    a, b = seen.take(query), seen.take(reference)
    placed = (a.size > 0)[:, None] & (b.size > 0)  # what has no place (nan) is no candidate for anything
    other_frame_or_itself = (a.frame[:, None] != b.frame) | (query[:, None] == reference)
    pairs = np.argwhere(placed & other_frame_or_itself)
    rank = b.frame - b.frame.min() if len(b) else b.frame
    every = Memory(b, np.arange(len(b)), rank)  # each a track of its own
    who = np.full(len(seen), -1) if identity is None else identity
    target = (who[query][pairs[:, 0]] >= 0) & (who[query][pairs[:, 0]] == who[reference][pairs[:, 1]])
    question = _Question(query, reference, pairs, pair_features(a, every, pairs), rank[pairs[:, 1]], target)
    window = _window(seen, model, [question], crops, int(rank.max(initial=0)) + 1)
    return window if identity is not None else dataclasses.replace(window, target=None)


def _window(
    seen: Sightings,
    model: ModelConfig,
    questions: list[_Question],
    crops: NDArray[np.float32] | None,
    n_ranks: int,
    pasts: Sequence[tuple[Ints, Features]] = (),
) -> Window:
    """Questions one after the other, as tensors."""
    q = _offsets([len(x.query) for x in questions]) if questions else []
    r = _offsets([len(x.reference) for x in questions]) if questions else []
    none = np.zeros(0, np.int64)
    query = np.concatenate([none, *(x.query for x in questions)])
    reference = np.concatenate([none, *(x.reference for x in questions)])
    pairs = np.concatenate([none.reshape(0, 2), *(x.pairs + [i, j] for x, i, j in zip(questions, q, r, strict=True))])
    rank = np.concatenate([none, *(x.rank for x in questions)])
    pair = np.concatenate([np.zeros((0, len(PAIR_FEATURES)), np.float32), *(x.pair for x in questions)])
    # A reference is asked by the queries of one frame at a time: those of one frame compete for it.
    frame = seen.frame[query[pairs[:, 0]]] - int(seen.frame.min(initial=0))
    n_frames = int(frame.max(initial=0)) + 1
    return Window(
        graph=build_graph(seen, model),
        history=_history(pasts),
        crops=None if crops is None else torch.from_numpy(crops),
        shown=torch.arange(0 if crops is None else len(crops)),
        query=torch.from_numpy(query),
        reference=torch.from_numpy(reference),
        pairs=torch.from_numpy(pairs),
        pair=torch.from_numpy(pair),
        row_group=torch.from_numpy(_dense(pairs[:, 0] * n_ranks + rank)),
        column_group=torch.from_numpy(_dense(pairs[:, 1] * n_frames + frame)),
        target=torch.from_numpy(np.concatenate([np.zeros(0, bool), *(x.target for x in questions)])),
        frame=torch.from_numpy(seen.frame[query]),
    )


def _history(pasts: Sequence[tuple[Ints, Features]]) -> History:
    """What tracks remember, frame after frame, as tensors."""
    edges = np.concatenate([np.zeros((0, 2), np.int64), *(rows for rows, _ in pasts)])
    past = np.concatenate([np.zeros((0, len(HISTORY_FEATURES)), np.float32), *(measured for _, measured in pasts)])
    return History(torch.from_numpy(edges), torch.from_numpy(past))


def _dense(group: Ints) -> Ints:
    """The same groups numbered 0, 1, 2, … without holes."""
    return np.asarray(np.unique(group, return_inverse=True)[1], np.int64)
