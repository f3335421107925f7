"""Files of annotated tracks as a training needs them."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from kintrack import io
from kintrack.config import EncoderConfig
from kintrack.config_data import CropConfig
from kintrack.core.clip import Clip
from kintrack.core.tracks import Tracks
from kintrack.core.video import LabelVideo, Video
from kintrack.errors import InputError
from kintrack.windows.crops import crop_detections
from kintrack.windows.shown import has_anchors

_log = logging.getLogger(__name__)


def load_annotated(
    stack: ExitStack,
    sources: Sequence[str | Path],
    videos: Sequence[str | Path] | None,
    encoder: EncoderConfig | None,
) -> tuple[list[Tracks], list[Video] | None]:
    """The tracks in files, and their pixels if an encoder wants them.

    Args:
        stack: closes the videos.
        sources: files, or folders of them.
        videos: paired with the sources by stem; found by name where not given.
        encoder: how the model wants its crops; None for a model of geometry alone, and then no video is opened.

    Raises:
        InputError: a file without identities, or without a video that is needed.
        AlignmentError: a video that does not belong to its file.
    """
    truth, pixels = [], []
    for path, video in io.find_pairs(list(sources), videos if encoder else None):
        truth.append(io.load(path))
        if not len(truth[-1].ids):
            raise InputError(f"{path} has no identities (all are -1), so nothing can be learned; give annotated tracks")
        if encoder is not None and video is None:
            raise InputError(f"this model looks at pixels, but no video belongs to {path}; give it with --video")
        if encoder is not None and video is not None:
            pixels.append(stack.enter_context(io.load_video(video, grey=encoder.channels == 1)))
            io.check_against_video(truth[-1].detections, pixels[-1])
    return truth, pixels if encoder else None


def with_anchors(truth: Tracks, crops: CropConfig) -> Tracks:
    """The rows of which there are crops; says how many are left out because they lack an anchor."""
    kept = has_anchors(truth.detections, crops)
    if kept.all():
        return truth
    left, names = f"{int((~kept).sum()):,} of {len(kept):,} detections", " or ".join(crops.anchors)
    _log.warning("%s are not learned from: they lack %s, which their crops show (handle_missing)", left, names)
    return truth.take(kept)


def load_masks(stack: ExitStack, paths: Sequence[str | Path], truth: Sequence[Tracks]) -> list[LabelVideo | None]:
    """The label images of those files that are folders of them; None for the others.

    Args:
        stack: closes them.
        paths: of the files.
        truth: what each holds.
    """
    has_masks = [Path(path).is_dir() and t.detections.label is not None for path, t in zip(paths, truth, strict=True)]
    return [
        stack.enter_context(io.load_labels(path)) if has else None for path, has in zip(paths, has_masks, strict=True)
    ]


def whole_clips(
    truth: list[Tracks],
    pixels: list[Video] | None,
    n_frames: int,
    encoder: EncoderConfig | None,
    masks: Sequence[LabelVideo | None] | None = None,
) -> list[Clip]:
    """Each video as it is annotated, cut into clips of ``n_frames`` that follow each other: what is validated on.

    Rows that the tracker would set aside because their crops lack an anchor are not in them.
    """
    clips = []
    for i, tracks in enumerate(truth):
        if encoder is not None:
            tracks = with_anchors(tracks, encoder)
        for start in range(0, tracks.detections.n_frames, n_frames):
            part = tracks.take(tracks.detections.rows(start, start + n_frames))
            crops = None
            if pixels is not None and encoder is not None:
                labels = masks[i] if masks else None
                crops = crop_detections(pixels[i], part.detections, slice(None), encoder, labels=labels)
            clips += [Clip(part.detections, part.track, crops=crops, video=i)] if len(part) else []
    return clips
