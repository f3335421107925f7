"""Worlds with known truth: simulated, observed by a fallible detector, and drawn to pixels when asked."""

from kintrack.sim.observe import NoiseConfig, Observation, observe, random_noise
from kintrack.sim.scene import Scene, simulate, stage
from kintrack.sim.worlds import PRESETS, WorldConfig, find_world, random_world

__all__ = [
    "PRESETS",
    "NoiseConfig",
    "Observation",
    "Scene",
    "WorldConfig",
    "find_world",
    "observe",
    "random_noise",
    "random_world",
    "simulate",
    "stage",
]
