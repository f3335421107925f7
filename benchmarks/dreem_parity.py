"""Are the numbers DREEM's? The same checkpoints, real windows and clips in dreem-track 0.5.1 and in kintrack.

    python benchmarks/dreem_parity.py                                    makes dreem's environment once (7 GB)
    python benchmarks/dreem_parity.py --dreem-python ENVIRONMENT/bin/python    in an environment that is there
    python benchmarks/dreem_parity.py --quick                            one model, one tracker; nothing is written

matrices   association matrices of every model in dreem_grid.py on windows of flies and nuclei. kintrack reads the
           videos itself: boxes and crops are compared, and the logits that follow from its own
tracks     whole clips through both trackers: are the ids the same, and the certainties?

Weights are drawn from a seed; equal numbers need no good ones. Ends with an error where a difference is too large.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dreem_grid import CLIPS, GRID, PADDING, TRACKERS
from environments import dreem_python
from report import RESULTS, machine, markdown

from kintrack import io
from kintrack.config_dreem import DreemCrops
from kintrack.core.detections import Detections
from kintrack.core.tracks import same_tracks
from kintrack.core.video import LabelVideo, Video
from kintrack.follow import TrackConfig, follow
from kintrack.loading import load_model
from kintrack.models.dreem import DreemWindow
from kintrack.windows.dreem import anchors, iter_dreem_crops, squares

DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
ORACLE = Path(__file__).with_name("dreem_oracle.py")
MOST = 1e-4  # difference of logits that counts as none


def main() -> int:
    options = arguments()
    python = options.dreem_python.absolute() if options.dreem_python else dreem_python(options.python312)
    models = ["default"] if options.quick else list(GRID)
    trackers = [next(iter(TRACKERS))] if options.quick else list(TRACKERS)
    about = machine()
    numbers: dict[str, Any] = {"about": about, "matrices": {}, "tracks": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ask(python, options.data, folder, "matrices", models)  # 46 MB for each
        for model in models:
            numbers["matrices"][model] = compare_matrices(options.data, folder, model)
        ask(python, options.data, folder, "tracks", trackers)
        for tracker in trackers:
            numbers["tracks"][tracker] = compare_tracks(options.data, folder, tracker)
    text = report(about, numbers)
    print(text)
    if not options.quick:
        (RESULTS / "dreem_parity.md").write_text(text + "\n")
        (RESULTS / "dreem_parity.json").write_text(json.dumps(numbers, indent=1) + "\n")
    return int(failed(numbers))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with flies/ and cells/")
    parser.add_argument("--dreem-python", type=Path, help="the interpreter of an environment that has dreem already")
    parser.add_argument("--python312", default="python3.12", help="the Python that dreem's environment is made with")
    parser.add_argument("--quick", action="store_true", help="one model, one tracker; nothing is written")
    return parser.parse_args()


def ask(python: Path, data: Path, folder: Path, what: str, names: list[str]) -> None:
    """Has DREEM write its numbers into the folder."""
    print(f"dreem: {what}, {', '.join(names)} ...", file=sys.stderr, flush=True)
    done = subprocess.run(
        [python, ORACLE, data.resolve(), folder, what, *names], capture_output=True, text=True, cwd=folder
    )
    if done.returncode:
        raise SystemExit(f"dreem failed:\n{done.stderr[-3000:]}")


@contextmanager
def opened(data: Path, name: str) -> Iterator[tuple[Detections, Video, LabelVideo | None]]:
    """A clip as kintrack reads it, as far as it is compared."""
    clip = CLIPS[name]
    path = data / clip["path"]
    source = path if clip["kind"] == "slp" else path.parent
    detections = io.load(source, identities=False).detections
    video = io.find_video(source)
    assert video is not None
    with io.load_video(video) as pixels:
        labels = io.load_labels(source) if clip["kind"] == "ctc" else None
        yield detections.take(detections.rows(0, clip["frames"])), pixels, labels


def compare_matrices(data: Path, folder: Path, model: str) -> dict[str, dict[str, float]]:
    """For each window, the greatest differences: of boxes and crops, and of logits."""
    network, found = load_model(folder / f"{model}.ckpt", "cpu"), {}
    with np.load(folder / f"{model}.npz") as golden:
        theirs = dict(golden)
    for clip in theirs:
        with np.load(folder / f"window {clip}.npz") as file:
            window = dict(file)
        config = DreemCrops(crop_size=CLIPS[clip]["crop_size"], padding=PADDING)
        with opened(data, clip) as (detections, video, labels):
            detections = detections.take(detections.rows(0, int(window["frame"].max()) + 1))
            box = squares(anchors(detections, config, labels), config)
            crops = np.concatenate([pixels for _, pixels in iter_dreem_crops(video, detections, box, config)])
            shape = video.shape[1:3]
        place = [nearest(window, int(f), b) for f, b in zip(detections.frame, box, strict=True)]
        query = np.array([i for i in place if window["frame"][i] == window["frame"].max()])
        own = DreemWindow(
            boxes=torch.from_numpy(box.astype(np.float32))[:, None],
            frame=torch.from_numpy(detections.frame.astype(np.int64)),
            query=torch.from_numpy(np.flatnonzero(np.isin(place, query))),
            shape=shape,
            crops=torch.from_numpy(crops),
        )
        with torch.no_grad():
            logits = np.stack([layer.matrix.numpy() for layer in network(own)])
        last = np.flatnonzero(window["frame"] == window["frame"].max())
        golden = theirs[clip][:, np.searchsorted(last, query)][:, :, place]
        found[clip] = {
            "boxes": float(np.abs(window["box"][place][:, [1, 0, 3, 2]] - box).max()),
            "crops": float(np.abs(window["crop"][place] - crops).max()),
            "logits": float(np.abs(golden - logits).max()),
            "spread of logits": float(golden.std()),
        }
    return found


def nearest(window: dict[str, np.ndarray], frame: int, box: np.ndarray) -> int:
    """Which of DREEM's instances has this box: it shuffles them."""
    here = np.flatnonzero(window["frame"] == frame)
    return int(here[np.abs(window["box"][here][:, [1, 0, 3, 2]] - box).sum(axis=1).argmin()])


