"""From files and a config to what `fit` wants, whichever architecture is trained."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kintrack import io
from kintrack.config import TrainConfig, merge
from kintrack.models.checkpoint import Model
from kintrack.training.annotated import load_annotated, load_masks, whole_clips
from kintrack.training.data import Clips
from kintrack.training.dreem_config import DreemTrainConfig, train_config
from kintrack.training.dreem_data import DreemClips, dreem_clips


def config_to_begin(tree: Mapping[str, Any], begin: Model | None) -> TrainConfig:
    """The config of a training that may begin with a model's weights.

    These answer the questions of the tracker that they were trained for, and see crops as they did: so that is the
    default, where nothing else is said.
    """
    if begin is None:
        return train_config(tree)
    asked = {"tracker": begin.card.get("tracker", {}), "dreem": begin.card.get("crops", {})}
    asked = {key: value for key, value in asked.items() if value}
    return train_config(merge(asked, tree, {"model": begin.config.model_dump()}))


def clips_of(
    stack: ExitStack,
    sources: Sequence[str | Path],
    val: Sequence[str | Path] | None,
    videos: Sequence[str | Path] | None,
    config: TrainConfig,
) -> tuple[Clips | DreemClips, Any]:
    """What is learned from, and what is validated on (None where there is nothing).

    Args:
        stack: closes the videos.
        sources: annotated tracks: files, or folders of them.
        val: tracks that are not learned from.
        videos: their pixels, paired by stem; found by name where not given.
        config: of the training.
    """
    learned, checked = ([path for path, _ in io.find_pairs(list(given))] for given in (sources, val or []))
    if isinstance(config, DreemTrainConfig):
        return dreem_clips(stack, learned, checked, videos, config)
    encoder = None if config.model.encoder.kind == "none" else config.model.encoder
    truth, pixels = load_annotated(stack, [*learned, *checked], videos, encoder)
    masks = load_masks(stack, [*learned, *checked], truth) if encoder else [None] * len(truth)
    n = len(learned)
    clips = Clips(truth[:n], config.data, pixels[:n] if pixels else None, encoder, config.seed, masks[:n])
    rest = pixels[n:] if pixels else None
    checks = whole_clips(truth[n:], rest, config.data.frames, encoder, masks[n:]) if val else None
    return clips, checks


__all__ = ["clips_of", "config_to_begin"]
