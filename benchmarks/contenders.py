"""The trackers that are compared: each is given scenes and answers with an id for every row, and the time it took."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from environments import peers_python
from scipy.optimize import linear_sum_assignment
from sequences import Scene

from kintrack.core import boxes
from kintrack.core.detections import Detections, Ints

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
NEAREST = {"gate": 1.0, "max_gap": 3}
"""The nearest neighbour's settings; `association.py --tune-nearest` shows what others give on the tuning half."""


class Answer(NamedTuple):
    """What a tracker made of one scene."""

    track: Ints
    """(N,) the id of each row; never -1."""
    seconds: float
    """Of tracking alone: nothing is read, written or started."""
    unassigned: int
    """Rows that it gave no id; each has one of its own here."""


Contender = Callable[[list[Scene]], dict[str, Answer]]


def one_thread() -> None:
    """Starts this script again with one thread, unless it has one already: libraries look once, when imported."""
    if os.environ | ONE_THREAD != os.environ:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | ONE_THREAD)


def nearest(detections: Detections, gate: float, max_gap: int) -> Ints:
    """Frame by frame the assignment of the least total distance of centres; nothing is known of motion.

    Distances count in sizes (the geometric mean of the two); beyond `gate` of them nothing is linked, nor after more
    than `max_gap` frames.
    """
    centre, size, frame = boxes.centre(detections.box), boxes.size(detections.box), detections.frame
    track, last, n = np.full(len(frame), -1, np.int64), np.zeros(0, np.int64), 0  # last: each live track's last row
    for now in np.unique(frame):
        rows = np.flatnonzero(frame == now)
        last = last[now - frame[last] <= max_gap]
        apart = np.linalg.norm(centre[rows, None] - centre[None, last], axis=2)
        cost = np.minimum(apart / np.sqrt(size[rows, None] * size[None, last]), gate)
        i, j = linear_sum_assignment(cost)
        near = cost[i, j] < gate
        track[rows[i[near]]] = track[last[j[near]]]
        new = rows[track[rows] < 0]
        track[new] = n + np.arange(len(new))
        n += len(new)
        last = np.r_[np.delete(last, j[near]), rows]
    return track


def nearest_neighbour(settings: Mapping[str, Any] = NEAREST) -> Contender:
    """The plain tracker above, as a contender."""
    return lambda scenes: _timed(scenes, lambda scene: nearest(scene.boxed, **settings))


def kintrack(model: str | Path) -> Contender:
    """kintrack on geometry alone, with a model by name or path and the tracker settings in its card.

    Points are given as points, as a user would, who leaves their size to kintrack.
    """
    from kintrack.follow import TrackConfig, follow
    from kintrack.loading import load_model

    network = load_model(model, "cpu")
    config = TrackConfig.of({"tracker": network.card.get("tracker", {}), "threads": 1})
    return lambda scenes: _timed(scenes, lambda scene: follow(scene.detections, network, None, config).track)


def dreem_style(data: Path) -> Contender:
    """The incumbent's architecture on boxes alone, in the training that `dreem_style.py` gives it the first time."""

    def run(scenes: list[Scene]) -> dict[str, Answer]:
        import dreem_style as dreem

        network = dreem.trained(data)
        return _timed(scenes, lambda scene: dreem.follow(network, scene.boxed))

    return run


def peer(name: str, **settings: float) -> Contender:
    """A tracker of the package `trackers`, in an environment of its own, with its defaults except for the settings."""

    def run(scenes: list[Scene]) -> dict[str, Answer]:
        python = peers_python()
        with tempfile.TemporaryDirectory() as folder:
            job, result = Path(folder) / "job.npz", Path(folder) / "result.npz"
            given: dict[str, Any] = {f"frame|{s.key}": s.detections.frame for s in scenes}
            np.savez(job, **given | {f"box|{s.key}": s.boxed.box for s in scenes})
            command = [python, Path(__file__).with_name("peers.py"), job, result, name]
            options = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
            subprocess.run([*map(str, command), *options], check=True, env=os.environ | ONE_THREAD)
            with np.load(result) as found:
                return {s.key: _answer(found[f"track|{s.key}"], float(found[f"seconds|{s.key}"])) for s in scenes}

    return run


def _timed(scenes: Iterable[Scene], follow: Callable[[Scene], Ints]) -> dict[str, Answer]:
    found = {}
    for scene in scenes:
        begin = time.perf_counter()
        track = follow(scene)
        found[scene.key] = _answer(track, time.perf_counter() - begin)
        print(".", end="", file=sys.stderr, flush=True)
    return found


def _answer(track: Ints, seconds: float) -> Answer:
    """Rows without an id get one each: a detection is somebody, and -1 is not a track that they could share."""
    alone = np.flatnonzero(track < 0)
    own = track.copy()
    own[alone] = track.max(initial=-1) + 1 + np.arange(len(alone))
    return Answer(own, seconds, len(alone))
