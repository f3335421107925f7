"""What a training begins with: a model that knows its part, and a visual encoder that it did not have."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch

from kintrack.config import EncoderConfig, merge
from kintrack.errors import ConfigError
from kintrack.models import GlobalTrackingTransformer
from kintrack.models.checkpoint import Model
from kintrack.models.encoder import weights_follow


def model_to_begin(begin: Model, tree: Mapping[str, Any]) -> Model:
    """The model whose weights a training begins with, with the visual encoder that the config asks for.

    A model of geometry alone gets one, whose features count nothing at first: it answers as before, until it has
    learned what looks are worth. Of a model that has one, `frozen` is taken from the config.

    Args:
        begin: is not changed.
        tree: keys of a `TrainConfig`: ``model.encoder`` and ``seed`` are used.

    Raises:
        ConfigError: the model has another encoder already.
    """
    asked = (tree.get("model") or {}).get("encoder") or {}
    if not asked or not isinstance(begin, GlobalTrackingTransformer):
        return begin
    before, is_new = begin.config.encoder, begin.visual_encoder is None
    encoder = EncoderConfig.of(merge({} if is_new else before.to_dict(), asked))
    if encoder == before or (is_new and encoder.kind == "none"):
        return begin
    known = before.to_dict()
    differs = [name for name, value in encoder.to_dict().items() if name != "frozen" and value != known[name]]
    if differs and not is_new:
        raise ConfigError(
            f"the model to begin with has a visual encoder whose {', '.join(differs)} differs from what is asked for; "
            "leave all of model.encoder but frozen out, or begin with a model that has no visual encoder"
        )
    with torch.random.fork_rng(devices=[]), nullcontext() if is_new else weights_follow():
        torch.manual_seed(int(tree.get("seed", 0)))
        model = GlobalTrackingTransformer(begin.config.model_copy(update={"encoder": encoder}))
    model.load_state_dict(begin.state_dict(), strict=not is_new)
    model.card = begin.card
    if is_new:
        _add_nothing(model)
    return model.eval()


@torch.no_grad()
def _add_nothing(model: GlobalTrackingTransformer) -> None:
    """Sets to 0 by what looks enter: the layer to the token, and the columns of the pair's measurements."""
    assert model.appearance is not None
    model.appearance.weight.zero_()
    names = model.config.pair_features
    first: Any = model.pair[0]
    first.weight[:, [i for i, name in enumerate(names) if "appearance" in name]] = 0.0


__all__ = ["model_to_begin"]
