"""Videos: movies by PyAV with exact frames, TIFF stacks, folders of images; and writing H.264.

Channels are as stored: a movie in colour (grey ones mostly are, too) gives 3, one in grey gives 1. With ``grey`` every
movie gives 1, its brightness, which is faster than colour.
"""

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from kintrack.core.detections import Detections
from kintrack.core.video import Image, LabelVideo, Video
from kintrack.errors import AlignmentError, FormatError, InputError
from kintrack.io import ctc, mot
from kintrack.io.images import PICTURES, TIFF, ImageFolder, ImageStack, LabelFolder, LabelStack, numbered_images
from kintrack.io.reading import existing_file
from kintrack.io.writing import new_file

MOVIES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".h264", ".ts")


class MovieFile(Video):
    """A movie, decoded by PyAV. Reading in order decodes each frame once; a jump seeks to the key frame before it."""

    def __init__(self, path: str | Path, grey: bool = False) -> None:
        from av.video.reformatter import VideoReformatter

        self.path = str(existing_file(path, "a movie"))
        self._container: Any = None
        self._open()
        # One for all frames: PyAV would make one for each frame, and they keep tables of the image's size.
        self._reformatter = VideoReformatter()
        stream = self._stream
        self.fps = float(stream.average_rate) if stream.average_rate else None
        self._times: list[int] | None = None
        one_channel = grey or (stream.codec_context.pix_fmt or "").startswith("gray")
        self._format = "gray" if one_channel else "rgb24"
        n = int(stream.frames) or len(self._index())
        self._shape = (n, int(stream.codec_context.height), int(stream.codec_context.width), 1 if one_channel else 3)

    def _open(self) -> None:
        import av

        self.close()
        try:
            self._container = av.open(self.path, "r")
            self._stream = self._container.streams.video[0]
        except (av.error.FFmpegError, IndexError) as error:
            raise FormatError(
                f"{self.path} cannot be opened as a movie; is it complete, and is it one? ({error})"
            ) from error
        self._stream.thread_type = "AUTO"
        self._decoded = self._container.decode(self._stream)
        self._next = 0  # the frame that the decoder gives next

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, Y, X, C); T as the file says, which a file that was cut off does not keep."""
        return self._shape

    def _read(self, frame: int) -> Image:
        if frame != self._next:
            self._seek(frame)
        pixels = self._pixels(self._decode(frame))
        self._next = frame + 1
        return pixels

    def _decode(self, frame: int) -> Any:
        """The next picture of the decoder, on the way to `frame`."""
        import av

        try:
            return next(self._decoded)
        except (StopIteration, av.error.FFmpegError) as error:
            self._open()
            raise self._ends_early(frame, f" ({error})" if str(error) else "") from error

    def _ends_early(self, frame: int, reason: str = "") -> AlignmentError:
        return AlignmentError(
            f"{self.path} ends early or is damaged: frame {frame} cannot be read, though by its header it has frames "
            f"0..{len(self) - 1}{reason}; get the whole file, or leave out the detections past its end"
        )

    def _seek(self, frame: int) -> None:
        """Make `frame` the one that is decoded next."""
        ahead = frame - self._next
        if not 0 < ahead <= 8:  # a few frames ahead, decoding on is faster than jumping
            times = self._index()
            if len(times) > frame:
                self._jump(frame, times)
                return
            if times:
                raise self._ends_early(frame)
            self._open()
        while self._next < frame:
            self._decode(frame)
            self._next += 1

    def _jump(self, frame: int, times: list[int]) -> None:
        """Seek to the key frame before, and decode up to `frame`, told by the time stamps."""
        self._container.seek(times[frame], stream=self._stream, backward=True)
        self._decoded = self._container.decode(self._stream)
        picture = self._decode(frame)
        if picture.pts > times[frame]:  # there was no key frame before it: begin at the beginning
            self._open()
            picture = self._decode(frame)
        while picture.pts < times[frame]:
            picture = self._decode(frame)
        if picture.pts != times[frame]:
            raise self._ends_early(frame)
        self._decoded = chain([picture], self._decoded)
        self._next = frame

    def _index(self) -> list[int]:
        """The time stamp of each frame, in order of showing; empty where the file has none. Nothing is decoded."""
        import av

        if self._times is None:
            times = []
            try:
                with av.open(self.path, "r") as container:
                    for packet in container.demux(container.streams.video[0]):
                        if packet.size and not packet.is_discard:
                            times.append(packet.pts)
            except av.error.FFmpegError:
                pass  # cut off: what there is up to here counts, and reading past it says so
            self._times = [] if None in times else sorted(t for t in times if t is not None)
        return self._times

    def _pixels(self, picture: Any) -> Image:
        pixels: Image = self._reformatter.reformat(picture, format=self._format).to_ndarray()
        return pixels[..., None] if pixels.ndim == 2 else pixels

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()


def load_video(path: str | Path, *, grey: bool = False) -> Video:
    """The video at a path: a movie, a TIFF stack, or a folder of numbered images.

    Args:
        path: the file or folder.
        grey: give one channel, the brightness, whatever is stored (movies only).

    Raises:
        InputError: there is nothing, or nothing of a known kind.
        FormatError: it cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        return ImageFolder(path / "img1" if (path / "img1").is_dir() else path)
    existing_file(path, "a movie, a TIFF stack, or a folder of images")
    suffix = path.suffix.lower()
    if suffix in TIFF:
        return ImageStack(path)
    if suffix in MOVIES:
        return MovieFile(path, grey=grey)
    raise InputError(
        f"{path} ends in {suffix or 'nothing'}; wanted a movie ({', '.join(MOVIES)}), a TIFF stack, or a folder of "
        "images"
    )


