"""What worlds there are: their options, and some by name."""

from collections.abc import Mapping
from typing import Any, Literal, Self

import pydantic
from pydantic import Field

from kintrack.config import Config
from kintrack.errors import ConfigError, nearest_name

Family = Literal[
    "run_and_tumble", "ornstein_uhlenbeck", "brownian", "bouts", "flock", "follow", "formation", "circle", "trail"
]  # fmt: skip


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
    wobble_persistence: float = Field(default=10.0, gt=0)
    """Finest frames for which length and width are remembered."""
    limbs: float = Field(default=0.0, ge=0)
    """How far boxes are stretched by arms, legs and wings, one side at a time, as a standard deviation in sizes."""
    limb_persistence: float = Field(default=6.0, gt=0)
    """Finest frames after which a limb is somewhere else."""
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
    rests: float = Field(default=0.0, ge=0, lt=1)
    """Share of the time that an individual rests, which makes it slower than its speed: stop and go."""
    rest_length: float = Field(default=30.0, ge=1)
    """Finest frames of a rest, on average."""
    flights: float = Field(default=0.0, ge=0, le=1000)
    """Sudden flights (jumps, where they are short) that an individual begins in 1000 finest frames, on average."""
    flight_speed: float = Field(default=1.0, ge=0)
    """Displacement in a finest frame of flight, in sizes; from half to one and a half of it."""
    flight_length: tuple[int, int] = (2, 10)
    """Least and greatest length of a flight, in finest frames."""
    meetings: float = Field(default=0.0, ge=0, lt=1)
    """Share of the time that an individual spends on or behind another one, as far as paths and others permit it."""
    meeting_length: tuple[int, int] = (10, 60)
    """Least and greatest length of a meeting, in finest frames, without the way to it."""
    avoidance: float = Field(default=0.0, ge=0)
    """Distance in sizes below which individuals push each other apart; those who cross still do."""
    nests: int = Field(default=0, ge=0)
    """Holes in the picture through which individuals vanish and come out again."""
    nest_visits: float = Field(default=5.0, ge=0, le=1000)
    """Visits to a nest that an individual begins in 1000 finest frames, on average."""
    nest_stay: float = Field(default=60.0, gt=0)
    """Finest frames inside a nest, on average; after more than `max_absence` another one comes out."""
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
        for name in ("flight_length", "meeting_length"):
            if not 1 <= getattr(self, name)[0] <= getattr(self, name)[1]:
                raise ValueError(f"{name} is {getattr(self, name)}; wanted a least and a greatest length, from 1 up")
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
    "hive": WorldConfig(
        family="ornstein_uhlenbeck", n_individuals=25, arena=(900, 500), border="open", size=60, size_spread=0.2,
        aspect=1.8, body="ellipse", wobble=0.1, wobble_persistence=4, speed=0.1, speed_spread=0.6, unsteadiness=1.0,
        persistence=5, rests=0.7, flights=6, flight_speed=1.2, flight_length=(2, 20), nests=1, nest_visits=4,
    ),
    "ants": WorldConfig(
        family="trail", n_individuals=40, arena=(800, 600), border="open", size=14, aspect=2.5, speed=0.2,
        speed_spread=0.4, unsteadiness=0.5, rests=0.1, rest_length=10, nests=1, nest_visits=2,
    ),
    "mill": WorldConfig(
        family="circle", n_individuals=30, arena=(600, 600), size=24, aspect=3.5, speed=0.3, persistence=30,
        unsteadiness=0.3,
    ),
    "huddle": WorldConfig(
        family="follow", n_individuals=6, arena=(480, 360), size=50, aspect=1.8, wobble=0.12, speed=0.08,
        speed_spread=0.4, rests=0.4, meetings=0.3, meeting_length=(20, 90),
    ),
    "stage": WorldConfig(
        family="formation", n_individuals=12, arena=(1280, 500), size=190, size_spread=0.12, aspect=2.4, body="box",
        wobble=0.06, limbs=0.06, speed=0.02, meetings=0.15, camera=0.05,
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
