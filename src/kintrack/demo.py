"""The product in a minute: a simulated scene, tracked by the model and by nearest neighbour, and scored."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kintrack import io
from kintrack.config import TrackerConfig
from kintrack.core.detections import Detections, Ints, Skeleton
from kintrack.core.sightings import Memory, Sightings
from kintrack.core.tracks import Tracks
from kintrack.follow import Progress, TrackConfig, follow
from kintrack.io.writing import new_file
from kintrack.loading import load_model
from kintrack.outputs import refuse_existing

if TYPE_CHECKING:
    from kintrack.metrics import Evaluation
    from kintrack.metrics.matching import Kind

WORLD = {"preset": "flies", "n_individuals": 8, "n_frames": 400, "arena": (400, 400)}
"""Eight flies that run and rest in a small arena, over and past each other."""
NOISE = {"occlusion": 0.4, "miss": 0.03, "jitter": 0.03, "keypoint_miss": 0.1, "false_rate": 0.02}
"""A detector that does not see who is hidden, misses some, is inexact, and sees some that are not there."""

REACH = 1.5
"""How far, in sizes, nearest neighbour links: of 0.5, 0.7, 1, 1.5, 2 and 6 what does best in this world."""

MATCH: "Kind" = "centre"
"""By centres: boxes around the keypoints that were seen say little of where a body ends."""

KINTRACK, NEAREST = "kintrack", "nearest neighbour"


@dataclass(frozen=True, eq=False)
class Demo:
    """What the demo made.

    Args:
        scores: the evaluation of each tracker by its name.
        files: where things were written, by what they are.
    """

    scores: "dict[str, Evaluation]"
    files: dict[str, Path]


def run_demo(
    folder: str | Path = "demo",
    *,
    seed: int = 0,
    model: str | Path = "general",
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Demo:
    """Simulates a scene, tracks it, scores it, and writes a movie, a picture and all the tables.

    Args:
        folder: where to.
        seed: another seed is another scene.
        model: by name or path.
        device: where the model runs.
        overwrite: replace what an earlier demo has written.
        progress: is told how far it is.
    """
    from kintrack.metrics import evaluate
    from kintrack.sim import draw, observe, stage
    from kintrack.viewer.draw import Overlay

    folder = Path(folder)
    refuse_existing(folder, overwrite)
    scene = stage(WORLD, seed)
    truth, (detections, identity) = scene.tracks, observe(scene.tracks, NOISE, seed)
    network, video = load_model(model, device), draw(scene, {"distinctiveness": 0.3, "channels": 1}, seed)
    config = TrackConfig.of({"tracker": network.card.get("tracker", {})})
    pixels = None if network.visual_encoder is None else video
    found = {
        KINTRACK: follow(detections, network, pixels, config, progress),
        NEAREST: track_by_nearest(detections, config.tracker if isinstance(config.tracker, TrackerConfig) else None),
    }
    scores = {name: evaluate(truth, tracks, MATCH) for name, tracks in found.items()}

    files = {"truth": folder / "truth.csv", "detections": folder / "detections.csv", "tracks": folder / "tracks.csv"}
    for name, tracks in zip(files, (truth, Tracks.untracked(detections), found[KINTRACK]), strict=True):
        io.save(_without_edges(tracks), files[name], overwrite=overwrite)
    overlay = Overlay(found[KINTRACK], video.shape[1:3])

    def frames() -> Iterator[NDArray[np.uint8]]:
        for frame, image in video.frames():
            yield overlay(frame, image)
            if progress:
                progress("drawing", frame + 1, len(video))

    files["movie"] = folder / "tracked.mp4"
    io.write_video(files["movie"], frames(), video.fps or 30.0, overwrite=overwrite)
    files["picture"] = folder / "paths.png"
    _write_picture(files["picture"], truth, found, identity, scores, overwrite)
    files["scores"] = folder / "scores.json"
    with new_file(files["scores"], overwrite) as draft:
        draft.write_text(json.dumps({name: score.to_dict() for name, score in scores.items()}, indent=2))
    return Demo(scores, files)


def _without_edges(tracks: Tracks) -> Tracks:
    """The tracks for a table, which has no place for how keypoints are joined (and would say so in a warning)."""
    skeleton = tracks.detections.skeleton
    bare = None if skeleton is None else Skeleton(skeleton.names)
    return replace(tracks, detections=tracks.detections.with_columns(skeleton=bare))


def track_by_nearest(detections: Detections, config: TrackerConfig | None = None) -> Tracks:
    """The tracks of who is nearest to whom: the assignment of the least total distance, frame by frame.

    The same tracker and patience as the model's, so that what differs is what the model knows. Nobody is linked over
    more than `REACH` sizes.
    """
    from kintrack.tracking import Tracker

    config = (config or TrackerConfig()).model_copy(update={"memory": 1, "threshold": 0.5, "combine": "mean"})

    def nearness(query: Sightings, memory: Memory, pairs: Ints) -> NDArray[np.float64]:
        q, r = pairs[:, 0], pairs[:, 1]
        reference = memory.sightings
        apart = np.linalg.norm(query.centre[q] - reference.centre[r], axis=1)
        return np.asarray(REACH - apart / np.sqrt(query.size[q] * reference.size[r]))

    return Tracker(config)(nearness, detections)


def owner_of(identity: Ints, track: Ints) -> Ints:
    """(N,) the individual that each row's track belongs to: the one with most of its rows; -1 where there is none."""
    owner = np.full(len(track), -1, np.int64)
    for one in np.unique(track[track >= 0]):
        inside = track == one
        known = identity[inside & (identity >= 0)]
        if len(known):
            owner[inside] = np.bincount(known).argmax()
    return owner


def _write_picture(
    path: Path,
    truth: Tracks,
    found: dict[str, Tracks],
    identity: Ints,
    scores: "dict[str, Evaluation]",
    overwrite: bool,
) -> None:
    """Truth above, each tracker below; a track has the colour of the individual that it belongs to."""
    from PIL import Image

    from kintrack.metrics import find_switches
    from kintrack.viewer.paths import Panel, draw_paths

    panels = [Panel(f"Truth: where each of {len(truth.ids)} individuals is over time", truth)]
    for name, tracks in found.items():
        mistakes = find_switches(truth, tracks, MATCH)
        title = f"{name}: IDF1 {scores[name]['idf1']:.3f}; where an identity changed is ringed"
        panels.append(Panel(title, tracks, owner_of(identity, tracks.track), mistakes))
    with new_file(path, overwrite) as draft:
        Image.fromarray(draw_paths(panels)).save(draft, format="PNG")


__all__ = ["Demo", "run_demo", "track_by_nearest"]
