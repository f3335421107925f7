"""What is measured of a detection, of its neighbours in the frame, and of a pair of a query and a reference.

Everything is in the unit of the objects' own size and in real frame gaps, and nothing depends on where in the image or
in time it happens, on the image's size, or on a mirror: a scene that is shifted, mirrored, scaled or turned by a right
angle gives the same numbers. Lengths are compressed, log(1 + x), so that a small network can read both a tenth of a
size and ten sizes.
"""

import numpy as np
from numpy.typing import NDArray

from kintrack.config import NEIGHBOUR_FEATURES, NODE_FEATURES, PAIR_FEATURES
from kintrack.core import boxes
from kintrack.core.detections import Floats, Ints
from kintrack.core.sightings import Sightings, travel

Features = NDArray[np.float32]
SOFT = 0.1  # sizes that are added to distances before they are compared, so that two tiny ones count as alike
KEYPOINT_SIGMA = 0.1  # how far a keypoint may be off, in sizes, in the similarity of poses (the k of COCO's OKS)


def node_features(seen: Sightings) -> Features:
    """(N, F) what is measured of each detection, in the order of `NODE_FEATURES`."""
    n = len(seen)
    sides = np.maximum(np.nan_to_num(boxes.sides(seen.box)), 1e-6)
    box_area = np.nan_to_num(boxes.area(seen.box))
    fill = np.divide(seen.area, box_area, out=np.ones(n), where=(box_area > 0) & ~np.isnan(seen.area))
    has_score = ~np.isnan(seen.score)
    pose = np.zeros(n) if seen.keypoints is None else (~np.isnan(seen.keypoints).any(axis=2)).mean(axis=1)
    known = {
        "aspect": np.where(box_area > 0, np.log(sides.max(axis=1) / sides.min(axis=1)), 0.0),
        "score": np.where(has_score, np.nan_to_num(seen.score), 0.0),
        "has_score": has_score,
        "fill": np.clip(fill, 0.0, 1.0),
        "has_pose": pose,
        "crowding": np.log1p(seen.crowding),
    }
    return _stack(known, NODE_FEATURES, n)


def neighbour_features(seen: Sightings, edges: Ints) -> Features:
    """(E, F) what is measured of pairs (row, neighbour) of one frame, in the order of `NEIGHBOUR_FEATURES`."""
    a, b = edges[:, 0], edges[:, 1]
    size = np.sqrt(seen.size[a] * seen.size[b])
    known = {
        "distance": np.log1p(np.linalg.norm(seen.centre[a] - seen.centre[b], axis=1) / size),
        "overlap": boxes.paired_iou(seen.box[a], seen.box[b]),
        "size_ratio": np.log(seen.size[b] / seen.size[a]),
    }
    return _stack(known, NEIGHBOUR_FEATURES, len(edges))


def pair_features(query: Sightings, reference: Sightings, pairs: Ints, rank: Ints) -> Features:
    """(E, P) what is measured of each pair (query, reference), in the order of `PAIR_FEATURES`.

    Motion is known of references alone, and is used only where the reference comes first: a query never looks into
    what its own track is going to do. A pair asked backward in time is measured like one whose motion nobody knows.

    Args:
        pairs: (E, 2) rows of query and reference.
        rank: (R,) the references that compete with each other have the same: see `Memory.rank`.
    """
    q, r = pairs[:, 0], pairs[:, 1]
    gap = query.frame[q] - reference.frame[r]
    steps = np.abs(gap)
    root = np.sqrt(np.maximum(steps, 1))
    size = np.sqrt(query.size[q] * reference.size[r])
    apart = (query.centre[q] - reference.centre[r]) / size[:, None]
    ahead = np.where((gap > 0)[:, None, None], travel(reference.velocity[r], steps), 0.0) / size[:, None, None]
    distance = _length(apart)
    rest = apart - ahead[:, 0]
    residual = _length(rest)
    speed = _length(np.nan_to_num(reference.velocity[r, 0])) / size * (gap > 0)
    along, across = _components(rest, ahead[:, 0])
    moved = reference.box[r] + np.tile(ahead[:, 0] * size[:, None], 2)
    known = {
        "gap": np.log1p(steps),
        "sightings": np.log1p(np.clip(reference.count[r], 1, 30)),
        "speed": np.log1p(speed),
        "distance": np.log1p(distance),
        "distance_per_gap": np.log1p(distance / root),
        "residual": np.log1p(residual),
        "residual_per_gap": np.log1p(residual / root),
        "residual_slow": np.log1p(_length(apart - ahead[:, 1])),
        "along": np.sign(along) * np.log1p(np.abs(along)),
        "across": np.log1p(across),
        "overlap": boxes.paired_iou(query.box[q], reference.box[r]),
        "overlap_moved": boxes.paired_iou(query.box[q], moved),
        "size_change": np.abs(np.log(query.size[q] / reference.size[r])),
        "aspect_change": np.abs(_aspect(query.box)[q] - _aspect(reference.box)[r]),
        "area_change": _log_ratio(query.area[q], reference.area[r]),
        "margin_query": _margin(residual, q * (rank.max(initial=0) + 1) + rank[r]),
        "margin_reference": _margin(residual, _by_frame(query, reference, q, r)),
        "crowding_query": np.log1p(query.crowding[q]),
        "crowding_reference": np.log1p(reference.crowding[r]),
    }
    known |= _pose(query, reference, q, r, ahead[:, 0], size) | _appearance(query, reference, q, r)
    return _stack(known, PAIR_FEATURES, len(pairs))


