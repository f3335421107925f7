"""A colour for each track, the same one wherever the track is drawn."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Colours = NDArray[np.uint8]

# Okabe and Ito's colours (2008), which people with any kind of colour vision tell apart, without black, which no one
# sees on a dark video; then the same hues lighter and darker.
_HUES = np.array(
    [(230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)],
    np.float64,
)
_LIGHTER, _DARKER = 0.5, 0.7
PALETTE: Colours = np.concatenate([_HUES, _HUES + _LIGHTER * (255 - _HUES), _HUES * _DARKER]).round().astype(np.uint8)
NOBODY: tuple[int, int, int] = (150, 150, 150)
"""The colour of what has no track."""


def colours_of(tracks: ArrayLike) -> Colours:
    """(N, 3) the colour of each track: its id counted round the palette; grey for -1.

    Track 0 and track 21 have the same colour, so ids are written beside what is drawn.

    >>> colours_of([0, 21, -1]).tolist()
    [[230, 159, 0], [230, 159, 0], [150, 150, 150]]
    """
    ids = np.asarray(tracks, dtype=np.int64)
    found = PALETTE[ids % len(PALETTE)]
    found[ids < 0] = NOBODY
    return found
