"""Runs a tracker of the package `trackers`. Started by association.py in an environment of its own.

    python peers.py JOB.npz RESULT.npz TRACKER [OPTION=VALUE ...]

JOB holds `frame|KEY` (N,) and `box|KEY` (N, 4) of each scene; RESULT `track|KEY` (N,), -1 where the tracker gave no
id, and `seconds|KEY`. Nothing of kintrack is imported here.
"""

import sys
import time
import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import supervision as sv
from trackers import BoTSORTTracker, ByteTrackTracker, CBIoUTracker, OCSORTTracker, SORTTracker

TRACKERS = {
    "sort": SORTTracker,
    "bytetrack": ByteTrackTracker,
    "ocsort": OCSORTTracker,
    "botsort": BoTSORTTracker,
    "cbiou": CBIoUTracker,
}


def follow(tracker: Any, frame: Any, box: Any) -> Any:
    """(N,) the id of each row; rows are handed over frame by frame, empty frames too, all with confidence 1."""
    track = np.full(len(frame), -1, np.int64)
    bounds = np.searchsorted(frame, np.arange(frame.max(initial=-1) + 2))
    for first, last in pairwise(bounds):
        rows = np.arange(first, last)
        given = sv.Detections(box[rows], confidence=np.ones(len(rows)), data={"row": rows})
        found = tracker.update(given if len(rows) else sv.Detections.empty())
        if len(found):  # a tracker may return the rows in another order
            track[found.data["row"]] = found.tracker_id
    return track


def main() -> None:
    job, result, name, *options = sys.argv[1:]
    settings = {key: float(value) if "." in value else int(value) for key, value in (o.split("=") for o in options)}
    warnings.simplefilter("ignore")
    given, found = np.load(job), {}
    for key in [entry.removeprefix("frame|") for entry in given.files if entry.startswith("frame|")]:
        frame, box = given[f"frame|{key}"], given[f"box|{key}"]
        begin = time.perf_counter()
        found[f"track|{key}"] = follow(TRACKERS[name](**settings), frame, box)
        found[f"seconds|{key}"] = time.perf_counter() - begin
    np.savez(result, **found)


if __name__ == "__main__":
    main()