def _stack(known: dict[str, NDArray[np.generic]], names: tuple[str, ...], n: int) -> Features:
    out = np.empty((n, len(names)), np.float32)
    for column, name in enumerate(names):
        out[:, column] = known[name]
    return out


def _length(vectors: Floats) -> Floats:
    return np.asarray(np.sqrt((vectors * vectors).sum(axis=-1)))


def _components(vector: Floats, direction: Floats) -> tuple[Floats, Floats]:
    """The part along a direction (signed) and the length of the part across it; all is across where there is none."""
    length = _length(direction)
    along = np.divide((vector * direction).sum(axis=1), length, out=np.zeros(len(length)), where=length > 1e-9)
    across = np.sqrt(np.maximum((vector * vector).sum(axis=1) - along * along, 0.0))
    return along, across


def _aspect(box: Floats) -> Floats:
    """(N,) log of the ratio of the first two sides; 0 of a point."""
    sides = boxes.sides(box)
    wide = (sides > 0).all(axis=1)
    return np.where(wide, np.log(np.where(wide, sides[:, 0], 1.0) / np.where(wide, sides[:, 1], 1.0)), 0.0)


def _log_ratio(a: Floats, b: Floats) -> Floats:
    """How different two areas are, whichever is the larger; 0 where one is not known."""
    known = (a > 0) & (b > 0)
    return np.abs(np.log(np.where(known, a, 1.0) / np.where(known, b, 1.0)))


def _by_frame(query: Sightings, reference: Sightings, q: Ints, r: Ints) -> Ints:
    """One number for each (reference, frame of the query): there the queries compete for the reference."""
    if not len(q):
        return q
    frame = query.frame[q] - query.frame.min()
    return np.asarray(r * (int(frame.max()) + 1) + frame)


def _margin(distance: Floats, group: Ints) -> Floats:
    """How each distance compares with the best other one of its group: log of the ratio, negative where it is the best.

    Without a rival, as if one stood at the distance of 20 sizes.
    """
    order = np.lexsort((distance, group))
    ranked, grouped = distance[order], group[order]
    starts = np.r_[True, grouped[1:] != grouped[:-1]] if len(order) else np.zeros(0, bool)
    first = np.flatnonzero(starts)
    member = np.cumsum(starts) - 1
    second = np.minimum(first + 1, max(len(order) - 1, 0))
    alone = np.r_[first[1:], len(order)] - first == 1
    runner_up = np.where(alone, 20.0, ranked[second])
    rival = np.where(starts, runner_up[member], ranked[first][member]) if len(order) else ranked
    margin = np.empty(len(order))
    margin[order] = np.log((ranked + SOFT) / (rival + SOFT))
    return margin


def _pose(query: Sightings, reference: Sightings, q: Ints, r: Ints, ahead: Floats, size: Floats) -> dict[str, Floats]:
    """How alike two poses are: as shapes (both centred), and as keypoints in place (OKS, the reference moved ahead)."""
    nothing = np.zeros(len(q))
    if query.keypoints is None or reference.keypoints is None or not len(q):
        return {"pose_distance": nothing, "pose_similarity": nothing, "has_pose": nothing}
    a = (query.keypoints[q] - query.centre[q][:, None]) / size[:, None, None]
    b = (reference.keypoints[r] - reference.centre[r][:, None]) / size[:, None, None]
    shared = ~np.isnan(a).any(axis=2) & ~np.isnan(b).any(axis=2)
    n = shared.sum(axis=1)
    both = n > 0
    apart = (query.centre[q] - reference.centre[r]) / size[:, None] - ahead
    off = np.where(shared, _length(np.nan_to_num(a - b)), 0.0)
    in_place = np.where(shared, _length(np.nan_to_num(a - b) + apart[:, None]), 0.0)
    similar = np.where(shared, np.exp(-0.5 * (in_place / (2 * KEYPOINT_SIGMA)) ** 2), 0.0)
    n = np.maximum(n, 1)
    return {
        "pose_distance": np.log1p(off.sum(axis=1) / n),
        "pose_similarity": similar.sum(axis=1) / n,
        "has_pose": both,
    }


def _appearance(query: Sightings, reference: Sightings, q: Ints, r: Ints) -> dict[str, Floats]:
    """Cosine similarity of what the visual encoder saw."""
    if query.appearance is None or reference.appearance is None:
        nothing = np.zeros(len(q))
        return {"appearance": nothing, "has_appearance": nothing}
    similarity = np.einsum("ed,ed->e", query.appearance[q], reference.appearance[r])
    return {"appearance": similarity, "has_appearance": np.ones(len(q))}
