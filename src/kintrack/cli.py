"""The command line: arguments to calls of `kintrack.api`. No logic, and nothing heavy before a command needs it."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kintrack._version import __version__
from kintrack.config import TrackerConfig, merge, parse_overrides, read_yaml
from kintrack.errors import KintrackError

if TYPE_CHECKING:
    from kintrack.follow import Progress

app = typer.Typer(
    name="kintrack",
    help="Who is who, and who came from whom, for every animal and every cell in a video.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Device(StrEnum):
    """Where a model runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Match(StrEnum):
    """When a predicted row may be a true row."""

    iou = "iou"
    centre = "centre"
    rows = "rows"


class Show(StrEnum):
    """What stands for a detection in a picture."""

    auto = "auto"
    boxes = "boxes"
    poses = "poses"
    masks = "masks"


def _option(help: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, show_default=more.pop("show_default", False), **more)


Format = Annotated[
    str | None, _option("The output's format, where its suffix does not say: sleap, ctc, mot, csv.", "--format", "-f")
]
Overwrite = Annotated[bool, _option("Replace an output that is there.", "--overwrite")]
Quiet = Annotated[bool, _option("Say nothing but warnings and errors.", "--quiet", "-q")]
ConfigFile = Annotated[
    Path | None, _option("A YAML file of options; --set and other options go before it.", "--config")
]
Set = Annotated[list[str] | None, _option("One option, like tracker.max_gap=30; as often as you like.", "--set")]
DeviceOption = Annotated[
    Device | None, _option("Where the model runs; auto (the default) takes a GPU if there is one.", "--device")
]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"kintrack {__version__}")
        raise typer.Exit


