"""The command line: arguments to calls of `kintrack.api`. No logic, and nothing heavy before a command needs it."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kintrack import checkpoints, commands
from kintrack._version import __version__
from kintrack.errors import KintrackError
from kintrack.options import (
    ConfigFile,
    DeviceOption,
    Format,
    Index,
    Match,
    Overwrite,
    Quiet,
    Set,
    Show,
    Unit,
    option,
)
from kintrack.terminal import Warnings, console, plain, print_scores, progress_bars, review_line, say

app = typer.Typer(
    name="kintrack",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"kintrack {__version__}")
        raise typer.Exit


@app.callback()
def _kintrack(
    version: Annotated[
        bool, option("Say the version and stop.", "--version", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, option("On an error, show where in the code it came up.", "--debug")] = False,
) -> None:
    """Who is who, and who came from whom, for every animal and every cell in a video.

    [bold]kintrack demo[/bold]                                          see what it does, in a minute

    [bold]kintrack track poses.slp -o tracked.slp[/bold]                identities for your detections

    [bold]kintrack eval truth.slp tracked.slp[/bold]                    how good are they?

    [bold]kintrack train corrected/ --val checked.slp -o run[/bold]     learn from corrected tracks
    """


app.command()(commands.demo)


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
        option("Where the tracks are written; the suffix says the format. A folder for several.", "--output", "-o"),
    ],
    video: Annotated[
        list[Path] | None,
        option("The pixels; found by name if not given. Models of geometry need none.", "--video", "-v"),
    ] = None,
    model: Annotated[
        str | None,
        option("Name in `kintrack info` (default: general), file, folder, or org/repo on the hub.", "--model", "-m"),
    ] = None,
    max_tracks: Annotated[
        int | None,
        option(
            "The true number of individuals, where known: there are never more ids than this.", "--max-tracks", "-n"
        ),
    ] = None,
    format: Format = None,
    device: DeviceOption = None,
    config: ConfigFile = None,
    set_: Set = None,
    review: Annotated[
        int | None, option("Frames to look at first, listed at the end and in a .slp (default: 50).", "--review", min=0)
    ] = None,
    index: Index = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Give every detection an identity.

    The config that was used is saved beside the result, as OUTPUT.kintrack.yaml.

    [bold]kintrack track poses.slp -o tracked.slp[/bold]          SLEAP poses

    [bold]kintrack track det.txt -o out.txt -n 6[/bold]           boxes of six individuals

    [bold]kintrack track sequence/ -o result/[/bold]              a CTC folder of cells

    [bold]kintrack track *.slp -v videos/ -o tracked/[/bold]      many files, paired by stem

    [bold]kintrack track a.csv -o b.csv --set tracker.max_gap=120[/bold]
    """
    from kintrack import api
    from kintrack.follow import TrackConfig

    tree = _tree(config, set_) | ({} if review is None else {"review": review})
    with progress_bars(quiet) as progress:
        results = api.track_many(
            inputs,
            output,
            videos=video,
            model=model,
            max_tracks=max_tracks,
            format=format,
            device=device,
            config=tree,
            index=index,
            overwrite=overwrite,
            progress=progress,
        )
    for path, tracks in results.items():
        say(f"{path}: {tracks!r}", quiet)
        if found := review_line(tracks, TrackConfig.of(tree).review):
            say(found, quiet)


