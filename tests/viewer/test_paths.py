"""The picture of trajectories."""

import numpy as np

from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks
from kintrack.viewer.palette import colours_of
from kintrack.viewer.paths import Panel, draw_paths


def _line(track: int, slope: float, frames: range = range(40)) -> Tracks:
    x = 50 + slope * np.array(frames)
    box = np.stack([x, x * 0, x, x * 0], axis=1)
    return Tracks(Detections(np.array(frames), box), np.full(len(frames), track))


def _where(picture: np.ndarray, colour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.nonzero(np.abs(picture.astype(int) - colour.astype(int)).max(axis=2) < 12)


def test_time_runs_to_the_right_and_position_upwards() -> None:
    picture = draw_paths([Panel("one", _line(4, +1.0))], width=600, height=200)
    y, x = _where(picture, colours_of([4])[0])
    assert picture.shape == (200, 600, 3)
    assert x.min() < 30
    assert x.max() > 570
    assert np.corrcoef(x, y)[0, 1] < -0.99


def test_panels_share_one_scale() -> None:
    picture = draw_paths([Panel("a", _line(0, 1.0)), Panel("b", _line(1, 0.25))], width=600, height=200)
    tall, _ = _where(picture[:200], colours_of([0])[0])
    low, _ = _where(picture[200:], colours_of([1])[0])
    assert 3 < np.ptp(tall) / np.ptp(low) < 5


def test_a_row_can_have_another_colour_than_its_track() -> None:
    tracks = _line(0, 1.0)
    picture = draw_paths([Panel("a", tracks, colour=np.full(40, 5))], width=400, height=100)
    assert len(_where(picture, colours_of([5])[0])[0])
    assert not len(_where(picture, colours_of([0])[0])[0])


def test_mistakes_are_ringed_where_they_happened() -> None:
    ring = np.array([200, 0, 0])
    clean = draw_paths([Panel("a", _line(1, 1.0))], width=600, height=200)
    marked = draw_paths([Panel("a", _line(1, 1.0), mistakes=np.array([20]))], width=600, height=200)
    assert not len(_where(clean, ring)[0])
    _, x = _where(marked, ring)
    assert abs(x.mean() - 12 - (600 - 24) * 20.5 / 40) < 5


def test_nothing_at_all_is_an_empty_frame() -> None:
    picture = draw_paths([Panel("nobody", Tracks.untracked(Detections.empty()))], width=200, height=80)
    assert picture.shape == (80, 200, 3)
    lost = Tracks(Detections([0, 1], np.full((2, 4), np.nan)), [0, 0])
    assert draw_paths([Panel("lost", lost)], width=200, height=80).shape == (80, 200, 3)
