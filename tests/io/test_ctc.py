"""Cell Tracking Challenge folders: every place to start from, agreement of table and masks, and results."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from tifffile import imread, imwrite

from kintrack import io
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks
from kintrack.core.video import ArrayLabelVideo
from kintrack.errors import AlignmentError, FormatError, InputError, OutputExistsError
from kintrack.io import ctc


def folder(path: Path, masks: list[list[int]], table: list[str] | None, prefix: str = "man_track") -> Path:
    """Label images with a 2 x 3 block for each label given, and a table."""
    path.mkdir(parents=True, exist_ok=True)
    for frame, labels in enumerate(masks):
        imwrite(path / f"{prefix}{frame:03d}.tif", blocks(labels))
    if table is not None:
        name = "man_track.txt" if prefix == "man_track" else "res_track.txt"
        (path / name).write_text("\n".join(table) + "\n")
    return path


def blocks(labels: list[int]) -> np.ndarray:
    image = np.zeros((4, 40), np.uint16)
    for i, label in enumerate(labels):
        image[1:3, 4 * i : 4 * i + 3] = label
    return image


def video_of(masks: list[list[int]]) -> ArrayLabelVideo:
    return ArrayLabelVideo(np.stack([blocks(labels) for labels in masks]))


@pytest.mark.parametrize("part", ["", "01", "01_GT", "01_GT/TRA"])
def test_a_sequence_is_found_from_any_of_its_folders(shared_data: Path, part: str) -> None:
    cells = shared_data / "cells" / "sim_nuclei"
    tracks = io.load(cells / part)
    assert (len(tracks), len(tracks.ids), len(tracks.divisions())) == (1331, 65, 16)
    assert tracks.detections.video.path == str(cells / "01")
    assert (tracks.detections.video.n_frames, tracks.detections.video.shape) == (36, (690, 628))
    assert len(io.load_labels(cells / part)) == 36


def test_boxes_and_areas_are_those_of_the_pixels(shared_data: Path) -> None:
    tracks = io.load(shared_data / "cells" / "ecoli")
    labels = io.load_labels(shared_data / "cells" / "ecoli")
    found = tracks.detections
    for row in range(0, len(found), 37):
        y, x = np.nonzero(labels[found.frame[row]] == found.label[row])
        np.testing.assert_array_equal(found.box[row], [x.min(), y.min(), x.max() + 1, y.max() + 1])
        assert found.area[row] == len(x)


def test_real_results_and_truths_of_the_challenge_are_read(shared_data: Path) -> None:
    toy = shared_data / "metrics" / "ctc_toy"
    result = io.load(toy / "03_RES")
    assert dict(result.parent.tolist())[8] == 2
    assert len(io.load(toy / "03_GT").divisions()) == 1


def test_labels_and_table_that_disagree_are_refused(shared_data: Path) -> None:
    words = (
        r"man_track.txt: label 1 has 3 lines \(frames 0-0, 2-3, 6-6\), and 4 labels in all have several; "
        r"a label is one stretch .*identities=False"
    )
    discs = shared_data / "cells" / "disc_nuclei"
    with pytest.raises(FormatError, match=words):
        io.load(discs)
    tracks = io.load(discs, identities=False)
    assert not len(tracks.ids)
    assert len(tracks) > 200


@pytest.mark.parametrize(
    ("masks", "table", "words"),
    [
        (
            [[1], [], [1]],
            ["1 0 2 0"],
            r"label 1 should be in frames 0-2 but is missing in 1 \(1 labels disagree in all\)",
        ),
        ([[1], [1], [1]], ["1 0 1 0"], r"label 1 should end at frames 0-1 but is also in 2"),
        ([[1, 2], [1], [1]], ["1 0 2 0"], r"label 2 is in the images of frames 0 but not in the table"),
        ([[1], [1]], ["1 0 1 0", "7 0 1 0"], r"label 7 should be in frames 0-1 but is missing in 0, 1"),
        ([[1], [1]], ["1 0 1"], r"man_track.txt, line 1 \('1 0 1'\): wanted four whole numbers, label, first frame"),
        ([[1], [1]], ["1 0 1 0", "", "1.5 0 1 0"], r"man_track.txt, line 3 \('1.5 0 1 0'\): wanted four whole numbers"),
        ([[1], [1]], [""], r"man_track.txt is empty; wanted a line for each label"),
        ([[1], [1, 2]], ["1 0 1 0", "2 1 1 1"], r"track 2 starts in frame 1 but its parent 1 lasts until frame 1"),
        ([[1], [2]], ["1 0 0 0", "2 1 1 5"], r"names track 5 as a parent, but no detection has that id"),
        ([[], []], ["1 0 1 0"], r"label 1 should be in frames 0-1 but is missing in 0, 1"),
    ],
)
def test_each_disagreement_names_label_and_frames(
    tmp_path: Path, masks: list[list[int]], table: list[str], words: str
) -> None:
    with pytest.raises(FormatError, match=words):
        io.load(folder(tmp_path / "01_GT" / "TRA", masks, table))


def test_empty_frames_and_a_late_start_are_no_problem(tmp_path: Path) -> None:
    tracks = io.load(folder(tmp_path / "TRA", [[], [], [4, 2], [4], []], ["2 2 2 0", "4 2 3 0"]))
    np.testing.assert_array_equal(tracks.detections.frame, [2, 2, 3])
    np.testing.assert_array_equal(tracks.track, [2, 4, 4])


def test_masks_without_a_table_have_no_identities(tmp_path: Path) -> None:
    masks = folder(tmp_path / "masks", [[1, 2], [1]], None, prefix="mask")
    np.testing.assert_array_equal(io.load(masks).track, [-1, -1, -1])
    images = tmp_path / "02"
    images.mkdir()
    for i in range(2):
        imwrite(images / f"t{i:03d}.tif", np.zeros((4, 40), np.uint8))
    folder(tmp_path / "02_ST" / "SEG", [[1, 2], [1]], None, prefix="man_seg")
    tracks = io.load(images)
    np.testing.assert_array_equal(tracks.detections.label, [1, 2, 1])
    assert tracks.detections.video.path == str(images)


def test_a_folder_without_labels_or_with_several_sequences_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty holds no label images; wanted mask000.tif or man_track000.tif files"):
        io.load(tmp_path / "empty")
    for name in ("01", "02"):
        (tmp_path / "set" / name).mkdir(parents=True)
        folder(tmp_path / "set" / f"{name}_GT" / "TRA", [[1]], ["1 0 0 0"])
    with pytest.raises(InputError, match=r"set holds 2 sequences \(01, 02\); name one of them, like .*01"):
        io.load(tmp_path / "set")
    with pytest.raises(InputError, match=r"nowhere does not exist; wanted Cell Tracking Challenge folder"):
        io.load(tmp_path / "nowhere")


def test_a_truth_is_preferred_to_a_result_beside_the_images(tmp_path: Path) -> None:
    (tmp_path / "01").mkdir()
    imwrite(tmp_path / "01" / "t000.tif", np.zeros((4, 40), np.uint8))
    folder(tmp_path / "01_ST" / "SEG", [[1, 2]], None, prefix="man_seg")
    folder(tmp_path / "01_RES", [[1]], ["1 0 0 0"], prefix="mask")
    assert len(io.load(tmp_path)) == 2
    assert len(io.load(tmp_path / "01")) == 2
    assert len(io.load(tmp_path / "01_RES")) == 1


def test_images_that_do_not_start_at_0_are_refused(tmp_path: Path) -> None:
    (tmp_path / "01").mkdir()
    imwrite(tmp_path / "01" / "t005.tif", np.zeros((4, 40), np.uint8))
    folder(tmp_path / "01_GT" / "TRA", [[1]], ["1 0 0 0"])
    with pytest.raises(FormatError, match=r"01 starts with image number 5; wanted a sequence from 0 on"):
        io.load(tmp_path / "01")


def test_negative_labels_are_refused_and_huge_ones_are_read() -> None:
    huge = np.zeros((1, 4, 6), np.int64)
    huge[0, 1:3, 2:5] = 10**9
    found = ctc.detections_from_labels(ArrayLabelVideo(huge))
    np.testing.assert_array_equal(found.label, [10**9])
    np.testing.assert_array_equal(found.box, [[2, 1, 5, 3]])
    with pytest.raises(FormatError, match="a label image holds the label -1; wanted 0 for background"):
        ctc.detections_from_labels(ArrayLabelVideo(huge * 0 - 1))
    full = ctc.detections_from_labels(ArrayLabelVideo(huge * 0 + 70_000))
    np.testing.assert_array_equal((full.label[0], full.area[0]), (70_000, 24))


def test_a_real_sequence_comes_back_with_its_ids_masks_and_divisions(shared_data: Path, tmp_path: Path) -> None:
    cells = shared_data / "cells" / "ecoli"
    tracks = io.load(cells)
    io.save(tracks, tmp_path / "RES", source=cells)
    again = io.load(tmp_path / "RES")
    np.testing.assert_array_equal(again.track, tracks.track)
    assert sorted(again.parent.tolist()) == sorted(tracks.parent.tolist())
    truth = sorted((cells / "01_GT" / "TRA").glob("*.tif"))
    for i in (0, 17, 29):
        written = imread(tmp_path / "RES" / f"mask{i:03d}.tif")
        assert written.dtype == np.uint16
        np.testing.assert_array_equal(written, imread(truth[i]))
    assert len(list((tmp_path / "RES").iterdir())) == 31


def tracked(masks: list[list[int]], track: list[int], parent: list[tuple[int, int]] = ()) -> Tracks:
    found = ctc.detections_from_labels(video_of(masks))
    return Tracks(found, np.array(track), np.array(parent, np.int64).reshape(-1, 2))


def test_a_gap_becomes_a_new_label_whose_parent_is_the_old_one(tmp_path: Path) -> None:
    masks = [[1], [1], [], [1], [1, 2], [2, 3]]
    #         5    5         5    5  9   10 11 (children of 5, which is last seen under its second label)
    tracks = tracked(masks, [5, 5, 5, 5, 9, 10, 11], [(10, 5), (11, 5)])
    io.save(tracks, tmp_path / "r", labels=video_of(masks))
    table = (tmp_path / "r" / "res_track.txt").read_text().split("\n")
    assert table == ["5 0 1 0", "9 4 4 0", "10 5 5 12", "11 5 5 12", "12 3 4 5", ""]
    assert len(np.unique(imread(tmp_path / "r" / "mask002.tif"))) == 1
    assert links_by_place(io.load(tmp_path / "r")) == links_by_place(tracks)


def links_by_place(tracks: Tracks) -> set[tuple[float, ...]]:
    place = np.c_[tracks.detections.frame, tracks.detections.box[:, 0]]
    return {(*place[a], *place[b]) for a, b in tracks.links().tolist()}


def test_untracked_rows_become_labels_of_one_frame(tmp_path: Path) -> None:
    masks = [[1, 2], [1, 2]]
    io.save(tracked(masks, [0, -1, 0, -1]), tmp_path / "r", labels=video_of(masks))
    assert (tmp_path / "r" / "res_track.txt").read_text().split("\n") == ["1 0 1 0", "2 0 0 0", "3 1 1 0", ""]
    again = io.load(tmp_path / "r")
    assert len(again) == 4


def test_frames_without_detections_and_labels_without_a_row_are_written_empty(tmp_path: Path) -> None:
    masks = [[1, 7], [], [1], []]
    tracks = tracked(masks, [1, 2, 1])
    some = tracks.take(np.array([0, 2]))
    io.save(some, tmp_path / "r", labels=video_of(masks))
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == [
        *(f"mask{i:03d}.tif" for i in range(4)),
        "res_track.txt",
    ]
    assert np.unique(imread(tmp_path / "r" / "mask000.tif")).tolist() == [0, 1]


def test_zero_tracks_and_too_many_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    masks = [[1]]
    with pytest.raises(InputError, match=r"there is no track to write \(1 detections, all untracked\)"):
        io.save(tracked(masks, [-1]), tmp_path / "r", labels=video_of(masks))
    n = 65_536
    many = Detections.of(np.zeros(n, int), np.zeros((n, 4)), label=np.arange(1, n + 1))
    words = r"65536 labels are needed .* but a CTC label image has 16 bits, 1..65535: cut the sequence into pieces"
    with pytest.raises(InputError, match=words):
        io.save(Tracks(many, np.arange(n)), tmp_path / "r", labels=video_of(masks))
    assert list(tmp_path.iterdir()) == []


def test_ids_above_8_bits_stay_as_they_are(tmp_path: Path) -> None:
    masks = [[1, 2], [1, 2]]
    io.save(tracked(masks, [300, 65_535, 300, 65_535]), tmp_path / "r", labels=video_of(masks))
    np.testing.assert_array_equal(io.load(tmp_path / "r").track, [300, 65_535] * 2)


def test_ids_above_16_bits_are_numbered_afresh(tmp_path: Path) -> None:
    masks = [[1, 2], [1, 2]]
    io.save(tracked(masks, [90_000, 70_000, 90_000, 70_000]), tmp_path / "r", labels=video_of(masks))
    np.testing.assert_array_equal(io.load(tmp_path / "r").links(), [[0, 2], [1, 3]])


def test_tracks_that_do_not_fit_the_masks_are_refused(tmp_path: Path) -> None:
    masks = [[1, 2], [1, 2]]
    tracks = tracked(masks, [1, 2, 1, 2])
    with pytest.raises(InputError, match=r"made of label images, but none were given \(labels=\); save boxes"):
        io.save(tracks, tmp_path / "r")
    boxes_only = Tracks(tracks.detections.with_columns(label=None), tracks.track)
    with pytest.raises(InputError, match=r"but the detections have no labels; save boxes and points as csv"):
        io.save(boxes_only, tmp_path / "r", labels=video_of(masks))
    with pytest.raises(
        AlignmentError, match=r"a detection in frame 1 has the label 2, which is not in the label image"
    ):
        io.save(tracks, tmp_path / "r", labels=video_of([[1, 2], [1]]))
    with pytest.raises(AlignmentError, match=r"detections reach frame 1, but .* ends at frame 0"):
        io.save(tracks, tmp_path / "r", labels=video_of([[1, 2]]))
    twins = tracks.detections.with_columns(label=np.ones(4, int))
    with pytest.raises(AlignmentError, match=r"two detections in frame 0 have the label 1; wanted a label for each"):
        io.save(Tracks(twins, tracks.track), tmp_path / "r", labels=video_of(masks))
    assert list(tmp_path.iterdir()) == []


def test_only_results_are_ever_overwritten(tmp_path: Path) -> None:
    masks = [[1], [1]]
    tracks, labels = tracked(masks, [1, 1]), video_of(masks)
    (tmp_path / "r").mkdir()
    io.save(tracks, tmp_path / "r", labels=labels)  # an empty folder is no result
    with pytest.raises(OutputExistsError, match=r"r exists and is not empty; choose another, or allow overwriting"):
        io.save(tracks, tmp_path / "r", labels=labels)
    (tmp_path / "r" / "mask007.tif").touch()  # of a longer result
    io.save(tracks, tmp_path / "r", labels=labels, overwrite=True)
    assert len(list((tmp_path / "r").iterdir())) == 3
    truth = shutil.copytree(tmp_path / "r", tmp_path / "truth")
    (truth / "res_track.txt").rename(truth / "man_track.txt")
    before = {p.name: p.read_bytes() for p in truth.iterdir()}
    with pytest.raises(
        OutputExistsError, match=r"truth holds 'man_track.txt', which is no part of a result and would be"
    ):
        io.save(tracks, truth, labels=labels, overwrite=True)
    assert {p.name: p.read_bytes() for p in truth.iterdir()} == before