@app.command()
def train(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Annotated tracks: files, or folders of them.", metavar="TRAIN...", show_default=False),
    ],
    output: Annotated[Path, option("The folder for weights, checkpoints and log.", "--output", "-o")],
    val: Annotated[
        list[Path] | None, option("Tracks that are not learned from and decide which epoch was best.", "--val")
    ] = None,
    video: Annotated[
        list[Path] | None,
        option("Pixels, for a model with a visual encoder; found by name if not given.", "--video", "-v"),
    ] = None,
    model: Annotated[
        str | None,
        option("Begin with these weights (name, path or org/repo); else with new ones.", "--model", "--init", "-m"),
    ] = None,
    device: DeviceOption = None,
    config: Annotated[
        Path | None,
        option("A YAML file of options, or a name: general (how it was trained), finetune (ten minutes).", "--config"),
    ] = None,
    set_: Set = None,
    resume: Annotated[
        bool, option("Go on with the training in the folder, where it was interrupted.", "--resume")
    ] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Learn from corrected tracks. The best weights are RUN/model.safetensors.

    [bold]kintrack train corrected/ --val checked.slp -o run[/bold]

    [bold]kintrack train a.slp b.slp --init general --config finetune -o run[/bold]  begin with good weights

    [bold]kintrack train a.slp -o run --set model.encoder.kind=conv[/bold]          learn to use the pixels

    [bold]kintrack track new.slp -o out.slp -m run/model.safetensors[/bold]         and use it
    """
    from kintrack import api

    try:
        fitted = api.train(
            inputs,
            output,
            val=val,
            videos=video,
            model=model,
            device=device,
            config=_tree(config, set_),
            resume=resume,
            overwrite=overwrite,
        )
    except KeyboardInterrupt:
        console().print(plain(f"interrupted; with --resume it goes on after the last whole epoch in {output}"))
        raise
    say(f"{fitted.path}: best of {fitted.epochs} epochs was number {fitted.epoch + 1}, score {fitted.score:.4g}", quiet)


@app.command(name="eval")
def evaluate(
    truth: Annotated[Path, typer.Argument(help="Annotated tracks: a file, or a folder of them.", show_default=False)],
    prediction: Annotated[Path, typer.Argument(help="The tracker's, paired by stem.", show_default=False)],
    match: Annotated[
        Match,
        option(
            "When two rows may be one: iou of their boxes, distance of their centres, or the same rows.",
            "--match",
            show_default=True,
        ),
    ] = "iou",
    threshold: Annotated[
        float, option("Similarity from which two rows may match.", "--threshold", show_default=True, min=0, max=1)
    ] = 0.5,
    distance: Annotated[
        float,
        option("With centre: where similarity reaches 0; matches are at most half as far.", "--distance", min=0),
    ] = 1.0,
    unit: Annotated[
        Unit, option("Of --distance: size of the true individual, or pixel (points have no size).", "--unit")
    ] = "size",
    mot_challenge: Annotated[
        bool, option("Leave out what MOTChallenge does not score (other classes, distractors).", "--mot-challenge")
    ] = False,
    output: Annotated[
        Path | None,
        option("Also write the results: .json (everything) or .csv (a line a sequence).", "--output", "-o"),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Say how well tracks agree with the truth: HOTA, IDF1, MOTA, identity switches and more.

    [bold]kintrack eval truth.slp tracked.slp[/bold]

    [bold]kintrack eval gt/ results/ -o scores.csv[/bold]             folders, paired by stem

    [bold]kintrack eval truth.csv tracked.csv --match centre --distance 20 --unit pixel[/bold]   points, not boxes
    """
    from kintrack import api

    results = api.evaluate(
        truth,
        prediction,
        match=match,
        threshold=threshold,
        distance=distance,
        unit=unit,
        mot_challenge=mot_challenge,
        output=output,
        overwrite=overwrite,
    )
    if not quiet:
        print_scores(results)
    if output is not None:
        say(f"written to {output}", quiet)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A file or folder of any known format.", show_default=False)],
    output: Annotated[Path, typer.Argument(help="Where to; the suffix says the format.", show_default=False)],
    format: Format = None,
    source_format: Annotated[
        str | None, option("The source's format, where its suffix does not say.", "--from")
    ] = None,
    index: Annotated[
        int | None, option("Which video, where the source holds several; counts from 0.", "--index", "--video")
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write detections and tracks in another format. What that format cannot hold is named.

    [bold]kintrack convert tracked.slp tracked.csv[/bold]

    [bold]kintrack convert 01_RES/ tracks.txt[/bold]     a CTC result as MOTChallenge text
    """
    from kintrack import api

    tracks = api.convert(source, output, format=format, source_format=source_format, index=index, overwrite=overwrite)
    say(f"{output}: {tracks!r}", quiet)


@app.command()
def render(
    tracks: Annotated[Path, typer.Argument(help="Tracks: a file or folder of any known format.", show_default=False)],
    output: Annotated[Path, option("The movie, .mp4.", "--output", "-o")],
    video: Annotated[
        Path | None, option("The pixels; found by name if not given, and black where there are none.", "--video", "-v")
    ] = None,
    show: Annotated[
        Show, option("What is drawn; auto: masks if there are any, else poses, else boxes.", "--show")
    ] = "auto",
    trail: Annotated[
        int, option("Frames for which a track's way stays to be seen.", "--trail", show_default=True, min=0)
    ] = 20,
    ids: Annotated[bool, option("Write the ids.", "--ids/--no-ids", show_default=True)] = True,
    scale: Annotated[float, option("Size of the movie, in sizes of the video.", "--scale", show_default=True)] = 1.0,
    fps: Annotated[float | None, option("Frames in a second; the video's if not given.", "--fps")] = None,
    index: Index = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Draw tracks on their video: boxes, poses or masks, ids, and trails. Written as H.264.

    [bold]kintrack render tracked.slp -o overlay.mp4[/bold]

    [bold]kintrack render out.txt --video clip.mp4 -o overlay.mp4 --trail 60 --scale 0.5[/bold]
    """
    from kintrack import api

    with progress_bars(quiet) as progress:
        api.render(
            tracks,
            output,
            video=video,
            config={"show": show, "trail": trail, "ids": ids, "scale": scale},
            fps=fps,
            index=index,
            overwrite=overwrite,
            progress=progress,
        )
    say(f"written to {output}", quiet)


app.command()(commands.segment)
app.command()(commands.info)
app.command(name="convert-checkpoint")(checkpoints.command)


def _tree(config: Path | None, assignments: list[str] | None) -> dict[str, Any]:
    """What --config and --set say, the latter going before the former."""
    from kintrack.config import merge, parse_overrides, read_yaml
    from kintrack.loading import find_config

    return merge(read_yaml(find_config(config)) if config is not None else {}, parse_overrides(assignments or []))


def main() -> None:
    """The entry point. An error that kintrack raises on purpose is one red line and exit code 2."""
    # Before numpy is imported: its matrices here are small, and threads that wait for each other are slower than one.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    log, warnings = logging.getLogger("kintrack"), Warnings(logging.WARNING)
    log.addHandler(warnings)
    try:
        app(prog_name="kintrack")
    except KintrackError as error:
        if "--debug" in sys.argv:
            raise
        console().print(f"[bold red]error:[/bold red] {plain(str(error))}", soft_wrap=True)
        sys.exit(2)
    finally:
        log.removeHandler(warnings)
