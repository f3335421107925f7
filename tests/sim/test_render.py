"""Drawn worlds: every frame on demand, always the same, with bodies where the truth says."""

import numpy as np
import pytest

from kintrack.core import boxes
from kintrack.core.detections import Detections, VideoInfo
from kintrack.core.tracks import Tracks
from kintrack.core.video import Video
from kintrack.errors import AlignmentError, ConfigError, InputError
from kintrack.sim import draw, scene_of, simulate, stage
from kintrack.sim.observe import nearness

CLEAN = {"noise": 0.0, "background": 0.0}


@pytest.fixture(scope="module")
def scene():
    return stage({"preset": "crossing", "n_frames": 60}, 0)


def two_boxes(track=(0, 1), boxes=((10, 10, 30, 50), (20, 10, 40, 50))):
    picture = VideoInfo(n_frames=1, shape=(60, 80))
    return Tracks(Detections(np.zeros(2, np.int32), np.array(boxes, float), video=picture), list(track))


def test_a_drawn_video_is_a_video(scene):
    video = draw(scene)
    assert isinstance(video, Video) and video.shape == (60, 320, 320, 1) and len(video) == 60 and video.fps == 30
    assert video[0].shape == (320, 320, 1) and video[0].dtype == np.uint8
    assert [frame for frame, _ in video.frames(3, 6)] == [3, 4, 5]
    with pytest.raises(AlignmentError, match="frame 60 was asked for"):
        video[60]


def test_a_frame_is_the_same_in_whatever_order_it_is_drawn(scene):
    forward, other = draw(scene, seed=4), draw(scene, seed=4)
    pictures = [image for _, image in forward.frames(0, 6)]
    assert all((other[i] == pictures[i]).all() for i in (5, 0, 3))
    assert (draw(scene, seed=5)[0] != pictures[0]).any()
    assert (pictures[0] != pictures[1]).any()


@pytest.mark.parametrize("name", ["crossing", "flies", "dancers", "worms", "particles"])
def test_bodies_are_drawn_inside_their_boxes_and_nowhere_else(name):
    world = stage({"preset": name, "n_frames": 3}, 1)
    image = draw(world, CLEAN | {"pattern": 0.0})[1][..., 0].astype(int)
    drawn = np.abs(image - 179) > 30
    detections = world.tracks.detections
    expected = np.zeros_like(drawn)
    margin = np.maximum(world.width.max(), 8.0) if name in ("flies", "worms", "particles") else 2.0
    for x0, y0, x1, y1 in detections.box[detections.rows(1, 2)]:
        expected[max(int(y0 - margin), 0) : int(y1 + margin) + 1, max(int(x0 - margin), 0) : int(x1 + margin) + 1] = (
            True
        )
    assert drawn.sum() > 50 and not (drawn & ~expected).any()
    for x, y in detections.centre[detections.rows(1, 2)].astype(int):
        assert drawn[y, x]


def test_clones_share_their_texture_to_the_pixel(scene):
    video = draw(scene, {"distinctiveness": 0.0})
    assert (video.texture(0) == video.texture(1)).all()
    clones = two_boxes(boxes=((10, 10, 30, 50), (50, 10, 70, 50)))
    image = draw(clones, CLEAN | {"distinctiveness": 0.0})[0]
    assert (image[10:50, 10:30] == image[10:50, 50:70]).all()


def test_the_more_distinct_the_less_alike(scene):
    def likeness(share):
        video = draw(scene, {"distinctiveness": share})
        a, b = (video.texture(i).ravel() - video.texture(i).mean() for i in (0, 1))
        return (a @ b) / np.sqrt((a @ a) * (b @ b))

    assert likeness(0.0) == pytest.approx(1.0, abs=1e-5)
    assert likeness(0.0) > likeness(0.3) > likeness(1.0)
    assert abs(likeness(1.0)) < 0.5
    image = draw(two_boxes(boxes=((10, 10, 30, 50), (50, 10, 70, 50))), CLEAN | {"distinctiveness": 1.0})[0]
    assert (image[10:50, 10:30] != image[10:50, 50:70]).mean() > 0.5


def test_an_individual_looks_the_same_in_every_frame():
    box = np.array([[10.0, 10, 30, 50], [40.0, 30, 60, 70]])
    walker = Tracks(Detections(np.array([0, 1], np.int32), box), [3, 3])
    video = draw(walker, CLEAN)
    assert (video[0][10:50, 10:30] == video[1][30:70, 40:60]).all()


