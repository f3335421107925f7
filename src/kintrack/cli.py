"""The command line: arguments to calls of `kintrack.api`. No logic, and nothing heavy before a command needs it."""

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from kintrack import checkpoints, commands
from kintrack._version import __version__
from kintrack.errors import KintrackError, SomeFailedError
from kintrack.options import (
    ConfigFile,
    DeviceOption,
    Format,
    Index,
    Overwrite,
    Quiet,
    Set,
    Show,
    need,
    option,
    tree_of,
)
from kintrack.terminal import Warnings, console, plain, progress_bars, review_line, say

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
    ctx: typer.Context,
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Detections: .slp, .txt (MOTChallenge), .csv, .xml (TrackMate), a CTC folder; several, or a folder.",
            metavar="INPUT...",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        option("Where the tracks are written; the suffix says the format. A folder for several.", "--output", "-o"),
    ] = None,
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
    frames: Annotated[
        int | None, option("For a try: only so many frames are tracked, the first ones.", "--frames", min=1)
    ] = None,
    review: Annotated[
        int | None, option("Frames to look at first, listed at the end and in a .slp (default: 50).", "--review", min=0)
    ] = None,
    save_meta: Annotated[
        Path | None,
        option("Also write every candidate, score and decision, as HDF5. A folder for several.", "--save-meta"),
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

    [bold]kintrack track --config dreem.yaml[/bold]                a config of DREEM: its files, checkpoint and options
    """
    from kintrack import api
    from kintrack.core.tracks import REVIEW_FRAMES

    need(ctx, config, {"INPUT...": inputs, "--output": output})
    told = {"frames": frames, "review": review}
    tree = tree_of(config, [*(set_ or []), *(f"{key}={value}" for key, value in told.items() if value is not None)])
    failed: SomeFailedError | None = None
    with progress_bars(quiet) as progress:
        try:
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
                save_meta=save_meta,
                overwrite=overwrite,
                progress=progress,
            )
        except SomeFailedError as error:
            failed, results = error, error.done
    looks = (tree.get("kintrack") or tree).get("review", REVIEW_FRAMES)
    for path, tracks in results.items():
        say(f"{path}: {tracks!r}", quiet)
        if found := review_line(tracks, looks):
            say(found, quiet)
    if failed is not None:
        raise failed


@app.command()
def train(
    ctx: typer.Context,
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(help="Annotated tracks: files, or folders of them.", metavar="TRAIN...", show_default=False),
    ] = None,
    output: Annotated[Path | None, option("The folder for weights, checkpoints and log.", "--output", "-o")] = None,
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

    [bold]kintrack train --config dreem.yaml[/bold]                                 a config of DREEM, with its files

    [bold]kintrack track new.slp -o out.slp -m run/model.safetensors[/bold]         and use it
    """
    from kintrack import api

    need(ctx, config, {"TRAIN...": inputs, "--output": output})
    try:
        fitted = api.train(
            inputs,
            output,
            val=val,
            videos=video,
            model=model,
            device=device,
            config=tree_of(config, set_),
            resume=resume,
            overwrite=overwrite,
        )
    except KeyboardInterrupt:
        console().print(plain(f"interrupted; with --resume it goes on after the last whole epoch in {output}"))
        raise
    say(f"{fitted.path}: best of {fitted.epochs} epochs was number {fitted.epoch + 1}, score {fitted.score:.4g}", quiet)


app.command(name="eval")(commands.evaluate)


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
    pixel_size: Annotated[
        float | None, option("Side of a pixel in the unit of a table that TrackMate exported.", "--pixel-size")
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write detections and tracks in another format. What that format cannot hold is named.

    [bold]kintrack convert tracked.slp tracked.csv[/bold]

    [bold]kintrack convert 01_RES/ tracks.txt[/bold]     a CTC result as MOTChallenge text
    """
    from kintrack import api

    tracks = api.convert(
        source,
        output,
        format=format,
        source_format=source_format,
        index=index,
        pixel_size=pixel_size,
        overwrite=overwrite,
    )
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


def main() -> None:
    """The entry point. An error that kintrack raises on purpose is one red line and exit code 2."""
    # Before numpy is imported: its matrices here are small, and threads that wait for each other are slower than one.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # And before torch is: threads that wait sleep, and leave their core to the one that reads the video.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    log = logging.getLogger("kintrack")
    warnings = Warnings(logging.WARNING if {"-q", "--quiet"} & set(sys.argv) else logging.INFO)
    log.setLevel(warnings.level)
    log.addHandler(warnings)
    before = signal.signal(signal.SIGTERM, _ended)
    try:
        app(prog_name="kintrack")
    except KintrackError as error:
        if "--debug" in sys.argv:
            raise
        console().print(f"[bold red]error:[/bold red] {plain(str(error))}", soft_wrap=True)
        sys.exit(2)
    finally:
        signal.signal(signal.SIGTERM, before)
        log.removeHandler(warnings)
        log.setLevel(logging.NOTSET)


def _ended(*_: object) -> None:
    """Leaves as an error would, so that what is half written is taken away: a cluster's time may be up."""
    sys.exit(128 + signal.SIGTERM)
