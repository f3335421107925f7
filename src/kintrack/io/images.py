"""Images in files: TIFF stacks, folders of numbered images or label images. A frame is read when it is asked for."""

import re
import weakref
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kintrack.core.video import Image, LabelImage, LabelVideo, Video
from kintrack.errors import AlignmentError, FormatError, InputError

TIFF = (".tif", ".tiff")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")


def numbered_images(folder: Path, suffixes: tuple[str, ...] = (*TIFF, *PICTURES)) -> dict[int, Path]:
    """The image files of a folder by the number that their names end in, ascending.

    Raises:
        InputError: there is no such folder, or no image in it.
        FormatError: a name without a number, or a number twice.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; wanted a folder of numbered images")
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        digits = re.search(r"(\d+)$", path.stem)
        if digits is None:
            raise FormatError(
                f"{path} has no number at the end of its name; wanted names like t000.tif, so that the order is known"
            )
        number = int(digits[1])
        if number in found:
            raise FormatError(
                f"{found[number].name} and {path.name} in {folder} are both number {number}; wanted one image for "
                "each frame"
            )
        found[number] = path
    if not found:
        raise InputError(f"{folder} holds no images; wanted files ending in {', '.join(suffixes)}")
    return dict(sorted(found.items()))


def read_image(path: Path) -> NDArray[Any]:
    """The pixels of an image file, as they are stored.

    Raises:
        FormatError: the file is cut off, or no image.
    """
    try:
        return _tiff(path) if path.suffix.lower() in TIFF else _picture(path)
    except (OSError, ValueError, TypeError, IndexError, EOFError, RuntimeError) as error:
        raise FormatError(f"{path} cannot be read as an image; is it complete? ({error})") from error


def _tiff(path: Path) -> NDArray[Any]:
    import tifffile

    try:
        return np.asarray(tifffile.imread(path))
    except tifffile.TiffFileError as error:
        raise ValueError(str(error)) from error


def _picture(path: Path) -> NDArray[Any]:
    import PIL.Image

    with PIL.Image.open(path) as picture:
        plain = picture.mode in ("L", "RGB", "I;16")
        return np.asarray(picture if plain else picture.convert("RGB"))


class ImageFolder(Video):
    """A folder of numbered images of one size. The first is frame 0; a missing number is an error, not a shift."""

    def __init__(self, folder: str | Path, fps: float | None = None) -> None:
        folder = Path(folder)
        files = numbered_images(folder)
        first, last = min(files), max(files)
        missing = sorted(set(range(first, last + 1)) - set(files))
        if missing:
            raise FormatError(
                f"{folder} lacks image number {missing[0]} ({len(missing)} are missing between {first} and {last}); "
                "wanted all of them, as later frames would be shifted: add the missing ones"
            )
        self.path = str(folder)
        self.fps = fps
        self._files = list(files.values())
        self._image_shape = _with_channels(read_image(self._files[0]), self._files[0]).shape

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, Y, X, C)."""
        y, x, c = self._image_shape
        return len(self._files), y, x, c

    def _read(self, frame: int) -> Image:
        path = self._files[frame]
        image = _with_channels(read_image(path), path)
        if image.shape != self._image_shape:
            raise AlignmentError(
                f"{path} has shape {image.shape}, the first image {self._image_shape}; wanted images of one size"
            )
        return image


class ImageStack(Video):
    """A TIFF file with a page for each frame."""

    def __init__(self, path: str | Path, fps: float | None = None) -> None:
        import tifffile

        self.path = str(path)
        self.fps = fps
        file = None
        try:
            file = tifffile.TiffFile(path)
            self._shape = (len(file.pages), *_with_channels(file.pages[0].asarray(), Path(path)).shape)
        except (tifffile.TiffFileError, OSError, ValueError, IndexError) as error:
            if file is not None:
                file.close()
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"{path} cannot be read as a TIFF stack; is it complete? ({error})") from error
        self._file = file
        self._finalizer = weakref.finalize(self, file.close)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, Y, X, C)."""
        t, y, x, c = self._shape
        return t, y, x, c

    def _read(self, frame: int) -> Image:
        try:
            pixels = self._file.pages[frame].asarray()
        except (OSError, ValueError, IndexError) as error:
            raise AlignmentError(f"{self.path} ends before frame {frame}; is it complete? ({error})") from error
        return _with_channels(pixels, Path(str(self.path)))

    def close(self) -> None:
        """Close the file."""
        self._finalizer()


class LabelFolder(LabelVideo):
    """A folder of label images, each the frame of its number; a number without a file is an error when it is read."""

    def __init__(self, files: dict[int, Path], n_frames: int = 0) -> None:
        self._files = files
        self._n_frames = max(n_frames, max(files) + 1)
        self.path = str(next(iter(files.values())).parent)

    @property
    def numbers(self) -> list[int]:
        """The frames that there is a file for."""
        return list(self._files)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(T, Y, X)."""
        y, x = read_label_image(next(iter(self._files.values()))).shape
        return self._n_frames, y, x

    def __len__(self) -> int:
        return self._n_frames

    def _read(self, frame: int) -> LabelImage:
        if frame not in self._files:
            raise AlignmentError(f"{self.path} has no label image for frame {frame}; wanted one for each frame")
        labels = read_label_image(self._files[frame])
        if labels.shape != self.shape[1:]:
            raise AlignmentError(
                f"{self._files[frame]} has shape {labels.shape}, the first label image {self.shape[1:]}; wanted one "
                "size"
            )
        return labels


class LabelStack(LabelVideo):
    """A label video in one TIFF file, a page for each frame."""

    def __init__(self, path: str | Path) -> None:
        self._stack = ImageStack(path)
        self.path = str(path)
        self._first = _checked_labels(self._stack[0][..., 0], Path(path))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, Y, X)."""
        return self._stack.shape[:3]

    def _read(self, frame: int) -> LabelImage:
        return _checked_labels(self._stack[frame][..., 0], Path(str(self.path)))

    def close(self) -> None:
        """Close the file."""
        self._stack.close()


def read_label_image(path: Path) -> LabelImage:
    """(Y, X) integers in an image file."""
    return _checked_labels(read_image(path), path)


def _checked_labels(labels: NDArray[Any], path: Path) -> LabelImage:
    if labels.ndim != 2:
        raise FormatError(
            f"{path} has shape {labels.shape}; wanted label images in the plane, (Y, X): volumes cannot be read yet"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise FormatError(
            f"{path} holds {labels.dtype} numbers; wanted integers, one for each object and 0 for background"
        )
    return labels


def _with_channels(image: NDArray[Any], path: Path) -> Image:
    """(Y, X, C) in 8 or 16 bits, whatever was stored without loss in them."""
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[-1] > 4:
        raise FormatError(f"{path} has shape {image.shape}; wanted (Y, X) or (Y, X, channels) with at most 4 channels")
    if image.dtype == np.bool_:
        image = image.astype(np.uint8) * 255
    if image.dtype not in (np.uint8, np.uint16):
        raise FormatError(f"{path} holds {image.dtype} pixels; wanted 8 or 16 bits without sign: convert the images")
    return image
