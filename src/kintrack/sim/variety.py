"""As many worlds and detectors as training wants, at random, so that what is met in reality lies among them."""

from typing import Any, get_args

import numpy as np
from numpy.random import Generator

from kintrack.sim.noise import NoiseConfig
from kintrack.sim.worlds import Family, WorldConfig

STRIDES = (1, 1, 1, 1, 2, 2, 3, 4, 5, 7, 10)


def random_world(rng: Generator, n_frames: int = 120, max_individuals: int = 60) -> WorldConfig:
    """A world for training, unlike the one before: every family, border, body, density, speed and frame rate.

    Numbers of individuals are drawn evenly in their logarithm from 2 to `max_individuals`, and the arena so large that
    bodies cover from 1 % to four times all of it, which settles how near neighbours are in sizes. One world in eight is
    of particles.
    """
    if rng.random() < 0.125:
        return _particles(rng, n_frames, max_individuals)
    family = str(rng.choice(get_args(Family)))
    n = int(np.exp(rng.uniform(np.log(2), np.log(max_individuals + 1))))
    body = str(rng.choice(["box", "ellipse", "articulated", "point"], p=[0.45, 0.3, 0.15, 0.1]))
    size = _between(rng, 6, 200)
    coverage = _between(rng, 0.01, 1.0) if rng.random() < 0.6 else _between(rng, 0.3, 4.0)
    shape = _between(rng, 0.6, 1.7) if rng.random() < 0.8 else _between(rng, 2.0, 5.0)
    side = size * np.sqrt(max(n / coverage, 2.0))
    is_open = family != "formation" and rng.random() < 0.45
    return WorldConfig(
        family=family,
        n_individuals=n,
        n_frames=n_frames,
        stride=int(rng.choice(STRIDES)),
        arena=(round(side * np.sqrt(shape)), round(side / np.sqrt(shape))),
        border="open" if is_open else "walls",
        outside=_between(rng, 0.1, 0.6),
        max_absence=_absence(rng),
        lifetime=_between(rng, 30, 1000) if rng.random() < 0.15 else None,
        body=body,
        size=size,
        size_spread=_between(rng, 0.02, 0.5),
        spine=int(rng.integers(2, 10)),
        drift=_between(rng, 0.003, 0.2) if is_open and rng.random() < 0.3 else 0.0,
        camera=_between(rng, 0.03, 1.0) if rng.random() < 0.35 else 0.0,
        camera_persistence=_between(rng, 3, 100),
        **_form(rng, body),
        **_pace(rng, family),
        **_events(rng),
    )


def _particles(rng: Generator, n_frames: int, max_individuals: int) -> WorldConfig:
    """A field of particles in a cell: many, most without a size, diffusing or carried along, for a few frames each.

    Their speed is drawn in distances to the nearest neighbour, which for places at random is half the root of the area
    per particle (Clark and Evans 1954); a size is not what limits them.
    """
    n = int(np.exp(rng.uniform(np.log(8), np.log(max(max_individuals, 8) + 1))))
    size, side = 6.0, _between(rng, 150, 1500)
    apart = 0.5 * side / np.sqrt(n)
    family: Family = rng.choice(np.array(["brownian", "ornstein_uhlenbeck", "run_and_tumble"]))
    return WorldConfig(
        family=family,
        n_individuals=n,
        n_frames=n_frames,
        stride=int(rng.choice((1, 1, 2, 3, 4))),
        arena=(round(side), round(side)),
        border="open" if rng.random() < 0.7 else "walls",
        max_absence=0,
        lifetime=_between(rng, 4, 200) if rng.random() < 0.8 else None,
        body="point" if rng.random() < 0.7 else "ellipse",
        size=size,
        size_spread=_between(rng, 0.02, 0.3),
        aspect=1.0,
        wobble=_between(rng, 0.001, 0.2),
        speed=_between(rng, 0.01, 0.4) * apart / size,
        speed_spread=_between(rng, 0.2, 1.2),
        unsteadiness=_between(rng, 0.2, 1.5) if rng.random() < 0.6 else 0.0,
        persistence=_between(rng, 2, 60),
        rests=float(rng.uniform(0.1, 0.8)) if rng.random() < 0.3 else 0.0,
        rest_length=_between(rng, 3, 40),
    )


def _absence(rng: Generator) -> int | None:
    """Short in half of the worlds; long, or without an end, in the others."""
    kind = rng.random()
    return int(rng.integers(0, 60)) if kind < 0.55 else int(rng.integers(60, 600)) if kind < 0.75 else None


def _form(rng: Generator, body: str) -> dict[str, Any]:
    """How bodies are made, and how their boxes change: rigid ones hardly, dancers and flapping wings a lot."""
    return {
        "aspect": _between(rng, 1.0, 5.0) if body != "box" else _between(rng, 0.4, 3.5),
        "aspect_spread": _between(rng, 0.02, 0.4),
        "wobble": _between(rng, 0.001, 0.2),
        "wobble_persistence": _between(rng, 3, 60),
        "limbs": _between(rng, 0.02, 0.15) if rng.random() < 0.35 else 0.0,
        "limb_persistence": _between(rng, 2, 20),
    }