@app.callback()
def _kintrack(
    version: Annotated[
        bool, _option("Say the version and stop.", "--version", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, _option("On an error, show where in the code it came up.", "--debug")] = False,
) -> None:
    """Who is who, and who came from whom, for every animal and every cell in a video.

    [bold]kintrack demo[/bold]                                          see what it does, in a minute

    [bold]kintrack track poses.slp -o tracked.slp[/bold]                identities for your detections

    [bold]kintrack eval truth.slp tracked.slp[/bold]                    how good are they?

    [bold]kintrack train corrected/ --val checked.slp -o run[/bold]     learn from corrected tracks
    """


@app.command()
def track(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Detections: .slp, .txt (MOTChallenge), .csv, a CTC folder; several, or a folder of them.",
            metavar="INPUT...",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        _option("Where the tracks are written; the suffix says the format. A folder for several.", "--output", "-o"),
    ],
    video: Annotated[
        list[Path] | None,
        _option("The pixels; found by name if not given. Models of geometry need none.", "--video", "-v"),
    ] = None,
    model: Annotated[
        str | None, _option("A model that `kintrack info` lists (default: general), or a checkpoint.", "--model", "-m")
    ] = None,
    max_tracks: Annotated[
        int | None, _option(TrackerConfig.model_fields["max_tracks"].description or "", "--max-tracks", "-n")
    ] = None,
    format: Format = None,
    device: DeviceOption = None,
    config: ConfigFile = None,
    set_: Set = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Give every detection an identity.

    The config that was used is saved beside the result, as OUTPUT.kintrack.yaml.

    [bold]kintrack track poses.slp -o tracked.slp[/bold]            SLEAP poses

    [bold]kintrack track det.txt -o out.txt -n 6[/bold]             MOTChallenge boxes of six individuals

    [bold]kintrack track sequence/ -o result/[/bold]                Cell Tracking Challenge folder

    [bold]kintrack track *.slp --video videos/ -o tracked/[/bold]   many files, paired by stem

    [bold]kintrack track a.csv -o b.csv --set tracker.max_gap=120[/bold]
    """
    from kintrack import api

    tree = _tree(config, set_)
    with _progress(quiet) as progress:
        results = api.track_many(
            inputs,
            output,
            videos=video,
            model=model,
            max_tracks=max_tracks,
            format=format,
            device=None if device is None else device.value,
            config=tree,
            overwrite=overwrite,
            progress=progress,
        )
    for path, tracks in results.items():
        _say(f"{path}: {tracks!r}", quiet)


@app.command(name="eval")
def evaluate(
    truth: Annotated[Path, typer.Argument(help="Annotated tracks: a file, or a folder of them.", show_default=False)],
    prediction: Annotated[Path, typer.Argument(help="The tracker's, paired by stem.", show_default=False)],
    match: Annotated[
        Match,
        _option(
            "When two rows may be one: iou of their boxes, distance of their centres, or the same rows.",
            "--match",
            show_default=True,
        ),
    ] = Match.iou,
    threshold: Annotated[
        float, _option("Similarity from which two rows may match.", "--threshold", show_default=True, min=0, max=1)
    ] = 0.5,
    mot_challenge: Annotated[
        bool, _option("Leave out what MOTChallenge does not score (other classes, distractors).", "--mot-challenge")
    ] = False,
    output: Annotated[
        Path | None,
        _option("Also write the results: .json (everything) or .csv (a line a sequence).", "--output", "-o"),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Say how well tracks agree with the truth: HOTA, IDF1, MOTA, identity switches and more.

    [bold]kintrack eval truth.slp tracked.slp[/bold]

    [bold]kintrack eval gt/ results/ -o scores.csv[/bold]             folders, paired by stem

    [bold]kintrack eval truth.csv tracked.csv --match centre[/bold]   points instead of boxes
    """
    from kintrack import api

    results = api.evaluate(
        truth,
        prediction,
        match=match.value,
        threshold=threshold,
        mot_challenge=mot_challenge,
        output=output,
        overwrite=overwrite,
    )
    if not quiet:
        _print_scores(results)
    if output is not None:
        _say(f"written to {output}", quiet)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A file or folder of any known format.", show_default=False)],
    output: Annotated[Path, typer.Argument(help="Where to; the suffix says the format.", show_default=False)],
    format: Format = None,
    source_format: Annotated[
        str | None, _option("The source's format, where its suffix does not say.", "--from")
    ] = None,
    video: Annotated[
        int | None, _option("Which video, where the source holds several; counts from 0.", "--video")
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write detections and tracks in another format. What that format cannot hold is named.

    [bold]kintrack convert tracked.slp tracked.csv[/bold]

    [bold]kintrack convert 01_RES/ tracks.txt[/bold]     a CTC result as MOTChallenge text
    """
    from kintrack import api

    tracks = api.convert(source, output, format=format, source_format=source_format, video=video, overwrite=overwrite)
    _say(f"{output}: {tracks!r}", quiet)


@app.command()
def render(
    tracks: Annotated[Path, typer.Argument(help="Tracks: a file or folder of any known format.", show_default=False)],
    output: Annotated[Path, _option("The movie, .mp4.", "--output", "-o")],
    video: Annotated[
        Path | None, _option("The pixels; found by name if not given, and black where there are none.", "--video", "-v")
    ] = None,
    show: Annotated[
        Show, _option("What is drawn; auto: masks if there are any, else poses, else boxes.", "--show")
    ] = Show.auto,
    trail: Annotated[
        int, _option("Frames for which a track's way stays to be seen.", "--trail", show_default=True, min=0)
    ] = 20,
    ids: Annotated[bool, _option("Write the ids.", "--ids/--no-ids", show_default=True)] = True,
    scale: Annotated[float, _option("Size of the movie, in sizes of the video.", "--scale", show_default=True)] = 1.0,
    fps: Annotated[float | None, _option("Frames in a second; the video's if not given.", "--fps")] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Draw tracks on their video: boxes, poses or masks, ids, and trails. Written as H.264.

    [bold]kintrack render tracked.slp -o overlay.mp4[/bold]

    [bold]kintrack render out.txt --video clip.mp4 -o overlay.mp4 --trail 60 --scale 0.5[/bold]
    """
    from kintrack import api

    with _progress(quiet) as progress:
        api.render(
            tracks,
            output,
            video=video,
            config={"show": show.value, "trail": trail, "ids": ids, "scale": scale},
            fps=fps,
            overwrite=overwrite,
            progress=progress,
        )
    _say(f"written to {output}", quiet)


@app.command()
def info() -> None:
    """Say which versions, devices, models and formats are here: what a report of a problem should begin with."""
    from rich.table import Table

    from kintrack import api

    table = Table(show_header=False, box=None)
    for name, value in api.info().items():
        lines = [f"{k}  {v}" for k, v in value.items()] if isinstance(value, dict) else value
        table.add_row(f"[bold]{name}[/bold]", "\n".join(lines) if isinstance(lines, list) else lines)
    _console(stderr=False).print(table)


def _tree(config: Path | None, assignments: list[str] | None) -> dict[str, Any]:
    """What --config and --set say, the latter going before the former."""
    return merge(read_yaml(config) if config is not None else {}, parse_overrides(assignments or []))


def _console(stderr: bool = True) -> Any:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def _say(text: str, quiet: bool) -> None:
    if not quiet:
        print(text)


@contextmanager
def _progress(quiet: bool) -> "Iterator[Progress | None]":
    """Bars with frames a second and the time left, on a terminal; nothing where nobody looks."""
    console = _console()
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks or bars.tasks[tasks[what]].completed > done:  # the next file begins
                tasks[what] = bars.add_task(what, rate="")
            speed = bars.tasks[tasks[what]].speed
            bars.update(tasks[what], completed=done, total=total, rate=f"{speed:.0f} frames/s" if speed else "")

        yield tell


def _print_scores(results: Any) -> None:
    """One sequence: every measure and what it means. Several: a line each, with the chief measures."""
    from rich.table import Table

    from kintrack.metrics import MEASURES

    table = Table(box=None, header_style="bold")
    if len(results) == 1:
        (found,) = results.values()
        for column in ("measure", "value", "meaning"):
            table.add_column(column, justify="right" if column == "value" else "left")
        for name, meaning in MEASURES.items():
            table.add_row(name, _number(name, found[name]), f"[dim]{_plain(meaning)}[/dim]")
    else:
        table.add_column("sequence")
        for name in _CHIEF:
            table.add_column(name, justify="right")
        for sequence, found in results.items():
            table.add_row(_plain(sequence), *(_number(name, found[name]) for name in _CHIEF))
    _console(stderr=False).print(table)


_CHIEF = ("hota", "deta", "assa", "idf1", "mota", "num_switches", "switches_per_100k")


def _number(name: str, value: float) -> str:
    """Counts whole, shares with three digits, `-` for what is undefined."""
    if value != value:
        return "-"
    if name == "switches_per_100k":
        return f"{value:.1f}"
    is_count = name.startswith("num_") or name.endswith(("_tracked", "_lost")) or name in ("idtp", "idfp", "idfn")
    return f"{value:.0f}" if is_count else f"{value:.3f}"


class _Warnings(logging.Handler):
    """What the package warns of, as lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        _console().print(f"[yellow]warning:[/yellow] {_plain(record.getMessage())}", soft_wrap=True)


def _plain(text: str) -> str:
    """Text in which brackets are brackets, not styles."""
    from rich.markup import escape

    return escape(text)


def main() -> None:
    """The entry point. An error that kintrack raises on purpose is one red line and exit code 2."""
    logging.getLogger("kintrack").addHandler(_Warnings(logging.WARNING))
    try:
        app()
    except KintrackError as error:
        if "--debug" in sys.argv:
            raise
        _console().print(f"[bold red]error:[/bold red] {_plain(str(error))}", soft_wrap=True)
        sys.exit(2)
