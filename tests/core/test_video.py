"""Videos that are arrays, and what all videos have in common."""

import numpy as np
import pytest

from kintrack.core.detections import VideoInfo
from kintrack.core.video import ArrayLabelVideo, ArrayVideo
from kintrack.errors import AlignmentError, InputError


def test_an_array_is_a_video_with_or_without_channels() -> None:
    pixels = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    grey = ArrayVideo(pixels, fps=5)
    assert grey.shape == (2, 3, 4, 1)
    assert len(grey) == 2
    np.testing.assert_array_equal(grey[1][..., 0], pixels[1])
    assert ArrayVideo(np.zeros((2, 3, 4, 3))).shape == (2, 3, 4, 3)
    assert grey.info == VideoInfo(None, 2, (3, 4), 5)
    assert repr(grey) == "ArrayVideo(in memory: 2 frames, 4 x 3, 1 channels, 5 frames/s)"


def test_frames_come_with_their_numbers() -> None:
    video = ArrayVideo(np.arange(5, dtype=np.uint8)[:, None, None])
    assert [(i, int(image[0, 0, 0])) for i, image in video.frames(1, 4)] == [(1, 1), (2, 2), (3, 3)]
    assert [int(image[0, 0, 0]) for image in video] == [0, 1, 2, 3, 4]


def test_reading_past_the_end_names_the_frames() -> None:
    video = ArrayVideo(np.zeros((5, 2, 2), np.uint8))
    with pytest.raises(
        AlignmentError, match=r"frame 5 was asked for, but the video has frames 0..4; give the video that"
    ):
        video[5]
    with pytest.raises(AlignmentError, match=r"frame -1 was asked for"):
        video[-1]
    with pytest.raises(AlignmentError, match=r"frame 5 was asked for"):
        list(video.frames(3, 7))
    with pytest.raises(AlignmentError, match=r"frame 0 was asked for, but the video has no frames"):
        ArrayVideo(np.zeros((0, 2, 2), np.uint8))[0]


def test_a_label_video_is_integers() -> None:
    labels = ArrayLabelVideo(np.ones((2, 3, 4), np.uint16))
    assert labels.shape == (2, 3, 4)
    assert labels[1].sum() == 12
    assert repr(labels) == "ArrayLabelVideo(in memory: 2 frames, 4 x 3)"
    with pytest.raises(InputError, match=r"a label video is \(T, Y, X\) integers; this array is \(2, 3, 4\) float64"):
        ArrayLabelVideo(np.ones((2, 3, 4)))
    with pytest.raises(InputError, match=r"a label video is \(T, Y, X\) integers; this array is \(3, 4\) int64"):
        ArrayLabelVideo(np.ones((3, 4), np.int64))


def test_an_array_of_another_shape_is_no_video() -> None:
    with pytest.raises(
        InputError, match=r"a video has shape \(T, Y, X\) or \(T, Y, X, C\); this array has shape \(3,\)"
    ):
        ArrayVideo(np.zeros(3))


def test_a_video_closes_at_the_end_of_a_with_block() -> None:
    closed = []

    class Watched(ArrayVideo):
        def close(self) -> None:
            closed.append(True)

    with Watched(np.zeros((1, 2, 2), np.uint8)) as video:
        assert len(video) == 1
        assert not closed
    assert closed == [True]
