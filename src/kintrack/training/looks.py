"""What the detections of a training clip look like: drawn worlds, and any crops in another light.

Appearance is learned as a likeness of two crops of one individual. So everything by which the crops of different videos
differ, but those of one do not, is varied from clip to clip; and what differs between two sightings of one individual
(light, sharpness, noise) from crop to crop.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kintrack.config import EncoderConfig
from kintrack.core.clip import Crops
from kintrack.core.detections import Detections
from kintrack.sim import Scene, draw_crops, random_appearance
from kintrack.windows.crops import squares


def drawn_looks(scene: Scene, detections: Detections, encoder: EncoderConfig, rng: Generator) -> Crops:
    """(N, C, S, S) the crops of detections in a simulated world that looks like no other.

    Args:
        scene: the world; frame t of the detections is its frame t.
        detections: as a detector saw them: a false one shows what is there.
        encoder: crop_size, margin and channels are used.
    """
    corner, side = squares(detections.box, encoder, encoder.crop_size)
    look = random_appearance(rng, encoder.channels)
    return draw_crops(scene, detections.frame, corner, side, encoder.crop_size, look, rng)


def in_another_light(crops: Crops, rng: Generator) -> Crops:
    """The crops (N, C, S, S) of one clip, as another camera would have shown them; what was given stays as it was.

    All of a clip are mirrored and turned by quarters alike, and seen with the same contrast and sharpness; a lamp that
    flickers and a place in the shade are different for each crop, and so is noise. Half of all clips are not blurred,
    half get no noise.
    """
    turned = _turned(crops, int(rng.integers(8)))
    n = len(turned)
    contrast = np.exp(rng.normal(0.0, 0.25) + rng.uniform(0.0, 0.1) * rng.standard_normal(n))
    brightness = rng.normal(0.0, 0.1) + rng.uniform(0.0, 0.08) * rng.standard_normal(n)
    seen = turned * _each(contrast)
    seen += _each(0.5 + brightness - 0.5 * contrast)
    if rng.random() < 0.5:
        mix = _blur(seen.shape[-1], float(rng.uniform(0.005, 0.03)) * seen.shape[-1])
        seen = mix @ seen @ mix.T
    if rng.random() < 0.5:
        seen += np.float32(rng.uniform(0.0, 0.06)) * rng.standard_normal(seen.shape, dtype=np.float32)
    return np.asarray(np.clip(seen, 0, 1, out=seen), np.float32)


def _turned(crops: Crops, symmetry: int) -> Crops:
    """The crops in one of the eight ways in which a square can lie."""
    crops = np.rot90(crops, symmetry % 4, axes=(2, 3))
    return np.ascontiguousarray(crops[..., ::-1] if symmetry >= 4 else crops)


def _each(values: NDArray[np.floating]) -> Crops:
    """(N,) as a factor of N crops."""
    return np.asarray(values, np.float32)[:, None, None, None]


def _blur(size: int, sigma: float) -> Crops:
    """(S, S) the matrix that blurs a line of S pixels by a Gaussian of so many pixels."""
    off = np.arange(size)[:, None] - np.arange(size)
    bell = np.exp(-0.5 * (off / sigma) ** 2)
    return np.asarray(bell / bell.sum(axis=1, keepdims=True), np.float32)
