"""Pixels, a frame at a time: a Video of images, a LabelVideo of integer masks. Neither holds a whole file in memory."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kintrack.core.detections import VideoInfo
from kintrack.errors import AlignmentError, InputError

Image = NDArray[Any]
LabelImage = NDArray[np.integer[Any]]


class _Pixels(ABC):
    """What a Video and a LabelVideo share: a length, frames by index and in order, and closing."""

    path: str | None = None

    @abstractmethod
    def __len__(self) -> int:
        """The number of frames."""

    @abstractmethod
    def _read(self, frame: int) -> NDArray[Any]:
        """The pixels of a frame that is known to be in range."""

    def __getitem__(self, frame: int) -> NDArray[Any]:
        """The pixels of one frame, counted from 0; there is no counting from the end.

        Raises:
            AlignmentError: where there is no such frame.
        """
        if not 0 <= frame < len(self):
            span = f"frames 0..{len(self) - 1}" if len(self) else "no frames"
            raise AlignmentError(
                f"frame {frame} was asked for, but {self.path or 'the video'} has {span}; "
                "give the video that belongs to these detections"
            )
        return self._read(int(frame))

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """(frame, pixels) for start <= frame < stop, in order; the fast way through a video.

        Raises:
            AlignmentError: where the video ends before `stop`.
        """
        for frame in range(start, len(self) if stop is None else stop):
            yield frame, self[frame]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (pixels for _, pixels in self.frames())

    def close(self) -> None:  # noqa: B027 (what holds no file has nothing to let go of)
        """Let go of the file. Reading after this is an error of the caller."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Video(_Pixels):
    """Images in order: ``video[i]`` is frame i as (Y, X, C), uint8 or uint16, with as many channels as are stored."""

    fps: float | None = None

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int, int]:
        """(T, Y, X, C)."""

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def info(self) -> VideoInfo:
        """What a table of detections remembers of this video."""
        n, height, width, _ = self.shape
        return VideoInfo(path=self.path, n_frames=n, shape=(height, width), fps=self.fps)

    def __repr__(self) -> str:
        n, height, width, channels = self.shape
        rate = f", {self.fps:g} frames/s" if self.fps else ""
        size = f"{n} frames, {width} x {height}, {channels} channels"
        return f"{type(self).__name__}({self.path or 'in memory'}: {size}{rate})"


class ArrayVideo(Video):
    """A video that is already an array (T, Y, X) or (T, Y, X, C)."""

    def __init__(self, array: ArrayLike, fps: float | None = None) -> None:
        pixels = np.asarray(array)
        if pixels.ndim == 3:
            pixels = pixels[..., None]
        if pixels.ndim != 4:
            raise InputError(f"a video has shape (T, Y, X) or (T, Y, X, C); this array has shape {pixels.shape}")
        self._pixels = pixels
        self.fps = fps

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, Y, X, C)."""
        t, y, x, c = self._pixels.shape
        return t, y, x, c

    def _read(self, frame: int) -> Image:
        return np.asarray(self._pixels[frame])


class LabelVideo(_Pixels):
    """Masks in order: ``labels[i]`` is frame i as (Y, X) integers, 0 where there is nothing."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """(T, Y, X)."""

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        n, height, width = self.shape
        return f"{type(self).__name__}({self.path or 'in memory'}: {n} frames, {width} x {height})"


class ArrayLabelVideo(LabelVideo):
    """A label video that is already an array (T, Y, X) of integers."""

    def __init__(self, array: ArrayLike) -> None:
        labels = np.asarray(array)
        if labels.ndim != 3 or not np.issubdtype(labels.dtype, np.integer):
            raise InputError(f"a label video is (T, Y, X) integers; this array is {labels.shape} {labels.dtype}")
        self._labels = labels

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, Y, X)."""
        t, y, x = self._labels.shape
        return t, y, x

    def _read(self, frame: int) -> LabelImage:
        return np.asarray(self._labels[frame])
