"""Reads the XML of the ISBI particle tracking challenge (Chenouard et al. 2014).

    <particle><detection t="0" x="373.6" y="69.1" z="0"/> ... </particle>

A particle is a track; a detection is a point, with the middle of the first pixel at 0, in frames from 0.
"""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks
from kintrack.errors import FormatError


def read_particles(path: Path) -> Tracks:
    """The tracks of a file, as points in the plane.

    Raises:
        FormatError: it is no such file.
    """
    try:
        root = ElementTree.parse(path).getroot()
        rows = [
            (int(seen.attrib["t"]), identity, float(seen.attrib["x"]), float(seen.attrib["y"]))
            for identity, particle in enumerate(root.iter("particle"))
            for seen in particle.iter("detection")
        ]
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise FormatError(f"{path} is no XML of the particle tracking challenge: {error}") from None
    if not rows:
        raise FormatError(
            f"{path} holds no <particle> with a <detection>; wanted XML of the particle tracking challenge"
        )
    frame, identity, x, y = (np.array(column) for column in zip(*sorted(rows), strict=True))
    point = np.stack([x, y], axis=1) + 0.5  # kintrack's pixels begin at their corner
    return Tracks(Detections(frame.astype(np.int64), np.tile(point, 2)), identity.astype(np.int64))
