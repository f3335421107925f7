"""The whole product, one function for each thing a person may want. The only place where the parts meet.

track ── io.load ── load_model ── follow ── io.save
train ── training.fit                         evaluate ── metrics ── results.json
render ── viewer.Overlay ── io.write_video    demo ── sim ── all of these
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kintrack import io
from kintrack.config import TrainConfig
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks
from kintrack.core.video import LabelVideo, Video
from kintrack.errors import InputError, SomeFailedError
from kintrack.facts import info as info
from kintrack.follow import Progress, TrackConfig
from kintrack.from_dreem import ask, choose_annotated
from kintrack.loading import choose_device, load_weights
from kintrack.loading import load_model as load_model
from kintrack.outputs import (
    check_movie,
    check_target,
    choose_meta,
    choose_pairs,
    choose_targets,
    refuse_existing,
    video_of,
)
from kintrack.score_files import EvalConfig, score_files
from kintrack.segmentation import segment as segment
from kintrack.track_one import check_agreement, track_one, track_tree

if TYPE_CHECKING:
    from kintrack.demo import Demo
    from kintrack.loading import Model
    from kintrack.metrics import Evaluation
    from kintrack.training.fit import Fitted
    from kintrack.viewer.draw import OverlayConfig

_log = logging.getLogger(__name__)


def track(
    source: str | Path | Detections | LabelVideo,
    output: str | Path | None = None,
    *,
    video: str | Path | Video | None = None,
    model: "str | Path | Model | None" = None,
    max_tracks: int | None = None,
    format: str | None = None,
    device: str | None = None,
    config: TrackConfig | Mapping[str, Any] | str | Path | None = None,
    index: int | None = None,
    save_meta: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Tracks:
    """Identities for the detections of one video.

    What is given here goes before ``config``, that before the settings in the model's card, these before the defaults.
    Identities that the file may hold are not looked at.

    Args:
        source: a file of detections, a CTC or MOTChallenge folder, or the detections or the masks themselves.
        output: where the tracks are written, with the resolved config beside them; nowhere if not given.
        video: the pixels; found by name where not given. It is opened only for a model with a visual encoder.
        model: a name that `info` lists, the path of a checkpoint, or a model.
        max_tracks: the true number of individuals, where known.
        format: the output's, where its suffix does not say.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        config: a `TrackConfig`, a mapping of its keys, or the path of a YAML file; or any of DREEM's configs. Of the
            files that such a one names, the checkpoint is used where no model is given.
        index: which video's detections, where the file holds several; counts from 0.
        save_meta: a file (HDF5) for every candidate, score and decision; `kintrack.io.meta.read_meta` reads it.
        overwrite: replace an output that is there.
        progress: is told how far it is.

    Raises:
        KintrackError: one of its kinds; see `kintrack.errors`.
    """
    return track_one(
        source, output, ask(config, "track"), video=video, model=model, max_tracks=max_tracks, format=format,
        device=device, index=index, save_meta=save_meta, overwrite=overwrite, progress=progress,
    )  # fmt: skip


def track_many(
    sources: Sequence[str | Path] | None = None,
    output: str | Path | None = None,
    *,
    videos: Sequence[str | Path] | None = None,
    format: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    model: str | Path | None = None,
    max_tracks: int | None = None,
    device: str | None = None,
    config: TrackConfig | Mapping[str, Any] | str | Path | None = None,
    index: int | None = None,
    save_meta: str | Path | None = None,
) -> dict[Path, Tracks]:
    """`track` for as many files as there are; what `kintrack track` calls.

    A single file is written to ``output``. Several, a folder of them, or one file where ``output`` has no suffix: each
    result is written into the folder ``output``, named after its source. Sources and videos are paired by stem. Every
    name is checked before the first is tracked. The other arguments are those of `track`. Where a config of DREEM names
    files, these stand for what is not given. Of several files ``save_meta`` is a folder, too.

    Returns:
        the tracks by the path they were written to.

    Raises:
        SomeFailedError: of several files some cannot be used; the others were tracked, and are in the error.
    """
    asked = ask(config, "track")
    output = output or asked.files.output
    pairs = choose_pairs(sources, videos, () if sources else asked.files.sources)
    if output is None or not pairs:
        what = "where tracks are written" if pairs else "what is to be tracked"
        raise InputError(f"nothing says {what}; name it, or give a config that does")
    track_tree(asked)
    output, format = Path(output), format or asked.files.format
    given = [Path(source) for source in sources or ()]
    if [path for path, _ in pairs] == given and len(given) == 1 and (output.suffix or given[0].is_dir()):
        targets = {output: pairs[0]}
    else:
        targets = choose_targets(pairs, output, format)
    meta = choose_meta(targets, output, save_meta or asked.files.save_meta)
    for target, (path, _) in targets.items():
        check_target(target, format, overwrite, path)
        if (wanted := meta[target]) is not None:
            refuse_existing(wanted, overwrite)
    done: dict[Path, Tracks] = {}
    failed: dict[Path, InputError] = {}
    for target, (path, video) in targets.items():
        try:
            done[target] = track_one(
                path, target, asked, video=video, model=model, max_tracks=max_tracks, format=format, device=device,
                index=index, save_meta=meta[target], overwrite=overwrite, progress=progress,
            )  # fmt: skip
        except InputError as error:  # of this file; what is wrong with the model or the config is so for all
            if len(targets) == 1:
                raise
            failed[path] = error
    if failed:
        raise SomeFailedError(failed, done)
    return done


def train(
    sources: Sequence[str | Path] | None = None,
    output: str | Path | None = None,
    *,
    val: Sequence[str | Path] | None = None,
    videos: Sequence[str | Path] | None = None,
    model: str | Path | None = None,
    device: str | None = None,
    config: TrainConfig | Mapping[str, Any] | str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> "Fitted":
    """A model that has learned from annotated tracks; see `kintrack.training.fit.fit` for what is in the folder.

    Args:
        sources: annotated tracks: files, or folders of them.
        output: the folder for weights, checkpoints, config and log.
        val: tracks that are not learned from and decide which epoch was best.
        videos: pixels for a model with a visual encoder, paired by stem; found by name where not given.
        model: whose weights to begin with, by name or path, ours or DREEM's; new ones of the config's shape where not
            given.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``; goes before the config's ``accelerator``.
        config: a `TrainConfig`, a mapping of its keys, the path of a YAML file, or ``general`` or ``finetune``; with
            ``model.kind: dreem`` the keys of a `DreemTrainConfig`; or any of DREEM's configs, whose files stand for
            what is not given.
        resume: go on with the training in the folder.
        overwrite: begin anew in a folder that holds a training.
    """
    from kintrack.training.begin import model_to_begin
    from kintrack.training.fit import fit
    from kintrack.training.recipe import clips_of, config_to_begin

    asked = ask(config, "train")
    sources, val, videos, output = choose_annotated(sources, val, videos, output, asked.files)
    model = model or asked.files.model
    tree = dict(asked.config)
    begin = None if model is None else model_to_begin(load_weights(model, "cpu"), tree)
    if begin is not None:
        check_agreement(tree.get("model") or {}, begin, trains=True)
    if device not in (None, "auto"):
        tree["accelerator"] = choose_device(str(device))
    resolved = config_to_begin(tree, begin)
    refuse_existing(Path(output), overwrite or resume)
    with ExitStack() as stack:
        clips, checks = clips_of(stack, sources, val, videos, resolved)
        card = {"about": f"trained on {', '.join(Path(source).name for source in sources)}"}
        return fit(clips, checks, output, resolved, model=begin, resume=resume, overwrite=overwrite, card=card)


def evaluate(
    truth: str | Path | None = None,
    prediction: str | Path | None = None,
    *,
    match: Literal["iou", "centre", "rows"] | None = None,
    threshold: float | None = None,
    distance: float | None = None,
    unit: Literal["size", "pixel"] | None = None,
    mot_challenge: bool | None = None,
    model: str | Path | None = None,
    videos: Sequence[str | Path] | None = None,
    device: str | None = None,
    config: EvalConfig | Mapping[str, Any] | str | Path | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> "dict[str, Evaluation]":
    """How well predictions agree with the truth, for each sequence, and as ``all`` for several of them together.

    Without a prediction the detections of the truth are tracked first, by ``model``.

    Args:
        truth: a file or folder with annotated tracks, or a folder of several, which are paired by stem.
        prediction: the same, of the tracker.
        match: when a predicted row may be a true row: overlap of boxes (the default), distance of centres, or the same
            rows (the default where the truth is tracked first).
        threshold: similarity from which two rows may match; 0.5 where nothing is said.
        distance: for ``centre``, where similarity reaches 0; 1 where nothing is said.
        unit: of the distance: ``size`` of the true individual (the default), or ``pixel``.
        mot_challenge: leave out what MOTChallenge does not score; see `kintrack.metrics.mot_challenge`.
        model: where the truth is tracked first, as in `track`.
        videos: likewise, as in `track_many`.
        device: likewise.
        config: an `EvalConfig`, a mapping of its keys, or the path of a YAML file; or DREEM's config of an evaluation,
            whose files stand for what is not given: the truth, the model, and a folder for tracks and scores.
        output: ``.json`` (everything) or ``.csv`` (a line for each sequence).
        overwrite: replace an output that is there.
        progress: is told how far tracking is.
    """
    said = {"match": match, "threshold": threshold, "distance": distance, "unit": unit, "mot_challenge": mot_challenge}
    return score_files(
        truth, prediction, {key: value for key, value in said.items() if value is not None}, ask(config, "eval"),
        model=model, videos=videos, device=device, output=output, overwrite=overwrite, progress=progress,
    )  # fmt: skip


def convert(
    source: str | Path,
    output: str | Path,
    *,
    format: str | None = None,
    source_format: str | None = None,
    index: int | None = None,
    pixel_size: float | None = None,
    overwrite: bool = False,
) -> Tracks:
    """The detections and tracks of one format in another. What the other cannot hold is named in a warning.

    Args:
        source: a file or folder of any format that `kintrack.io.FORMATS` names.
        output: where to; its suffix says the format.
        format: the output's, where its suffix does not say.
        source_format: the source's, where its suffix does not say.
        index: which video, where the source holds several; counts from 0.
        pixel_size: side of a pixel in the unit of a table that TrackMate exported.
        overwrite: replace an output that is there.
    """
    check_target(Path(output), format, overwrite, Path(source))
    tracks = io.load(source, source_format, video=index, pixel_size=pixel_size)
    io.save(tracks, output, format, overwrite=overwrite, source=source)
    return tracks


def render(
    tracks: str | Path | Tracks,
    output: str | Path,
    *,
    video: str | Path | Video | None = None,
    config: "OverlayConfig | Mapping[str, Any] | None" = None,
    fps: float | None = None,
    index: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> None:
    """A movie (H.264) with the tracks drawn on it: masks, poses or boxes, ids, trails.

    Args:
        tracks: a file or folder, or the tracks themselves.
        output: the movie, ``.mp4``.
        video: the pixels; found by name where not given, and black where there are none.
        config: an `OverlayConfig`, or a mapping of its keys.
        fps: frames in a second; the video's, or 30, where not given.
        index: which video, where the file holds several; counts from 0.
        overwrite: replace an output that is there.
        progress: is told how far it is.
    """
    from kintrack.viewer.draw import BlackVideo, Contrast, Overlay, OverlayConfig, black_video

    path, config = None if isinstance(tracks, Tracks) else Path(tracks), OverlayConfig.of(config)
    check_movie(Path(output), fps, overwrite)
    tracks = tracks if isinstance(tracks, Tracks) else io.load(tracks, video=index)
    with ExitStack() as stack:
        labels = None
        if path is not None and path.is_dir() and tracks.detections.label is not None:
            labels = stack.enter_context(io.load_labels(path))
        found = video or (video_of(path) if path is not None else None)
        if found is None:
            if path is not None:
                _log.warning("no video that belongs to %s was found: drawn on black; give it with --video", path)
            found = black_video(tracks) if labels is None else BlackVideo(len(labels), labels.shape[1:])
        pixels = found if isinstance(found, Video) else stack.enter_context(io.load_video(found))
        io.check_against_video(tracks.detections, pixels)
        overlay, contrast = Overlay(tracks, pixels.shape[1:3], config), Contrast()

        def frames() -> Iterator[Any]:
            for frame, image in pixels.frames():
                yield overlay(frame, contrast(image), labels[frame] if labels is not None else None)
                if progress:
                    progress("drawing", frame + 1, len(pixels))

        info = tracks.detections.video
        io.write_video(output, frames(), fps or pixels.fps or (info.fps if info else None) or 30.0, overwrite=overwrite)


def demo(
    output: str | Path = "demo",
    *,
    seed: int = 0,
    model: str | Path = "general",
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> "Demo":
    """A simulated scene, tracked and scored beside a nearest-neighbour tracker; see `kintrack.demo.run_demo`."""
    from kintrack.demo import run_demo

    return run_demo(output, seed=seed, model=model, device=device, overwrite=overwrite, progress=progress)
