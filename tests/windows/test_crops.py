"""Pixels around boxes: which pixels a crop shows, and that each frame is read once and in order."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kintrack.config import EncoderConfig
from kintrack.core.boxes import from_centre
from kintrack.core.detections import Detections
from kintrack.core.video import ArrayVideo
from kintrack.errors import AlignmentError, InputError
from kintrack.windows.crops import crop_detections, iter_crops

SHAPE = (48, 80)
TIGHT = EncoderConfig(crop_size=16, margin=0)


class WatchedVideo(ArrayVideo):
    """Remembers which frames were read."""

    def __init__(self, array: NDArray[Any]) -> None:
        super().__init__(array)
        self.read: list[int] = []

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        for frame, image in super().frames(start, stop):
            self.read.append(frame)
            yield frame, image


def noise(n_frames: int = 4, channels: int = 1, dtype: type = np.uint8) -> NDArray[Any]:
    top = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, top, (n_frames, *SHAPE, channels), dtype, endpoint=True)


def one(box: list[float], frame: int = 0) -> Detections:
    return Detections.of([frame], [box])


def test_a_box_of_the_crops_own_size_on_whole_pixels_is_copied() -> None:
    video = noise()
    crop = crop_detections(ArrayVideo(video), one([10, 20, 26, 36], 2), [0], TIGHT)
    assert crop.dtype == np.float32 and crop.shape == (1, 1, 16, 16)
    np.testing.assert_allclose(crop[0, 0], video[2, 20:36, 10:26, 0] / 255, atol=1e-6)


def test_a_shrunk_crop_is_the_mean_over_what_each_of_its_pixels_covers() -> None:
    video = noise()
    crop = crop_detections(ArrayVideo(video), one([8, 8, 40, 40]), [0], TIGHT)
    blocks = video[0, 8:40, 8:40, 0].reshape(16, 2, 16, 2).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(crop[0, 0], blocks, atol=1e-6)


def test_an_enlarged_crop_is_interpolated_linearly() -> None:
    ramp = np.broadcast_to(np.arange(80, dtype=np.uint8)[None, None, :, None], (1, *SHAPE, 1))
    crop = crop_detections(ArrayVideo(ramp), one([20.3, 20, 24.3, 24]), [0], TIGHT)
    # The pixel of column j has its middle at j + 0.5, so the ramp's value at x is x - 0.5.
    x = 20.3 + (np.arange(16) + 0.5) * 4 / 16
    np.testing.assert_allclose(crop[0, 0], np.broadcast_to((x - 0.5) / 255, (16, 16)), atol=1e-5)


def test_the_margin_is_a_share_of_the_longer_side_on_every_side() -> None:
    video = noise()
    config = EncoderConfig(crop_size=16, margin=0.5)
    crop = crop_detections(ArrayVideo(video), one([30, 20, 38, 24]), [0], config)  # longer side 8, so 16 with margins
    np.testing.assert_allclose(crop[0, 0], video[0, 14:30, 26:42, 0] / 255, atol=1e-6)


def test_beyond_the_border_a_crop_shows_the_median_of_the_frame() -> None:
    video = np.full((1, *SHAPE, 1), 100, np.uint8)
    video[0, :8, :8] = 255  # an animal in the corner
    crop = crop_detections(ArrayVideo(video), one([-8, -8, 8, 8]), [0], TIGHT)[0, 0]
    np.testing.assert_allclose(crop[8:, 8:], 1.0, atol=1e-6)
    np.testing.assert_allclose(crop[:8], 100 / 255, atol=1e-6)
    np.testing.assert_allclose(crop[:, :8], 100 / 255, atol=1e-6)


def test_a_crop_outside_the_image_is_all_background() -> None:
    video = np.full((1, *SHAPE, 1), 100, np.uint8)
    for box in ([-100.0, 5, -80, 25], [1000.0, 5, 1020, 25], [5.0, 500, 25, 520]):
        np.testing.assert_allclose(crop_detections(ArrayVideo(video), one(box), [0], TIGHT), 100 / 255, atol=1e-6)


def test_a_box_far_larger_than_the_image_costs_no_memory() -> None:
    video = np.full((1, *SHAPE, 1), 100, np.uint8)
    crop = crop_detections(ArrayVideo(video), one([-1e9, -1e9, 1e9, 1e9]), [0], TIGHT)
    np.testing.assert_allclose(crop, 100 / 255, atol=1e-5)


def test_a_point_is_shown_with_min_side_pixels_around_it() -> None:
    video = noise()
    point = one([40, 24, 40, 24])
    crop = crop_detections(ArrayVideo(video), point, [0], TIGHT)
    np.testing.assert_allclose(crop[0, 0], video[0, 16:32, 32:48, 0] / 255, atol=1e-6)
    wide = crop_detections(ArrayVideo(video), point, [0], TIGHT, min_side=32)
    blocks = video[0, 8:40, 24:56, 0].reshape(16, 2, 16, 2).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(wide[0, 0], blocks, atol=1e-6)


def test_a_flat_pose_is_shown_whole() -> None:
    video = noise()
    crop = crop_detections(ArrayVideo(video), one([20, 24, 52, 24]), [0], TIGHT)
    blocks = video[0, 8:40, 20:52, 0].reshape(16, 2, 16, 2).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(crop[0, 0], blocks, atol=1e-6)


def test_a_row_without_a_position_gives_zeros() -> None:
    table = Detections.of([0, 0], [[np.nan] * 4, [10, 10, 26, 26]])
    crops = crop_detections(ArrayVideo(noise()), table, slice(None), TIGHT)
    assert not crops[0].any() and crops[1].any()


def test_sixteen_bits_are_divided_by_the_greatest_value_of_their_type() -> None:
    video = noise(dtype=np.uint16)
    crop = crop_detections(ArrayVideo(video), one([10, 20, 26, 36]), [0], TIGHT)
    np.testing.assert_allclose(crop[0, 0], video[0, 20:36, 10:26, 0] / 65535, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "wanted", "mix"),
    [
        (1, 3, [[1], [1], [1]]),
        (3, 3, np.eye(3)),
        (4, 3, np.eye(3, 4)),
        (3, 1, [[0.299, 0.587, 0.114]]),
        (4, 1, [[0.299, 0.587, 0.114, 0]]),
        (2, 1, [[0.5, 0.5]]),
        (5, 1, [[0.2] * 5]),
    ],
)
def test_channels_become_grey_or_colour(given: int, wanted: int, mix: Any) -> None:
    video = noise(channels=given)
    config = EncoderConfig(crop_size=16, margin=0, channels=wanted)
    crop = crop_detections(ArrayVideo(video), one([10, 20, 26, 36]), [0], config)
    expected = np.einsum("yxc,dc->dyx", video[0, 20:36, 10:26] / 255, np.asarray(mix, float))
    np.testing.assert_allclose(crop[0], expected, atol=1e-6)
    beyond = crop_detections(ArrayVideo(video), one([-50, -50, -40, -40]), [0], config)
    median = np.median(np.einsum("yxc,dc->dyx", video[0, ::16, ::16] / 255, np.asarray(mix, float)), axis=(1, 2))
    np.testing.assert_allclose(beyond[0], np.broadcast_to(median[:, None, None], (wanted, 16, 16)), atol=1e-6)


def test_crops_are_numbers_between_0_and_1() -> None:
    video = ArrayVideo(np.full((1, *SHAPE, 3), 255, np.uint8))
    rng = np.random.default_rng(1)
    table = Detections.of(np.zeros(50), from_centre(rng.uniform(0, 80, (50, 2)), rng.uniform(2, 90, (50, 1))))
    crops = crop_detections(video, table, slice(None), TIGHT)
    assert crops.max() <= 1 and crops.min() > 0.999


def scattered(n: int = 30, n_frames: int = 4) -> Detections:
    rng = np.random.default_rng(2)
    return Detections.of(
        rng.integers(0, n_frames, n), from_centre(rng.uniform(0, 60, (n, 2)), rng.uniform(4, 40, (n, 1)))
    )


def test_crops_come_in_the_order_of_the_rows_asked_for() -> None:
    video, table = ArrayVideo(noise()), scattered()
    crops = crop_detections(video, table, slice(None), TIGHT)
    rows = np.array([17, 3, 3, 29, 0])
    np.testing.assert_array_equal(crop_detections(video, table, rows, TIGHT), crops[rows])
    chosen = np.arange(30) % 3 == 0
    np.testing.assert_array_equal(crop_detections(video, table, chosen, TIGHT), crops[chosen])
    assert crop_detections(video, table, [], TIGHT).shape == (0, 1, 16, 16)


@pytest.mark.parametrize("batch", [1, 7, 30, 256])
def test_batches_hold_the_same_crops_however_they_are_cut(batch: int) -> None:
    video, table = WatchedVideo(noise()), scattered()
    whole = crop_detections(ArrayVideo(noise()), table, slice(None), TIGHT)
    batches = list(iter_crops(video, table, TIGHT, batch))
    assert [len(rows) for rows, _ in batches] == [min(batch, 30 - s) for s in range(0, 30, batch)]
    np.testing.assert_array_equal(np.concatenate([rows for rows, _ in batches]), np.arange(30))
    np.testing.assert_array_equal(np.concatenate([crops for _, crops in batches]), whole)
    assert video.read == [0, 1, 2, 3]


def test_a_table_without_rows_gives_no_batches_and_reads_nothing() -> None:
    video = WatchedVideo(noise())
    assert list(iter_crops(video, Detections.empty(), TIGHT)) == []
    assert video.read == []


def test_every_frame_is_read_once_and_long_stretches_without_rows_are_jumped_over() -> None:
    video = WatchedVideo(np.zeros((200, *SHAPE, 1), np.uint8))
    table = Detections.of([3, 3, 5, 150, 151], np.tile([10.0, 10, 26, 26], (5, 1)))
    crop_detections(video, table, [4, 0, 2, 1, 3, 0], TIGHT)
    assert video.read == [3, 4, 5, 150, 151]


def test_inputs_stay_byte_for_byte_as_they_were() -> None:
    pixels, table = noise(channels=3), scattered()
    before = pixels.tobytes(), table.box.tobytes()
    crop_detections(ArrayVideo(pixels), table, slice(None), TIGHT)
    assert (pixels.tobytes(), table.box.tobytes()) == before


def test_detections_past_the_end_of_the_video_are_refused() -> None:
    with pytest.raises(
        AlignmentError, match=r"detections reach frame 9, but the video has only 4 frames, .* give the video"
    ):
        crop_detections(ArrayVideo(noise()), one([0, 0, 8, 8], 9), [0], TIGHT)


def test_what_cannot_be_cropped_is_refused_in_words() -> None:
    colour = EncoderConfig(channels=3)
    with pytest.raises(InputError, match=r"has 2 channels, which are no colours; .* set encoder.channels to 1"):
        crop_detections(ArrayVideo(noise(channels=2)), one([0, 0, 8, 8]), [0], colour)
    with pytest.raises(InputError, match=r"detections are 3-D; .* take x and y"):
        crop_detections(ArrayVideo(noise()), Detections.empty(3), [], TIGHT)
    with pytest.raises(InputError, match="min_side is 0; wanted pixels around a point, more than 0"):
        crop_detections(ArrayVideo(noise()), one([0, 0, 8, 8]), [0], TIGHT, min_side=0)
    with pytest.raises(InputError, match="batch is 0; wanted the number of crops in a batch, 1 or more"):
        iter_crops(ArrayVideo(noise()), one([0, 0, 8, 8]), TIGHT, 0)
