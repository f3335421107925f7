"""The gallery: tiny worlds, each a drawing, for tests and for the figures of the docs.

A drawing shows time downwards, a line a frame, and space from left to right. A letter is an individual; `?` is a
detection of which nobody knows whose it is; `.` is empty. Individuals are 8 pixels wide and 10 pixels apart.
"""

from collections.abc import Callable, Mapping

import numpy as np

from kintrack.core.boxes import from_centre
from kintrack.core.detections import Detections, VideoInfo
from kintrack.core.tracks import UNTRACKED, Tracks

STEP = 10
SIDE = 8
HEIGHT = 40


def from_drawing(drawing: str, parents: Mapping[str, str] | None = None) -> Tracks:
    """The tracks that are drawn: A is track 0, B is track 1, and so on; ``parents`` says from whom each child came.

    The rows have labels, so that `painted` and formats with label images can show them.
    """
    lines = drawing.split()
    found = [(t, i, _id(letter)) for t, line in enumerate(lines) for i, letter in enumerate(line) if letter != "."]
    frame, column, track = np.array(found, dtype=np.int64).reshape(-1, 3).T
    centre = np.stack([(column + 0.5) * STEP, np.full(len(column), HEIGHT / 2)], axis=1)
    label = np.where(track >= 0, track + 1, 100 + column)
    info = VideoInfo(n_frames=len(lines), shape=(HEIGHT, STEP * len(lines[0])), fps=10.0)
    detections = Detections(frame, from_centre(centre, SIDE), label=label, video=info)
    names = {int(i): chr(ord("A") + i) for i in np.unique(track) if i >= 0}
    parent = [(_id(child), _id(mother)) for child, mother in (parents or {}).items()]
    return Tracks(detections, track, np.array(parent, dtype=np.int64).reshape(-1, 2), names)


def _id(letter: str) -> int:
    return UNTRACKED if letter == "?" else ord(letter) - ord("A")


def painted(detections: Detections) -> np.ndarray:
    """(T, Y, X) uint16 label images of a table with labels: each box filled with its row's label."""
    assert detections.video is not None and detections.video.shape is not None and detections.label is not None
    images = np.zeros((detections.n_frames, *detections.video.shape), np.uint16)
    for frame, box, label in zip(detections.frame, detections.box.round().astype(int), detections.label, strict=True):
        images[frame, box[1] : box[3], box[0] : box[2]] = label
    return images


def crossing() -> Tracks:
    """Two individuals meet and walk on."""
    return from_drawing(
        """
        A......B
        .A....B.
        ..A..B..
        ...AB...
        ...BA...
        ..B..A..
        .B....A.
        B......A
        """
    )


def gap() -> Tracks:
    """One of two is not detected in two frames."""
    return from_drawing(
        """
        A....B..
        .A...B..
        .....B..
        .....B..
        ....AB..
        .....BA.
        """
    )


def division() -> Tracks:
    """A mother divides, and one of her daughters divides again."""
    return from_drawing(
        """
        ...A....
        ...A....
        ..B.C...
        .B...C..
        .B..D.E.
        B..D...E
        """,
        {"B": "A", "C": "A", "D": "C", "E": "C"},
    )


def missed() -> Tracks:
    """One individual, of whom two sightings were not recognised, and a false detection."""
    return from_drawing(
        """
        A.......
        .A......
        ..?.....
        ...A...?
        ....?...
        .....A..
        """
    )


def swap() -> Tracks:
    """What a tracker's mistake looks like: two who walk side by side, whose identities change places midway."""
    return from_drawing(
        """
        A..B....
        .A..B...
        ..A..B..
        ...B..A.
        ....B..A
        """
    )


def empty() -> Tracks:
    """Three frames in which nothing was seen."""
    return from_drawing(
        """
        ........
        ........
        ........
        """
    )


def one_detection() -> Tracks:
    """A single individual in a single frame, which is not the first."""
    return from_drawing(
        """
        ........
        ...A....
        ........
        """
    )


def leaves_and_returns() -> Tracks:
    """One stays; another walks out of the picture and comes back."""
    return from_drawing(
        """
        .B...A..
        .B....A.
        .B.....A
        .B......
        .B......
        .B......
        .B.....A
        .B....A.
        """
    )


GALLERY: dict[str, Callable[[], Tracks]] = {
    world.__name__: world for world in (crossing, gap, division, missed, swap, empty, one_detection, leaves_and_returns)
}
