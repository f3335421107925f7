"""Overlays: what is drawn, where, and how fast."""

import time

import numpy as np
import pytest

from kintrack.core.detections import Detections, Skeleton, VideoInfo
from kintrack.core.tracks import Tracks
from kintrack.errors import ConfigError, InputError
from kintrack.sim import simulate
from kintrack.viewer.draw import Contrast, Overlay, OverlayConfig, as_rgb, black_video, shape_of
from kintrack.viewer.palette import NOBODY, colours_of

SHAPE = (100, 120)
BLACK = np.zeros(SHAPE, np.uint8)


def _boxes(*rows: tuple[int, int, float, float, float, float]) -> Tracks:
    """Tracks of rows (frame, track, x0, y0, x1, y1), given in the order of frames."""
    frame, track, *box = np.array(rows, dtype=float).T
    return Tracks(Detections(frame, np.stack(box, axis=1)), track.astype(int))


def _drawn(tracks: Tracks, frame: int = 0, image: np.ndarray = BLACK, labels=None, **config) -> np.ndarray:
    return Overlay(tracks, image.shape[:2], OverlayConfig(**{"ids": False, "trail": 0} | config))(frame, image, labels)


def _is(picture: np.ndarray, colour: object) -> np.ndarray:
    return (picture == np.asarray(colour, np.uint8)).all(axis=2)


def test_a_box_is_drawn_on_its_own_pixels_in_its_tracks_colour() -> None:
    where = _is(_drawn(_boxes((0, 3, 10, 20, 40, 60))), colours_of([3])[0])
    y, x = np.nonzero(where)
    assert (x.min(), x.max(), y.min(), y.max()) == (10, 39, 20, 59)  # a box is half-open: pixel 40 is outside
    assert not where[30, 20]  # and hollow


def test_only_the_frames_own_detections_are_drawn() -> None:
    tracks = _boxes((0, 0, 10, 20, 40, 60), (2, 0, 50, 20, 80, 60))
    assert not _drawn(tracks, frame=1).any()
    assert _drawn(tracks, frame=2)[:, 45:].any()
    assert not _drawn(tracks, frame=2)[:, :45].any()


def test_untracked_detections_are_grey() -> None:
    assert _is(_drawn(_boxes((0, -1, 10, 20, 40, 60))), NOBODY).any()


def test_the_image_given_is_not_changed() -> None:
    image = np.full((*SHAPE, 3), 7, np.uint8)
    labels = np.zeros(SHAPE, int)
    labels[10:20, 10:20] = 4
    tracks = Tracks(Detections([0], [[10, 10, 20, 20]], label=[4]), [0])
    picture = _drawn(tracks, image=image, labels=labels)
    assert (image == 7).all()
    assert (picture != 7).any()


def test_points_are_dots_at_their_place() -> None:
    y, x = np.nonzero(_drawn(_boxes((0, 0, 60, 30, 60, 30))).any(axis=2))
    assert abs(x.mean() - 60) < 1
    assert abs(y.mean() - 30) < 1
    assert 4 < len(x) < 100


def test_poses_are_joined_by_their_skeleton_where_both_ends_are_seen() -> None:
    keypoints = [[[20.0, 50.0], [60.0, 50.0], [np.nan, np.nan]]]
    skeleton = Skeleton(("a", "b", "c"), edges=((0, 1), (1, 2)))
    seen = Detections([0], [[20, 50, 60, 50]], keypoints=keypoints, skeleton=skeleton)
    picture = _drawn(Tracks(seen, [0]))
    assert picture[48:53, 40].any()  # the edge, midway
    assert not picture[:, 70:].any()


def test_poses_can_be_shown_as_boxes() -> None:
    seen = Detections([0], [[20, 40, 60, 60]], keypoints=[[[20.0, 40.0], [60.0, 60.0]]])
    assert _drawn(Tracks(seen, [0]), show="boxes")[41:59, 20].any(axis=1).all()
    assert not _drawn(Tracks(seen, [0]), show="poses")[45:55, 20].any()


def test_rows_without_a_place_are_left_out() -> None:
    nan = np.nan
    seen = Detections([0], [[nan] * 4], keypoints=[[[nan, nan], [nan, nan]]])
    assert not _drawn(Tracks(seen, [0]), ids=True).any()


def test_masks_tint_their_pixels_and_leave_the_others() -> None:
    labels = np.zeros(SHAPE, np.uint16)
    labels[10:20, 30:40], labels[50:60, 30:40] = 500, 9
    tracks = Tracks(Detections([0], [[30, 10, 40, 20]], label=[500]), [2])
    picture = _drawn(tracks, image=np.full(SHAPE, 100, np.uint8), labels=labels, alpha=0.5)
    expected = (100 + colours_of([2])[0].astype(float)) / 2
    assert np.abs(picture[15, 35] - expected).max() <= 1
    assert (picture[55, 35] == 100).all()  # a label that is no detection
    assert (picture[80, 80] == 100).all()


