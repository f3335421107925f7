"""What every reader asks of a path and of the ids in it."""

from pathlib import Path

import numpy as np

from kintrack.core.detections import Ints
from kintrack.errors import FormatError, InputError

MOST_FRAME = int(np.iinfo(np.int32).max) - 1  # also once it is counted from 1
MOST_ID = 2**53  # up to here a number that was read as float64 is the one that was written
WITHOUT_IDS = "read it without identities (as kintrack track does; in Python: identities=False)"


def existing_file(path: str | Path, wanted: str) -> Path:
    """The path, once it is known to be a file with something in it.

    Raises:
        InputError: it does not exist or is a folder.
        FormatError: it is empty.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; wanted {wanted}: check the path")
    if path.is_dir():
        raise InputError(f"{path} is a folder; wanted {wanted}: name the file")
    if path.stat().st_size == 0:
        raise FormatError(f"{path} is empty (0 bytes); wanted {wanted}: was it written completely?")
    return path


def duplicates(frame: Ints, track: Ints) -> Ints:
    """(E, 2) pairs of rows that claim to be the same track in the same frame, in the order of the later row."""
    order = np.lexsort((frame, track))
    twice = (np.diff(frame[order]) == 0) & (np.diff(track[order]) == 0) & (track[order][1:] >= 0)
    pairs = np.stack([order[:-1][twice], order[1:][twice]], axis=1).astype(np.int64)
    return pairs[np.argsort(pairs[:, 1], kind="stable")]
