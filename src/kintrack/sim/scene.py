"""What happened in a world: everybody's box in every frame, as truth.

    WorldConfig ── crowd, paths (motion) ── who is in view, and as whom ── bodies ── Scene, with its Tracks

Time runs in steps of the finest frame; a world of stride 3 is the same world as one of stride 1 of which every third
frame is looked at, to the last bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kintrack.core import boxes
from kintrack.core.detections import Detections, VideoInfo
from kintrack.core.tracks import Tracks
from kintrack.sim.bodies import Shapes, chain_skeleton, chains, ellipses, reaches, spines, stretched, turn_after
from kintrack.sim.interruptions import Told, fly, meet_and_visit, rest
from kintrack.sim.motion import FAMILIES, Arena, Crowd, generator, kept_apart, smooth_noise
from kintrack.sim.worlds import WorldConfig, find_world

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """All that happened in a world: the truth, and how each row's body lies, for whoever draws it.

    A body is P ellipses in a row, head first; most are just one.

    Args:
        tracks: the truth, N rows; the rows of a frame are in random order.
        centre: (N, P, 2) middle of each ellipse, pixels; it may lie beyond the border of the picture.
        length: (N, P) pixels along the heading.
        width: (N, P) pixels across it.
        heading: (N, P) radians.
        camera: (T, 2) where the camera looks, relative to where it rests, in pixels.
    """

    tracks: Tracks
    centre: Floats
    length: Floats
    width: Floats
    heading: Floats
    camera: Floats


def scene_of(tracks: Tracks, point_size: float = 6.0) -> Scene:
    """A scene for tracks of which only boxes are known: upright ellipses that fill them, spots for points."""
    sides = boxes.sides(tracks.detections.box)
    sides = np.where(np.isfinite(sides) & ~(sides > 0), point_size, sides)[:, None]
    centre = boxes.centre(tracks.detections.box)[:, None]
    heading = np.full(centre.shape[:2], np.pi / 2)
    camera = np.zeros((tracks.detections.n_frames, 2))
    return Scene(tracks, centre, sides[..., 1], sides[..., 0], heading, camera)


def simulate(world: WorldConfig | Mapping[str, Any] | str = "crossing", seed: int | Generator = 0) -> Tracks:
    """The truth of a world: everybody's box, and keypoints or area where bodies have them, in each frame in view.

    Boxes are cut off at the border of the picture, and an individual is in view while its middle is. Nobody is missing
    because of an occlusion: that is the detector's affair (`kintrack.sim.observe`). The rows of a frame are in random
    order. The same world and seed give the same tracks.

    Raises:
        ConfigError: a name or an option that is not known, with the nearest one.
    """
    return stage(world, seed).tracks


def stage(world: WorldConfig | Mapping[str, Any] | str = "crossing", seed: int | Generator = 0) -> Scene:
    """What `simulate` answers, with the bodies that are needed to draw it."""
    world = find_world(world)
    rng = generator(seed)
    n_steps = world.n_frames * world.stride
    crowd = _people(world, rng, n_steps)
    (position, heading, inside), renewed = _move(world, crowd, rng, n_steps)
    camera = smooth_noise(rng, n_steps, (1, 2), world.camera_persistence) * world.camera * world.size
    position = position - camera
    in_view = np.asarray(((position >= 0) & (position < world.arena)).all(axis=-1)) & ~inside
    seen = slice(0, n_steps, world.stride)
    if world.avoidance:
        apart = kept_apart(position[seen], world.avoidance * crowd.size, ~inside[seen])
        # Who is in view was settled by the paths and stays so, at every frame rate alike.
        limit = np.nextafter(np.asarray(world.arena, np.float64), 0.0)
        position[seen] = np.where(in_view[seen][..., None], np.clip(apart, 0.0, limit), apart)
    episode = _episodes(in_view, renewed, world.max_absence)
    aspect = world.aspect * np.exp(world.aspect_spread * rng.standard_normal(len(crowd)))
    sides = crowd.size[:, None] * np.stack([np.sqrt(aspect), 1 / np.sqrt(aspect)], axis=1)
    change = np.zeros((n_steps, *sides.shape))
    if world.wobble:
        change = smooth_noise(rng, n_steps, sides.shape, world.wobble_persistence)
    order = rng.random(in_view.shape)
    frame, individual = np.nonzero(in_view[seen])
    shuffled = np.lexsort((order[seen][frame, individual], frame))
    frame, individual = frame[shuffled], individual[shuffled]
    step = frame * world.stride
    length, width = (sides[individual] * np.exp(world.wobble * change[step, individual])).T
    lying = _lagged(world, heading, step, individual, rng)
    reach = reaches(rng, n_steps, crowd.size, world.limbs, world.limb_persistence) if world.limbs else None
    reach = None if reach is None else reach[step, individual]
    bodies = _Bodies(position[step, individual], length, width, lying, reach)
    shapes = _shapes(world, bodies)
    info = VideoInfo(n_frames=world.n_frames, shape=world.arena[::-1], fps=world.fps / world.stride)
    detections = Detections(
        frame=frame.astype(np.int32), box=shapes.box, area=shapes.area, keypoints=shapes.keypoints, video=info,
        skeleton=chain_skeleton(world.spine) if shapes.keypoints is not None else None,
    )  # fmt: skip
    tracks = Tracks(detections, _numbered(individual, episode[step, individual], frame))
    visible = np.isfinite(shapes.box.sum(axis=1))  # a body bent around a corner of the picture shows no keypoint
    centre, length, width, headings = (part[visible] for part in _parts(bodies))
    return Scene(tracks.take(visible), centre, length, width, headings, camera[seen, 0])


def _people(world: WorldConfig, rng: Generator, n_steps: int) -> Crowd:
    """Sizes, speeds and the arena of everyone, those beyond open borders included."""
    arena = np.asarray(world.arena)
    n, is_open = world.n_individuals, world.border == "open"
    if is_open:
        n = round(n * (1 + 2 * world.outside) ** 2)
    size = world.size * np.exp(world.size_spread * rng.standard_normal(n))
    spread = world.speed_spread
    # exp(-spread^2) keeps the mean squared speed at the config's, however unlike individuals and moments are.
    speed = world.speed * (size * np.exp(spread * rng.standard_normal(n) - spread**2))[None]
    if world.unsteadiness:
        mood = smooth_noise(rng, n_steps, (n,), 2 * min(world.persistence, 1e6))
        speed = speed * np.exp(world.unsteadiness * mood - world.unsteadiness**2)
    margin = np.full((n, 2), -world.outside) * arena if is_open else np.minimum(0.5 * size[:, None], 0.49 * arena)
    return Crowd(Arena(margin, arena - margin, is_open), speed, size, world.persistence)


def _move(world: WorldConfig, crowd: Crowd, rng: Generator, n_steps: int) -> tuple[Told, Bools]:
    """Everyone's path in the arena, and (T, M) where an individual gives way to another one."""
    paths = FAMILIES[world.family](rng, n_steps, crowd)
    if world.rests:
        paths = rest(rng, paths, world.rests, world.rest_length)
    if world.flights:
        paths = fly(rng, world, crowd, paths)
    position, heading = paths
    renewed = np.zeros(heading.shape, bool)
    if world.drift:
        angle = rng.uniform(-np.pi, np.pi)
        drift = world.drift * world.size * np.array([np.cos(angle), np.sin(angle)])
        position = position + np.arange(n_steps)[:, None, None] * drift
    if world.lifetime is not None:
        reborn = rng.random(heading.shape) < 1.0 / world.lifetime
        # Twice the extent, because a path between walls folds back after that.
        jump = rng.uniform(0.0, 2.0, position.shape) * (crowd.arena.upper - crowd.arena.lower)
        position = position + np.cumsum(reborn[..., None] * jump, axis=0)
        renewed |= reborn
    broken = renewed.copy()
    rounds = crowd.arena.rounds(position)
    broken[1:] |= (rounds[1:] != rounds[:-1]).any(axis=-1)
    if world.max_absence is not None:  # around the torus is a way out and in again, by another one
        renewed = broken
    position, flip = crowd.arena.confine(position)
    heading = np.arctan2(np.sin(heading) * flip[..., 1], np.cos(heading) * flip[..., 0])
    if world.meetings or world.nests:
        return meet_and_visit(rng, world, crowd, position, heading, broken), renewed
    return Told(position, heading, np.zeros(heading.shape, bool)), renewed


