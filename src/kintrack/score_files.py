"""Files of tracks scored against the truth: those that somebody gives, or those that a model finds on the way."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from kintrack import io
from kintrack.config import Config, merge
from kintrack.core.tracks import Tracks
from kintrack.errors import InputError
from kintrack.follow import Progress, TrackConfig, in_first_frames
from kintrack.from_dreem import Asked
from kintrack.io.writing import new_file
from kintrack.outputs import (
    check_report,
    choose_meta,
    choose_pairs,
    choose_targets,
    pair_sequences,
    report_text,
    sequence_name,
)
from kintrack.track_one import track_one

if TYPE_CHECKING:
    from kintrack.metrics import Evaluation


class EvalConfig(Config):
    """When a predicted row may be a true row."""

    match: Literal["iou", "centre", "rows"] = "iou"
    """By overlap of their boxes, distance of their centres, or as they are the same rows."""
    threshold: float = Field(0.5, ge=0, le=1)
    """Similarity from which two rows may match."""
    distance: float = Field(1.0, gt=0)
    """With `centre`, where similarity reaches 0; matches are at most half as far."""
    unit: Literal["size", "pixel"] = "size"
    """Of the distance: size of the true individual, or pixel."""
    mot_challenge: bool = False
    """Leave out what MOTChallenge does not score (other classes, distractors)."""


def score_files(
    truth: str | Path | None,
    prediction: str | Path | None,
    said: Mapping[str, Any],
    asked: Asked,
    *,
    videos: Sequence[str | Path] | None = None,
    model: str | Path | None = None,
    device: str | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> "dict[str, Evaluation]":
    """The evaluation of each sequence, and of several together; see `kintrack.api.evaluate`.

    Args:
        said: options of `EvalConfig` that go before those of the config.
        asked: of evaluating, and of tracking where there is no prediction.
    """
    from kintrack import metrics

    told = {key: value for key, value in asked.config.items() if key not in TrackConfig.model_fields}
    # What is tracked on the way has the rows of the truth.
    config = EvalConfig.of(merge({"match": "rows"} if prediction is None else {}, told, said))
    folder = asked.files.output if prediction is None else None
    output = output or (folder / "scores.json" if folder else None)
    if output is not None:
        check_report(Path(output), overwrite)
    if prediction is not None and truth is not None:
        pairs = pair_sequences(Path(truth), Path(prediction))
        found = {name: (io.load(true), io.load(predicted)) for name, (true, predicted) in pairs.items()}
    elif prediction is not None:
        raise InputError(f"nothing says what the truth of {prediction} is; give both, TRUTH and PREDICTION")
    else:
        rest = {key: value for key, value in asked.config.items() if key in TrackConfig.model_fields}
        found = _tracked(
            truth, asked.with_config(rest), folder, videos=videos, model=model, device=device, overwrite=overwrite,
            progress=progress,
        )  # fmt: skip
    if not found:
        raise InputError("nothing to evaluate was named; give TRUTH and PREDICTION, or a config that names the truth")
    if config.mot_challenge:
        found = {name: metrics.mot_challenge(*pair) for name, pair in found.items()}
    each, together = metrics.evaluate_many(
        found, config.match, threshold=config.threshold, distance=config.distance, unit=config.unit
    )
    results = each | ({"all": together} if len(each) > 1 else {})
    if output is not None:
        with new_file(output, overwrite) as draft:
            draft.write_text(report_text(results, Path(output).suffix), encoding="utf-8")
    return results


def _tracked(
    truth: str | Path | None, asked: Asked, folder: Path | None, *, videos: Sequence[str | Path] | None, **how: Any
) -> dict[str, tuple[Tracks, Tracks]]:
    """The truth and what a model finds of it, by the names of the sequences; written where there is a folder."""
    pairs = choose_pairs([truth] if truth is not None else None, videos, () if truth else asked.files.sources)
    written = {path: target for target, (path, _) in choose_targets(pairs, folder, None).items()} if folder else {}
    meta = choose_meta(written.values(), folder or Path(), asked.files.save_meta)
    found = {}
    for path, video in pairs:
        target = written.get(path)
        weighed = meta[target] if target else None
        both = io.load(path), track_one(path, target, asked, video=video, save_meta=weighed, **how)
        # Of a try with few frames, those are judged.
        found[sequence_name(path)] = tuple(
            tracks.take(in_first_frames(tracks.detections, asked.config.get("frames"))) for tracks in both
        )
    return found  # type: ignore[return-value]


__all__ = ["EvalConfig", "score_files"]
