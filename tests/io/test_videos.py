"""Exact frames by any order of reading, cut-off files, folders, what belongs to what, and H.264 out."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from tifffile import imwrite

from kintrack import io
from kintrack.core.detections import Detections
from kintrack.core.video import ArrayVideo
from kintrack.errors import AlignmentError, FormatError, InputError, OutputError, OutputExistsError
from kintrack.io.videos import MovieFile

av = pytest.importorskip("av")


def numbered_frames(n: int = 30, height: int = 64, width: int = 96) -> np.ndarray:
    """Frames that tell their number by their brightness, 7 grey values apart."""
    return np.broadcast_to((np.arange(n, dtype=np.uint8) * 7 + 20)[:, None, None, None], (n, height, width, 3))


def number_of(image: np.ndarray) -> int:
    return round((float(image.mean()) - 20) / 7)


def encode(path: Path, frames: np.ndarray, times: list[int] | None = None, **options: str) -> None:
    """A movie with B-frames and a key frame every ten, at uneven times if they are given."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "10", "bf": "3", "crf": "10", **options})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for i, image in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            picture.pts = i if times is None else times[i]
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("grey", [True, False])
def test_a_frame_is_the_same_in_any_order_of_reading(tmp_path: Path, suffix: str, grey: bool) -> None:
    path = tmp_path / f"a{suffix}"
    encode(path, numbered_frames())
    with io.load_video(path, grey=grey) as video:
        assert video.shape == (30, 64, 96, 1 if grey else 3)
        assert video.fps == 25
        assert [number_of(image) for image in video] == list(range(30))
        jumps = [29, 0, 17, 16, 15, 3, 4, 5, 12, 29, 28, 9, 10, 11, 1]
        assert [number_of(video[i]) for i in jumps] == jumps
        assert [(i, number_of(image)) for i, image in video.frames(7, 12)] == [(i, i) for i in range(7, 12)]


def test_uneven_time_stamps_do_not_shift_frames(tmp_path: Path) -> None:
    times = np.cumsum(np.random.default_rng(0).integers(1, 6, 30)).tolist()
    encode(tmp_path / "a.mp4", numbered_frames(), times)
    video = io.load_video(tmp_path / "a.mp4")
    order = np.random.default_rng(1).permutation(30).tolist()
    assert [number_of(video[i]) for i in order] == order


def test_a_movie_stored_in_grey_has_one_channel(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = 16, 24, "gray"
        for value in (0, 128, 255):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((16, 24), value, np.uint8), format="gray")))
        container.mux(stream.encode())
    video = io.load_video(tmp_path / "a.mkv")
    assert video.shape == (3, 16, 24, 1)
    assert [int(image.max()) for image in video] == [0, 128, 255]


def test_real_movies_give_the_same_frames_by_jumping(shared_data: Path) -> None:
    video = io.load_video(shared_data / "flies" / "three_flies.mp4", grey=True)
    kept = {i: image.copy() for i, image in video.frames() if i in (0, 3, 64, 127)}
    for i in (127, 3, 64, 0):
        np.testing.assert_array_equal(video[i], kept[i])


