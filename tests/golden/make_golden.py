"""How the golden numbers of the metrics were made: `python tests/golden/make_golden.py`.

It needs the oracle, `pip install --no-deps trackeval==1.3.0`, and for MOT17 the folder ../shared/data.
It writes, beside itself:

    mot_worlds.json   small random worlds, every row of them, and what TrackEval 1.3.0 says of each and of all together
    mot17.json        what TrackEval 1.3.0 says of MPNTrack's results on the seven MOT17 training sequences (SDP)

tud.json is not made here: it holds what py-motmetrics' README publishes for its two TUD sequences.
"""

import contextlib
import io
import json
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from kintrack.core import boxes
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks

HERE = Path(__file__).parent
SHARED = HERE.parents[1] / ".." / "shared" / "data"

# TrackEval's names of our measures, by its class of metrics.
NAMES = {
    "HOTA": {
        "hota": "HOTA", "deta": "DetA", "assa": "AssA", "loca": "LocA", "detre": "DetRe", "detpr": "DetPr",
        "assre": "AssRe", "asspr": "AssPr", "hota_0": "HOTA(0)", "loca_0": "LocA(0)", "hota_loca_0": "HOTALocA(0)",
    },
    "CLEAR": {
        "mota": "MOTA", "motp": "MOTP", "recall": "CLR_Re", "precision": "CLR_Pr", "num_switches": "IDSW",
        "num_fragmentations": "Frag", "num_misses": "CLR_FN", "num_false_positives": "CLR_FP",
        "num_detections": "CLR_TP", "mostly_tracked": "MT", "partially_tracked": "PT", "mostly_lost": "ML",
    },
    "Identity": {"idf1": "IDF1", "idp": "IDP", "idr": "IDR", "idtp": "IDTP", "idfp": "IDFP", "idfn": "IDFN"},
}  # fmt: skip


def tracks(rows: list[list[float]]) -> Tracks:
    """Tracks from rows of frame, id, x0, y0, x1, y1."""
    table = np.asarray(rows, dtype=np.float64).reshape(-1, 6)
    table = table[np.argsort(table[:, 0], kind="stable")]
    return Tracks(Detections(table[:, 0].astype(np.int32), table[:, 2:]), table[:, 1].astype(np.int64))


def rows(tracks: Tracks) -> list[list[float]]:
    """The reverse of `tracks`."""
    found = tracks.detections
    return np.column_stack([found.frame, tracks.track, found.box]).tolist()


