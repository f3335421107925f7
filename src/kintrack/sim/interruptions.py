"""What interrupts a path: rests, sudden flights, meetings with another one, and visits to a nest.

Each works on the paths of any family, so that every kind of motion can have every kind of interruption.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kintrack.sim.motion import Crowd, Paths, along
from kintrack.sim.worlds import WorldConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LONGEST_WAY = 200
"""Finest frames after which one on its way to a meeting or a nest has arrived, however slow it is."""


class Told(NamedTuple):
    """Paths with their interruptions."""

    position: Floats
    """(T, M, 2) pixels."""
    heading: Floats
    """(T, M) radians."""
    hidden: Bools
    """(T, M) who is inside a nest."""


def rest(rng: Generator, paths: Paths, share: float, length: float) -> Paths:
    """Paths along which everyone rests for a `share` of the time, `length` frames on average: their clocks stand still.

    Who rests begins to move with a chance of ``1 / length`` in each frame, and the chance of coming to rest follows
    from the share.
    """
    n_steps, n = paths.heading.shape
    chance = rng.random((n_steps, n))
    begin, end = share / (1.0 - share) / length, 1.0 / length
    rests = np.zeros((n_steps, n), bool)
    rests[:1] = chance[:1] < share
    for t in range(1, n_steps):
        rests[t] = np.where(rests[t - 1], chance[t] >= end, chance[t] < begin)
    clock = np.cumsum(~rests, axis=0) - 1
    clock = np.maximum(clock - clock[:1], 0)
    position = np.take_along_axis(paths.position, clock[..., None], axis=0)
    return Paths(position, np.take_along_axis(paths.heading, clock, axis=0))


def fly(rng: Generator, world: WorldConfig, crowd: Crowd, paths: Paths) -> Paths:
    """Paths with sudden flights: straight, at a speed from half to one and a half of the config's, in any direction."""
    n_steps, n = paths.heading.shape
    low, high = world.flight_length
    when, who = np.nonzero(rng.random((n_steps + high, n)) < world.flights / 1000.0)
    speed = world.flight_speed * rng.uniform(0.5, 1.5, len(who)) * crowd.size[who]
    velocity = along(rng.uniform(-np.pi, np.pi, len(who))) * speed[:, None]
    change = np.zeros((n_steps + 2 * high + 1, n, 2))
    np.add.at(change, (when, who), velocity)
    np.add.at(change, (when + rng.integers(low, high + 1, len(who)), who), -velocity)
    airborne = np.cumsum(change, axis=0)[high : high + n_steps]  # a flight may have begun before the first frame
    flies = (np.abs(airborne) > 1e-6).any(axis=-1)
    heading = np.where(flies, np.arctan2(airborne[..., 1], airborne[..., 0]), paths.heading)
    return Paths(paths.position + np.cumsum(airborne, axis=0), heading)


def meet_and_visit(
    rng: Generator, world: WorldConfig, crowd: Crowd, position: Floats, heading: Floats, broken: Bools
) -> Told:
    """Positions (T, M, 2) in the arena, in which some go to another one or to a nest, stay, and take up their own path.

    Args:
        broken: (T, M) where a position does not follow from the one before; nobody is on the way then.
    """
    detours = _Detours(crowd, position.copy(), broken)
    if world.meetings:
        low, high = world.meeting_length
        for begin, who in _occasions(rng, world.meetings / (0.5 * (low + high)), position.shape, high):
            detours.meet(rng, begin, who, int(rng.integers(low, high + 1)))
    if world.nests:
        holes = rng.uniform(0.15, 0.85, (world.nests, 2)) * world.arena
        for begin, who in _occasions(rng, world.nest_visits / 1000.0, position.shape, round(world.nest_stay)):
            stay = int(np.ceil(rng.exponential(world.nest_stay)))
            detours.visit(rng, begin, who, stay, holes[rng.integers(0, world.nests, 2)])
    moved = np.diff(detours.position, axis=0, prepend=detours.position[:1])
    turned = detours.on_the_way & (np.abs(moved) > 0).any(axis=-1)
    heading = np.where(turned, np.arctan2(moved[..., 1], moved[..., 0]), heading)
    return Told(detours.position, heading, detours.hidden)


