"""What is measured of a detection, of its neighbours in the frame, and of a pair of a query and a reference.

Everything is in the unit of the objects' own size and in real frame gaps, and nothing depends on where in the image or
in time it happens, on the image's size, or on a mirror: a scene that is shifted, mirrored, scaled or turned by a right
angle gives the same numbers. Lengths are compressed, log(1 + x), so that a small network can read both a tenth of a
size and ten sizes.
"""

import numpy as np
from numpy.typing import NDArray

from kintrack.config import HISTORY_FEATURES, NEIGHBOUR_FEATURES, NODE_FEATURES, PAIR_FEATURES
from kintrack.core import boxes
from kintrack.core.detections import Floats, Ints
from kintrack.core.sightings import FAR, FAST, SLOW, SMOOTH, STEADY, Memory, Sightings
from kintrack.windows.camera import Jerk
from kintrack.windows.conditions import LEAST, UNKNOWN, Conditions

Features = NDArray[np.float32]
SOFT = 0.1  # sizes that are added to distances before they are compared, so that two tiny ones count as alike
SCENE_RATES = ("misses", "gap", "flashes", "births", "losses")
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


def history_features(seen: Sightings, edges: Ints) -> Features:
    """(H, F) what is measured of pairs (sighting, earlier one of its track), in the order of `HISTORY_FEATURES`."""
    a, b = np.ascontiguousarray(edges.T)
    gap = (seen.frame[a] - seen.frame[b]).astype(np.float64)
    unit = seen.size[a]
    box, box_before = seen.box[a], seen.box[b]
    back = (seen.centre[a] - seen.centre[b]) / unit[:, None]
    distance = _length(back)
    along, across = _components(back, seen.velocity[a, SMOOTH])
    known = {
        "gap": np.log1p(gap),
        "distance": np.log1p(distance),
        "distance_per_gap": np.log1p(distance / np.sqrt(np.maximum(gap, 1.0))),
        "along": np.sign(along) * np.log1p(np.abs(along)),
        "across": np.log1p(across),
        "overlap": boxes.paired_iou(box, box_before),
        "size_ratio": np.log(seen.size[b] / unit),
        "aspect_change": _aspect_change(box, box_before),
    }
    return _stack(known, HISTORY_FEATURES, len(edges))


