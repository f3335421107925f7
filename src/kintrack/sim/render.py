"""Worlds drawn to pixels, a frame at a time and only when asked.

Every body is one or more shaded ellipses with a texture of its own: `distinctiveness` says how much of it, from clones
(0) to individuals that share nothing (1). Who is nearer is drawn over who is farther, by the rule that also decides who
is missed (`kintrack.sim.observe.nearness`).
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field

from kintrack.config import Config
from kintrack.core.tracks import Tracks
from kintrack.core.video import Video
from kintrack.errors import InputError
from kintrack.sim.motion import generator
from kintrack.sim.observe import nearness
from kintrack.sim.scene import Scene, scene_of

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]

TEXTURE_SIDE = 48


class AppearanceConfig(Config):
    """How a world looks. Brightness runs from 0, black, to 1, white."""

    distinctiveness: float = Field(default=0.5, ge=0, le=1)
    """How much of a body's texture is its own: 0 is clones, 1 shares nothing with the others."""
    channels: Literal[1, 3] = 1
    """1 is grey; with 3, individuals also differ in colour."""
    contrast: float = Field(default=-0.4, ge=-1, le=1)
    """How much brighter bodies are than the background; negative is darker."""
    pattern: float = Field(default=0.12, ge=0, le=1)
    """Standard deviation of the texture on a body."""
    background: float = Field(default=0.04, ge=0, le=1)
    """Standard deviation of the background's texture."""
    noise: float = Field(default=0.02, ge=0, le=1)
    """Standard deviation of the noise that each pixel of each frame has."""


def draw(
    truth: Scene | Tracks, appearance: AppearanceConfig | Mapping[str, Any] | None = None, seed: int | Generator = 0
) -> "DrawnVideo":
    """A world as a video.

    Give the `Scene` of `kintrack.sim.stage` to see bodies as they lie. Of mere tracks only the boxes are known: each is
    filled with an upright ellipse.
    """
    scene = scene_of(truth) if isinstance(truth, Tracks) else truth
    if not isinstance(scene, Scene):
        raise InputError(f"a {type(scene).__name__} cannot be drawn; give the Scene of stage(), or Tracks")
    return DrawnVideo(scene, AppearanceConfig.of(appearance), int(generator(seed).integers(2**32)))


class DrawnVideo(Video):
    """Frames drawn on demand, (Y, X, C) uint8. A frame is the same however often and in whatever order it is drawn."""

    def __init__(self, scene: Scene, appearance: AppearanceConfig, seed: int) -> None:
        self._scene = scene
        self._appearance = appearance
        self._seed = seed
        detections = scene.tracks.detections
        info = detections.video
        self.fps = info.fps if info else None
        upper = np.nan_to_num(detections.box[:, 2:]).max(axis=0, initial=1.0)
        self._size = info.shape if info and info.shape else (int(np.ceil(upper[1])), int(np.ceil(upper[0])))
        self._textures: dict[int, Pixels] = {}
        self.backdrop = Backdrop(appearance, self._size, np.random.default_rng([seed, 1]))
        self._behind: Pixels | None = None  # the whole of it, once a frame is drawn

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, Y, X, C)."""
        return (self._scene.tracks.detections.n_frames, *self._size, self._appearance.channels)

    def texture(self, track: int) -> Pixels:
        """(S, S, C) brightness of an individual's body, from head (first column) to tail and from left to right."""
        if track not in self._textures:
            shared, own = self._skin(0), self._skin(track + 2)
            share = self._appearance.distinctiveness
            level = 0.5 + 0.5 * self._appearance.contrast
            mixed = ((1 - share) * shared + share * own) / np.hypot(1 - share, share)
            self._textures[track] = (level + self._appearance.pattern * mixed).astype(np.float32)
        return self._textures[track]

    def _skin(self, key: int) -> Floats:
        """A texture of mean 0: spots of two grains, and a tint all over."""
        rng = np.random.default_rng([self._seed, 0, key])
        side, channels = TEXTURE_SIDE, self._appearance.channels
        spots = _field(rng, (side, side), 4) + 0.6 * _field(rng, (side, side), 10)
        return np.asarray(spots[..., None] + rng.standard_normal(channels) * (0.5 if channels == 1 else 0.8))

    def _read(self, frame: int) -> NDArray[np.uint8]:
        scene, look = self._scene, self._appearance
        shift = -np.round(scene.camera[frame]).astype(int) if frame < len(scene.camera) else np.zeros(2, int)
        if self._behind is None:
            lines, columns = (np.arange(side, dtype=np.float64)[None] + 0.5 for side in self._size)
            self._behind = self.backdrop.at(lines, columns)[0, ..., None]
        image = np.repeat(np.roll(self._behind, tuple(shift[::-1]), axis=(0, 1)), look.channels, axis=2)
        rows = scene.tracks.detections.rows(frame, frame + 1)
        for row in rows.start + np.argsort(nearness(scene.tracks.track[rows]), kind="stable"):
            self._draw_body(image, int(row))
        if look.noise:
            rng = np.random.default_rng([self._seed, 2, frame])
            image += np.float32(look.noise) * rng.standard_normal(image.shape, dtype=np.float32)
        return np.asarray(np.clip(image * 255 + 0.5, 0, 255), np.uint8)

    def _draw_body(self, image: Pixels, row: int) -> None:
        scene = self._scene
        texture = self.texture(int(scene.tracks.track[row]))
        n_parts = scene.centre.shape[1]
        for part in reversed(range(n_parts)):  # the head comes last, over the rest
            axes = np.array([scene.length[row, part], scene.width[row, part]]) / 2
            if np.isfinite(scene.centre[row, part]).all() and np.isfinite(axes).all():
                span = (part / n_parts, (part + 1) / n_parts)
                _draw_ellipse(image, texture, scene.centre[row, part], axes, scene.heading[row, part], span)


