"""`kintrack convert-checkpoint`: a checkpoint of DREEM as a file of ours, for good.

`load_model` reads such checkpoints as they are, where torch's safe mode does. This writes them down: smaller (without
the optimiser), with what the checkpoint does not say (how large the crops were), and read also where the checkpoint
holds objects, which are not made for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from kintrack.errors import InputError
from kintrack.options import Overwrite, Quiet, option
from kintrack.terminal import say


@dataclass(frozen=True)
class Converted:
    """What became of a checkpoint.

    Args:
        path: the file that was written.
        about: what the model is.
        numbers: how many its tensors hold.
        left_behind: the objects that the checkpoint also named, and that were not made.
    """

    path: Path
    about: str
    numbers: int
    left_behind: tuple[str, ...]


def convert_checkpoint(
    source: str | Path,
    output: str | Path,
    *,
    crop_size: int | None = None,
    padding: int | None = None,
    anchors: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Converted:
    """Writes the model of a checkpoint as safetensors; nothing that is in the checkpoint is run.

    Args:
        source: a checkpoint of DREEM (or of ours), or a reference to one on the hub.
        output: ends in ``.safetensors``.
        crop_size: what `kintrack track` then takes without being told; see `DreemCrops`.
        padding: likewise.
        anchors: likewise.
        overwrite: replace an output that is there.

    Raises:
        CheckpointError: as `kintrack.models.checkpoint.convert`.
        InputError: the output has another suffix.
    """
    from kintrack.config_dreem import DreemCrops
    from kintrack.loading import file_hash, find_model, with_source
    from kintrack.models.checkpoint import convert, save_model
    from kintrack.models.dreem import DreemTransformer
    from kintrack.outputs import refuse_existing

    output = Path(output)
    if output.suffix != ".safetensors":
        raise InputError(f"{output} ends in {output.suffix or 'nothing'}; a model is written as .safetensors")
    refuse_existing(output, overwrite)
    path = find_model(source)
    model, left_behind = convert(path)
    told = {"crop_size": crop_size, "padding": padding, "anchors": list(anchors) if anchors else None}
    crops = {key: value for key, value in told.items() if value is not None}
    DreemCrops.of(crops)
    about = "a model of kintrack"
    if isinstance(model, DreemTransformer):
        c = model.config
        network = c.encoder.model_name if c.encoder.kind == "cnn" else c.encoder.kind
        layers = f"{c.num_encoder_layers} + {c.num_decoder_layers} layers of {c.d_model}"
        about = f"a model of DREEM ({network}, {layers})"
    elif crops:
        raise InputError(f"{source} is {about}, which says itself how its crops are cut; leave out {', '.join(crops)}")
    card = with_source(model.card, source)
    card |= {"crops": card.get("crops", {}) | crops, "source_sha256": file_hash(path)}
    save_model(model, output, card=card)
    return Converted(output, about, sum(tensor.numel() for tensor in model.state_dict().values()), left_behind)


def command(
    source: Annotated[
        str,
        typer.Argument(help="A checkpoint of DREEM, .ckpt; or animals, microscopy, org/repo.", show_default=False),
    ],
    output: Annotated[Path, option("The model, .safetensors.", "--output", "-o")],
    crop_size: Annotated[
        int | None,
        option("Side of its crops in pixels, as in training; then tracking need not be told.", "--crop-size"),
    ] = None,
    padding: Annotated[int | None, option("Pixels around them, as in training.", "--padding")] = None,
    anchors: Annotated[
        list[str] | None, option("The keypoint in their middle; several for a model of several, in order.", "--anchor")
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write a checkpoint of DREEM as a model of ours, without running anything that is in it.

    A checkpoint is a pickle, which may hold code. Where it holds more than tensors and plain values, as older ones do
    (their config is of OmegaConf's objects), torch refuses to load it in its safe mode, and so does kintrack track.
    Here the tensors and the config are read without making any object; a file that names what no checkpoint needs is
    refused, and the name said.

    [bold]kintrack convert-checkpoint dreem.ckpt -o dreem.safetensors --crop-size 70[/bold]

    [bold]kintrack track poses.slp -o tracked.slp --model dreem.safetensors[/bold]
    """
    done = convert_checkpoint(
        source, output, crop_size=crop_size, padding=padding, anchors=anchors, overwrite=overwrite
    )
    say(f"{done.path}: {done.about}, {done.numbers:,} numbers", quiet)
    if done.left_behind:
        say(f"not made, and left behind: {', '.join(done.left_behind)}", quiet)


__all__ = ["Converted", "convert_checkpoint"]