def test_a_trail_fades_and_vanishes_with_its_track() -> None:
    rows = [(t, 0, 10 + 8 * t, 48, 14 + 8 * t, 52) for t in range(8)]
    tracks = _boxes(*rows, (10, 1, 100, 10, 110, 20))
    picture = _drawn(tracks, frame=7, trail=7).astype(int)
    old, new = picture[50, 16].sum(), picture[50, 60].sum()
    assert 0 < old < new
    assert not _drawn(tracks, frame=7, trail=3)[50, :30].any()  # longer ago than the trail is long
    assert not _drawn(tracks, frame=8, trail=20).any()  # the track is over


def test_a_trail_stays_while_its_track_is_out_of_sight() -> None:
    tracks = _boxes((0, 0, 10, 48, 14, 52), (1, 0, 30, 48, 34, 52), (5, 0, 60, 48, 64, 52))
    assert _drawn(tracks, frame=3, trail=10)[50, 20].any()


def test_ids_are_written_inside_the_picture() -> None:
    for box in ((0, 0, 5, 5), (110, 90, 119, 99)):
        without, with_ids = _drawn(_boxes((0, 0, *box))), _drawn(_boxes((0, 0, *box)), ids=True)
        assert (without != with_ids).any()
    names = Tracks(Detections([0], [[40, 40, 60, 60]]), [0], names={0: "Ada Lovelace"})
    plain = Tracks(Detections([0], [[40, 40, 60, 60]]), [0])
    width = [np.ptp(np.nonzero(_drawn(tracks, ids=True)[:39].any(axis=(0, 2)))[0]) for tracks in (names, plain)]
    assert width[0] > 3 * width[1]


def test_scale_makes_the_picture_larger_and_moves_everything_with_it() -> None:
    picture = _drawn(_boxes((0, 0, 10, 20, 40, 60)), scale=2.0)
    y, x = np.nonzero(picture.any(axis=2))
    assert picture.shape == (200, 240, 3)
    assert (x.min(), x.max(), y.min(), y.max()) == (20, 79, 40, 119)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_images_of_any_number_of_channels_become_colour(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*SHAPE, channels), dtype=np.uint8)
    picture = as_rgb(image)
    assert picture.shape == (*SHAPE, 3)
    assert (picture[..., 0] == image[..., 0]).all()
    assert (picture[..., 1] == image[..., min(1, channels - 1)]).all()


def test_contrast_is_the_same_for_all_frames_of_a_video() -> None:
    contrast = Contrast()
    first = np.linspace(1000, 3000, 10_000).reshape(100, 100).astype(np.uint16)
    assert contrast(first).min() == 0
    assert contrast(first).max() == 255
    assert abs(int(contrast(np.full((4, 4), 2000, np.uint16))[0, 0]) - 127) <= 2
    eight = np.full((4, 4), 9, np.uint8)
    assert contrast(eight) is eight
    assert Contrast()(np.full((4, 4), 5, np.uint16)).shape == (4, 4)  # an image of one value has no range


def test_what_cannot_be_drawn_is_refused_with_a_way_out() -> None:
    boxes = _boxes((0, 0, 10, 20, 40, 60))
    with pytest.raises(InputError, match="no keypoints; show boxes"):
        Overlay(boxes, SHAPE, OverlayConfig(show="poses"))
    with pytest.raises(InputError, match="3-D.*take x and y"):
        Overlay(Tracks(Detections([0], [[0, 0, 0, 1, 1, 1]]), [0]), SHAPE)
    with pytest.raises(InputError, match="no labels; show boxes"):
        _drawn(boxes, show="masks", labels=np.zeros(SHAPE, int))
    with pytest.raises(InputError, match=r"labels are \(5, 5\).*frame is \(100, 120\)"):
        _drawn(Tracks(Detections([0], [[0, 0, 1, 1]], label=[1]), [0]), labels=np.zeros((5, 5), int))
    with pytest.raises(InputError, match=r"uint16; wanted uint8: pass it through Contrast"):
        _drawn(boxes, image=np.zeros(SHAPE, np.uint16))
    with pytest.raises(InputError, match=r"shape \(2, 2, 2, 2\)"):
        as_rgb(np.zeros((2, 2, 2, 2), np.uint8))
    with pytest.raises(ConfigError, match="did you mean 'trail'"):
        OverlayConfig.of({"trial": 5})


def test_without_a_video_the_ground_is_black_and_large_enough() -> None:
    tracks = _boxes((0, 0, 10, 20, 240, 60), (4, 0, 10, 20, 40, 160))
    video = black_video(tracks)
    assert len(video) == 5
    assert video.shape[1] > 160
    assert video.shape[2] > 240
    assert not video[4].any()
    known = Detections([0], [[0, 0, 1, 1]], video=VideoInfo(shape=(30, 40), n_frames=9))
    assert black_video(Tracks(known, [0])).shape == (9, 30, 40, 1)
    assert shape_of(Tracks.untracked(Detections.empty())) == (64, 64)


def test_ten_animals_are_drawn_faster_than_they_are_filmed() -> None:
    tracks = simulate({"preset": "flies", "n_individuals": 10, "n_frames": 40}, 0)
    overlay, image = Overlay(tracks, (512, 512)), np.full((512, 512, 1), 60, np.uint8)
    times = []
    for frame in range(40):
        start = time.perf_counter()
        overlay(frame, image)
        times.append(time.perf_counter() - start)
    assert np.median(times) < 1 / 60