def _episodes(in_view: Bools, renewed: Bools, max_absence: int | None) -> Ints:
    """(T, M) which of the identities that one moving place holds in turn is the one of each step."""
    if max_absence is not None and not in_view.all():
        step = np.arange(len(in_view))[:, None]
        last_seen = np.maximum.accumulate(np.where(in_view, step, -1), axis=0)
        absence = np.zeros(in_view.shape, np.int64)
        absence[1:] = step[1:] - last_seen[:-1] - 1
        renewed = renewed | (in_view & (absence > max_absence))
    return np.cumsum(renewed, axis=0)


def _lagged(world: WorldConfig, heading: Floats, step: Ints, individual: Ints, rng: Generator) -> Floats:
    """(N, S) heading of each segment of each body: where the head went, the rest of the body goes later."""
    if world.body in ("point", "box"):
        return np.full((len(step), 1), np.pi / 2)
    lying = turn_after(heading, 0.35)
    if world.body == "ellipse":
        return lying[step, individual][:, None]
    lag = 2 * np.arange(world.spine - 1)
    bent = lying[np.maximum(step[:, None] - lag, 0), individual[:, None]]
    phase = np.asarray(rng.uniform(-np.pi, np.pi, heading.shape[1]))[individual, None] + 0.3 * step[:, None]
    return np.asarray(bent + 0.15 * np.sin(phase - 2 * np.pi * lag / max(2 * world.spine, 4)), np.float64)