def pair_features(query: Sightings, memory: Memory, pairs: Ints, conditions: Conditions = UNKNOWN) -> Features:
    """(E, P) what is measured of each pair (query, reference), in the order of `PAIR_FEATURES`.

    Motion is known of references alone: a query never looks into what its own track is going to do.

    Args:
        memory: its sightings are the references; those of one rank compete with each other.
        pairs: (E, 2) rows of query and reference, in the order of the queries.
        conditions: what the memory tells of the scene as a whole, by default nothing.
    """
    reference = memory.sightings
    q, r = np.ascontiguousarray(pairs.T)
    steps = np.abs(query.frame[q] - reference.frame[r]).astype(np.float64)
    root = np.sqrt(np.maximum(steps, 1.0))
    unit = np.sqrt(query.size[q] * reference.size[r])
    centre, last = query.centre[q], reference.centre[r]
    velocity = reference.velocity[r]
    expected = reference.expected(r, steps)  # (e, f, ndim)
    rest = (centre[:, None] - expected) / unit[:, None, None]
    distance, residual = _length(centre - last) / unit, _length(rest)
    steadied = _length(centre - conditions.jerk.shift - expected[:, SMOOTH]) / unit
    speed = _length(velocity) / unit[:, None]
    scatter = np.sqrt(reference.scatter[r]) / unit
    along, across = _components(rest[:, SMOOTH], velocity[:, SMOOTH])
    lengths = {
        "gap": steps,
        "sightings": np.minimum(np.maximum(reference.count[r], 1), 30),
        "speed": speed[:, FAST],
        "speed_smooth": speed[:, SMOOTH],
        "scatter": scatter,
        "crowding_query": query.crowding[q],
        "crowding_reference": reference.crowding[r],
        "distance": distance,
        "distance_per_gap": distance / root,
        "residual_fast": residual[:, FAST],
        "residual_slow": residual[:, SLOW],
        "residual_smooth": residual[:, SMOOTH],
        "residual_steady": residual[:, STEADY],
        "residual_per_gap": residual[:, FAST] / root,
        "residual_per_scatter": residual[:, SMOOTH] / (root * (scatter + SOFT)),
        "residual_per_scene": residual[:, SMOOTH] / (root * (conditions.scatter + LEAST)),
        "distance_per_scene": distance / (root * (conditions.step + LEAST)),
        "residual_common": _length(centre - last - conditions.velocity * steps[:, None]) / unit,
        "residual_camera": steadied,
        "across": across,
    }
    overlap = _overlaps(query.box[q], reference.box[r], reference.shape[r, 0], expected - last[:, None])
    others = {
        "along": np.sign(along) * np.log1p(np.abs(along)),
        "overlap": overlap[0],
        "overlap_moved": overlap[1],
        "overlap_smooth": overlap[2],
    }
    others |= _changes(query, reference, q, r)
    others |= {f"scene_{name}": np.full(len(pairs), getattr(conditions, name)) for name in SCENE_RATES}
    others |= _camera(conditions.jerk, unit)
    others |= _as_if_not_last(query, memory, q, r)
    ranks = memory.rank[r]
    rows = q * (int(ranks.max(initial=0)) + 1) + ranks
    others |= _margins(distance, residual, steadied, steps, rows, _by_frame(query, reference, q, r))
    others |= _pose(query, reference, q, r, (expected[:, FAST] - last) / unit[:, None], unit)
    # How alike two look is the model's to say (`kintrack.models.likeness`): until then, nobody has looked.
    others |= dict.fromkeys((name for name in PAIR_FEATURES if "appearance" in name), np.zeros(len(pairs)))
    out = _stack(lengths | others, PAIR_FEATURES, len(pairs))
    np.log1p(out[:, : len(lengths)], out=out[:, : len(lengths)])  # they are the first ones
    return out


def _stack(known: dict[str, NDArray[np.generic]], names: tuple[str, ...], n: int) -> Features:
    out = np.empty((n, len(names)), np.float32)
    for column, name in enumerate(names):
        out[:, column] = known[name]
    return out


def _dot(a: Floats, b: Floats) -> Floats:
    """Inner products along the last axis; one axis at a time, as numpy's sums are slow where there are two or three."""
    total = a[..., 0] * b[..., 0]
    for axis in range(1, a.shape[-1]):
        total += a[..., axis] * b[..., axis]
    return np.asarray(total)


def _length(vectors: Floats) -> Floats:
    return np.sqrt(_dot(vectors, vectors))


def _components(vector: Floats, direction: Floats) -> tuple[Floats, Floats]:
    """The part along a direction (signed) and the length of the part across it; all is across where there is none."""
    length = _length(direction)
    along = np.divide(_dot(vector, direction), length, out=np.zeros(len(length)), where=length > 1e-9)
    across = np.sqrt(np.maximum(_dot(vector, vector) - along * along, 0.0))
    return along, across


def _overlaps(box: Floats, last: Floats, shape: Floats, shift: Floats) -> Floats:
    """(3, E) intersection over union with the last box, with it moved ahead, and with the track's smoothed one.

    Args:
        shape: (E, ndim) logarithm of the track's sides.
        shift: (E, F, ndim) from where the track was last seen to where each filter expects it.
    """
    ahead = shift[:, FAST]
    lower, upper = boxes.corners(last)
    solid = np.asarray((upper > lower).all(axis=1))
    half = 0.5 * np.exp(shape) * solid[:, None]  # a point stays one
    middle = shift[:, SMOOTH] + boxes.centre(last)
    of_track = np.empty((3, *last.shape))
    of_track[0] = last
    of_track[1] = last + np.concatenate([ahead, ahead], axis=1)
    of_track[2] = np.concatenate([middle - half, middle + half], axis=1)
    return boxes.paired_iou(box, of_track)


