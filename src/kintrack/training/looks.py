"""What the detections of a training clip look like: drawn worlds, and any crops in another light.

Appearance is learned as a likeness of two crops of one individual. So everything by which the crops of different videos
differ, but those of one do not, is varied from clip to clip; and what differs between two sightings of one individual
(light, sharpness, noise) from crop to crop.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kintrack.config import EncoderConfig
from kintrack.config_data import AugmentConfig
from kintrack.core.clip import Crops
from kintrack.core.detections import Detections
from kintrack.sim import Scene, draw_crops, random_appearance
from kintrack.windows.crops import squares
from kintrack.windows.shown import anchor_points


def drawn_looks(scene: Scene, detections: Detections, encoder: EncoderConfig, rng: Generator) -> Crops:
    """(N, A C, S, S) the crops of detections in a simulated world that looks like no other.

    Args:
        scene: the world; frame t of the detections is its frame t.
        detections: as a detector saw them: a false one shows what is there.
        encoder: anchors (of every detection: box, centroid), crop_size, margin and channels are used.
    """
    _, side = squares(detections.box, encoder, encoder.crop_size)
    corner = anchor_points(detections, encoder) - 0.5 * side[:, None, None]
    look, n = random_appearance(rng, encoder.channels), len(encoder.anchors)
    squared = np.where(np.isfinite(corner), corner, 0.0).reshape(-1, 2), np.repeat(side, n)
    drawn = draw_crops(scene, np.repeat(detections.frame, n), *squared, encoder.crop_size, look, rng)
    return drawn.reshape(len(detections), n * drawn.shape[1], *drawn.shape[2:])


def in_another_light(crops: Crops, rng: Generator, config: AugmentConfig | None = None) -> Crops:
    """The crops (N, C, S, S) of one clip, as another camera would have shown them; what was given stays as it was.

    All of a clip are seen with the same contrast and sharpness, and by a camera that shakes alike; a lamp that flickers
    and a place in the shade are different for each crop, and so is noise.

    Args:
        crops: of one clip.
        rng: what all is drawn from.
        config: how much; flip, quarters, rotate and scale are not used, see `kintrack.training.augment.random_view`.
    """
    c, n = config or AugmentConfig(), len(crops)
    contrast = np.exp(rng.normal(0.0, c.contrast) + rng.uniform(0.0, c.flicker) * rng.standard_normal(n))
    brightness = rng.normal(0.0, c.brightness) + rng.uniform(0.0, c.shade) * rng.standard_normal(n)
    seen = crops * _each(contrast)
    seen += _each(0.5 + brightness - 0.5 * contrast)
    if rng.random() < c.blur:
        mix = _blur(seen.shape[-1], float(rng.uniform(0.005, 0.03)) * seen.shape[-1])
        seen = mix @ seen @ mix.T
    if rng.random() < c.motion_blur:
        seen = _smeared(seen, float(rng.uniform(0.05, 0.15)) * seen.shape[-1], float(rng.uniform(0.0, np.pi)))
    if rng.random() < c.noise:
        seen += np.float32(rng.uniform(0.0, 0.06)) * rng.standard_normal(seen.shape, dtype=np.float32)
    return np.asarray(np.clip(seen, 0, 1, out=seen), np.float32)


def each_turned(crops: Crops, rng: Generator) -> Crops:
    """The crops (N, C, S, S), each turned by itself by 0, 90, 180 or 270 degrees.

    In frames that follow each other an individual lies as it lay: a feature of how crops lie would tell them apart, for
    that moment. Turned, they can only be told by what they show.
    """
    turned, quarters = crops.copy(), rng.integers(0, 4, len(crops))
    for n in (1, 2, 3):
        turned[quarters == n] = np.rot90(crops[quarters == n], n, (2, 3))
    return turned


def _each(values: NDArray[np.floating]) -> Crops:
    """(N,) as a factor of N crops."""
    return np.asarray(values, np.float32)[:, None, None, None]


def _blur(size: int, sigma: float) -> Crops:
    """(S, S) the matrix that blurs a line of S pixels by a Gaussian of so many pixels."""
    off = np.arange(size)[:, None] - np.arange(size)
    bell = np.exp(-0.5 * (off / sigma) ** 2)
    return np.asarray(bell / bell.sum(axis=1, keepdims=True), np.float32)


def _smeared(crops: Crops, length: float, angle: float) -> Crops:
    """The crops as if the camera had moved by so many pixels while it looked: the mean along a line."""
    steps = np.linspace(-0.5, 0.5, max(int(np.ceil(length)), 1) + 1) * length
    shifts = np.rint(np.outer(steps, [np.sin(angle), np.cos(angle)])).astype(int)
    reach = int(np.abs(shifts).max())
    size = crops.shape[-1]
    wide = np.pad(crops, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="edge")
    seen = np.zeros_like(crops)
    for down, across in shifts + reach:
        seen += wide[..., down : down + size, across : across + size]
    return np.asarray(seen / np.float32(len(shifts)), np.float32)
