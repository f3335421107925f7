"""What a camera shows of each detection of a world, drawn by itself: no frame is painted for a few crops of it.

    squares ── the background behind them ─┐
    Scene ──── who lies in which square ───┴─ layer by layer, the farthest first ── noise, coarseness ── crops

Squares are cut into tiles of 8 x 8 pixels, and of each body only the tiles that it touches are painted, those of all
squares at once: a clip takes some dozens of numpy operations a layer, however many crops it has.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kintrack.sim.motion import generator
from kintrack.sim.observe import nearness
from kintrack.sim.render import TEXTURE_SIDE, AppearanceConfig, DrawnVideo
from kintrack.sim.scene import Scene

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Pixels = NDArray[np.float32]

TILE = 8
_AT_ONCE = 1024  # tiles painted at a time, so that what that takes stays in the processor's cache
_ALIKE = 1.2  # squares whose enlargements differ by less than this ratio are blurred alike


def random_appearance(rng: Generator, channels: int = 1) -> AppearanceConfig:
    """A look for training, unlike the one before: a quarter are worlds of clones, the others anything up to strangers.

    Dark on bright and bright on dark, faint and strong patterns, a plain or a busy background, more or less noise.
    """
    strange = rng.random() > 0.25
    return AppearanceConfig(
        distinctiveness=float(rng.uniform(0.1, 1.0)) if strange else 0.0,
        channels=3 if channels == 3 else 1,
        contrast=float(rng.choice([-1, 1]) * rng.uniform(0.05, 0.9)),
        pattern=float(rng.uniform(0.03, 0.3)),
        background=float(rng.uniform(0.0, 0.15)),
        noise=float(rng.uniform(0.0, 0.06)),
    )


def draw_crops(
    scene: Scene,
    frame: NDArray[np.integer],
    corner: Floats,
    side: Floats,
    crop_size: int,
    appearance: AppearanceConfig | Mapping[str, Any] | None = None,
    seed: int | Generator = 0,
) -> Pixels:
    """(N, C, S, S) float32 in [0, 1]: squares of a world's frames, as if they were cut out of what `draw` makes of it.

    The same world, appearance and seed show the same bodies before the same background. Edges and noise agree in kind
    and strength, not in each pixel; beyond the picture there is more background. What is enlarged is as blurred as the
    picture is coarse.

    Args:
        scene: the world.
        frame: (N,) of each square.
        corner: (N, 2) lower x and y of each square, in pixels.
        side: (N,) pixels of the picture that it is wide and high; one of 0 is all 0.
        crop_size: S, pixels of the crop.
        appearance: how the world looks; its channels are C.
        seed: of textures, background and noise.
    """
    look, rng = AppearanceConfig.of(appearance), generator(seed)
    video = DrawnVideo(scene, look, int(rng.integers(2**32)))
    known = np.flatnonzero(side > 0)
    squares = _Squares(np.asarray(frame, np.int64)[known], corner[known], side[known], crop_size)
    tiles = _backgrounds(video, scene, squares)
    bodies = _bodies_in(scene, squares)
    skins, skin = _textures(video, scene.tracks.track[bodies.row])
    for layer in range(int(bodies.layer.max(initial=-1)) + 1):
        some = np.flatnonzero(bodies.layer == layer)
        ellipses = _Ellipses.of(scene, squares, bodies.take(some))
        _paint(tiles, _touched(ellipses, bodies.square[some], squares), ellipses, skins, skin[some])
    shown = _assembled(tiles, squares)
    if look.noise:
        # Of the picture's pixels, which an enlarged crop shares among several of its own: the blur evens it out.
        strength = (look.noise / squares.pixel).astype(np.float32)
        shown += strength[:, None, None, None] * rng.standard_normal(shown.shape, dtype=np.float32)
    _as_coarse_as_the_picture(shown, squares)
    crops = np.zeros((len(side), look.channels, crop_size, crop_size), np.float32)
    crops[known] = np.clip(shown, 0, 1, out=shown)
    return crops


class _Squares(NamedTuple):
    """N squares of a world's frames, and the S pixels a side as which each is shown."""

    frame: Ints
    corner: Floats
    side: Floats
    size: int

    @property
    def pixel(self) -> Floats:
        """(N,) how many pixels of the picture a pixel of the crop is wide."""
        return self.side / self.size

    @property
    def n_tiles(self) -> int:
        """Tiles along a side."""
        return -(-self.size // TILE)


class _Bodies(NamedTuple):
    """M parts of bodies in squares. Of one square, those of a lower layer are painted first."""

    square: Ints
    row: Ints
    part: Ints
    layer: Ints

    def take(self, some: Ints) -> "_Bodies":
        return _Bodies(*(column[some] for column in self))


def _backgrounds(video: DrawnVideo, scene: Scene, squares: _Squares) -> Pixels:
    """(C, N * n_tiles², TILE, TILE) the squares before anybody is in them, as tiles."""
    n, per_side = len(squares.frame), squares.n_tiles
    within = np.arange(per_side * TILE) + 0.5
    camera = scene.camera[squares.frame] if len(scene.camera) else np.zeros((n, 2))
    x, y = ((squares.corner + np.round(camera))[:, axis, None] + within * squares.pixel[:, None] for axis in (0, 1))
    image = video.backdrop.at(y, x).reshape(n, per_side, TILE, per_side, TILE).swapaxes(2, 3)
    return np.repeat(image.reshape(1, -1, TILE, TILE), video.shape[3], axis=0)


def _assembled(tiles: Pixels, squares: _Squares) -> Pixels:
    """(N, C, S, S) the tiles of each square side by side."""
    n, per_side = len(squares.frame), squares.n_tiles
    whole = tiles.reshape(len(tiles), n, per_side, per_side, TILE, TILE).transpose(1, 0, 2, 4, 3, 5)
    edge = per_side * TILE
    return np.ascontiguousarray(whole.reshape(n, len(tiles), edge, edge)[..., : squares.size, : squares.size])


def _bodies_in(scene: Scene, squares: _Squares) -> _Bodies:
    """Which part of whose body may show in which square."""
    detections = scene.tracks.detections
    reach = 0.5 * np.hypot(scene.length, scene.width)[..., None] + 1.0
    low, high = np.nanmin(scene.centre - reach, axis=1), np.nanmax(scene.centre + reach, axis=1)
    found = [np.zeros((0, 2), np.int64)]
    for t in np.unique(squares.frame):
        mine = np.flatnonzero(squares.frame == t)
        rows = detections.rows(int(t), int(t) + 1)
        near = np.ones((len(mine), rows.stop - rows.start), bool)
        for axis in (0, 1):
            start = squares.corner[mine, axis, None]
            near &= (high[rows, axis] > start) & (low[rows, axis] < start + squares.side[mine, None])
        square, row = np.nonzero(near)
        found.append(np.stack([mine[square], row + rows.start], axis=1))
    square, row = np.concatenate(found).T
    n_parts = scene.centre.shape[1]
    square, row, part = np.repeat(square, n_parts), np.repeat(row, n_parts), np.tile(np.arange(n_parts), len(row))
    part = n_parts - 1 - part  # the head comes last, over the rest
    whole = np.isfinite(scene.centre[row, part]).all(axis=1) & np.isfinite(scene.length[row, part])
    square, row, part = square[whole], row[whole], part[whole]
    order = np.lexsort((-part, row, nearness(scene.tracks.track[row]), square))
    square, row, part = square[order], row[order], part[order]
    layer = np.arange(len(square)) - np.searchsorted(square, square)
    return _Bodies(square, row, part, layer)


def _textures(video: DrawnVideo, track: Ints) -> tuple[Pixels, Ints]:
    """(C, K * side²) the textures of those who are seen, and (M,) where that of each begins."""
    ids, which = np.unique(track, return_inverse=True)
    skins = [np.zeros((0, TEXTURE_SIDE, TEXTURE_SIDE, video.shape[3]), np.float32)]
    skins += [video.texture(int(i))[None] for i in ids]
    return np.ascontiguousarray(np.concatenate(skins).reshape(-1, video.shape[3]).T), which * TEXTURE_SIDE**2


class _Ellipses(NamedTuple):
    """M ellipses in the pixels of their crops."""

    centre: Pixels
    """(M, 2)."""
    axes: Pixels
    """(M, 2) half of them, along the heading and across."""
    direction: Pixels
    """(M, 2) cosine and sine of the heading."""
    sharp: Pixels
    """(M,) the shorter half axis, in pixels of the crop or of the picture, whichever are larger: they blur the edge."""
    span: Pixels
    """(M, 2) which columns of the texture are shown, as shares."""

    @classmethod
    def of(cls, scene: Scene, squares: _Squares, bodies: _Bodies) -> Self:
        square, row, part, _ = bodies
        pixel = squares.pixel[square]
        axes = np.maximum(0.5 * np.stack([scene.length[row, part], scene.width[row, part]], axis=1), 0.5)
        heading, n_parts = scene.heading[row, part], scene.centre.shape[1]
        columns = (
            (scene.centre[row, part] - squares.corner[square]) / pixel[:, None],
            axes / pixel[:, None],
            np.stack([np.cos(heading), np.sin(heading)], axis=1),
            axes.min(axis=1) / np.maximum(pixel, 1.0),
            np.stack([part, part + 1], axis=1) / n_parts,
        )
        return cls(*(np.asarray(column, np.float32) for column in columns))


class _Touched(NamedTuple):
    """The tiles that ellipses touch: of which ellipse, which tile of all, and where in its square it begins."""

    ellipse: Ints
    tile: Ints
    corner: Pixels
    """(T, 2) x and y, in pixels of the crop."""


def _touched(ellipses: _Ellipses, square: Ints, squares: _Squares) -> _Touched:
    (a, b), (cos, sin) = ellipses.axes.T, ellipses.direction.T
    half = np.stack([np.hypot(a * cos, b * sin), np.hypot(a * sin, b * cos)], axis=1) + 1
    per_side = squares.n_tiles
    first = np.clip(np.floor((ellipses.centre - half) / TILE), 0, per_side).astype(np.int64)
    last = np.clip(np.ceil((ellipses.centre + half) / TILE), 0, per_side).astype(np.int64)
    count = np.maximum(last - first, 0)
    n = count.prod(axis=1)
    which = np.repeat(np.arange(len(n)), n)
    place = np.arange(len(which)) - np.repeat(np.cumsum(n) - n, n)
    x = first[which, 0] + place % np.maximum(count[which, 0], 1)
    y = first[which, 1] + place // np.maximum(count[which, 0], 1)
    tile = (square[which] * per_side + y) * per_side + x
    return _Touched(which, tile, np.stack([x, y], axis=1).astype(np.float32) * TILE)


def _paint(tiles: Pixels, touched: _Touched, ellipses: _Ellipses, skins: Pixels, skin: Ints) -> None:
    """Lay shaded and textured ellipses over tiles (C, ..., TILE, TILE), in place; none is touched by two of them."""
    for start in range(0, len(touched.tile), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        which, tile = touched.ellipse[some], touched.tile[some]
        cover, shade, texel = _laid(touched.corner[some], _Ellipses(*(c[which] for c in ellipses)))
        texel += skin[which].astype(np.int32)[:, None, None]
        for image, brightness in zip(tiles, skins, strict=True):
            patch = image[tile]
            colour = brightness[texel]
            colour *= shade
            colour -= patch
            colour *= cover
            patch += colour
            image[tile] = patch


def _laid(corner: Pixels, of: _Ellipses) -> tuple[Pixels, Pixels, NDArray[np.int32]]:
    """For each pixel of T tiles, (T, TILE, TILE): how much of it is covered, how shaded, and which texel is there.

    The geometry is that of `kintrack.sim.render`.
    """
    within = np.arange(TILE, dtype=np.float32) + np.float32(0.5)
    (cos, sin), (a, b) = of.direction.T[..., None], of.axes.T[..., None]
    dx, dy = (corner[:, axis, None] + within - of.centre[:, axis, None] for axis in (0, 1))
    ahead = (dx * cos / a)[:, None, :] + (dy * sin / a)[:, :, None]
    aside = (dy * cos / b)[:, :, None] - (dx * sin / b)[:, None, :]
    squared = ahead * ahead
    squared += aside * aside
    sharp = of.sharp[:, None, None]
    cover = np.sqrt(squared)
    cover *= -sharp
    cover += sharp + np.float32(0.5)
    np.minimum(np.maximum(cover, 0, out=cover), 1, out=cover)
    shade = np.minimum(squared, 1, out=squared)  # round bodies darken at the rim
    shade *= np.float32(-0.3)
    shade += 1
    last = np.float32(TEXTURE_SIDE - 1)
    low, width = last * of.span[:, 0, None, None], last * (of.span[:, 1] - of.span[:, 0])[:, None, None]
    for along, begin, extent in ((ahead, low + 0.5 * width, -0.5 * width), (aside, 0.5 * last, 0.5 * last)):
        np.minimum(np.maximum(along, -1, out=along), 1, out=along)
        along *= extent
        along += begin
    texel = aside.astype(np.int32)
    texel *= TEXTURE_SIDE
    texel += ahead.astype(np.int32)
    return cover, shade, texel


def _as_coarse_as_the_picture(crops: Pixels, squares: _Squares) -> None:
    """Blurs what is enlarged, in place, as linear interpolation between the picture's pixels would."""
    enlarged = 1 / squares.pixel
    level = np.where(enlarged > 1, np.ceil(np.log(np.maximum(enlarged, 1)) / np.log(_ALIKE)), 0).astype(int)
    for some in np.unique(level[level > 0]):
        rows = np.flatnonzero(level == some)
        mix = interpolation(squares.size, float(np.median(enlarged[rows])))
        crops[rows] = mix @ crops[rows] @ mix.T


def interpolation(size: int, width: float) -> Pixels:
    """(S, S) the matrix that blurs a line of pixels by a hat that reaches `width` pixels to either side."""
    off = np.abs(np.arange(size)[:, None] - np.arange(size))
    hat = np.maximum(0.0, 1.0 - off / width)
    return np.asarray(hat / hat.sum(axis=1, keepdims=True), np.float32)