def random_world(seed: int, n: int, n_frames: int, *, grid: float = 0.0, loose: float = 0.05) -> tuple[Tracks, Tracks]:
    """A truth that walks about, and a prediction with misses, false detections, swaps, untracked rows, empty frames.

    Args:
        seed: of everything random.
        n: individuals, in 60 x 60 pixels: crowded.
        n_frames: length.
        grid: coordinates are multiples of it, so that similarities tie.
        loose: share of predicted rows without a track.
    """
    rng = np.random.default_rng(seed)
    frame, who = np.repeat(np.arange(n_frames), n), np.tile(np.arange(n), n_frames)
    middle = rng.uniform(0, 60, (1, n, 2)) + np.cumsum(rng.normal(0, 3, (n_frames, n, 2)), axis=0)
    box = boxes.from_centre(middle.reshape(-1, 2), rng.uniform(8, 20, (n, 2))[who])
    there = rng.random(len(frame)) > 0.1
    seen = there & (rng.random(len(frame)) > 0.15)
    claimed = who + 100
    for _ in range(n):
        later = frame >= rng.integers(n_frames)
        a, b = rng.choice(n, 2) + 100
        claimed = np.where(later & (claimed == a), -b, np.where(later & (claimed == b), -a, claimed))
        claimed = np.abs(claimed)
    corner = rng.uniform(0, 60, (n_frames, 2))
    false = np.column_stack([rng.integers(0, n_frames, n_frames), np.full(n_frames, -1), corner, corner + 12])
    jittered = np.column_stack([frame, claimed, box + rng.normal(0, 1.5, box.shape)])[seen]
    predicted = np.concatenate([jittered, false])
    predicted[rng.random(len(predicted)) < loose, 1] = -1
    predicted = predicted[(predicted[:, 0] < n_frames // 3) | (predicted[:, 0] > n_frames // 3 + 2)]
    truth = np.column_stack([frame, who, box])[there & (frame != n_frames // 2)]
    for table in (truth, predicted):
        table[:, 2:] = (table[:, 2:] / (grid or 0.25)).round() * (grid or 0.25)
    return tracks(truth.tolist()), tracks(predicted.tolist())


def trackeval_metrics(threshold: float = 0.5) -> list[Any]:
    """TrackEval's HOTA, CLEAR and Identity."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trackeval.metrics import CLEAR, HOTA, Identity

        config = {"THRESHOLD": threshold, "PRINT_CONFIG": False}
        return [HOTA(), CLEAR(config), Identity(config)]


def trackeval_data(truth: Tracks, prediction: Tracks) -> dict[str, Any]:
    """The two as TrackEval takes them. An untracked row gets an id that nobody has."""
    a, b = truth.detections, prediction.detections
    ids = []
    for track in (truth.track, prediction.track):
        own = np.where(track < 0, track.max(initial=0) + 1 + np.arange(len(track)), track)
        ids.append(np.unique(own, return_inverse=True)[1].astype(int))
    n_frames = max(a.n_frames, b.n_frames)
    slices = [(a.rows(t, t + 1), b.rows(t, t + 1)) for t in range(n_frames)]
    return {
        "num_timesteps": n_frames,
        "num_gt_dets": len(a),
        "num_tracker_dets": len(b),
        "num_gt_ids": len(np.unique(ids[0])),
        "num_tracker_ids": len(np.unique(ids[1])),
        "gt_ids": [ids[0][i] for i, _ in slices],
        "tracker_ids": [ids[1][j] for _, j in slices],
        "similarity_scores": [boxes.iou(a.box[i], b.box[j]) for i, j in slices],
    }


def trackeval_says(data: dict[str, dict[str, Any]], threshold: float = 0.5) -> dict[str, dict[str, Any]]:
    """Our names, TrackEval's numbers: of each sequence by name, and COMBINED; curves over alpha under ``by_alpha``."""
    said: dict[str, dict[str, Any]] = {name: {"by_alpha": {}} for name in (*data, "COMBINED")}
    for metric in trackeval_metrics(threshold):
        with contextlib.redirect_stdout(io.StringIO()):
            each = {name: metric.eval_sequence(sequence) for name, sequence in data.items()}
            each["COMBINED"] = metric.combine_sequences(dict(each))
        for name, found in each.items():
            for ours, theirs in NAMES[type(metric).__name__].items():
                value = np.asarray(found[theirs], dtype=float)
                said[name][ours] = float(value.mean())
                if value.ndim:
                    said[name]["by_alpha"][ours] = value.tolist()
    return said


def worlds() -> dict[str, tuple[Tracks, Tracks]]:
    """The worlds of mot_worlds.json."""
    made = {f"walk_{seed}": random_world(seed, n=3 + seed, n_frames=24) for seed in range(4)}
    made |= {f"grid_{seed}": random_world(seed, n=6, n_frames=20, grid=4.0) for seed in range(10, 13)}
    truth, prediction = random_world(99, n=3, n_frames=9)
    nothing = tracks([])
    return made | {"no_truth": (nothing, prediction), "no_prediction": (truth, nothing), "perfect": (truth, truth)}


def make_worlds() -> None:
    """Writes mot_worlds.json."""
    made = worlds()
    out: dict[str, Any] = {"made_by": "tests/golden/make_golden.py with trackeval 1.3.0", "thresholds": {}}
    out["worlds"] = {name: {"truth": rows(a), "prediction": rows(b)} for name, (a, b) in made.items()}
    for threshold in (0.5, 0.3):
        data = {name: trackeval_data(a, b) for name, (a, b) in made.items()}
        out["thresholds"][str(threshold)] = trackeval_says(data, threshold)
    (HERE / "mot_worlds.json").write_text(json.dumps(out) + "\n")


def make_mot17() -> None:
    """Writes mot17.json, with TrackEval's own reading of the files and its own preprocessing."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trackeval.datasets import MotChallenge2DBox
    root = SHARED / "metrics" / "mot17_trackeval"
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        lengths = {}
        for truth in sorted((root / "gt" / "mot_challenge" / "MOT17").iterdir()):
            name = truth.name.replace("-DPM", "-SDP")  # the truth is the same for each of the three detectors
            (Path(folder) / name).symlink_to(truth.resolve())
            lengths[name] = int(re.findall(r"seqLength=(\d+)", (truth / "seqinfo.ini").read_text())[0])
        config = {
            "GT_FOLDER": folder, "TRACKERS_FOLDER": str(root / "trackers" / "mot_challenge" / "MOT17"),
            "TRACKERS_TO_EVAL": ["MPNTrack"], "SEQ_INFO": lengths, "SKIP_SPLIT_FOL": True, "PRINT_CONFIG": False,
        }  # fmt: skip
        read = MotChallenge2DBox(config)
        data = {
            name: read.get_preprocessed_seq_data(read.get_raw_seq_data("MPNTrack", name), "pedestrian")
            for name in lengths
        }
        said = trackeval_says(data)
    for found in said.values():
        del found["by_alpha"]
    out = {"made_by": "tests/golden/make_golden.py with trackeval 1.3.0: MPNTrack, pedestrians", "sequences": said}
    (HERE / "mot17.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    make_worlds()
    make_mot17()