class Backdrop:
    """What lies behind everything: two grains of smooth noise, known anywhere without being painted as a whole."""

    def __init__(self, appearance: AppearanceConfig, size: tuple[int, int], rng: Generator) -> None:
        self.level = 0.5 - 0.5 * appearance.contrast
        self._size = size
        shares = (appearance.background, 0.5 * appearance.background)
        grains = (max(2, max(size) // pixels) for pixels in (64, 12))
        self._knots = [share * _knots(rng, size, grain) for share, grain in zip(shares, grains, strict=True)]

    def at(self, y: Floats, x: Floats) -> Pixels:
        """(N, H, W) brightness at the crossings of H lines, y (N, H), and W columns, x (N, W), in pixels.

        Beyond the picture it is as at the border.
        """
        image = np.full((len(y), y.shape[1], x.shape[1]), self.level, np.float32)
        for knots in self._knots:
            down, first_down = _hats(y, self._size[0], knots.shape[0])
            across, first_across = _hats(x, self._size[1], knots.shape[1])
            # Only the knots around each square are needed; weights beyond the last knot are 0 anyway.
            i = np.minimum(first_down[:, None] + np.arange(down.shape[2]), knots.shape[0] - 1)
            j = np.minimum(first_across[:, None] + np.arange(across.shape[2]), knots.shape[1] - 1)
            image += down @ knots[i[:, :, None], j[:, None, :]].astype(np.float32) @ across.transpose(0, 2, 1)
        return image


def _hats(place: Floats, n: int, n_knots: int) -> tuple[Pixels, NDArray[np.int64]]:
    """(N, S, K) weights of linear interpolation between the K knots from (N,) on, at places (N, S) among n pixels."""
    at = np.clip((place - 0.5) * ((n_knots - 1) / max(n - 1, 1)), 0, n_knots - 1)
    first = np.floor(at.min(axis=1)).astype(np.int64)
    width = int((np.floor(at.max(axis=1)).astype(np.int64) - first).max(initial=0)) + 2
    off = (at - first[:, None]).astype(np.float32)[..., None] - np.arange(width, dtype=np.float32)
    return np.maximum(0.0, 1.0 - np.abs(off)), first


def _draw_ellipse(
    image: Pixels, texture: Pixels, centre: Floats, axes: Floats, heading: float, span: tuple[float, float]
) -> None:
    """Lay a textured ellipse over an image (Y, X, C), in place.

    The texture (S, S, C) has lines across the body and columns along it; the ellipse shows the columns of `span`, from
    0 at the head to 1 at the tail. The half axes (2,) are along and across the heading.
    """
    axes = np.maximum(axes, 0.5)
    cos, sin = np.cos(heading), np.sin(heading)
    half = np.array([np.hypot(axes[0] * cos, axes[1] * sin), np.hypot(axes[0] * sin, axes[1] * cos)]) + 1
    x0, y0 = np.maximum(np.floor(centre - half), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(centre + half).astype(int), [image.shape[1], image.shape[0]])
    if x0 >= x1 or y0 >= y1:
        return
    dx = (np.arange(x0, x1) + 0.5 - centre[0])[None, :]
    dy = (np.arange(y0, y1) + 0.5 - centre[1])[:, None]
    ahead = (dx * cos + dy * sin) / axes[0]
    aside = (dy * cos - dx * sin) / axes[1]
    squared = ahead * ahead + aside * aside
    cover = np.clip((1.0 - np.sqrt(squared)) * axes.min() + 0.5, 0.0, 1.0).astype(np.float32)[..., None]
    side = len(texture) - 1
    column = side * (span[0] + (span[1] - span[0]) * (0.5 - 0.5 * np.clip(ahead, -1, 1)))
    line = side * (0.5 + 0.5 * np.clip(aside, -1, 1))
    skin = texture[line.astype(np.intp), column.astype(np.intp)]
    skin = skin * (1.0 - 0.3 * np.minimum(squared, 1.0)).astype(np.float32)[..., None]  # round bodies darken at the rim
    patch = image[y0:y1, x0:x1]
    patch += cover * (skin - patch)


def _field(rng: Generator, shape: tuple[int, int], grains: int) -> Floats:
    """(Y, X) of about standard normal values that change over the given number of grains along the longer side."""
    knots = _knots(rng, shape, grains)
    down, across = _ramps(shape[0], knots.shape[0]), _ramps(shape[1], knots.shape[1])
    return np.asarray(down @ knots @ across.T, np.float64)


def _knots(rng: Generator, shape: tuple[int, int], grains: int) -> Floats:
    """The values between which `_field` interpolates: one a grain, along both axes."""
    cell = max(shape) / grains
    return 1.5 * rng.standard_normal([max(2, round(side / cell)) + 1 for side in shape])


def _ramps(n: int, n_knots: int) -> Floats:
    """(n, n_knots) weights of linear interpolation between knots."""
    place = np.linspace(0, n_knots - 1, n)[:, None]
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(place - np.arange(n_knots))), np.float64)