def _changes(query: Sightings, reference: Sightings, q: Ints, r: Ints) -> dict[str, Floats]:
    """How size, sides and area differ; sides from the track's as of late and from those it had on the whole."""
    sides = np.abs(query.shape[q] - reference.shape[r])  # (e, s, ndim)
    return {
        "size_change": np.abs(np.log(query.size[q] / reference.size[r])),
        "shape_change": sides[:, 0].max(axis=1),
        "shape_change_least": sides[:, 0].min(axis=1),
        "build_change": sides[:, 1].max(axis=1),
        "build_change_least": sides[:, 1].min(axis=1),
        "aspect_change": _aspect_change(query.box[q], reference.box[r]),
        "area_change": _log_ratio(query.area[q], reference.area[r]),
    }


def _camera(jerk: Jerk, unit: Floats) -> dict[str, Floats]:
    """How far the camera's jerk took everybody, and how sure that is."""
    moved = np.log1p(np.linalg.norm(jerk.shift) / unit)
    return {
        "camera_moved": moved,
        "camera_votes": np.full(len(unit), min(jerk.votes, 2.0)),
        "camera_gain": np.full(len(unit), jerk.gain),
    }


def _as_if_not_last(query: Sightings, memory: Memory, q: Ints, r: Ints) -> dict[str, Floats]:
    """How far each query is from where its track would be expected had the newest sighting not been, or the newest two,
    and how its box overlaps with the one before: a track that has just taken something false still knows its way."""
    known = memory.sightings
    r = np.stack([memory.before[r], memory.before[memory.before[r]]])  # (2, e)
    gap = np.abs(query.frame[q] - known.frame[r]).astype(np.float64)
    expected = known.expected(r, gap, SMOOTH)
    rest = np.log1p(_length(query.centre[q] - expected) / np.sqrt(query.size[q] * known.size[r]))
    moved = expected - known.centre[r]
    overlap = boxes.paired_iou(query.box[q], known.box[r] + np.concatenate([moved, moved], axis=2))
    return {
        "residual_before": rest[0],
        "residual_before_that": rest[1],
        "overlap_before": overlap[0],
        "overlap_before_that": overlap[1],
    }


def _aspect_change(a: Floats, b: Floats) -> Floats:
    """(E,) how different the ratios of the first two sides are, as logarithms; a point's ratio is 1."""
    sides = boxes.sides(np.stack([a, b]))
    wide = np.asarray((sides > 0).all(axis=2))
    ratio = np.divide(sides[..., 0], sides[..., 1], out=np.ones(wide.shape), where=wide)
    return np.asarray(np.abs(np.log(ratio[0] / ratio[1])))


def _log_ratio(a: Floats, b: Floats) -> Floats:
    """How different two areas are, whichever is the larger; 0 where one is not known."""
    return np.abs(np.log(np.divide(a, b, out=np.ones(len(a)), where=(a > 0) & (b > 0))))


def _by_frame(query: Sightings, reference: Sightings, q: Ints, r: Ints) -> Ints:
    """One number for each (reference, frame of the query): there the queries compete for the reference."""
    if not len(q):
        return q
    frame = query.frame[q] - query.frame.min()
    return np.asarray(r * (int(frame.max()) + 1) + frame)


def _margins(
    distance: Floats, residual: Floats, steadied: Floats, steps: Floats, rows: Ints, columns: Ints
) -> dict[str, Floats]:
    """How each pair compares with the best rival: of those that its query asks, and of those that its reference does.

    Args:
        residual: (E, F) distances from where each filter expects the track.
        steadied: (E,) the same of the smooth one, without what the camera did.
        rows: (E,) pairs with the same number compete for a query.
        columns: (E,) pairs with the same number compete for a reference.
    """
    fast, smooth = residual[:, FAST], residual[:, SMOOTH]
    fresh = np.where(steps <= 1, fast, np.inf)  # only those seen a moment ago count as rivals
    asked = {
        "margin_distance_query": (distance, distance, rows),
        "margin_distance_reference": (distance, distance, columns),
        "margin_query": (fast, fast, rows),
        "margin_reference": (fast, fast, columns),
        "margin_smooth_query": (smooth, smooth, rows),
        "margin_smooth_reference": (smooth, smooth, columns),
        "margin_fresh": (fast, fresh, rows),
        "margin_camera_query": (steadied, steadied, rows),
        "margin_camera_reference": (steadied, steadied, columns),
    }
    # All in one go, with groups of their own.
    n = int(max(rows.max(initial=-1), columns.max(initial=-1))) + 1
    lengths, rivals, groups = zip(*asked.values(), strict=True)
    group = np.concatenate([group + i * n for i, group in enumerate(groups)])
    found = _margin(np.concatenate(lengths), group, np.concatenate(rivals))
    return dict(zip(asked, found.reshape(len(asked), -1), strict=True))


