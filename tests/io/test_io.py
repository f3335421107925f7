"""load and save by suffix or name, what is lost is said, files and videos paired by stem, a light import."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tifffile import imwrite

from kintrack import io
from kintrack.core.detections import Detections, Skeleton
from kintrack.core.tracks import Tracks
from kintrack.errors import AlignmentError, InputError


def test_importing_io_brings_in_no_heavy_library() -> None:
    heavy = "torch av sleap_io h5py tifffile imagecodecs scipy pandas PIL pydantic".split()
    code = f"import sys, kintrack.io; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.slp", "sleap"),
        ("A.SLP", "sleap"),
        ("a.predictions.slp", "sleap"),
        ("det.txt", "mot"),
        ("a.csv", "csv"),
        ("01", "ctc"),
    ],
)
def test_the_suffix_decides_the_format(name: str, format: str) -> None:
    assert io.detect_format(name) == format


def test_an_unknown_suffix_or_name_is_answered_with_what_there_is(tmp_path: Path) -> None:
    words = (
        r"a.json ends in .json, which is no format of detections; wanted .slp \(sleap\), a folder \(ctc\), .txt \(mot\)"
    )
    with pytest.raises(InputError, match=words):
        io.detect_format("a.json")
    with pytest.raises(InputError, match=r"there is no format 'slaep': did you mean 'sleap'\?"):
        io.load("a.slp", "slaep")
    with pytest.raises(InputError, match=r"there is no format 'slep': did you mean 'sleap'\?"):
        io.save(Tracks.untracked(Detections.empty()), tmp_path / "a", "slep")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("a.slp", "SLEAP labels"),
        ("a.txt", "MOTChallenge text"),
        ("a.csv", "CSV table"),
        ("a", "Cell Tracking Challenge folder"),
    ],
)
def test_a_missing_file_is_named_with_what_was_wanted(tmp_path: Path, name: str, wanted: str) -> None:
    with pytest.raises(InputError, match=rf"{name} does not exist; wanted {wanted}: check the path"):
        io.load(tmp_path / name)


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; wanted a CSV table .*: name the file"):
        io.load(tmp_path, "csv")


def test_a_named_format_beats_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_text("1,1,1,1,1,1\n")
    assert len(io.load(tmp_path / "a.dat", "mot")) == 1
    io.save(io.load(tmp_path / "a.dat", "mot"), tmp_path / "b.log", "csv")
    assert len(io.load(tmp_path / "b.log", "csv")) == 1


def test_only_slp_files_hold_several_videos(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1,1,1,1,1,1\n")
    assert len(io.load(tmp_path / "a.txt", video=0)) == 1
    with pytest.raises(InputError, match=r"video 1 was asked for, but .*a.txt is MOTChallenge text, which holds one"):
        io.load(tmp_path / "a.txt", video=1)


def test_what_a_format_cannot_hold_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    poses = Detections.of([0, 1], [[0, 0, 1, 1]] * 2, keypoints=np.ones((2, 1, 2)), skeleton=Skeleton(("nose",)))
    tracks = Tracks(poses, np.array([0, 1]), np.array([[1, 0]]), {0: "Ada"}, np.ones(2))
    io.save(tracks, tmp_path / "a.txt")
    assert caplog.messages == [
        f"{tmp_path / 'a.txt'}: MOTChallenge text cannot hold confidence, keypoints, names, parent; save as csv as "
        "well to keep it"
    ]
    caplog.clear()
    io.save(tracks, tmp_path / "a.csv")
    assert caplog.messages == []


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Three detection files and their videos, named so that sorting one list and not the other would mix them up."""
    (tmp_path / "videos").mkdir()
    for name in ("a10.csv", "a2.predictions.csv", "a2.x.txt"):
        (tmp_path / name).touch()
    for name in ("a2.mp4", "a2.x.avi", "a10.mp4", "unused.mp4"):
        (tmp_path / "videos" / name).touch()
    (tmp_path / "notes.md").touch()
    return tmp_path


def test_files_and_videos_are_paired_by_stem(clips: Path) -> None:
    videos = clips / "videos"
    expected = {"a10.csv": "a10.mp4", "a2.predictions.csv": "a2.mp4", "a2.x.txt": "a2.x.avi"}
    pairs = io.find_pairs(clips, videos)
    assert {a.name: b.name for a, b in pairs} == expected
    backwards = io.find_pairs([clips / name for name in reversed(expected)], sorted(videos.iterdir()))
    assert {a.name: b.name for a, b in backwards} == expected
    assert [a.name for a, _ in backwards] == list(reversed(expected))


