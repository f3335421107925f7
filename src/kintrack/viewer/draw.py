"""Tracks drawn on frames: boxes, poses or masks, ids, and trails of where each individual was."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydantic import Field

from kintrack.config import Config
from kintrack.core.detections import Floats, Ints
from kintrack.core.tracks import Tracks
from kintrack.core.video import Video
from kintrack.errors import InputError
from kintrack.viewer.palette import colours_of

Picture = NDArray[np.uint8]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class OverlayConfig(Config):
    """What is drawn on a frame."""

    show: Literal["auto", "boxes", "poses", "masks"] = "auto"
    """What stands for a detection; `auto` takes masks where labels are given, else poses, else boxes."""
    ids: bool = True
    """Whether each track's name or number is written beside it."""
    trail: int = Field(default=20, ge=0)
    """Frames for which the way of a track stays to be seen; 0 draws none. It vanishes with its track."""
    alpha: float = Field(default=0.45, ge=0, le=1)
    """How much of a mask's colour covers the image."""
    scale: float = Field(default=1.0, gt=0, le=8)
    """Size of the result, in sizes of the video."""


class Overlay:
    """Draws the tracks of a video on its frames, one after the other or in any order.

    Colours belong to ids, so a track looks the same in every frame and every rendering. What has no track is grey.

    Args:
        tracks: 2-D.
        shape: (Y, X) of the frames that will be given.
        config: an `OverlayConfig`, or None for the defaults.

    Raises:
        InputError: the tracks are 3-D, or poses are wanted of detections without keypoints.
    """

    def __init__(self, tracks: Tracks, shape: tuple[int, int], config: OverlayConfig | None = None) -> None:
        seen = tracks.detections
        self.config = c = config or OverlayConfig()
        if seen.ndim != 2:
            raise InputError(
                f"detections are {seen.ndim}-D; an overlay is drawn of 2-D ones: take x and y of each box first"
            )
        if c.show == "poses" and seen.keypoints is None:
            raise InputError("poses were to be drawn, but these detections have no keypoints; show boxes")
        self.tracks = tracks
        self.shape = (max(2, round(shape[0] * c.scale)), max(2, round(shape[1] * c.scale)))
        longest = max(self.shape)
        self._line = max(1, round(longest / 300))
        self._radius = max(1.5, longest / 220)
        self._font = ImageFont.load_default(size=max(9, round(longest / 45)))
        self._colour = [tuple(rgb) for rgb in colours_of(tracks.track).tolist()]
        self._box = c.scale * seen.box
        self._centre = c.scale * seen.centre
        self._keypoints = None if seen.keypoints is None else c.scale * seen.keypoints
        self._edges = seen.skeleton.edges if seen.skeleton else ()
        order = np.argsort(tracks.track, kind="stable")  # within a track still by frame
        self._by_track = order[tracks.track[order] >= 0]
        ids, starts = np.unique(tracks.track[self._by_track], return_index=True)
        self._paths = list(zip(ids.tolist(), np.split(self._by_track, starts[1:]), strict=True)) if len(ids) else []
        self._spans = np.array([(seen.frame[rows[0]], seen.frame[rows[-1]]) for _, rows in self._paths]).reshape(-1, 2)

    def __call__(self, frame: int, image: NDArray[np.generic], labels: NDArray[np.integer] | None = None) -> Picture:
        """(Y, X, 3) uint8, the frame with everything drawn on it; the image given is not changed.

        Args:
            frame: whose rows are drawn.
            image: (Y, X), (Y, X, C), uint8; other types through `Contrast`.
            labels: (Y, X) the frame's labels, for masks.
        """
        canvas = as_rgb(image)
        where = self.tracks.detections.rows(frame, frame + 1)
        rows = np.arange(where.start, where.stop)
        masks = self.config.show in ("auto", "masks") and labels is not None
        if masks and labels is not None:
            canvas = self._with_masks(canvas, labels, rows)
        picture = Image.fromarray(canvas)
        if picture.size != self.shape[::-1]:
            picture = picture.resize(self.shape[::-1], Image.Resampling.BILINEAR)
        pen = ImageDraw.Draw(picture, "RGBA")
        self._draw_trails(pen, frame)
        rows = rows[np.isfinite(self._box[rows]).all(axis=1)]
        for row in rows.tolist():
            if self._keypoints is not None and self.config.show in ("auto", "poses"):
                self._draw_pose(pen, row)
            elif not masks:
                self._draw_box(pen, row)
        if self.config.ids:
            self._draw_ids(pen, rows)
        return np.asarray(picture)

    def _with_masks(self, canvas: Picture, labels: NDArray[np.integer], rows: Ints) -> Picture:
        """The canvas with each detection's pixels tinted in its track's colour."""
        label = self.tracks.detections.label
        if label is None:
            raise InputError("masks were to be drawn, but these detections have no labels; show boxes")
        if labels.shape != canvas.shape[:2]:
            raise InputError(
                f"labels are {labels.shape} but the frame is {canvas.shape[:2]}; give the labels of this video"
            )
        tint = np.zeros((int(max(labels.max(initial=0), label[rows].max(initial=0))) + 1, 3), np.float32)
        known = np.zeros(len(tint), bool)
        tint[label[rows]] = colours_of(self.tracks.track[rows])
        known[label[rows]] = True
        covered = known[labels]
        canvas = canvas.copy()
        a = self.config.alpha
        canvas[covered] = ((1 - a) * canvas[covered] + a * tint[labels[covered]]).astype(np.uint8)
        return canvas

    def _draw_trails(self, pen: ImageDraw.ImageDraw, frame: int) -> None:
        """Where each track that is not over yet was before, fading with age."""
        if not self.config.trail or not self._paths:
            return
        seen = self.tracks.detections.frame
        for i in np.flatnonzero((self._spans[:, 0] < frame) & (frame <= self._spans[:, 1])).tolist():
            path = self._paths[i][1]
            first, stop = np.searchsorted(seen[path], [frame - self.config.trail, frame + 1])
            rows = path[first:stop]
            points = self._centre[rows]
            fade = 1.0 - (frame - seen[rows]) / (self.config.trail + 1)
            colour = self._colour[int(path[0])]
            for a, b, strength in zip(points[:-1].tolist(), points[1:].tolist(), fade[:-1].tolist(), strict=True):
                pen.line((*a, *b), fill=(*colour, int(40 + 190 * strength)), width=self._line)

    def _draw_box(self, pen: ImageDraw.ImageDraw, row: int) -> None:
        x0, y0, x1, y1 = self._box[row].tolist()
        colour = self._colour[row]
        if x1 - x0 < 1 and y1 - y0 < 1:  # a point
            self._draw_dot(pen, x0, y0, colour, 2 * self._radius)
        else:
            pen.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=(*colour, 255), width=self._line)

    def _draw_pose(self, pen: ImageDraw.ImageDraw, row: int) -> None:
        assert self._keypoints is not None
        points = self._keypoints[row]
        visible = np.isfinite(points).all(axis=1).tolist()
        at, colour = points.tolist(), self._colour[row]
        for a, b in self._edges:
            if visible[a] and visible[b]:
                pen.line((*at[a], *at[b]), fill=(*colour, 230), width=self._line)
        radius = self._radius if len(at) > 1 else 2 * self._radius
        for (x, y), shown in zip(at, visible, strict=True):
            if shown:
                self._draw_dot(pen, x, y, colour, radius)

    @staticmethod
    def _draw_dot(pen: ImageDraw.ImageDraw, x: float, y: float, colour: tuple[int, ...], radius: float) -> None:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(*colour, 255))

    def _draw_ids(self, pen: ImageDraw.ImageDraw, rows: Ints) -> None:
        """Each track's name on a dark ground above its detection, inside the picture."""
        height, width = self.shape
        for row in rows.tolist():
            track = int(self.tracks.track[row])
            if track < 0:
                continue
            text = self.tracks.name(track)
            w, h = _text_size(self._font, text)
            x0, y0 = self._box[row, :2].tolist()
            x = min(max(x0, 0.0), max(0.0, width - w - 4))
            y = min(max(y0 - h - 5 - self._line, 0.0), max(0.0, height - h - 4))
            pen.rectangle((x, y, x + w + 3, y + h + 3), fill=(0, 0, 0, 150))
            pale = tuple((c + 255) // 2 for c in self._colour[row])  # legible on the dark ground
            pen.text((x + 2, y + 1), text, fill=(*pale, 255), font=self._font, anchor="lt")


def _text_size(font: Font, text: str) -> tuple[float, float]:
    """Width and height of a text whose left top corner is its anchor."""
    if isinstance(font, ImageFont.FreeTypeFont):
        _, _, width, height = font.getbbox(text, anchor="lt")
    else:
        _, _, width, height = font.getbbox(text)
    return width, height


class Contrast:
    """Makes 8 bits of any image by one rule for a whole video: what the first image's range needs.

    A range of each frame's own would make a video flicker. 8-bit images stay as they are.
    """

    def __init__(self) -> None:
        self._range: tuple[float, float] | None = None

    def __call__(self, image: NDArray[np.generic]) -> Picture:
        """The same image as uint8; 0.1 % of the first image's pixels are black, and 0.1 % are white."""
        if image.dtype == np.uint8:
            return np.asarray(image, np.uint8)
        values = np.asarray(image, np.float32)
        if self._range is None:
            low, high = np.nanpercentile(values[::2, ::2], (0.1, 99.9)).tolist()
            self._range = (low, high if high > low else low + 1.0)
        low, high = self._range
        return np.asarray(np.clip((np.nan_to_num(values) - low) * (255.0 / (high - low)), 0, 255), np.uint8)


def as_rgb(image: NDArray[np.generic]) -> Picture:
    """(Y, X, 3) the image in colour: grey three times, a fourth channel (opacity) left out."""
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        raise InputError(f"the image is {pixels.dtype}; wanted uint8: pass it through Contrast() first")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3:
        raise InputError(f"the image has shape {pixels.shape}; wanted (Y, X) or (Y, X, C)")
    channels = pixels.shape[2]
    if channels == 1:
        return np.repeat(pixels, 3, axis=2)
    if channels == 2:  # two stains: red and green, as microscopists show them
        return np.concatenate([pixels, np.zeros_like(pixels[..., :1])], axis=2)
    return np.ascontiguousarray(pixels[..., :3])


class BlackVideo(Video):
    """As many black frames as are asked for, without holding them."""

    def __init__(self, n_frames: int, shape: tuple[int, int]) -> None:
        self._n_frames = n_frames
        self._frame = np.zeros((*shape, 1), np.uint8)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, Y, X, C)."""
        return (self._n_frames, *self._frame.shape)

    def _read(self, frame: int) -> Picture:
        return self._frame


def black_video(tracks: Tracks) -> BlackVideo:
    """What tracks are drawn on where there is no video: black frames in which everything is to be seen."""
    return BlackVideo(tracks.detections.n_frames, shape_of(tracks))


def shape_of(tracks: Tracks) -> tuple[int, int]:
    """(Y, X) of a picture in which everything is to be seen: the video's where it is known, else just large enough."""
    info = tracks.detections.video
    if info is not None and info.shape is not None:
        return info.shape
    box: Floats = tracks.detections.box
    known = box[np.isfinite(box).all(axis=1)]
    if not len(known):
        return (64, 64)
    x, y = np.ceil(known[:, 2:4].max(axis=0) * 1.02 + 8).astype(int).tolist()
    return (max(64, y), max(64, x))