def test_the_nearer_body_covers_the_other():
    both = two_boxes()
    near, far = (0, 1) if nearness(np.array([0, 1])).argmax() == 0 else (1, 0)
    look = CLEAN | {"distinctiveness": 1.0}
    image = draw(both, look)[0]
    alone = draw(both.take([near]), look)[0]
    x, y = boxes.centre(both.detections.box[[near]])[0].astype(int)
    inner = (slice(y - 12, y + 12), slice(x - 6, x + 6))
    assert (image[inner] == alone[inner]).all()
    assert (image[inner] != draw(both.take([far]), look)[0][inner]).any()


def test_bodies_lie_along_their_heading():
    world = stage({"preset": "crossing", "n_individuals": 1, "n_frames": 1, "aspect": 6.0}, 2)
    image = draw(world, CLEAN | {"pattern": 0.0})[0][..., 0].astype(float)
    weight = np.maximum(179 - image, 0)
    y, x = np.indices(image.shape) + 0.5
    dx, dy = x - np.average(x, weights=weight), y - np.average(y, weights=weight)
    angle = 0.5 * np.arctan2(2 * (weight * dx * dy).sum(), (weight * (dx * dx - dy * dy)).sum())
    assert np.cos(2 * (angle - world.heading[0, 0])) > 0.99


def test_colours_tell_individuals_apart_when_there_are_three_channels(scene):
    video = draw(scene, {"channels": 3, "distinctiveness": 1.0})
    assert video.shape[3] == 3 and video[0].shape[2] == 3
    tint = [video.texture(i).mean(axis=(0, 1)) for i in (0, 1)]
    assert np.ptp(tint[0] - tint[1]) > 0.02


def test_the_background_stays_and_the_noise_does_not(scene):
    empty = Tracks.untracked(scene.tracks.detections.take(slice(0, 0)))
    still, noisy = draw(empty, {"noise": 0.0}), draw(empty, {"noise": 0.05})
    assert (still[0] == still[9]).all() and np.ptp(still[0]) > 5
    difference = noisy[0].astype(float) - noisy[9]
    assert difference.std() == pytest.approx(0.05 * 255 * np.sqrt(2), rel=0.05)


def test_the_background_moves_with_the_camera():
    shaken = stage({"preset": "crossing", "n_individuals": 0, "camera": 1.0, "n_frames": 20}, 0)
    video = draw(shaken, {"noise": 0.0})
    shift = np.round(shaken.camera[7]).astype(int)
    assert np.abs(shift).max() > 3
    still = draw(stage({"preset": "crossing", "n_individuals": 0, "n_frames": 20}, 0), {"noise": 0.0})[7]
    assert (video[7] == np.roll(still, (-shift[1], -shift[0]), axis=(0, 1))).all()


def test_mere_tracks_are_drawn_as_upright_ellipses():
    tracks = simulate("bees", 0)
    video = draw(tracks)
    assert video.shape == (300, 500, 900, 1)
    assert (scene_of(tracks).heading == np.pi / 2).all()
    unknown = Tracks(Detections(np.zeros(1, np.int32), [[2.0, 3, 30, 20]]), [0])
    assert draw(unknown).shape == (1, 20, 30, 1)


def test_rows_without_a_place_and_bodies_outside_are_not_drawn():
    box = np.array([[np.nan] * 4, [500.0, 500, 520, 520], [5.0, 5, 5, 5]])
    tracks = Tracks(Detections(np.zeros(3, np.int32), box), [0, 1, 2])
    lonely = tracks.take([2])
    shown = draw(tracks, CLEAN)[0][:12, :12], draw(lonely, CLEAN)
    assert np.isfinite(shown[0]).all() and shown[1].shape == (1, 5, 5, 1)
    assert draw(Tracks.untracked(Detections.empty())).shape == (0, 1, 1, 1)


def test_what_cannot_be_drawn_is_refused(scene):
    with pytest.raises(InputError, match="a Detections cannot be drawn; give the Scene of stage\\(\\), or Tracks"):
        draw(scene.tracks.detections)
    with pytest.raises(ConfigError, match="unknown option 'distinctivness': did you mean 'distinctiveness'"):
        draw(scene, {"distinctivness": 1})