def test_a_file_without_its_video_is_named(clips: Path) -> None:
    (clips / "b.csv").touch()
    with pytest.raises(
        AlignmentError, match=r"no video has the stem of .*b.csv \('b'; there are a10, a2, a2.x, unused\)"
    ):
        io.find_pairs(clips, clips / "videos")


def test_two_videos_of_one_stem_are_refused(clips: Path) -> None:
    (clips / "videos" / "a2.mkv").touch()
    with pytest.raises(AlignmentError, match=r"a2.mkv and .*a2.mp4 have the same stem; wanted one video for each file"):
        io.find_pairs(clips, clips / "videos")


def test_one_file_and_one_video_need_no_stem(clips: Path) -> None:
    assert io.find_pairs(clips / "a10.csv", clips / "videos" / "unused.mp4") == [
        (clips / "a10.csv", clips / "videos" / "unused.mp4")
    ]


def test_without_videos_each_is_looked_for_beside_its_file(shared_data: Path) -> None:
    flies = shared_data / "flies"
    pairs = dict(io.find_pairs(flies))
    assert pairs[flies / "three_flies.slp"] == flies / "three_flies.mp4"
    assert len(pairs) == 4
    bees = io.find_pairs(shared_data / "boxes" / "bee24")
    assert [path.name for path, _ in bees] == ["BEE2412", "BEE2413", "BEE2416"]
    assert all(video is None for _, video in bees)
    cells = shared_data / "cells" / "ecoli"
    assert io.find_pairs(cells) == [(cells, cells / "01")]


def test_each_sequence_of_a_set_of_cells_is_one(tmp_path: Path) -> None:
    for name in ("01", "01_GT/TRA", "02", "02_GT/TRA"):
        (tmp_path / name).mkdir(parents=True)
        image = "t000.tif" if "GT" not in name else "man_track000.tif"
        imwrite(tmp_path / name / image, np.zeros((4, 4), np.uint8))
    assert io.find_pairs(tmp_path) == [(tmp_path / "01", tmp_path / "01"), (tmp_path / "02", tmp_path / "02")]


def test_nothing_to_pair_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"holds no detections; wanted files ending in .csv, .slp, .txt, .xml, sequences, or a CTC"
    ):
        io.find_pairs(tmp_path)
    with pytest.raises(InputError, match=r"gone does not exist; wanted a file or folder of detections: check the path"):
        io.find_pairs(tmp_path / "gone")
    (tmp_path / "a.csv").touch()
    with pytest.raises(InputError, match=r"gone does not exist; wanted a video, or a folder of them: check the path"):
        io.find_pairs(tmp_path, tmp_path / "gone")


def test_every_format_says_what_it_carries() -> None:
    known = {"frame", "box", "score", "label", "area", "keypoints", "keypoint_score", "is_user", "extra", "track"}
    known |= {"parent", "names", "confidence", "skeleton", "skeleton edges", "video"}
    known |= {"extra.class", "extra.visibility", "extra.world"}
    for name, format in io.FORMATS.items():
        assert name == format.name
        assert {"frame", "track"} <= format.carries <= known


def test_a_table_names_the_edges_of_a_skeleton_among_what_it_cannot_hold(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    skeleton = Skeleton(("nose", "tail"), edges=((0, 1),))
    poses = Detections.of([0], [[0, 0, 1, 1]], keypoints=np.array([[[0.0, 0.0], [1.0, 1.0]]]), skeleton=skeleton)
    io.save(Tracks.untracked(poses), tmp_path / "a.csv")
    assert [m for m in caplog.messages if "cannot hold skeleton edges" in m]
    caplog.clear()
    io.save(Tracks.untracked(poses), tmp_path / "a.slp")
    assert caplog.messages == []


def test_a_folder_without_images_is_no_video_even_if_it_has_the_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("frame,x,y\n0,1,1\n")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.csv").write_text("")
    assert io.find_video(tmp_path / "a.csv") is None
    Image.new("L", (4, 4)).save(tmp_path / "a" / "0.png")
    assert io.find_video(tmp_path / "a.csv") == tmp_path / "a"


def test_the_format_that_is_named_for_what_is_lost_holds_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    edges = Skeleton(("head", "tail"), edges=((0, 1),))
    points = np.array([[[1.0, 2.0], [3.0, 4.0]]])
    found = Detections.of([0], [[1.0, 2.0, 3.0, 4.0]], keypoints=points, skeleton=edges)
    io.save(Tracks(found, np.array([0])), tmp_path / "a.txt")
    assert "cannot hold keypoints, skeleton edges; save as slp as well" in caplog.text
    io.save(Tracks(found.with_columns(extra={"mood": np.array([1])}), np.array([0])), tmp_path / "b.txt")
    assert "cannot hold extra.mood, keypoints, skeleton edges; save as slp and csv as well" in caplog.text
