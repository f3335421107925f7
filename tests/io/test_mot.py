"""MOTChallenge text: the conversions, the real files, and every way in which a file can be wrong."""

import time
from pathlib import Path

import numpy as np
import pytest

from kintrack import io
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks
from kintrack.errors import FormatError, InputError


def text(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_frames_and_corners_count_from_one(tmp_path: Path) -> None:
    tracks = io.load(text(tmp_path / "a.txt", "1,7,1,1,10,20,0.5,-1,-1,-1", "3,7,11,21,10,20,0.25,-1,-1,-1"))
    np.testing.assert_array_equal(tracks.detections.frame, [0, 2])
    np.testing.assert_array_equal(tracks.detections.box, [[0, 0, 10, 20], [10, 20, 20, 40]])
    np.testing.assert_array_equal(tracks.detections.score, [0.5, 0.25])
    np.testing.assert_array_equal(tracks.track, [7, 7])
    assert tracks.detections.extra == {}


def test_a_file_with_a_frame_0_counts_from_0(tmp_path: Path) -> None:
    tracks = io.load(text(tmp_path / "a.txt", "0,1,5,6,10,20,1,-1,-1,-1", "1,1,5,6,10,20,1,-1,-1,-1"))
    np.testing.assert_array_equal(tracks.detections.frame, [0, 1])
    np.testing.assert_array_equal(tracks.detections.box[0], [5, 6, 15, 26])


def test_detections_without_identity_stay_without(tmp_path: Path) -> None:
    given = text(tmp_path / "det.txt", "1,-1,1,1,5,5,-1,-1,-1,-1", "1,-1,9,1,5,5,-1,-1,-1,-1")
    tracks = io.load(given)
    np.testing.assert_array_equal(tracks.track, [-1, -1])
    assert tracks.detections.score is None
    io.save(tracks, tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == given.read_text()


def test_output_has_one_line_for_each_row_the_untracked_too(tmp_path: Path) -> None:
    detections = Detections.of([0, 0, 4], [[0, 0, 2, 2], [5.25, 0, 7, 2], [1, 1, 1, 1]], score=[1, 0.5, 0.125])
    io.save(Tracks(detections, np.array([3, -1, 3])), tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text().splitlines() == [
        "1,3,1,1,2,2,1,-1,-1,-1",
        "1,-1,6.25,1,1.75,2,0.5,-1,-1,-1",
        "5,3,2,2,0,0,0.125,-1,-1,-1",
    ]


def test_lines_in_any_order_of_frames_are_sorted_and_keep_their_columns(tmp_path: Path) -> None:
    tracks = io.load(
        text(tmp_path / "a.txt", "9,1,9,1,1,1,0.9", "2,1,2,1,1,1,0.2", "", "5,2,5,1,1,1,0.5", "2,2,3,1,1,1,0.3")
    )
    np.testing.assert_array_equal(tracks.detections.frame, [1, 1, 4, 8])
    np.testing.assert_array_equal(tracks.detections.box[:, 0] + 1, [2, 3, 5, 9])
    np.testing.assert_array_equal(tracks.detections.score, [0.2, 0.3, 0.5, 0.9])
    np.testing.assert_array_equal(tracks.track, [1, 2, 2, 1])


@pytest.mark.parametrize("mark", [" ", "  ", "\t", ";", ", "])
def test_other_separators_are_understood(tmp_path: Path, mark: str) -> None:
    tracks = io.load(text(tmp_path / "a.txt", mark.join("1 2 3 4 5 6".split())))
    np.testing.assert_array_equal(tracks.detections.box, [[2, 3, 7, 9]])


def test_a_single_detection_of_zero_area_is_a_table_of_one(tmp_path: Path) -> None:
    tracks = io.load(text(tmp_path / "a.txt", "17,4,10,10,0,0"))
    assert len(tracks) == 1
    assert tracks.spans() == {4: (16, 16)}
    np.testing.assert_array_equal(tracks.detections.box, [[9, 9, 9, 9]])


def test_truth_keeps_class_and_visibility_and_filters_nothing(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "metrics/mot17_trackeval/gt/mot_challenge/MOT17/MOT17-02-DPM/gt/gt.txt"
    tracks = io.load(path)
    assert len(tracks) == len(path.read_text().splitlines())
    assert set(np.unique(tracks.detections.score)) == {0.0, 1.0}
    assert len(np.unique(tracks.detections.extra["class"])) > 3
    info = tracks.detections.video
    assert (info.n_frames, info.shape, info.fps) == (600, (1080, 1920), 30.0)
    io.save(tracks, tmp_path / "again.txt")
    again = io.load(tmp_path / "again.txt")
    for name in ("class", "visibility"):
        np.testing.assert_array_equal(again.detections.extra[name], tracks.detections.extra[name])


def test_world_coordinates_are_carried(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "metrics/tud/TUD-Stadtmitte/gt.txt"
    tracks = io.load(path)
    assert tracks.detections.extra["world"].shape == (len(tracks), 3)
    io.save(tracks, tmp_path / "a.txt")
    np.testing.assert_array_equal(
        np.loadtxt(tmp_path / "a.txt", delimiter=",")[:, :2], np.loadtxt(path, delimiter=",")[:, :2]
    )
    np.testing.assert_array_equal(
        io.load(tmp_path / "a.txt").detections.extra["world"], tracks.detections.extra["world"]
    )


def test_every_real_file_is_read_row_for_row(shared_data: Path) -> None:
    paths = sorted((shared_data / "boxes").glob("*/*/gt/*.txt"))
    assert len(paths) > 25
    for path in paths:
        rows = sum(1 for line in path.read_text().splitlines() if line.strip())
        assert len(io.load(path)) == rows, path


def test_gmot_files_count_from_zero(shared_data: Path) -> None:
    tracks = io.load(shared_data / "boxes/gmot/bird-2-FRCNN/gt/gtall.txt")
    assert tracks.detections.frame[0] == 0
    first = (shared_data / "boxes/gmot/bird-2-FRCNN/gt/gtall.txt").read_text().splitlines()[0].split(",")
    row = int(np.flatnonzero((tracks.track == int(first[1])) & (tracks.detections.frame == 0))[0])
    np.testing.assert_array_equal(tracks.detections.box[row, :2], [float(first[2]), float(first[3])])


def test_a_sequence_folder_means_its_only_text_file(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "boxes/dancetrack/dancetrack0043"
    assert io.detect_format(folder) == "mot"
    np.testing.assert_array_equal(io.load(folder).track, io.load(folder / "gt/gt.txt").track)
    for kind in ("gt", "det"):
        (tmp_path / kind).mkdir()
        text(tmp_path / kind / f"{kind}.txt", "1,1,1,1,1,1")
    with pytest.raises(InputError, match=r"holds both gt/gt.txt and det/det.txt; name the file that is meant"):
        io.load(tmp_path)


def test_twenty_thousand_rows_are_read_and_written_in_a_blink(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = np.sort(rng.integers(0, 2000, 20_000))
    corner = rng.normal(500, 100, (20_000, 2))
    detections = Detections.of(frame, np.concatenate([corner, corner + 20], axis=1), score=rng.random(20_000))
    tracks = Tracks(detections, np.arange(20_000))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        io.save(tracks, tmp_path / "a.txt", overwrite=True)
        middle = time.perf_counter()
        io.load(tmp_path / "a.txt")
        seconds.append((middle - start, time.perf_counter() - middle))
    written, read = np.min(seconds, axis=0)
    assert written < 0.3
    assert read < 0.2


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["1,1,1,1,1,1", "1,2,1,1,x,1"], r"a.txt, line 2 \('1,2,1,1,x,1'\): wanted MOTChallenge text"),
        (["frame,id,left,top,width,height", "1,1,1,1,1,1"], r"a.txt, line 1 \('frame,id"),
        (["1,1,1,1,1,1", "", "1,2,1,1,1,1,1"], r"a.txt, line 3 \(7 numbers, the first line has 6\)"),
        (["1,1,1,1,1"], r"a.txt has 5 columns; wanted 6 to 10"),
        (["1,1,1,1,1,1", "1.5,1,1,1,1,1"], r"a.txt, line 2: frame is 1.5; wanted a whole number from 1 on"),
        (["-1,1,1,1,1,1"], r"a.txt, line 1: frame is -1; wanted a whole number from 1 on"),
        (["nan,1,1,1,1,1"], r"a.txt, line 1: frame is nan"),
        (["1,1,1,1,1,1", "", "2,-4,1,1,1,1"], r"a.txt, line 3: id is -4; wanted a whole number, or -1 for no identity"),
        (["1,1.5,1,1,1,1"], r"a.txt, line 1: id is 1.5"),
        (["1,1,1,1,-2,1"], r"a.txt, line 1: width is -2; wanted a width of 0 or more"),
        (["1,1,1,1,2,-1"], r"a.txt, line 1: height is -1; wanted a height of 0 or more"),
        (
            ["1,1,1,1,1,1", "3000000000,1,1,1,1,1"],
            r"a.txt, line 2: frame is 3000000000; wanted a whole number of at most",
        ),
        (["1,9007199254740994,1,1,1,1"], r"a.txt, line 1: id is 9007199254740994; wanted a whole number of at most"),
        (["1,1,1,1,1,1", "1,2,inf,1,1,1"], r"a.txt, line 2: left is inf; wanted pixels"),
        (["", "  "], r"a.txt holds blank lines only"),
        (
            ["4,9,1,1,1,1", "2,3,1,1,1,1", "4,8,5,1,1,1", "4,9,7,1,1,1"],
            r"a.txt, lines 1 and 4: id 9 is there twice in frame 4 \(1 such pairs in the file\); .*identities=False",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_line(tmp_path: Path, lines: list[str], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        io.load(text(tmp_path / "a.txt", *lines))


def test_without_identities_ids_are_neither_read_nor_checked(tmp_path: Path) -> None:
    tracks = io.load(text(tmp_path / "a.txt", "1,9,1,1,1,1", "1,9,5,1,1,1", "2,-4,1,1,1,1"), identities=False)
    np.testing.assert_array_equal(tracks.track, [-1, -1, -1])


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(
        FormatError, match=r"a.txt is empty \(0 bytes\); wanted MOTChallenge text.*: was it written completely\?"
    ):
        io.load(tmp_path / "a.txt")


def test_a_broken_seqinfo_is_named(tmp_path: Path) -> None:
    text(tmp_path / "seqinfo.ini", "[Sequence]", "seqLength=many")
    with pytest.raises(
        FormatError,
        match=r"seqinfo.ini: wanted \[Sequence\] with seqLength, frameRate, imWidth and imHeight as numbers",
    ):
        io.load(text(tmp_path / "a.txt", "1,1,1,1,1,1"))
    text(tmp_path / "seqinfo.ini", "no section")
    with pytest.raises(FormatError, match=r"seqinfo.ini: wanted \[Sequence\]"):
        io.load(tmp_path / "a.txt")


def test_volumes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="MOTChallenge text holds boxes in the plane, and these are 3-D; save them as csv"
    ):
        io.save(Tracks.untracked(Detections.of([0], [[0, 0, 0, 1, 1, 1]])), tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []
