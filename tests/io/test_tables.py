"""CSV tables: any order of columns, other people's headers, dirty real files, and errors that name the line."""

from pathlib import Path

import numpy as np
import pytest

from kintrack import io
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks
from kintrack.errors import FormatError, InputError


def text(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return path


def test_columns_come_in_any_order_and_rows_of_any_frame(tmp_path: Path) -> None:
    tracks = io.load(text(tmp_path / "a.csv", "y,Track_ID,mood,x,Frame", "2,5,calm,1,3", "4,6,wild,3,0"))
    np.testing.assert_array_equal(tracks.detections.frame, [0, 3])
    np.testing.assert_array_equal(tracks.track, [6, 5])
    np.testing.assert_array_equal(tracks.detections.box, [[3, 4, 3, 4], [1, 2, 1, 2]])
    assert tracks.detections.extra["mood"].tolist() == ["wild", "calm"]


def test_a_table_without_tracks_is_untracked_and_empty_cells_mean_nothing(tmp_path: Path) -> None:
    tracks = io.load(text(tmp_path / "a.csv", "frame,x,y,score", "0,1,2,", "1,1,,0.5"))
    np.testing.assert_array_equal(tracks.track, [-1, -1])
    np.testing.assert_array_equal(tracks.detections.score, [np.nan, 0.5])
    np.testing.assert_array_equal(tracks.detections.box[1], [1, np.nan, 1, np.nan])
    some = io.load(text(tmp_path / "b.csv", "track_id,frame,x,y", ",0,1,2", "4,0,1,2", "-1,0,1,2"))
    np.testing.assert_array_equal(some.track, [-1, 4, -1])


def test_a_header_alone_is_an_empty_table(tmp_path: Path) -> None:
    tracks = io.load(text(tmp_path / "a.csv", "track_id,frame,x,y,score,note,parent,name"))
    assert len(tracks) == 0
    assert tracks.detections.box.shape == (0, 4)
    io.save(tracks, tmp_path / "b.csv")
    assert len(io.load(tmp_path / "b.csv")) == 0


def test_boxes_are_corners_or_sides_around_the_centre(tmp_path: Path) -> None:
    corners = io.load(text(tmp_path / "a.csv", "frame,x1,y1,x0,y0", "0,5,6,1,2"))
    np.testing.assert_array_equal(corners.detections.box, [[1, 2, 5, 6]])
    sides = io.load(text(tmp_path / "b.csv", "frame,x,y,width,height", "0,5,6,2,4"))
    np.testing.assert_array_equal(sides.detections.box, [[4, 4, 6, 8]])
    solid = io.load(text(tmp_path / "c.csv", "t,z,y,x,depth,height,width", "0,3,2,1,2,2,2"))
    np.testing.assert_array_equal(solid.detections.box, [[0, 1, 2, 2, 3, 4]])


@pytest.mark.parametrize("mark", [";", "\t"])
def test_other_separators_and_quotes_are_understood(tmp_path: Path, mark: str) -> None:
    lines = [mark.join(line) for line in (["frame", "x", "y", "note"], ["0", "1", "2", f'"a{mark} ""b"""'])]
    tracks = io.load(text(tmp_path / "a.csv", *lines))
    assert tracks.detections.extra["note"].tolist() == [f'a{mark} "b"']


def test_parents_and_names_belong_to_tracks(tmp_path: Path) -> None:
    rows = ["track_id,frame,x,y,parent,name", "1,0,1,1,,mum", "2,1,1,1,1,", "2,2,1,1,1,", "3,1,4,4,1,kid"]
    tracks = io.load(text(tmp_path / "a.csv", *rows))
    assert tracks.divisions() == {1: [2, 3]}
    assert tracks.names == {1: "mum", 3: "kid"}


def test_real_tables_of_other_tools_are_read(shared_data: Path) -> None:
    motile = io.load(shared_data / "formats/motile_csv/motile.csv")
    assert (len(motile), len(motile.ids)) == (8601, 263)
    assert set(motile.detections.extra) == {"id", "parent_id"}
    mosaic = io.load(shared_data / "formats/biotracks/examples/Mosaic/example_1/mosaic_tracks.csv")
    assert mosaic.detections.ndim == 3
    assert "NPscore" in mosaic.detections.extra
    spots = io.load(shared_data / "formats/laptrack/tests/data/trackmate_tracks_with_splitting_spots.csv")
    np.testing.assert_allclose(spots.detections.centre[0], [116.28953440559181, 116.359732156759])


def test_a_dirty_real_table_is_refused_by_line_and_read_without_identities(shared_data: Path) -> None:
    path = shared_data / "particles/airyscan/test_airyscan_tracks.csv"
    words = (
        r"lines 7325 and 7345: track 25 is there twice in frame 273 \(21 such pairs in the file\); .*identities=False"
    )
    with pytest.raises(FormatError, match=words):
        io.load(path)
    lines = path.read_bytes().splitlines()
    assert lines[7324].split(b",")[:2] == lines[7344].split(b",")[:2] == [b"25", b"274"]  # slices count from 1
    tracks = io.load(path, identities=False)
    assert len(tracks) == len(lines) - 1
    assert not len(tracks.ids)
    assert tracks.detections.frame[0] == 0


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["x,y", "1,2"], r"a.csv has no column 'frame' \(it has x, y\); wanted a CSV table with a header"),
        (["frame,y", "1,2"], r"a.csv has no column 'x' \(it has frame, y\)"),
        (["frame,x,y,x", "1,2,3,4"], r"a.csv has two columns for 'x'; take one of them away"),
        (["frame,t,x,y", "1,2,3,4"], r"a.csv has two columns for 'frame'"),
        (["frame,x,y", "0,1,2", "", "0,1"], r"a.csv, line 4: 2 values, but the header names 3 columns"),
        (["frame,x,y", "0,1,2", "0,1,two"], r"a.csv, line 3: y is 'two'; wanted a number, or nothing"),
        (["frame,x,y", "-1,1,2"], r"a.csv, line 2: frame is '-1'; wanted a whole number from 0 on"),
        (["frame,x,y", ",1,2"], r"a.csv, line 2: frame is ''; wanted a whole number from 0 on"),
        (["frame,x,y", "0.5,1,2"], r"a.csv, line 2: frame is '0.5'"),
        (["slice,x,y", "0,1,2"], r"a.csv, line 2: slice is '0'; wanted a whole number from 1 on"),
        (["track_id,frame,x,y", "-2,0,1,2"], r"a.csv, line 2: track_id is '-2'; wanted a whole number from -1 on"),
        (
            ["frame,x,y", "0,1,2", "3000000000,1,2"],
            r"a.csv, line 3: frame is '3000000000'; wanted a whole number of at",
        ),
        (
            ["frame,x,y,track_id", "0,1,2,9007199254740994"],
            r"a.csv, line 2: track_id is '9007199254740994'; wanted .*most",
        ),
        (["frame,x,y", "0,1,2", "0,inf,2"], r"a.csv, line 3: x is 'inf'; wanted pixels, or nothing where"),
        (
            ["frame;x;y", "0;1,5;2,5"],
            r"a.csv, line 2: x is '1,5'; wanted a number, or nothing \(decimals after a point",
        ),
        (["0,1,2", "0,3,4"], r"a.csv has no header: line 1 holds numbers; wanted a CSV table with a header"),
        (["", ""], r"a.csv holds blank lines only"),
        (
            ["track_id,frame,x,y,parent", "1,0,0,0,", "2,0,0,0,", "3,1,0,0,1", "3,2,0,0,2"],
            r"a.csv: the lines of track 3 name several parents \(1, 2\); a track has one",
        ),
        (
            ["track_id,frame,x,y,parent", "1,0,0,0,", "3,1,0,0,9"],
            r"a.csv: parent table names track 9 as a parent, but no detection has that id",
        ),
        (
            ["track_id,frame,x,y", "1,5,0,0", "1,4,0,0", "1,5,0,0"],
            r"a.csv, lines 2 and 4: track 1 is there twice in frame 5 \(1 such pairs in the file\)",
        ),
    ],
)
def test_what_is_wrong_in_a_table_is_named_with_its_line(tmp_path: Path, lines: list[str], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        io.load(text(tmp_path / "a.csv", *lines))


def test_whole_numbers_in_columns_of_ones_own_stay_whole(tmp_path: Path) -> None:
    tracks = io.load(text(tmp_path / "a.csv", "frame,x,y,id,gene", "0,1,2,221,1.0", "1,1,2,-7,2.5"))
    assert tracks.detections.extra["id"].dtype == np.int64
    io.save(tracks, tmp_path / "b.csv")
    assert [line.split(",")[-2:] for line in (tmp_path / "b.csv").read_text().split()[1:]] == [
        ["221", "1.0"],
        ["-7", "2.5"],
    ]


def test_the_unicode_text_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("frame\tx\ty\tWer\r\n4\t1\t2\tMäx\r\n5\tno\t2\tJo\r\n".encode("utf-16"))
    with pytest.raises(FormatError, match=r"a.csv, line 3: x is 'no'"):
        io.load(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes("frame\tx\ty\tWer\r\n4\t1\t2\tMäx\r\n".encode("utf-16"))
    seen = io.load(tmp_path / "a.csv").detections
    assert (seen.frame.tolist(), seen.extra["Wer"].tolist()) == ([4], ["Mäx"])


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    with pytest.raises(FormatError, match=r"a.csv is empty \(0 bytes\); wanted a CSV table with a header that names"):
        io.load(tmp_path / "a.csv")


def test_latin_1_and_a_byte_order_mark_are_tolerated(tmp_path: Path) -> None:
    latin = io.load(text(tmp_path / "a.csv", "Track n°,Slice n°,X,Y,maß", "3,1,5,6,7", encoding="latin-1"))
    assert (latin.track[0], latin.detections.frame[0]) == (3, 0)
    assert latin.detections.extra["maß"].tolist() == [7]
    marked = io.load(text(tmp_path / "b.csv", "frame,x,y", "0,5,6", encoding="utf-8-sig"))
    assert len(marked) == 1


def test_a_column_of_several_numbers_is_spread_over_columns(tmp_path: Path) -> None:
    extra = {"feature": np.array([[1.0, 2.0], [3.0, 4.0]])}
    detections = Detections.of([0, 1], [[0, 0, 1, 1]] * 2, extra=extra)
    io.save(Tracks.untracked(detections), tmp_path / "a.csv")
    found = io.load(tmp_path / "a.csv").detections.extra
    np.testing.assert_array_equal(np.stack([found["feature.0"], found["feature.1"]], axis=1), extra["feature"])


def test_a_users_column_may_not_take_the_place_of_ours(tmp_path: Path) -> None:
    detections = Detections.of([0], [[0, 0, 1, 1]], extra={"x": np.array([1.0])})
    with pytest.raises(
        InputError, match="extra column 'x' has the name of a column that a CSV table has already; rename"
    ):
        io.save(Tracks.untracked(detections), tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []
