"""Options that several commands share, each with its one help text; and how they are read."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

Device = Literal["auto", "cpu", "cuda", "mps"]
Match = Literal["iou", "centre", "rows"]
Unit = Literal["size", "pixel"]
Show = Literal["auto", "boxes", "poses", "masks"]


def option(help: str, *names: str, **more: Any) -> Any:
    """An option of the command line, with its help first."""
    return typer.Option(*names, help=help, show_default=more.pop("show_default", False), **more)


Format = Annotated[
    str | None,
    option("The output's format, where its suffix does not say: sleap, ctc, mot, csv, trackmate.", "--format", "-f"),
]
Overwrite = Annotated[bool, option("Replace an output that is there.", "--overwrite")]
Quiet = Annotated[bool, option("Say nothing but warnings and errors.", "--quiet", "-q")]
ConfigFile = Annotated[Path | None, option("A YAML file of options; --set and other options go before it.", "--config")]
Set = Annotated[list[str] | None, option("One option, like tracker.max_gap=30; as often as you like.", "--set")]
Index = Annotated[int | None, option("Which video, where a file holds several; counts from 0.", "--index")]
DeviceOption = Annotated[
    Device | None, option("Where the model runs; auto (the default) takes a GPU if there is one.", "--device")
]


def tree_of(config: Path | None, assignments: list[str] | None) -> dict[str, Any]:
    """What --config and --set say, the latter going before the former."""
    from kintrack.config import merge, parse_overrides, read_yaml
    from kintrack.from_dreem import is_dreems, lay_over
    from kintrack.loading import find_config

    tree, said = read_yaml(find_config(config)) if config is not None else {}, parse_overrides(assignments or [])
    return lay_over(tree, said) if is_dreems(tree) else merge(tree, said)


def need(ctx: typer.Context, source: Any, given: dict[str, Any]) -> None:
    """What must be given where nothing else, such as a config, may say it: as typer complains of it."""
    for name, value in given.items() if source is None else ():
        if not value:
            ctx.fail(f"Missing {'option' if name.startswith('-') else 'argument'} '{name}'.")