def load_labels(path: str | Path) -> LabelVideo:
    """The label video at a path: a TIFF stack, a folder of label images, or the labels of a CTC folder."""
    path = Path(path)
    if path.is_dir():
        try:
            folder = ctc.resolve(path).labels
        except InputError:
            folder = path
        return LabelFolder(numbered_images(folder, TIFF))
    existing_file(path, "a TIFF stack or a folder of label images")
    if path.suffix.lower() not in TIFF:
        raise InputError(f"{path} ends in {path.suffix or 'nothing'}; wanted a TIFF stack, or a folder of label images")
    return LabelStack(path)


def find_video(path: str | Path) -> Path | None:
    """The video that belongs to a file of detections, if it can be found.

    The one that a `.slp` names, where it says or beside the `.slp`; the images of a CTC folder or a MOTChallenge
    sequence; or a movie, stack or folder beside the file with the same stem (``clip.predictions.slp``: ``clip.mp4``).
    """
    path = Path(path)
    if path.is_dir() and not mot.is_sequence(path):
        try:
            return ctc.resolve(path).images
        except InputError:
            return None
    if path.suffix.lower() == ".slp" and (named := _video_in_slp(path)):
        return named
    folder = mot.sequence_folder(path)
    if folder is not None:
        images = folder / "img1"
        return images if images.is_dir() else _same_stem(folder.parent, folder.name)
    return _same_stem(path.parent, path.name[: -len(path.suffix)] if path.suffix else path.name)


def _video_in_slp(path: Path) -> Path | None:
    from kintrack.io.sleap import read_tables

    videos = read_tables(path).videos
    if len(videos) != 1 or videos[0]["filename"] in ("", "."):
        return None
    named = Path(videos[0]["filename"])
    return next((p for p in (path.parent / named, path.parent / named.name) if p.exists()), None)


def _same_stem(folder: Path, stem: str) -> Path | None:
    """A video called `stem`, or what is left of it when endings like ``.predictions`` are taken off."""
    while stem:
        for suffix in (*MOVIES, *TIFF):
            if (found := folder / f"{stem}{suffix}").is_file():
                return found
        if (
            (found := folder / stem).is_dir()
            and not mot.is_sequence(found)
            and any(p.suffix.lower() in (*TIFF, *PICTURES) for p in found.iterdir())
        ):
            return found
        stem, dot, _ = stem.rpartition(".")
        if not dot:
            return None
    return None


def check_against_video(detections: Detections, video: Video | LabelVideo) -> None:
    """Refuse detections that cannot belong to a video.

    Raises:
        AlignmentError: detections past the video's end, or most of them outside its images.
    """
    n, height, width = len(video), *video.shape[1:3]
    if not len(detections):
        return
    past = int((detections.frame >= n).sum())
    if past:
        raise AlignmentError(
            f"{past} of {len(detections)} detections lie past the end of {video.path or 'the video'}: it has {n} "
            f"frames (0..{n - 1}), "
            f"and they reach frame {detections.frame[-1]}; give the video they were made on"
        )
    x, y = detections.centre[:, 0], detections.centre[:, 1]
    outside = int(((x < 0) | (x > width) | (y < 0) | (y > height)).sum())
    if 2 * outside > len(detections):
        raise AlignmentError(
            f"{outside} of {len(detections)} detections lie outside the images of {video.path or 'the video'} "
            f"({width} x {height}); "
            "give the video they were made on"
        )


def write_video(path: str | Path, frames: Iterable[Image], fps: float, *, overwrite: bool = False) -> None:
    """An H.264 movie (yuv420p, which every player shows) of 8-bit frames (Y, X), (Y, X, 1) or (Y, X, 3), as they come.

    Odd sides grow by one row or column, a copy of the last one, as the format wants even ones.

    Raises:
        InputError: no frames, or frames of another kind or of several sizes.
        OutputExistsError, OutputError: as for any output.
    """
    import av

    if not fps > 0:
        raise InputError(f"a movie of {fps} frames a second cannot be written; give a rate above 0")
    with new_file(path, overwrite) as draft:
        size = None
        with av.open(str(draft), "w", format="mp4") as container:
            stream = container.add_stream(
                "libx264", rate=Fraction(fps).limit_denominator(10_000), options={"crf": "20", "preset": "veryfast"}
            )
            stream.pix_fmt = "yuv420p"
            for image in frames:
                picture = _even(np.asarray(image))
                if size is None:
                    size = picture.shape
                    stream.height, stream.width = size[:2]
                elif picture.shape != size:
                    raise InputError(
                        f"a frame of {picture.shape[1]} x {picture.shape[0]} came after frames of {size[1]} x "
                        f"{size[0]}; wanted one size"
                    )
                for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                    container.mux(packet)
            if size is None:
                raise InputError(f"there are no frames to write to {path}; wanted one at least")
            for packet in stream.encode():
                container.mux(packet)


def _even(image: Image) -> Image:
    """(Y, X, 3) with even sides."""
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3) or image.dtype != np.uint8:
        raise InputError(
            f"a frame has shape {image.shape} and type {image.dtype}; wanted (Y, X, 1) or (Y, X, 3) in uint8"
        )
    image = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))
