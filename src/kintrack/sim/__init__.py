"""Worlds with known truth: simulated, observed by a fallible detector, and drawn to pixels when asked."""

from kintrack.sim.crops import draw_crops, random_appearance
from kintrack.sim.noise import NoiseConfig
from kintrack.sim.observe import Observation, observe
from kintrack.sim.render import AppearanceConfig, DrawnVideo, draw
from kintrack.sim.scene import Scene, scene_of, simulate, stage
from kintrack.sim.variety import random_noise, random_world
from kintrack.sim.worlds import PRESETS, WorldConfig, find_world

__all__ = [
    "PRESETS",
    "AppearanceConfig",
    "DrawnVideo",
    "NoiseConfig",
    "Observation",
    "Scene",
    "WorldConfig",
    "draw",
    "draw_crops",
    "find_world",
    "observe",
    "random_appearance",
    "random_noise",
    "random_world",
    "scene_of",
    "simulate",
    "stage",
]
