"""What worlds there are: their options, some by name, and as many as training wants at random."""

from collections.abc import Mapping
from typing import Any, Literal, Self, get_args

import numpy as np
import pydantic
from numpy.random import Generator
from pydantic import Field

from kintrack.config import Config
from kintrack.errors import ConfigError, nearest_name

Family = Literal["run_and_tumble", "ornstein_uhlenbeck", "brownian", "bouts", "flock", "follow", "formation"]


class WorldConfig(Config):
    """A world. Lengths are in pixels where nothing else is said, speeds in individuals' own sizes per finest frame."""

    family: Family = "run_and_tumble"
    """How individuals move."""
    n_individuals: int = Field(default=10, ge=0)
    """Individuals in the arena; with open borders, those in view at a time, on average."""
    n_frames: int = Field(default=300, ge=1)
    """Frames that are seen."""
    stride: int = Field(default=1, ge=1)
    """The frame rate: every how many of the finest frames one is seen."""
    fps: float = Field(default=30.0, gt=0)
    """Finest frames in a second."""
    arena: tuple[int, int] = (640, 480)
    """Width and height of what is seen."""
    border: Literal["walls", "open"] = "walls"
    """What happens at the border: individuals turn back, or they leave and others enter."""
    outside: float = Field(default=0.2, gt=0)
    """With open borders, how far the world goes on beyond each border, as a share of the arena's side."""
    max_absence: int | None = Field(default=25, ge=0)
    """Finest frames out of view after which one that returns counts as another; None: never."""
    lifetime: float | None = Field(default=None, gt=0)
    """Finest frames after which an individual vanishes and another appears elsewhere, on average; None: never."""
    body: Literal["point", "box", "ellipse", "articulated"] = "ellipse"
    """What is detected: points, upright boxes, boxes around rotated ellipses (with mask areas), or keypoints."""
    size: float = Field(default=30.0, gt=0)
    """Median size of an individual: the square root of length times width."""
    size_spread: float = Field(default=0.1, ge=0)
    """Standard deviation of the sizes' logarithm."""
    aspect: float = Field(default=2.0, gt=0)
    """Median length over width; of a box, height over width."""
    aspect_spread: float = Field(default=0.1, ge=0)
    """Standard deviation of the aspects' logarithm."""
    wobble: float = Field(default=0.03, ge=0)
    """Standard deviation of how length and width change in time, in their logarithm."""
    spine: int = Field(default=3, ge=2)
    """Keypoints from head to tail of an articulated body; it has a left and a right one besides."""
    speed: float = Field(default=0.1, ge=0)
    """Root mean square displacement in a finest frame, in sizes."""
    speed_spread: float = Field(default=0.2, ge=0)
    """Standard deviation of the individuals' speeds' logarithm."""
    unsteadiness: float = Field(default=0.0, ge=0)
    """Standard deviation of how an individual's speed changes in time, in its logarithm: calm and sudden flight."""
    persistence: float = Field(default=20.0, gt=0)
    """Finest frames for which a direction is kept."""
    drift: float = Field(default=0.0, ge=0)
    """Displacement in a finest frame that all share, in sizes (a current, a moving camera); needs open borders."""
    camera: float = Field(default=0.0, ge=0)
    """How far a shaky camera strays, as a standard deviation in sizes."""
    camera_persistence: float = Field(default=30.0, gt=0)
    """Finest frames after which the camera is somewhere else."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        if min(self.arena) <= 0:
            raise ValueError(f"arena is {self.arena}; wanted a width and a height of at least 1 pixel")
        if self.drift and self.border == "walls":
            raise ValueError("drift carries everybody into a wall; set border to 'open', or drift to 0")
        return self


PRESETS: dict[str, WorldConfig] = {
    "crossing": WorldConfig(
        family="formation", n_individuals=4, arena=(320, 320), size=28, speed=0.12, body="ellipse", aspect=1.6
    ),
    "flies": WorldConfig(
        family="bouts", n_individuals=6, arena=(512, 512), size=28, aspect=2.2, body="articulated", speed=0.12,
        speed_spread=0.4, persistence=25,
    ),
    "fish": WorldConfig(
        family="flock", n_individuals=30, arena=(800, 600), size=18, aspect=4, body="ellipse", speed=0.25,
        persistence=40,
    ),
    "bees": WorldConfig(
        family="ornstein_uhlenbeck", n_individuals=20, arena=(900, 500), border="open", size=50, aspect=1.8,
        body="ellipse", speed=0.25, speed_spread=0.4, unsteadiness=1.0, persistence=10, max_absence=25,
    ),
    "dancers": WorldConfig(
        family="formation", n_individuals=9, arena=(1280, 720), size=180, aspect=2.4, size_spread=0.15, body="box",
        wobble=0.08, speed=0.04, camera=0.05,
    ),
    "mice": WorldConfig(
        family="follow", n_individuals=5, arena=(640, 480), size=45, aspect=2.2, body="articulated", spine=4, speed=0.1,
        persistence=30,
    ),
    "worms": WorldConfig(
        family="run_and_tumble", n_individuals=12, arena=(800, 800), size=24, aspect=8, body="articulated", spine=9,
        speed=0.05, persistence=60,
    ),
    "particles": WorldConfig(
        family="brownian", n_individuals=60, arena=(512, 512), border="open", size=6, aspect=1, body="point",
        speed=0.4, lifetime=60,
    ),
    "birds": WorldConfig(
        family="flock", n_individuals=30, arena=(1280, 720), border="open", size=24, size_spread=0.3, aspect=0.6,
        body="box", wobble=0.25, speed=0.2, drift=0.1, persistence=60,
    ),
}  # fmt: skip
"""Worlds by name."""


def find_world(world: WorldConfig | Mapping[str, Any] | str) -> WorldConfig:
    """The world of a preset's name, of a mapping, or the config itself. A mapping may build on a ``preset`` by name.

    >>> find_world({"preset": "bees", "n_frames": 50}).n_individuals
    20
    """
    if isinstance(world, str):
        if world not in PRESETS:
            raise ConfigError(f"there is no world named {world!r}: {nearest_name(world, PRESETS)}")
        return PRESETS[world]
    if isinstance(world, Mapping) and "preset" in world:
        changes = {key: value for key, value in world.items() if key != "preset"}
        return WorldConfig.of(find_world(str(world["preset"])).model_dump() | changes)
    return WorldConfig.of(world)


def random_world(rng: Generator, n_frames: int = 120, max_individuals: int = 60) -> WorldConfig:
    """A world for training, unlike the one before: every family, border, body, density, speed and frame rate.

    Numbers of individuals are drawn evenly in their logarithm from 2 to `max_individuals`, and the arena so large that
    bodies cover from 1 % to all of it, which settles how near neighbours are in sizes.
    """
    family = str(rng.choice(get_args(Family)))
    n = int(np.exp(rng.uniform(np.log(2), np.log(max_individuals + 1))))
    body = str(rng.choice(["box", "ellipse", "articulated", "point"], p=[0.4, 0.3, 0.2, 0.1]))
    size, coverage, shape = _between(rng, 6, 80), _between(rng, 0.01, 1.0), _between(rng, 0.6, 1.7)
    side = size * np.sqrt(max(n / coverage, 6.0))
    is_open = family != "formation" and rng.random() < 0.5
    return WorldConfig(
        family=family,
        n_individuals=n,
        n_frames=n_frames,
        stride=int(rng.choice([1, 1, 1, 2, 3, 4, 5, 7, 10])),
        arena=(round(side * np.sqrt(shape)), round(side / np.sqrt(shape))),
        border="open" if is_open else "walls",
        outside=_between(rng, 0.1, 0.4),
        max_absence=int(rng.integers(0, 60)) if rng.random() < 0.8 else None,
        lifetime=_between(rng, 30, 1000) if rng.random() < 0.15 else None,
        body=body,
        size=size,
        size_spread=_between(rng, 0.02, 0.4),
        aspect=_between(rng, 1.0, 5.0) if body != "box" else _between(rng, 0.4, 3.0),
        aspect_spread=_between(rng, 0.02, 0.3),
        wobble=_between(rng, 0.005, 0.15),
        spine=int(rng.integers(2, 10)),
        speed=_between(rng, 0.01, 0.4),
        speed_spread=_between(rng, 0.05, 0.8),
        unsteadiness=_between(rng, 0.1, 1.2) if rng.random() < 0.5 else 0.0,
        persistence=_between(rng, 3, 100),
        drift=_between(rng, 0.01, 0.2) if is_open and rng.random() < 0.3 else 0.0,
        camera=_between(rng, 0.05, 0.5) if rng.random() < 0.25 else 0.0,
        camera_persistence=_between(rng, 10, 100),
    )


def _between(rng: Generator, low: float, high: float) -> float:
    """Evenly drawn in the logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