def _pace(rng: Generator, family: str) -> dict[str, Any]:
    """How fast and how steadily; formations are slow, because all of them cross."""
    return {
        "speed": _between(rng, 0.002, 0.15 if family == "formation" else 0.5),
        "speed_spread": _between(rng, 0.05, 0.9),
        "unsteadiness": _between(rng, 0.1, 1.2) if rng.random() < 0.5 else 0.0,
        "persistence": _between(rng, 3, 100),
    }


def _events(rng: Generator) -> dict[str, Any]:
    """Rests, flights, meetings, room for everyone, and nests, each in some of the worlds.

    Who rests more often takes to flight, too: insects on a comb hardly move, until they are gone.
    """
    resting = rng.random() < 0.35
    length = int(_between(rng, 1, 30))
    return {
        "rests": float(rng.uniform(0.1, 0.95)) if resting else 0.0,
        "rest_length": _between(rng, 5, 200),
        "flights": _between(rng, 1, 30) if rng.random() < (0.5 if resting else 0.25) else 0.0,
        "flight_speed": _between(rng, 0.2, 2.0),
        "flight_length": (1, length),
        "meetings": _between(rng, 0.05, 0.5) if rng.random() < 0.25 else 0.0,
        "meeting_length": (5, int(_between(rng, 10, 90))),
        "avoidance": _between(rng, 0.5, 1.5) if rng.random() < 0.25 else 0.0,
        "nests": int(rng.integers(1, 3)) if rng.random() < 0.15 else 0,
        "nest_visits": _between(rng, 1, 15),
        "nest_stay": _between(rng, 5, 300),
    }


def random_noise(rng: Generator) -> NoiseConfig:
    """Noise as training wants it: every other time hardly any, and else of several kinds at once, up to strong.

    The nearly clean half keeps what is learned exact where detections are exact; annotations, too, are linear between
    key frames, on whole pixels, and without those who are hidden.
    """
    strong = rng.random() < 0.5
    annotated = rng.random() < (0.15 if strong else 0.4)
    return NoiseConfig(
        occlusion=float(rng.uniform(0.5 if strong else 0.7, 0.98)) if rng.random() < 0.6 else None,
        rescale=float(rng.uniform(0.55, 1.2)) if rng.random() < 0.3 else 1.0,
        keyframes=(int(rng.integers(2, 6)), int(rng.integers(6, 16))) if annotated else None,
        held_sides=bool(annotated and rng.random() < 0.4),
        grid=1.0 if rng.random() < 0.4 else 0.0,
        occluders=int(rng.integers(1, 4)) if rng.random() < (0.2 if strong else 0.1) else 0,
        occluder_size=(1.0, _between(rng, 1.5, 8.0)),
        occluder_share=float(rng.uniform(0.4, 0.9)),
        burst_length=(2, int(rng.integers(3, 41))),
        slow_length=_between(rng, 2, 40),
        false_near=float(rng.choice([0.5, rng.uniform(0.0, 1.0)])),
        blank_frames=_between(rng, 0.01, 0.2) if rng.random() < 0.15 else 0.0,
        **(_strong(rng) if strong else _faint(rng)),
    )


def _faint(rng: Generator) -> dict[str, float]:
    """Errors that hardly matter; in half of the cases, none of a kind."""

    def some(most: float) -> float:
        return float(rng.uniform(0.0, most)) if rng.random() < 0.5 else 0.0

    return {
        "miss": some(0.01),
        "burst": some(0.01),
        "jitter": some(0.012),
        "scale_jitter": some(0.015),
        "slow_jitter": some(0.02),
        "slow_scale_jitter": some(0.03),
        "keypoint_miss": some(0.1),
        "false_rate": some(0.01),
    }


def _strong(rng: Generator) -> dict[str, float]:
    """Errors as poor detectors make them: up to 12 % missed, displaced by 8 % of the size, and 8 % false."""

    def some(most: float, chance: float) -> float:
        return float(rng.uniform(0.1, 1.0) * most) if rng.random() < chance else 0.0

    jitter = some(0.08, 0.75)
    slow = float(rng.uniform(0.0, 0.8)) if rng.random() < 0.5 else 0.0  # the part of the jitter that persists
    scale = some(0.1, 0.75)
    missed = some(0.12, 0.8)
    bursts = float(rng.uniform(0.2, 0.8)) if rng.random() < 0.4 else 0.0  # the part of the misses that comes in bursts
    return {
        "miss": missed * (1 - bursts),
        "burst": missed * bursts,
        "jitter": jitter * (1 - slow),
        "slow_jitter": jitter * slow,
        "scale_jitter": scale * (1 - slow),
        "slow_scale_jitter": scale * slow,
        "merge": some(0.5, 0.25),
        "merge_overlap": float(rng.uniform(0.2, 0.6)),
        "merge_owned": float(rng.uniform(0.4, 1.0)),
        "keypoint_miss": some(0.3, 0.5),
        "false_rate": some(0.08, 0.65),
        "false_length": float(rng.uniform(1.0, 6.0)) if rng.random() < 0.4 else 1.0,
    }


def _between(rng: Generator, low: float, high: float) -> float:
    """Evenly drawn in the logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
