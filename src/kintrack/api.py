"""The whole product, one function for each thing a person may want. The only place where the parts meet.

track ── io.load ── load_model ── follow ── io.save
train ── training.fit                         evaluate ── metrics ── results.json
render ── viewer.Overlay ── io.write_video    demo ── sim ── all of these
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kintrack import io
from kintrack._version import __version__
from kintrack.config import TrainConfig, merge
from kintrack.config_dreem import tracker_tree, with_card
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks
from kintrack.core.video import Video
from kintrack.errors import InputError
from kintrack.facts import info as info
from kintrack.follow import Progress, TrackConfig, follow
from kintrack.io.writing import new_file
from kintrack.loading import choose_device, load_model, load_weights, model_facts
from kintrack.outputs import (
    check_movie,
    check_report,
    check_target,
    choose_targets,
    pair_sequences,
    refuse_existing,
    report_text,
    save_config,
    video_of,
)
from kintrack.segmentation import segment as segment

if TYPE_CHECKING:
    from kintrack.demo import Demo
    from kintrack.loading import Model
    from kintrack.metrics import Evaluation
    from kintrack.training.fit import Fitted
    from kintrack.viewer.draw import OverlayConfig

_log = logging.getLogger(__name__)


def track(
    source: str | Path | Detections,
    output: str | Path | None = None,
    *,
    video: str | Path | Video | None = None,
    model: "str | Path | Model | None" = None,
    max_tracks: int | None = None,
    format: str | None = None,
    device: str | None = None,
    config: TrackConfig | Mapping[str, Any] | None = None,
    index: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Tracks:
    """Identities for the detections of one video.

    What is given here goes before ``config``, that before the settings in the model's card, these before the defaults.
    Identities that the file may hold are not looked at.

    Args:
        source: a file of detections, a CTC or MOTChallenge folder, or the detections themselves.
        output: where the tracks are written, with the resolved config beside them; nowhere if not given.
        video: the pixels; found by name where not given. It is opened only for a model with a visual encoder.
        model: a name that `info` lists, the path of a checkpoint, or a model.
        max_tracks: the true number of individuals, where known.
        format: the output's, where its suffix does not say.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        config: a `TrackConfig`, or a mapping of its keys.
        index: which video's detections, where the file holds several; counts from 0.
        overwrite: replace an output that is there.
        progress: is told how far it is.

    Raises:
        KintrackError: one of its kinds; see `kintrack.errors`.
    """
    given = {"model": str(model) if isinstance(model, str | Path) else None, "device": device}
    chosen = {key: value for key, value in given.items() if value is not None}
    tree = merge(_as_tree(config), chosen, {"tracker": {"max_tracks": max_tracks}} if max_tracks is not None else {})
    resolved = TrackConfig.of(tree)
    path = None if isinstance(source, Detections) else Path(source)
    if output is not None:
        check_target(Path(output), format, overwrite, path)
    detections = source if isinstance(source, Detections) else io.load(source, video=index, identities=False).detections
    if output is not None and (format or io.detect_format(output)) == "ctc" and not (path and path.is_dir()):
        raise InputError(
            f"a CTC folder is made of label images, which {path or 'the table'} has none of; write .csv or .txt instead"
        )
    made: dict[str, Any] = {"input": None if path is None else str(path.resolve())}
    if model is None or isinstance(model, str | Path):
        made |= model_facts(resolved.model)
        model = load_model(resolved.model, resolved.device)
    resolved = TrackConfig.of(with_card(tree, model.card))
    with ExitStack() as stack:
        pixels = _pixels(stack, model, video, path)
        masks = io.load_labels(path) if path and path.is_dir() and detections.label is not None else None
        tracks = follow(detections, model, pixels, resolved, progress, masks)
    if output is not None:
        # The formats without a place for the links' confidence do without: nobody has given one to keep.
        holds = "confidence" in io.FORMATS[format or io.detect_format(output)].carries
        kept = tracks if holds else replace(tracks, confidence=None)
        io.save(kept, output, format, overwrite=overwrite, source=path, review=resolved.review)
        made |= {"video": pixels.path if pixels else None, "output": str(output), "kintrack": __version__}
        pinned = made.get("model_address", resolved.model)
        save_config(resolved.model_copy(update={"model": pinned, "made": made}), Path(output))
    return tracks


def track_many(
    sources: Sequence[str | Path],
    output: str | Path,
    *,
    videos: Sequence[str | Path] | None = None,
    format: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    model: str | Path | None = None,
    max_tracks: int | None = None,
    device: str | None = None,
    config: TrackConfig | Mapping[str, Any] | None = None,
    index: int | None = None,
) -> dict[Path, Tracks]:
    """`track` for as many files as there are; what `kintrack track` calls.

    A single file is written to ``output``. Several, a folder of them, or one file where ``output`` has no suffix: each
    result is written into the folder ``output``, named after its source. Sources and videos are paired by stem. Every
    name is checked before the first is tracked. The other arguments are those of `track`.

    Returns:
        the tracks by the path they were written to.
    """
    TrackConfig.of(_as_tree(config))
    given = [Path(source) for source in sources]
    pairs = io.find_pairs(list(given), list(videos) if videos else None)
    output = Path(output)
    if [path for path, _ in pairs] == given and len(given) == 1 and (output.suffix or given[0].is_dir()):
        targets = {output: pairs[0]}
    else:
        targets = choose_targets(pairs, output, format)
    for target, (path, _) in targets.items():
        check_target(target, format, overwrite, path)
    return {
        target: track(
            path, target, video=video, model=model, max_tracks=max_tracks, format=format, device=device, config=config,
            index=index, overwrite=overwrite, progress=progress,
        )
        for target, (path, video) in targets.items()
    }  # fmt: skip


def _as_tree(config: TrackConfig | Mapping[str, Any] | None) -> dict[str, Any]:
    """Only what was said: a config's untouched defaults must not hide what a model's card asks for."""
    if isinstance(config, TrackConfig):
        return config.model_dump(exclude_unset=True)
    tree = dict(config or {})
    TrackConfig.of(tree)
    return tree | ({"tracker": tracker_tree(tree["tracker"])} if "tracker" in tree else {})


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


def train(
    sources: Sequence[str | Path],
    output: str | Path,
    *,
    val: Sequence[str | Path] | None = None,
    videos: Sequence[str | Path] | None = None,
    model: str | Path | None = None,
    device: str | None = None,
    config: TrainConfig | Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> "Fitted":
    """A model that has learned from annotated tracks; see `kintrack.training.fit.fit` for what is in the folder.

    Args:
        sources: annotated tracks: files, or folders of them.
        output: the folder for weights, checkpoints, config and log.
        val: tracks that are not learned from and decide which epoch was best.
        videos: pixels for a model with a visual encoder, paired by stem; found by name where not given.
        model: whose weights to begin with, by name or path; new ones of the config's shape where not given.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``; goes before the config's ``accelerator``.
        config: a `TrainConfig`, or a mapping of its keys.
        resume: go on with the training in the folder.
        overwrite: begin anew in a folder that holds a training.
    """
    from kintrack.training.annotated import load_annotated, whole_clips
    from kintrack.training.data import Clips
    from kintrack.training.fit import fit

    begin = None if model is None else load_weights(model, "cpu")
    tree = config.model_dump(exclude_unset=True) if isinstance(config, TrainConfig) else dict(config or {})
    if begin is not None:  # its weights answer the questions of the tracker that they were trained for
        tree = merge({"tracker": begin.card.get("tracker", {})}, tree, {"model": begin.config.model_dump()})
    if device not in (None, "auto"):
        tree["accelerator"] = choose_device(str(device))
    resolved = TrainConfig.of(tree)
    refuse_existing(Path(output), overwrite or resume)
    encoder = None if resolved.model.encoder.kind == "none" else resolved.model.encoder
    with ExitStack() as stack:
        learned, checked = ([path for path, _ in io.find_pairs(list(given))] for given in (sources, val or []))
        truth, pixels = load_annotated(stack, [*learned, *checked], videos, encoder)
        n = len(learned)
        clips = Clips(truth[:n], resolved.data, pixels[:n] if pixels else None, encoder, resolved.seed)
        checks = whole_clips(truth[n:], pixels[n:] if pixels else None, resolved.data.frames, encoder) if val else None
        card = {"about": f"trained on {', '.join(Path(source).name for source in sources)}"}
        return fit(clips, checks, output, resolved, model=begin, resume=resume, overwrite=overwrite, card=card)


def evaluate(
    truth: str | Path,
    prediction: str | Path,
    *,
    match: Literal["iou", "centre", "rows"] = "iou",
    threshold: float = 0.5,
    distance: float = 1.0,
    unit: Literal["size", "pixel"] = "size",
    mot_challenge: bool = False,
    output: str | Path | None = None,
    overwrite: bool = False,
) -> "dict[str, Evaluation]":
    """How well predictions agree with the truth, for each sequence, and as ``all`` for several of them together.

    Args:
        truth: a file or folder with annotated tracks, or a folder of several, which are paired by stem.
        prediction: the same, of the tracker.
        match: when a predicted row may be a true row: overlap of boxes, distance of centres, or the same rows.
        threshold: similarity from which two rows may match.
        distance: for ``centre``, where similarity reaches 0.
        unit: of the distance: ``size`` of the true individual, or ``pixel``.
        mot_challenge: leave out what MOTChallenge does not score; see `kintrack.metrics.mot_challenge`.
        output: ``.json`` (everything) or ``.csv`` (a line for each sequence).
        overwrite: replace an output that is there.
    """
    from kintrack import metrics

    if output is not None:
        check_report(Path(output), overwrite)
    found = {}
    for name, (true_path, predicted_path) in pair_sequences(Path(truth), Path(prediction)).items():
        pair = io.load(true_path), io.load(predicted_path)
        found[name] = metrics.mot_challenge(*pair) if mot_challenge else pair
    each, together = metrics.evaluate_many(found, match, threshold=threshold, distance=distance, unit=unit)
    results = each | ({"all": together} if len(each) > 1 else {})
    if output is not None:
        with new_file(output, overwrite) as draft:
            draft.write_text(report_text(results, Path(output).suffix), encoding="utf-8")
    return results


def convert(
    source: str | Path,
    output: str | Path,
    *,
    format: str | None = None,
    source_format: str | None = None,
    index: int | None = None,
    overwrite: bool = False,
) -> Tracks:
    """The detections and tracks of one format in another. What the other cannot hold is named in a warning.

    Args:
        source: a file or folder of any format that `kintrack.io.FORMATS` names.
        output: where to; its suffix says the format.
        format: the output's, where its suffix does not say.
        source_format: the source's, where its suffix does not say.
        index: which video, where the source holds several; counts from 0.
        overwrite: replace an output that is there.
    """
    check_target(Path(output), format, overwrite, Path(source))
    tracks = io.load(source, source_format, video=index)
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