def test_a_movie_that_ends_early_opens_and_says_where_it_ends(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 64, 96, 3), dtype=np.uint8)
    # fragments could hide it: the index at the front is what a camera that was switched off leaves behind
    encode_front = tmp_path / "whole.mp4"
    with av.open(str(encode_front), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "10", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for image in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    raw = encode_front.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(raw[: int(len(raw) * 0.6)])
    video = io.load_video(tmp_path / "cut.mp4")
    assert len(video) == 40
    assert video[5].shape == (64, 96, 3)
    with pytest.raises(
        AlignmentError, match=r"cut.mp4 ends early or is damaged: frame 39 cannot be read, .*frames 0..39"
    ):
        video[39]
    with pytest.raises(AlignmentError, match=r"ends early or is damaged: frame \d+ cannot be read"):
        for _ in video.frames():
            pass
    assert video[5].shape == (64, 96, 3)


def test_a_movie_without_its_index_cannot_be_opened(tmp_path: Path) -> None:
    encode(tmp_path / "a.mp4", numbered_frames())
    raw = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(FormatError, match=r"cut.mp4 cannot be opened as a movie; is it complete, and is it one\?"):
        io.load_video(tmp_path / "cut.mp4")
    (tmp_path / "text.mp4").write_text("no movie at all")
    with pytest.raises(FormatError, match="cannot be opened as a movie"):
        io.load_video(tmp_path / "text.mp4")


def test_a_missing_empty_or_unknown_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no.mp4 does not exist; wanted a movie, a TIFF stack, or a folder of images"):
        io.load_video(tmp_path / "no.mp4")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(FormatError, match=r"empty.mp4 is empty \(0 bytes\)"):
        io.load_video(tmp_path / "empty.mp4")
    (tmp_path / "a.doc").write_text("x")
    with pytest.raises(InputError, match=r"a.doc ends in .doc; wanted a movie"):
        io.load_video(tmp_path / "a.doc")


def test_a_frame_out_of_range_names_the_range(tmp_path: Path) -> None:
    encode(tmp_path / "a.mp4", numbered_frames())
    video = io.load_video(tmp_path / "a.mp4")
    for frame in (30, -1):
        with pytest.raises(AlignmentError, match=rf"frame {frame} was asked for, but .*a.mp4 has frames 0..29"):
            video[frame]


@pytest.mark.parametrize(("shape", "dtype"), [((5, 8, 6), np.uint8), ((5, 8, 6), np.uint16), ((5, 8, 6, 3), np.uint8)])
def test_tiff_stacks_are_read_page_by_page(tmp_path: Path, shape: tuple[int, ...], dtype: type) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    imwrite(tmp_path / "a.tif", pixels, photometric="rgb" if len(shape) == 4 else "minisblack")
    with io.load_video(tmp_path / "a.tif") as video:
        assert video.shape == (*shape[:3], shape[3] if len(shape) == 4 else 1)
        for i in (4, 0, 2):
            np.testing.assert_array_equal(video[i].squeeze(), pixels[i])
            assert video[i].dtype == dtype


def test_a_cut_off_tiff_stack_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0" + b"\xff" * 40)
    with pytest.raises(FormatError, match=r"a.tif cannot be read as a TIFF stack; is it complete\?"):
        io.load_video(tmp_path / "a.tif")


def test_image_folders_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in range(1, 13):  # a plain sort would put 10 before 2
        Picture.fromarray(np.full((6, 8, 3), number, np.uint8)).save(tmp_path / f"img{number}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    video = io.load_video(tmp_path)
    assert video.shape == (12, 6, 8, 3)
    assert [int(image[0, 0, 0]) for image in video] == list(range(1, 13))


def test_a_missing_image_is_an_error_and_no_shift(tmp_path: Path) -> None:
    for number in (0, 1, 3):
        imwrite(tmp_path / f"t{number:03d}.tif", np.zeros((4, 4), np.uint8))
    with pytest.raises(FormatError, match=r"lacks image number 2 \(1 are missing between 0 and 3\)"):
        io.load_video(tmp_path)


def test_images_of_different_sizes_or_without_numbers_are_refused(tmp_path: Path) -> None:
    imwrite(tmp_path / "t0.tif", np.zeros((4, 4), np.uint8))
    imwrite(tmp_path / "t1.tif", np.zeros((4, 5), np.uint8))
    video = io.load_video(tmp_path)
    with pytest.raises(AlignmentError, match=r"t1.tif has shape \(4, 5, 1\), the first image \(4, 4, 1\)"):
        video[1]
    imwrite(tmp_path / "last.tif", np.zeros((4, 4), np.uint8))
    with pytest.raises(FormatError, match=r"last.tif has no number at the end of its name"):
        io.load_video(tmp_path)


def test_two_images_of_one_number_are_refused(tmp_path: Path) -> None:
    imwrite(tmp_path / "t1.tif", np.zeros((4, 4), np.uint8))
    imwrite(tmp_path / "t01.tif", np.zeros((4, 4), np.uint8))
    with pytest.raises(FormatError, match=r"t01.tif and t1.tif in .* are both number 1"):
        io.load_video(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="none holds no images; wanted files ending in .tif"):
        io.load_video(tmp_path / "none")


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    imwrite(tmp_path / "t0.tif", np.zeros((4, 4), np.uint8))
    (tmp_path / "t1.tif").write_bytes(b"no image")
    (tmp_path / "t2.png").write_bytes(b"no image")
    video = io.load_video(tmp_path)
    for i, name in ((1, "t1.tif"), (2, "t2.png")):
        with pytest.raises(FormatError, match=rf"{name} cannot be read as an image; is it complete\?"):
            video[i]


def test_float_images_are_refused_with_advice(tmp_path: Path) -> None:
    imwrite(tmp_path / "t0.tif", np.zeros((4, 4), np.float32))
    with pytest.raises(
        FormatError, match=r"holds float32 pixels; wanted 8 or 16 bits without sign: convert the images"
    ):
        io.load_video(tmp_path)


def test_label_videos_come_from_stacks_and_folders(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 300, (3, 5, 7)).astype(np.uint16)
    imwrite(tmp_path / "labels.tif", labels, photometric="minisblack")
    (tmp_path / "folder").mkdir()
    for i, image in enumerate(labels):
        imwrite(tmp_path / "folder" / f"cells_{i}.tif", image)
    for name in ("labels.tif", "folder"):
        with io.load_labels(tmp_path / name) as found:
            assert found.shape == (3, 5, 7)
            np.testing.assert_array_equal(found[1], labels[1])
    with pytest.raises(InputError, match=r"labels.mp4 does not exist; wanted a TIFF stack or a folder of label images"):
        io.load_labels(tmp_path / "labels.mp4")
    (tmp_path / "labels.mp4").write_text("x")
    with pytest.raises(InputError, match="labels.mp4 ends in .mp4; wanted a TIFF stack, or a folder of label images"):
        io.load_labels(tmp_path / "labels.mp4")


def test_label_images_that_are_missing_volumes_or_no_integers_are_refused(tmp_path: Path) -> None:
    imwrite(tmp_path / "mask000.tif", np.zeros((4, 5), np.uint16))
    imwrite(tmp_path / "mask002.tif", np.zeros((4, 6), np.uint16))
    imwrite(tmp_path / "mask003.tif", np.zeros((2, 3, 4), np.uint16))
    imwrite(tmp_path / "mask004.tif", np.zeros((4, 5), np.float32))
    labels = io.load_labels(tmp_path)
    assert len(labels) == 5
    with pytest.raises(AlignmentError, match="has no label image for frame 1; wanted one for each frame"):
        labels[1]
    with pytest.raises(AlignmentError, match=r"mask002.tif has shape \(4, 6\), the first label image \(4, 5\)"):
        labels[2]
    with pytest.raises(FormatError, match=r"mask003.tif has shape \(2, 3, 4\); wanted label images in the plane"):
        labels[3]
    with pytest.raises(FormatError, match="mask004.tif holds float32 numbers; wanted integers"):
        labels[4]


def test_detections_past_the_end_of_the_video_are_refused() -> None:
    video = ArrayVideo(np.zeros((10, 20, 30), np.uint8))
    box = [[1.0, 1.0, 5.0, 5.0]]
    io.check_against_video(Detections.of([9], box), video)
    io.check_against_video(Detections.empty(), video)
    with pytest.raises(
        AlignmentError,
        match=r"2 of 3 detections lie past the end of the video: it has 10 frames \(0..9\), and they reach frame 40",
    ):
        io.check_against_video(Detections.of([3, 10, 40], box * 3), video)


def test_detections_outside_the_images_are_refused_when_they_are_most() -> None:
    video = ArrayVideo(np.zeros((10, 20, 30), np.uint8))
    inside, outside = [1.0, 1.0, 5.0, 5.0], [40.0, 1.0, 50.0, 5.0]
    nothing = [np.nan] * 4
    io.check_against_video(Detections.of([0, 1, 2], [inside, outside, nothing]), video)
    with pytest.raises(
        AlignmentError,
        match=r"2 of 3 detections lie outside the images of the video \(30 x 20\); give the video they were made on",
    ):
        io.check_against_video(Detections.of([0, 1, 2], [inside, outside, outside]), video)


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_written_movies_have_even_sides_and_all_frames(tmp_path: Path, channels: int | None) -> None:
    frames = numbered_frames(20, 33, 47)
    frames = frames[..., 0] if channels is None else frames[..., :channels]
    io.write_video(tmp_path / "a.mp4", iter(frames), fps=12.5)
    video = io.load_video(tmp_path / "a.mp4")
    assert video.shape == (20, 34, 48, 3)
    assert video.fps == pytest.approx(12.5)
    assert [number_of(image) for image in video] == list(range(20))
    with av.open(str(tmp_path / "a.mp4")) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")


def test_a_movie_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    def frames():
        yield np.zeros((16, 16, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        io.write_video(tmp_path / "a.mp4", frames(), fps=10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("frames", "fps", "words"),
    [
        ([], 10, "there are no frames to write to .*a.mp4; wanted one at least"),
        ([np.zeros((4, 4, 3), np.uint8)], 0, "a movie of 0 frames a second cannot be written"),
        ([np.zeros((4, 4, 3), np.float32)], 10, r"a frame has shape \(4, 4, 3\) and type float32; wanted"),
        ([np.zeros((4, 4), np.uint8), np.zeros((6, 4), np.uint8)], 10, "a frame of 4 x 6 came after frames of 4 x 4"),
    ],
)
def test_frames_that_make_no_movie_are_refused(tmp_path: Path, frames: list, fps: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        io.write_video(tmp_path / "a.mp4", frames, fps)
    assert list(tmp_path.iterdir()) == []


def test_a_movie_is_not_written_over_another_or_under_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("mine")
    frame = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(OutputExistsError, match="a.mp4 exists"):
        io.write_video(tmp_path / "a.mp4", [frame], 10)
    assert (tmp_path / "a.mp4").read_text() == "mine"
    with pytest.raises(OutputError, match="one of its parents is a file, not a folder"):
        io.write_video(tmp_path / "a.mp4" / "b.mp4", [frame], 10)
    io.write_video(tmp_path / "a.mp4", [frame], 10, overwrite=True)
    assert len(io.load_video(tmp_path / "a.mp4")) == 1


def test_the_video_beside_a_file_is_found_by_its_stem(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "clip2.mp4").touch()
    (tmp_path / "stack.tif").touch()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0.png").touch()
    expected = {
        "clip.txt": "clip.mp4",
        "clip.predictions.csv": "clip.mp4",
        "stack.csv": "stack.tif",
        "images.txt": "images",
    }
    for name, video in expected.items():
        assert io.find_video(tmp_path / name) == tmp_path / video
    assert io.find_video(tmp_path / "other.txt") is None


def test_the_video_that_a_slp_names_is_found_beside_it(shared_data: Path) -> None:
    pytest.importorskip("h5py")
    flies = shared_data / "flies"
    assert io.find_video(flies / "three_flies.slp") == flies / "three_flies.mp4"
    # it names a path on another machine, under another stem
    assert io.find_video(flies / "two_flies_noisy_detections.slp") == flies / "two_flies.mp4"
    # the file it names is not there, but one of its stem is
    assert io.find_video(flies / "mating_pair" / "clip.predictions.slp") == flies / "mating_pair" / "clip.mp4"


def test_the_images_of_cells_and_sequences_are_found(shared_data: Path, tmp_path: Path) -> None:
    cells = shared_data / "cells" / "sim_nuclei"
    for given in (cells, cells / "01", cells / "01_GT", cells / "01_GT" / "TRA"):
        assert io.find_video(given) == cells / "01"
    (tmp_path / "seq" / "gt").mkdir(parents=True)
    (tmp_path / "seq" / "img1").mkdir()
    (tmp_path / "seq" / "seqinfo.ini").write_text("[Sequence]\nseqLength=3\n")
    (tmp_path / "seq" / "gt" / "gt.txt").write_text("1,1,1,1,1,1\n")
    assert io.find_video(tmp_path / "seq" / "gt" / "gt.txt") == tmp_path / "seq" / "img1"
    assert io.find_video(tmp_path / "seq") == tmp_path / "seq" / "img1"


def test_a_movie_tells_what_it_is(tmp_path: Path) -> None:
    encode(tmp_path / "a.mp4", numbered_frames(12))
    video = io.load_video(tmp_path / "a.mp4")
    assert isinstance(video, MovieFile)
    assert repr(video).endswith("a.mp4: 12 frames, 96 x 64, 3 channels, 25 frames/s)")
    assert (video.info.n_frames, video.info.shape, video.info.fps) == (12, (64, 96), 25.0)
    assert video.info.path == str(tmp_path / "a.mp4")