def _occasions(rng: Generator, chance: float, shape: tuple[int, ...], before: int) -> list[tuple[int, int]]:
    """(frame, individual) of what begins by chance, in the order of time; some of it before the first frame."""
    when, who = np.nonzero(rng.random((shape[0] + before, shape[1])) < chance)
    return list(zip((when - before).tolist(), who.tolist(), strict=True))


class _Detours:
    """Paths that are bent, one detour after the other; nobody takes two at a time."""

    def __init__(self, crowd: Crowd, position: Floats, broken: Bools) -> None:
        self.position = position
        self.hidden = np.zeros(position.shape[:2], bool)
        self.on_the_way = np.zeros(position.shape[:2], bool)
        self._size = crowd.size
        self._pace = np.sqrt((crowd.speed**2).mean(axis=0))
        self._taken = broken.copy()

    def meet(self, rng: Generator, begin: int, who: int, stay: int) -> None:
        """One goes to one of the three nearest, stays on top of or behind it, and may come out on any side."""
        if self._taken[max(begin, 0), who]:
            return
        distance = np.linalg.norm(self._at(begin) - self._at(begin, who), axis=1)
        distance[who] = np.inf
        near = np.argsort(distance)[: min(3, len(distance) - 1)]
        if not len(near):
            return
        host = int(rng.choice(near))
        arrive = begin + self._way(who, float(distance[host]))
        leave = arrive + stay
        end = leave + self._way(who, float(np.linalg.norm(self._at(leave, host) - self._at(leave, who))))
        time = np.arange(max(begin, 0), min(end, len(self.position)))
        if self._taken[time][:, [who, host]].any():
            return
        sides = rng.normal(0.0, 0.25, (2, 2)) * self._size[who]
        across = np.clip((time - arrive) / stay, 0.0, 1.0)[:, None]
        target = self.position[time, host] + sides[0] * (1 - across) + sides[1] * across
        self._bend(time, who, target, _weight(time, begin, arrive, leave, end))
        self._taken[time, host] = True

    def visit(self, rng: Generator, begin: int, who: int, stay: int, holes: Floats) -> None:
        """One goes into one of two holes, is out of sight, and comes out of the other if there was time for it."""
        if stay * self._pace[who] < np.linalg.norm(holes[1] - holes[0]):
            holes = holes[[0, 0]]
        holes = holes + rng.normal(0.0, 0.2, (2, 2)) * self._size[who]
        arrive = begin + self._way(who, float(np.linalg.norm(self._at(begin, who) - holes[0])))
        leave = arrive + stay
        end = leave + self._way(who, float(np.linalg.norm(self._at(leave, who) - holes[1])))
        time = np.arange(max(begin, 0), min(end, len(self.position)))
        if self._taken[time, who].any():
            return
        target = np.where(time[:, None] < arrive + stay / 2, holes[0], holes[1])
        self._bend(time, who, target, _weight(time, begin, arrive, leave, end))
        self.hidden[time, who] |= (time >= arrive) & (time < leave)

    def _at(self, time: int, who: int | slice = slice(None)) -> Floats:
        return np.asarray(self.position[min(max(time, 0), len(self.position) - 1), who])

    def _way(self, who: int, distance: float) -> int:
        """Frames for a distance, at a speed that is twice the individual's own where it is greatest."""
        frames = 0.75 * distance / max(self._pace[who], 1e-9)
        return int(np.clip(np.ceil(frames), 3, LONGEST_WAY))

    def _bend(self, time: Ints, who: int, target: Floats, weight: Floats) -> None:
        self.position[time, who] += weight[:, None] * (target - self.position[time, who])
        self.on_the_way[time, who] = (weight > 0) & (weight < 1)
        self._taken[time, who] = True


def _weight(time: Ints, begin: int, arrive: int, leave: int, end: int) -> Floats:
    """(T,) how far one is on its way from 0 at both ends of a detour to 1 during the stay, softly begun and ended."""
    s = np.clip(np.minimum((time - begin) / (arrive - begin), (end - time) / (end - leave)), 0.0, 1.0)
    return np.asarray(s * s * (3 - 2 * s), np.float64)