class _Bodies(NamedTuple):
    """Where N bodies are and how they lie."""

    middle: Floats
    """(N, 2) pixels."""
    length: Floats
    """(N,) pixels along the heading."""
    width: Floats
    """(N,) pixels across it."""
    headings: Floats
    """(N, S) radians, of each segment, head first."""
    reach: Floats | None = None
    """(N, 4) pixels by which limbs stretch the box on each side."""


def _shapes(world: WorldConfig, bodies: _Bodies) -> Shapes:
    """What a detector would see of the bodies inside the picture."""
    middle, length, width, headings, reach = bodies
    edge = world.arena[::-1]
    if world.body == "point":
        return Shapes(boxes.from_centre(middle, 0.0))
    if world.body == "box":
        whole_box = boxes.from_centre(middle, np.stack([width, length], axis=1))
        return Shapes(boxes.clip(stretched(whole_box, reach), edge))
    if world.body == "ellipse":
        whole = ellipses(middle, length, width, headings[:, 0])
        box = boxes.clip(whole.box, edge)
        assert whole.area is not None
        area = whole.area * boxes.area(box) / boxes.area(whole.box)
        return Shapes(boxes.clip(stretched(whole.box, reach), edge), area=area)
    keypoints = chains(spines(middle, length, headings), width, headings).keypoints
    assert keypoints is not None
    inside = ((keypoints >= 0) & (keypoints < world.arena)).all(axis=-1, keepdims=True)
    visible = np.where(inside, keypoints, np.nan)
    return Shapes(boxes.around_points(visible), keypoints=visible)


def _parts(bodies: _Bodies) -> tuple[Floats, Floats, Floats, Floats]:
    """Centre (N, P, 2), length, width and heading (N, P) of the ellipses that bodies are drawn as: one a segment."""
    middle, length, width, headings, _ = bodies
    n_parts = headings.shape[1]
    if n_parts == 1:
        return middle[:, None], length[:, None], width[:, None], headings
    spine = spines(middle, length, headings)
    girth = width[:, None] * (0.6 + 0.4 * np.sin(np.pi * (np.arange(n_parts) + 0.5) / n_parts))
    return 0.5 * (spine[:, 1:] + spine[:, :-1]), length[:, None] / n_parts + 0.7 * girth, girth, headings


def _numbered(individual: Ints, episode: Ints, frame: Ints) -> Ints:
    """(N,) identities counted from 0, in the order in which they come into view."""
    key = individual * (episode.max(initial=0) + 1) + episode
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(frame[first], kind="stable")] = np.arange(len(first))
    return rank[which]
