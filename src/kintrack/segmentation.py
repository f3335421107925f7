"""Masks of a video by Cellpose, so that `kintrack track` can begin with pixels. The extra ``cellpose`` brings it.

Each frame is segmented by itself: the labels of two frames have nothing to do with each other.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kintrack import io
from kintrack.core.video import ArrayLabelVideo, Image, LabelVideo, Video
from kintrack.errors import InputError, MissingExtraError, nearest_name
from kintrack.follow import Progress
from kintrack.io.ctc import MAX_LABEL, RESULT_FILES
from kintrack.io.writing import new_folder
from kintrack.loading import choose_device

_Segment = Callable[[Image], NDArray[Any]]


def segment(
    video: str | Path | Video,
    output: str | Path | None = None,
    *,
    model: str | Path | None = None,
    diameter: float | None = None,
    flow_threshold: float = 0.4,
    cellprob_threshold: float = 0.0,
    min_size: int = 15,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> LabelVideo:
    """The masks of all cells in all frames, by Cellpose 3 or 4, as 16-bit label images: what tracking begins with.

    Args:
        video: a movie, a TIFF stack, a folder of images, or the pixels themselves.
        output: a folder for ``mask000.tif``, …, which `kintrack track` takes; in memory where not given.
        model: one of Cellpose's own by name, or the file of one that you have trained; Cellpose's default otherwise.
        diameter: of a cell, in pixels; Cellpose's guess where not given.
        flow_threshold: see Cellpose: higher keeps more odd shapes.
        cellprob_threshold: see Cellpose: lower finds more and larger cells.
        min_size: masks of fewer pixels are left out.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        overwrite: replace masks that are there.
        progress: is told how far it is.

    Raises:
        MissingExtraError: cellpose is not installed.
        InputError: Cellpose has no such model, or a frame holds more cells than a 16-bit image can tell apart.
        OutputExistsError: the output is there.
    """
    settings = {"diameter": diameter, "flow_threshold": flow_threshold, "cellprob_threshold": cellprob_threshold}
    network = _network(_cellpose(), model, device, {**settings, "min_size": min_size})
    pixels = video if isinstance(video, Video) else io.load_video(video, grey=True)
    try:
        if output is None:
            return ArrayLabelVideo(
                np.stack([_labels(network, pixels, frame, progress) for frame in range(len(pixels))])
            )
        with new_folder(output, overwrite, own=RESULT_FILES) as draft:
            from tifffile import imwrite

            digits = max(3, len(str(len(pixels) - 1)))
            for frame in range(len(pixels)):
                labels = _labels(network, pixels, frame, progress)
                imwrite(draft / f"mask{frame:0{digits}d}.tif", labels, compression="zlib")
    finally:
        if not isinstance(video, Video):
            pixels.close()
    return io.load_labels(output)


def _labels(network: _Segment, pixels: Video, frame: int, progress: Progress | None) -> NDArray[np.uint16]:
    """(Y, X) the labels of a frame, 0 where there is no cell."""
    image = pixels[frame]
    masks = np.asarray(network(image))
    if masks.shape != image.shape[:2]:
        raise InputError(
            f"Cellpose made masks of shape {masks.shape} of frame {frame}, which is {image.shape[:2]}; wanted one "
            "label for each pixel: give images of one plane"
        )
    if masks.size and masks.max() > MAX_LABEL:
        raise InputError(
            f"Cellpose found {masks.max()} cells in frame {frame}, but a label image has 16 bits, 1..{MAX_LABEL}; cut "
            "the images into tiles, or raise min_size"
        )
    if progress:
        progress("segmenting", frame + 1, len(pixels))
    return masks.astype(np.uint16)  # whatever the image's type: of 8 bits, cell 257 would be cell 1


def _cellpose() -> ModuleType:
    try:
        import cellpose
        import cellpose.models
    except ImportError as error:
        raise MissingExtraError("cellpose", "cellpose", "segmenting a video") from error
    return cellpose  # type: ignore[no-any-return]


def _network(cellpose: ModuleType, model: str | Path | None, device: str, settings: dict[str, Any]) -> _Segment:
    """Cellpose's model, as a function of an image."""
    import torch

    before_4 = int(str(cellpose.version).split(".")[0]) < 4
    chosen: dict[str, Any] = {"device": torch.device(choose_device(device))}
    if model is not None and Path(model).is_file():
        chosen["pretrained_model"] = str(model)
    elif model is not None:
        known = [*cellpose.models.MODEL_NAMES, *cellpose.models.get_user_models()]
        if str(model) not in known:  # Cellpose would take its default instead
            raise InputError(
                f"Cellpose {cellpose.version} has no model {str(model)!r}: {nearest_name(str(model), known)}; or give "
                "the file of one"
            )
        chosen["model_type" if before_4 else "pretrained_model"] = str(model)
    elif before_4:
        chosen["model_type"] = "cyto3"
    network = cellpose.models.CellposeModel(gpu=chosen["device"].type != "cpu", **chosen)

    def of_image(image: Image) -> NDArray[Any]:
        grey = image.shape[2] == 1
        channels: dict[str, Any] = {"channels": [0, 0]} if before_4 else {}
        given = {} if grey else {"channel_axis": 2}
        return np.asarray(network.eval(image[..., 0] if grey else image, **settings, **channels, **given)[0])

    return of_image


__all__ = ["segment"]
