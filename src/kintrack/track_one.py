"""One file of detections tracked: from its name to the result, beside which its config lies."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kintrack import io
from kintrack._version import __version__
from kintrack.config import merge
from kintrack.config_base import contradictions
from kintrack.config_dreem import tracker_tree, with_card
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks
from kintrack.core.video import LabelVideo, Video
from kintrack.errors import ConfigError, InputError
from kintrack.follow import Progress, TrackConfig, follow
from kintrack.from_dreem import Asked
from kintrack.io.ctc import detections_from_labels
from kintrack.io.meta import meta_file
from kintrack.loading import load_model, model_facts
from kintrack.outputs import check_target, refuse_existing, save_config

if TYPE_CHECKING:
    from kintrack.loading import Model


def track_one(
    source: str | Path | Detections | LabelVideo,
    output: str | Path | None,
    asked: Asked,
    *,
    video: str | Path | Video | None = None,
    model: "str | Path | Model | None" = None,
    max_tracks: int | None = None,
    format: str | None = None,
    device: str | None = None,
    index: int | None = None,
    save_meta: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Tracks:
    """The identities for one file; see `kintrack.api.track`."""
    if model is None:
        model = named_model(asked)
    given = {"model": str(model) if isinstance(model, str | Path) else None, "device": device}
    chosen = {key: value for key, value in given.items() if value is not None}
    tree = merge(track_tree(asked), chosen, {"tracker": {"max_tracks": max_tracks}} if max_tracks is not None else {})
    resolved = TrackConfig.of(tree)
    path = Path(source) if isinstance(source, str | Path) else None
    if output is not None:
        check_target(Path(output), format, overwrite, path)
    if save_meta is not None:
        refuse_existing(Path(save_meta), overwrite)
    masks: LabelVideo | None
    if isinstance(source, LabelVideo):
        detections, masks = detections_from_labels(source), source
    else:
        found = source if isinstance(source, Detections) else io.load(source, video=index, identities=False)
        detections = found if isinstance(found, Detections) else found.detections
        masks = io.load_labels(path) if path and path.is_dir() and detections.label is not None else None
    if output is not None and (format or io.detect_format(output)) == "ctc" and masks is None:
        raise InputError(
            f"a CTC folder is made of label images, which {path or 'the table'} has none of; write .csv or .txt instead"
        )
    made: dict[str, Any] = {"input": None if path is None else str(path.resolve())}
    if model is None or isinstance(model, str | Path):
        made |= model_facts(resolved.model)
        model = load_model(resolved.model, resolved.device)
    check_agreement(asked.model, model)
    resolved = TrackConfig.of(with_card(tree, model.card))
    with ExitStack() as stack:
        pixels = _pixels(stack, model, video, path)
        watch = None
        if save_meta is not None:
            facts = {key: str(value) for key, value in made.items() if value is not None}
            about = {"tracker": json.dumps(resolved.tracker.to_dict())} | facts
            watch = stack.enter_context(meta_file(save_meta, about, overwrite))
        tracks = follow(detections, model, pixels, resolved, progress, masks, watch)
    if output is not None:
        # The formats without a place for the links' confidence do without: nobody has given one to keep.
        holds = "confidence" in io.FORMATS[format or io.detect_format(output)].carries
        kept = tracks if holds else replace(tracks, confidence=None)
        io.save(kept, output, format, overwrite=overwrite, source=path, labels=masks, review=resolved.review)
        made |= {"video": pixels.path if pixels else None, "output": str(output), "kintrack": __version__}
        pinned = made.get("model_address", resolved.model)
        save_config(resolved.model_copy(update={"model": pinned, "made": made}), Path(output))
    return tracks


def track_tree(asked: Asked) -> dict[str, Any]:
    """What was said of tracking, checked, and nothing else: untouched defaults must not hide what a card asks for."""
    TrackConfig.of(asked.config)
    said = asked.config
    return said | ({"tracker": tracker_tree(said["tracker"])} if "tracker" in said else {})


def named_model(asked: Asked) -> str | None:
    """The checkpoint that a config of DREEM names; None where the config is ours, whose `model` has a default.

    Raises:
        ConfigError: it names none.
    """
    if not asked.is_dreems or "model" in asked.config:
        return None
    if asked.files.model is None:
        raise ConfigError(
            "the config of DREEM names no checkpoint; give ckpt_path in it, or --model (a checkpoint, or a name that "
            "`kintrack info` lists)"
        )
    return asked.files.model


_ONLY_NAMES = ("backend", "options", "kind")
_ONLY_IN_TRAINING = (*_ONLY_NAMES, "dropout", "dropout_attn_head", "return_intermediate_dec")
"""What may be said of a model otherwise than its checkpoint says, since no answer of it depends on that."""


def check_agreement(said: Mapping[str, Any], model: "Model", trains: bool = False) -> None:
    """Whether a config tells of the model that its checkpoint holds. DREEM fills what does not fit with chance (C11).

    Args:
        said: of the model, in our words.
        model: from the checkpoint.
        trains: whether it is to be trained, which some options matter to that do not matter to its answers.

    Raises:
        ConfigError: naming what is otherwise.
    """
    known = getattr(model, "config", None)
    told = {} if known is None else contradictions(said, known.to_dict())
    free = _ONLY_NAMES if trains else _ONLY_IN_TRAINING
    if wrong := {key: values for key, values in told.items() if key.split(".")[-1] not in free}:
        listed = ", ".join(f"{key} {there!r} (the config says {here!r})" for key, (here, there) in wrong.items())
        raise ConfigError(
            f"the model of the config is not that of the checkpoint, which has {listed}; give the checkpoint that "
            "belongs to the config, or leave these options out"
        )


def _pixels(stack: ExitStack, model: "Model", video: str | Path | Video | None, source: Path | None) -> Video | None:
    """The video, if the model looks at pixels: given, or found beside the detections."""
    if model.visual_encoder is None:
        return None
    if isinstance(video, Video):
        return video
    found = video or (io.find_video(source) if source is not None else None)
    if found is None:
        raise InputError(
            f"this model looks at pixels (its visual encoder is {model.config.encoder.kind!r}), but no video was "
            f"given, and none that belongs to {source or 'the detections'} was found; give it with --video, or take a "
            "model of geometry alone"
        )
    grey = getattr(model.config.encoder, "channels", 3) == 1  # a model of DREEM takes the colours that there are
    return stack.enter_context(io.load_video(found, grey=grey))


__all__ = ["check_agreement", "named_model", "track_one", "track_tree"]