def _margin(distance: Floats, group: Ints, rivals: Floats) -> Floats:
    """How each distance compares with the best other one of its group: log of the ratio, negative where it is the best.

    Without a rival, as if one stood at the distance of 20 sizes.

    Args:
        rivals: (E,) the distances to compare with, inf where one does not count.
    """
    best, second = np.full((2, int(group.max(initial=-1)) + 1), np.inf)
    np.minimum.at(best, group, rivals)
    leads = rivals == best[group]
    np.minimum.at(second, group, np.where(leads, np.inf, rivals))
    # Two that lead together are each other's rival.
    tied = np.bincount(group, weights=leads, minlength=len(best)) > 1
    rival = np.where(leads & ~tied[group], second[group], best[group])
    return np.asarray(np.log((distance + SOFT) / (np.minimum(rival, FAR) + SOFT)))


def _pose(query: Sightings, reference: Sightings, q: Ints, r: Ints, ahead: Floats, size: Floats) -> dict[str, Floats]:
    """How alike two poses are: as shapes (both centred), as keypoints in place (OKS, the reference moved ahead), and in
    the body's own frame: how far one is turned against the other, and what is left once they are turned alike."""
    nothing = np.zeros(len(q))
    names = ("pose_distance", "pose_similarity", "pose_turn", "pose_change", "has_pose")
    if query.keypoints is None or reference.keypoints is None or not len(q):
        return dict.fromkeys(names, nothing)
    a = (query.keypoints[q] - query.centre[q][:, None]) / size[:, None, None]
    b = (reference.keypoints[r] - reference.centre[r][:, None]) / size[:, None, None]
    shared = np.asarray(~np.isnan(a).any(axis=2) & ~np.isnan(b).any(axis=2))
    n = np.maximum(shared.sum(axis=1), 1)
    a, b = np.where(shared[..., None], a, 0.0), np.where(shared[..., None], b, 0.0)
    apart = (query.centre[q] - reference.centre[r]) / size[:, None] - ahead
    off = _length(a - b)
    in_place = _length(a - b + apart[:, None])
    similar = np.where(shared, np.exp(-0.5 * (in_place / (2 * KEYPOINT_SIGMA)) ** 2), 0.0)
    turn, change = _turned_alike(a, b)
    both = shared.any(axis=1).astype(np.float64)
    found = (np.log1p(off.sum(axis=1) / n), similar.sum(axis=1) / n, turn, np.log1p(change / np.sqrt(n)), both)
    return dict(zip(names, found, strict=True))


def _turned_alike(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """The angle (radians, in the plane) by which b is best turned onto a, and the distance that is left then.

    The orthogonal Procrustes problem: with the points as complex numbers and c = sum of a conj(b), the best turn is the
    angle of c, and the squared distance left is |a|^2 + |b|^2 - 2 |c|. Volumes are not turned.
    """
    squares = (a * a + b * b).sum(axis=(1, 2))
    if a.shape[2] != 2:
        return np.zeros(len(a)), np.sqrt(np.maximum(squares - 2.0 * (a * b).sum(axis=(1, 2)), 0.0))
    same = (a * b).sum(axis=(1, 2))
    crossed = (a[..., 1] * b[..., 0] - a[..., 0] * b[..., 1]).sum(axis=1)
    left = np.maximum(squares - 2.0 * np.hypot(same, crossed), 0.0)
    return np.abs(np.arctan2(crossed, same)), np.sqrt(left)
