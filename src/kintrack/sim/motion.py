"""How individuals move: pure functions from a random generator to paths, for all individuals of a world at once.

A family answers where M individuals are in each of T frames. All share one signature, ``(rng, n_frames, crowd)``, and
mean the same by speed: the root mean square displacement in one frame, before walls turn anyone back. Families in which
individuals do not notice each other know no time loop over positions; the others (`flock`, `follow`) step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kintrack.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Arena:
    """Where each of M individuals may be: between walls, or on a torus when the borders are open.

    On a torus, whoever goes out on one side comes in on the other. The part that a camera sees is smaller than the
    torus, so the jump happens out of sight.

    Args:
        lower: (M, 2) least position in pixels.
        upper: (M, 2) greatest position in pixels.
        is_open: a torus; otherwise walls that reflect.
    """

    lower: Floats
    upper: Floats
    is_open: bool = False

    def confine(self, position: Floats) -> tuple[Floats, Floats]:
        """Positions (..., M, 2) brought into the arena, and the sign (..., M, 2) that reflection gave each direction.

        >>> arena = Arena(np.zeros((1, 2)), np.full((1, 2), 10.0))
        >>> arena.confine(np.array([[12.0, 3.0]]))
        (array([[8., 3.]]), array([[-1.,  1.]]))
        """
        extent = np.maximum(self.upper - self.lower, 1e-9)
        if self.is_open:
            return self.lower + (position - self.lower) % extent, np.ones_like(position)
        along = (position - self.lower) % (2 * extent)
        beyond = along > extent
        return self.lower + np.where(beyond, 2 * extent - along, along), np.where(beyond, -1.0, 1.0)

    def rounds(self, position: Floats) -> Ints:
        """(..., M, 2) how often each individual has gone around the torus; 0 between walls."""
        if not self.is_open:
            return np.zeros(position.shape, np.int64)
        return np.asarray(np.floor((position - self.lower) / (self.upper - self.lower)), np.int64)

    def offsets(self, position: Floats) -> tuple[Floats, Floats]:
        """(M, M) each: dx[i, j], dy[i, j] lead from individual i to individual j, the short way around a torus."""
        dx = position[None, :, 0] - position[:, None, 0]
        dy = position[None, :, 1] - position[:, None, 1]
        if self.is_open and len(position):
            width, height = self.upper[0] - self.lower[0]
            dx -= width * np.round(dx / width)
            dy -= height * np.round(dy / height)
        return dx, dy

    def scatter(self, rng: Generator) -> Floats:
        """(M, 2) a uniform place for everyone."""
        return rng.uniform(self.lower, np.maximum(self.upper, self.lower))


@dataclass(frozen=True)
class Crowd:
    """Who moves: M individuals in an arena.

    Args:
        arena: where they may be.
        speed: (T, M) or (1, M) root mean square displacement in a frame, pixels.
        size: (M,) pixels; how near individuals come to each other.
        persistence: frames for which a direction is kept; what that means is each family's own.
    """

    arena: Arena
    speed: Floats
    size: Floats
    persistence: float

    def __len__(self) -> int:
        return int(self.speed.shape[1])


class Paths(NamedTuple):
    """Where individuals are and where they look.

    Positions need not lie inside the arena yet: `Arena.confine` brings them there, so that a path around a torus is
    told from a jump.
    """

    position: Floats
    """(T, M, 2) pixels."""
    heading: Floats
    """(T, M) radians."""


def generator(seed: int | Generator) -> Generator:
    """The random generator of a seed, or the given one, which then runs on."""
    if isinstance(seed, Generator):
        return seed
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed is {seed!r}; wanted a whole number of at least 0, or a numpy Generator")
    return np.random.default_rng(seed)


def smooth_noise(rng: Generator, n_frames: int, shape: tuple[int, ...], persistence: float) -> Floats:
    """(n_frames, *shape) standard normal noise that is remembered for about `persistence` frames.

    The first-order autoregression ``x[t] = k x[t-1] + sqrt(1 - k^2) e[t]`` with ``k = exp(-1 / persistence)``, which
    is the Ornstein-Uhlenbeck process seen once a frame.
    """
    keep = np.exp(-1.0 / persistence)
    noise = rng.standard_normal((n_frames, *shape))
    noise[1:] *= np.sqrt(1.0 - keep**2)
    for t in range(1, n_frames):
        noise[t] += keep * noise[t - 1]
    return noise


def along(heading: Floats) -> Floats:
    """(..., 2) the unit vector of each heading (...)."""
    return np.stack([np.cos(heading), np.sin(heading)], axis=-1)


def _walk(start: Floats, step: Floats) -> Floats:
    """(T, M, 2) positions from a start (M, 2) and the steps (T, M, 2); the first step is not taken."""
    position = np.cumsum(step, axis=0)
    return np.asarray(start + position - step[:1], np.float64)


def _directions(rng: Generator, crowd: Crowd) -> Floats:
    return rng.uniform(-np.pi, np.pi, len(crowd))


def run_and_tumble(rng: Generator, n_frames: int, crowd: Crowd) -> Paths:
    """Straight runs at constant speed, ended by turns in any direction (bacteria; Berg and Brown 1972).

    A run lasts `persistence` frames on average, and curves a little.
    """
    shape = (n_frames, len(crowd))
    tumbles = rng.random(shape) < 1.0 / crowd.persistence
    turn = tumbles * rng.uniform(-np.pi, np.pi, shape) + rng.standard_normal(shape) * 0.3 / np.sqrt(crowd.persistence)
    heading = _directions(rng, crowd) + np.cumsum(turn, axis=0)
    step = along(heading) * crowd.speed[..., None]
    return Paths(_walk(crowd.arena.scatter(rng), step), heading)


def ornstein_uhlenbeck(rng: Generator, n_frames: int, crowd: Crowd) -> Paths:
    """Velocities that forget themselves in `persistence` frames: smooth wandering, slow and fast (cells, bees)."""
    step = smooth_noise(rng, n_frames, (len(crowd), 2), crowd.persistence) * (crowd.speed / np.sqrt(2.0))[..., None]
    return Paths(_walk(crowd.arena.scatter(rng), step), np.arctan2(step[..., 1], step[..., 0]))


def brownian(rng: Generator, n_frames: int, crowd: Crowd) -> Paths:
    """Steps that know nothing of each other (particles); the heading turns at random, apart from the motion."""
    step = rng.standard_normal((n_frames, len(crowd), 2)) * (crowd.speed / np.sqrt(2.0))[..., None]
    turn = rng.standard_normal((n_frames, len(crowd))) / np.sqrt(crowd.persistence)
    return Paths(_walk(crowd.arena.scatter(rng), step), _directions(rng, crowd) + np.cumsum(turn, axis=0))


def bouts(rng: Generator, n_frames: int, crowd: Crowd) -> Paths:
    """Kicks, each followed by a glide to rest: stop-and-go (larval fish, flies), or jumps when glides are short.

    A kick comes every `persistence` frames on average, adds an exponentially distributed speed and turns the
    individual; a quarter of that time later two thirds of the speed are gone. The amplitude makes the second moment of
    this shot noise (Campbell's theorem) the squared speed.
    """
    chance, keep = min(1.0, 1.0 / crowd.persistence), np.exp(-4.0 / crowd.persistence)
    second_moment = (2 * chance - chance**2) / (1 - keep**2) + (chance / (1 - keep)) ** 2
    shape = (n_frames, len(crowd))
    kicked = rng.random(shape) < chance
    pace = kicked * rng.exponential(1.0, shape)
    pace[:1] += rng.random(shape[1]) * 2 * keep * chance / (1 - keep)
    for t in range(1, n_frames):
        pace[t] += keep * pace[t - 1]
    heading = _directions(rng, crowd) + np.cumsum(kicked * rng.normal(0.0, 0.9, shape), axis=0)
    step = along(heading) * (pace * crowd.speed / np.sqrt(second_moment))[..., None]
    return Paths(_walk(crowd.arena.scatter(rng), step), heading)


def _one_step(arena: Arena, position: Floats, direction: Floats, speed: Floats) -> tuple[Floats, Floats]:
    """Everyone a step further along its direction (M, 2), turned back at walls. On a torus positions run on."""
    position = position + direction * speed[:, None]
    if arena.is_open:
        return position, direction
    position, flip = arena.confine(position)
    return position, direction * flip


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.maximum(np.sqrt((vector**2).sum(axis=-1, keepdims=True)), 1e-9), np.float64)


def flock(rng: Generator, n_frames: int, crowd: Crowd) -> Paths:
    """Boids (Reynolds 1987): everyone heads as its neighbours do, keeps near them, and avoids collisions.

    Neighbours count by a Gaussian of 6 sizes, collisions by one of 1.2 sizes. `persistence` is how long noise takes to
    turn a lonely individual.
    """
    n = len(crowd)
    view, touch = 6.0 * crowd.size.mean() if n else 1.0, 1.2 * crowd.size.mean() if n else 1.0
    position, direction = crowd.arena.scatter(rng), along(_directions(rng, crowd))
    noise = rng.standard_normal((n_frames, n, 2)) / np.sqrt(crowd.persistence)
    places, directions = np.empty((n_frames, n, 2)), np.empty((n_frames, n, 2))
    speed = np.broadcast_to(crowd.speed, (n_frames, n))
    for t in range(n_frames):
        places[t], directions[t] = position, direction
        dx, dy = crowd.arena.offsets(position)
        squared = dx * dx + dy * dy
        seen = np.exp(squared * (-0.5 / view**2))
        weight = seen.sum(axis=1, keepdims=True) * view
        near = np.exp(squared * (-0.5 / touch**2)) * (0.3 / touch)
        pull = 0.05 * seen / np.maximum(weight, 1e-9) - near
        urge = np.stack([(pull * dx).sum(axis=1), (pull * dy).sum(axis=1)], axis=1)
        urge += 0.12 * _unit(seen @ direction) + noise[t]
        position, direction = _one_step(crowd.arena, position, _unit(direction + urge), speed[t])
    return Paths(places, np.arctan2(directions[..., 1], directions[..., 0]))


def follow(rng: Generator, n_frames: int, crowd: Crowd) -> Paths:
    """Chasers: most run after another individual, circle around it, overrun it, and choose another one.

    A chase lasts 4 times `persistence` frames on average; one individual in four runs about alone.
    """
    n = len(crowd)
    leader = rng.integers(0, max(n - 1, 1), (n_frames, n))
    leader += (leader >= np.arange(n)) & (n > 1)
    changes = rng.random((n_frames, n)) < 0.25 / crowd.persistence
    changes[:1] = True
    since = np.maximum.accumulate(np.where(changes, np.arange(n_frames)[:, None], 0), axis=0)
    leader = np.take_along_axis(leader, since, axis=0)
    alone = np.take_along_axis(rng.random((n_frames, n)) < 0.25, since, axis=0) | (n == 1)
    phase = _directions(rng, crowd) + np.arange(n_frames)[:, None] * rng.normal(0.0, 0.15, n)
    target = along(phase) * (crowd.size * rng.uniform(0.3, 2.0, n))[:, None]
    turn = rng.standard_normal((n_frames, n)) * 0.5 / np.sqrt(crowd.persistence)
    position, heading = crowd.arena.scatter(rng), _directions(rng, crowd)
    speed = np.broadcast_to(crowd.speed, (n_frames, n))
    places, headings, individuals = np.empty((n_frames, n, 2)), np.empty((n_frames, n)), np.arange(n)
    for t in range(n_frames):
        places[t], headings[t] = position, heading
        dx, dy = crowd.arena.offsets(position)
        wish = np.arctan2(dy[individuals, leader[t]] + target[t, :, 1], dx[individuals, leader[t]] + target[t, :, 0])
        error = (wish - heading + np.pi) % (2 * np.pi) - np.pi
        heading = heading + np.where(alone[t], 0.0, np.clip(error, -0.2, 0.2)) + turn[t]
        position, direction = _one_step(crowd.arena, position, along(heading), speed[t])
        heading = np.arctan2(direction[:, 1], direction[:, 0])
    return Paths(places, headings)


def formation(rng: Generator, n_frames: int, crowd: Crowd) -> Paths:
    """Places in a formation, which all individuals exchange again and again: dancers, and crossings in plenty.

    Each time everyone moves to the place of another one, on a straight line with a soft start and stop (the polynomial
    ``3 s^2 - 2 s^3``, whose mean squared slope is 1.2), in 60 % of the time from one exchange to the next and at a
    moment of its own. That time follows from the speed, of whose square the small movements in place get 16 %;
    `persistence` is theirs.
    """
    n, n_places = len(crowd), max(len(crowd), 2)
    lower, upper = (
        crowd.arena.lower.mean(axis=0) if n else np.zeros(2),
        crowd.arena.upper.mean(axis=0) if n else np.ones(2),
    )
    places = lower + rng.uniform(0.1, 0.9, (n_places, 2)) * (upper - lower)
    squared = ((places[:, None] - places[None]) ** 2).sum(axis=-1).sum() / (n_places * (n_places - 1))
    speed = np.sqrt((crowd.speed**2).mean()) if n else 0.0
    period = np.sqrt(1.2 / 0.6 / 0.84 * squared) / speed if speed > 0 else np.inf
    n_moves = int(n_frames / period) + 2 if np.isfinite(period) else 1
    order = rng.random((n_moves, n_places)).argsort(axis=1)
    held = np.empty((n_moves + 1, n_places), np.int64)  # held[k, i]: the place of individual i before move k
    held[0] = np.arange(n_places)
    for k in range(n_moves):  # one cycle through everyone, so nobody stays
        following = np.empty(n_places, np.int64)
        following[order[k]] = np.roll(order[k], -1)
        held[k + 1] = following[held[k]]
    clock = rng.random() + np.arange(n_frames) / period
    move = clock.astype(np.int64)
    delay = rng.uniform(0.0, 0.4, (n_moves, n_places))[move, :n]
    s = np.clip((clock[:, None] - move[:, None] - delay) / 0.6, 0.0, 1.0)[..., None]
    here, there = places[held[move, :n]], places[held[move + 1, :n]]
    calm = min(max(crowd.persistence, 5.0), 50.0)
    sway = (
        smooth_noise(rng, n_frames, (n, 2), calm)
        * (0.2 * np.sqrt(calm) * np.sqrt((crowd.speed**2).mean(axis=0)))[:, None]
    )
    position = here + (there - here) * s**2 * (3 - 2 * s) + sway
    return Paths(position, np.arctan2(there[..., 1] - here[..., 1], there[..., 0] - here[..., 0]))


def circle(rng: Generator, n_frames: int, crowd: Crowd) -> Paths:
    """Circles around a centre that drifts at a tenth of the speed: everyone's own or, in a mill, one for all.

    A turn by one radian takes `persistence` frames, more or less so that circles of all sizes fit into the arena.
    """
    n = len(crowd)
    mill = rng.random() < 0.4
    extent = crowd.arena.upper - crowd.arena.lower
    pace = np.sqrt((crowd.speed**2).mean(axis=0))
    radius = np.clip(pace * crowd.persistence, 0.3 * crowd.size, 0.35 * extent.min(axis=1) + 0.1 * crowd.size)
    radius = radius * (rng.uniform(0.3, 1.5, n) if mill else rng.uniform(0.7, 1.4, n))
    start = crowd.arena.lower + 0.5 * extent if mill else crowd.arena.scatter(rng)
    sense = np.where(rng.random(n) < (1.0 if mill else 0.5), 1.0, -1.0)
    turned = np.cumsum(np.broadcast_to(crowd.speed, (n_frames, n)), axis=0) / radius
    angle = _directions(rng, crowd) + sense * turned
    away = along(_directions(rng, crowd)) * (0.1 * pace * (not mill))[:, None]
    centre = start + np.arange(n_frames)[:, None, None] * away
    return Paths(centre + radius[:, None] * along(angle), angle + sense * np.pi / 2)


def trail(rng: Generator, n_frames: int, crowd: Crowd) -> Paths:
    """Along one to three closed trails, in both directions (ants, cars), everyone a little beside its middle.

    A trail is a random curve of four harmonics. An individual turns back after 20 times `persistence` on average.
    """
    n, n_trails = len(crowd), int(rng.integers(1, 4))
    lower, extent = crowd.arena.lower, crowd.arena.upper - crowd.arena.lower
    angle, order = np.linspace(0.0, 2 * np.pi, 401), np.arange(1, 5)
    swing = rng.standard_normal((n_trails, 2, 2, 4)) / order**1.5
    waves = np.stack([np.cos(np.outer(order, angle)), np.sin(np.outer(order, angle))])
    curve = np.einsum("kdph,pha->kad", swing, waves)
    curve = (curve - curve.min(axis=1, keepdims=True)) / np.maximum(np.ptp(curve, axis=1, keepdims=True), 1e-9)
    which = rng.integers(0, n_trails, n)
    turns = rng.random((n_frames, n)) < 0.05 / crowd.persistence
    sense = np.where(rng.random(n) < 0.5, 1.0, -1.0) * np.where(np.cumsum(turns, axis=0) % 2, -1.0, 1.0)
    gone = np.cumsum(sense * crowd.speed, axis=0)
    beside = rng.normal(0.0, 0.5, (n, 2)) * crowd.size[:, None]
    position, heading = np.empty((n_frames, n, 2)), np.empty((n_frames, n))
    for k in range(n_trails):
        walkers = np.flatnonzero(which == k)
        if not len(walkers):
            continue
        points = lower[0] + (0.05 + 0.9 * curve[k]) * extent[0]
        side = np.diff(points, axis=0)
        mile = np.concatenate([[0.0], np.cumsum(np.hypot(side[:, 0], side[:, 1]))])
        place = (rng.uniform(0.0, mile[-1], len(walkers)) + gone[:, walkers]) % mile[-1]
        position[:, walkers] = np.stack([np.interp(place, mile, points[:, axis]) for axis in (0, 1)], axis=-1)
        ahead = side[np.clip(np.searchsorted(mile, place, side="right") - 1, 0, len(side) - 1)]
        heading[:, walkers] = np.arctan2(ahead[..., 1], ahead[..., 0]) + np.where(sense[:, walkers] < 0, np.pi, 0.0)
    return Paths(position + beside, heading)


def kept_apart(position: Floats, reach: Floats, there: Bools) -> Floats:
    """Positions (T, M, 2) pushed apart where two are nearer than the mean of their reaches (M,): bodies take up room.

    Each frame stands for itself, and the push fades where two are on top of each other, so that paths that cross still
    do, without a leap. Who is not there (T, M) neither pushes nor is pushed.
    """
    position = position.copy()
    if not position.size:
        return position
    room = 0.5 * (reach[:, None] + reach[None, :])
    for some in np.array_split(np.arange(len(position)), max(1, position[..., 0].size * len(reach) // 1_000_000)):
        both = there[some][:, :, None] & there[some][:, None, :]
        for _ in range(3):
            x, y = position[some, :, 0], position[some, :, 1]
            dx, dy = x[:, None, :] - x[:, :, None], y[:, None, :] - y[:, :, None]
            apart = np.sqrt(dx * dx + dy * dy)
            push = 0.5 * np.maximum(room - apart, 0.0) / (apart + 0.3 * room + 1e-9) * both
            position[some, :, 0] -= (push * dx).sum(axis=2)
            position[some, :, 1] -= (push * dy).sum(axis=2)
    return position


FAMILIES: dict[str, Callable[[Generator, int, Crowd], Paths]] = {
    "run_and_tumble": run_and_tumble,
    "ornstein_uhlenbeck": ornstein_uhlenbeck,
    "brownian": brownian,
    "bouts": bouts,
    "flock": flock,
    "follow": follow,
    "formation": formation,
    "circle": circle,
    "trail": trail,
}
