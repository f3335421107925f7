"""The commands around tracking: how good it is, a demonstration, masks to begin with, and what is here."""

from pathlib import Path
from typing import Annotated

import typer

from kintrack.options import (
    ConfigFile,
    DeviceOption,
    Match,
    Overwrite,
    Quiet,
    Set,
    Unit,
    need,
    option,
    tree_of,
)
from kintrack.terminal import print_facts, print_scores, progress_bars, say


def evaluate(
    ctx: typer.Context,
    truth: Annotated[
        Path | None, typer.Argument(help="Annotated tracks: a file, or a folder of them.", show_default=False)
    ] = None,
    prediction: Annotated[
        Path | None,
        typer.Argument(
            help="The tracker's, paired by stem; without it the truth is tracked first.", show_default=False
        ),
    ] = None,
    match: Annotated[
        Match | None,
        option(
            "When two rows may be one: iou of their boxes (default), distance of their centres, or the same rows.",
            "--match",
        ),
    ] = None,
    threshold: Annotated[
        float | None, option("Similarity from which two rows may match (default: 0.5).", "--threshold", min=0, max=1)
    ] = None,
    distance: Annotated[
        float | None,
        option("With centre: where similarity reaches 0; matches are at most half as far.", "--distance", min=0),
    ] = None,
    unit: Annotated[
        Unit | None, option("Of --distance: size of the true individual, or pixel (points have no size).", "--unit")
    ] = None,
    mot_challenge: Annotated[
        bool | None,
        option("Leave out what MOTChallenge does not score (other classes, distractors).", "--mot-challenge"),
    ] = None,
    model: Annotated[
        str | None, option("Without PREDICTION: the model that tracks, as in kintrack track.", "--model", "-m")
    ] = None,
    video: Annotated[
        list[Path] | None, option("Likewise: the pixels; found by name if not given.", "--video", "-v")
    ] = None,
    device: DeviceOption = None,
    config: ConfigFile = None,
    set_: Set = None,
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

    [bold]kintrack eval truth.slp --model general[/bold]              track it first

    [bold]kintrack eval --config dreem.yaml[/bold]                    a config of DREEM, with its files
    """
    from kintrack import api

    need(ctx, config or model, {"TRUTH": truth, "PREDICTION": prediction})
    with progress_bars(quiet) as progress:
        results = api.evaluate(
            truth,
            prediction,
            match=match,
            threshold=threshold,
            distance=distance,
            unit=unit,
            mot_challenge=mot_challenge,
            model=model,
            videos=video,
            device=device,
            config=tree_of(config, set_),
            output=output,
            overwrite=overwrite,
            progress=progress,
        )
    if not quiet:
        print_scores(results)
    if output is not None:
        say(f"written to {output}", quiet)


def demo(
    output: Annotated[Path, option("The folder for everything it makes.", "--output", "-o", show_default=True)] = Path(
        "demo"
    ),
    seed: Annotated[int, option("Another seed is another scene.", "--seed", show_default=True, min=0)] = 0,
    model: Annotated[str, option("The model, by name or path.", "--model", "-m", show_default=True)] = "general",
    device: DeviceOption = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """See what it does: simulate a scene, track it, score it, and draw it.

    Eight flies cross and hide each other; a simulated detector misses some. The model's tracks are scored beside
    those of a nearest-neighbour tracker. Needs no data, and takes about a minute.

    [bold]kintrack demo -o demo[/bold]
    """
    from kintrack import api

    with progress_bars(quiet) as progress:
        made = api.demo(
            output,
            seed=seed,
            model=model,
            device=device or "auto",
            overwrite=overwrite,
            progress=progress,
        )
    if not quiet:
        print_scores(made.scores, first="tracker")
    for what, path in made.files.items():
        say(f"{what:<12}{path}", quiet)


def segment(
    video: Annotated[
        Path, typer.Argument(help="A movie, a TIFF stack, or a folder of images.", metavar="VIDEO", show_default=False)
    ],
    output: Annotated[Path, option("A folder for the masks, which `kintrack track` takes.", "--output", "-o")],
    model: Annotated[
        str | None,
        option("One of Cellpose's models by name, or the file of your own; its default if not given.", "--model", "-m"),
    ] = None,
    diameter: Annotated[
        float | None, option("Of a cell, in pixels; Cellpose's guess if not given.", "--diameter", min=0.1)
    ] = None,
    flow_threshold: Annotated[
        float, option("Higher keeps more odd shapes.", "--flow-threshold", show_default=True)
    ] = 0.4,
    cellprob_threshold: Annotated[
        float, option("Lower finds more and larger cells.", "--cellprob-threshold", show_default=True)
    ] = 0.0,
    min_size: Annotated[
        int, option("Masks of fewer pixels are left out.", "--min-size", show_default=True, min=0)
    ] = 15,
    device: DeviceOption = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Masks of cells by Cellpose, to begin tracking with. Needs the extra: pip install kintrack\\[cellpose].

    [bold]kintrack segment cells.tif -o masks/[/bold]

    [bold]kintrack track masks/ -o tracked/[/bold]        a Cell Tracking Challenge result
    """
    from kintrack import api

    with progress_bars(quiet) as progress:
        masks = api.segment(
            video,
            output,
            model=model,
            diameter=diameter,
            flow_threshold=flow_threshold,
            cellprob_threshold=cellprob_threshold,
            min_size=min_size,
            device=device or "auto",
            overwrite=overwrite,
            progress=progress,
        )
    say(f"{output}: masks of {len(masks)} frames", quiet)


def info() -> None:
    """Say which versions, devices, models and formats are here: what a report of a problem should begin with."""
    from kintrack import api

    print_facts(api.info())