def compare_tracks(data: Path, folder: Path, name: str) -> dict[str, Any]:
    """Whether DREEM's ids are ours under other numbers, and the greatest difference of certainties."""
    given, rows = TRACKERS[name], json.loads((folder / f"{name}.json").read_text())["rows"]
    clip = CLIPS[given["clip"]]
    config = TrackConfig.of(
        {"tracker": {"kind": "dreem", "max_gap": None, **given["tracker"]},
         "dreem": {"crop_size": clip["crop_size"], "padding": PADDING}}
    )  # fmt: skip
    model = load_model(folder / f"{given['model']}.ckpt", "cpu")
    with opened(data, given["clip"]) as (detections, video, labels):
        tracks = follow(detections, model, video, config, labels=labels)
        box = squares(anchors(detections, config.dreem, labels), config.dreem)
    window = {"frame": np.array([r["frame"] for r in rows]), "box": np.array([r["box"] for r in rows])}
    place = [nearest(window, int(f), b) for f, b in zip(detections.frame, box, strict=True)]
    ids = np.array([r["id"] for r in rows])[place]
    theirs = np.array([r["score"] for r in rows])[place]
    linked = ~np.isnan(tracks.confidence)
    return {
        "detections": len(ids),
        "tracks": len(np.unique(ids)),
        "same ids": bool(same_tracks(ids, tracks.track)),
        "certainty": float(np.abs(np.exp(theirs[linked]) - tracks.confidence[linked]).max(initial=0.0)),
    }


def failed(numbers: dict[str, Any]) -> bool:
    logits = [clip["logits"] for model in numbers["matrices"].values() for clip in model.values()]
    return max(logits) > MOST or not all(found["same ids"] for found in numbers["tracks"].values())


def report(about: str, numbers: dict[str, Any]) -> str:
    clips = [clip for clip in CLIPS if CLIPS[clip]["window"]]
    head = ["model", *(f"{clip}: {what}" for clip in clips for what in ("logits", "spread of logits", "crops"))]
    rows = [
        [name, *(f"{found[clip][what]:.1e}" for clip in clips for what in ("logits", "spread of logits", "crops"))]
        for name, found in numbers["matrices"].items()
    ]
    tracks = [
        [name, str(f["detections"]), str(f["tracks"]), "yes" if f["same ids"] else "NO", f"{f['certainty']:.1e}"]
        for name, f in numbers["tracks"].items()
    ]
    return "\n".join(
        [
            "# Are the numbers DREEM's?",
            "",
            f"`python benchmarks/dreem_parity.py`: dreem-track 0.5.1 and kintrack, with the same weights (drawn from a "
            f"seed) on the same files. {about}.",
            "",
            "## Association matrices",
            "",
            f"Greatest differences; logits may differ by {MOST:g}. Windows of five frames, read, cut and encoded by "
            "each program itself. Crops are 0 to 1 for flies and 0 to 255 for nuclei.",
            "",
            markdown(head, rows),
            "",
            "## Tracks",
            "",
            "Whole clips. Ids may have other numbers. Certainties are probabilities; the greatest difference.",
            "",
            markdown(["tracker", "detections", "tracks", "same ids", "certainties differ by"], tracks),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
