"""Colours of tracks."""

import doctest

import numpy as np

from kintrack.viewer import palette
from kintrack.viewer.palette import NOBODY, PALETTE, colours_of

# Viénot, Brettel and Mollon (1999): what linear RGB looks like to people without red or green cones.
PROTANOPIA = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
DEUTERANOPIA = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])


def _seen(colours: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    linear = (colours / 255.0) ** 2.2
    return 255 * np.clip(linear @ matrix.T, 0, 1) ** (1 / 2.2)


def _closest(colours: np.ndarray) -> float:
    apart = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
    return float(apart[~np.eye(len(colours), dtype=bool)].min())


def test_a_track_has_the_same_colour_whoever_else_is_there() -> None:
    assert (colours_of([5, 3])[1] == colours_of([3])[0]).all()
    assert (colours_of([3, 3, 3]) == colours_of([3])).all()


def test_what_has_no_track_is_grey() -> None:
    assert colours_of([-1, 0, -1]).tolist()[::2] == [list(NOBODY)] * 2
    assert list(NOBODY) not in PALETTE.tolist()


def test_no_two_of_the_first_tracks_look_alike() -> None:
    assert len(np.unique(PALETTE, axis=0)) == len(PALETTE) == 21
    assert _closest(PALETTE.astype(float)) > 30
    assert _closest(PALETTE[:7].astype(float)) > 60


def test_the_first_seven_can_be_told_apart_without_red_or_green_cones() -> None:
    for matrix in (PROTANOPIA, DEUTERANOPIA):
        assert _closest(_seen(PALETTE[:7], matrix)) > 20


def test_colours_do_not_change_the_palette() -> None:
    before = PALETTE.copy()
    colours_of([-1, -1])[:] = 7
    assert (before == PALETTE).all()
    assert colours_of([]).shape == (0, 3)


def test_the_example_in_the_docstring_holds() -> None:
    tried = doctest.testmod(palette)
    assert (tried.failed, tried.attempted > 0) == (0, True)
