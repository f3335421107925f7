"""What goes wrong in DREEM on the way from files to files goes right here.

Each test names the defect by its number in docs/from-dreem.md. Those of its model are tested in test_dreem.py, of its
tracker in tracking/test_dreem.py, of its metrics also in metrics/test_mot.py, of its crops in windows/test_shown.py, of
its training in training/test_dreem.py and test_augment.py, of its configs in from_dreem/, of names that look like
repositories in test_hub.py, of TrackMate in io/test_trackmate.py, of Cellpose in test_segmentation.py.
"""

from pathlib import Path

import numpy as np
import pytest
from tifffile import imread, imwrite

from kintrack import api, io
from kintrack.core.detections import Detections, Skeleton, VideoInfo
from kintrack.core.tracks import Tracks, same_tracks
from kintrack.core.video import ArrayLabelVideo
from kintrack.errors import AlignmentError, FormatError, InputError
from worlds import crossing, gap, painted


def _found(tracks: Tracks, track: np.ndarray, path: Path) -> Path:
    io.save(Tracks(tracks.detections, track), path)
    return path


def _cells(n: int, frames: int = 2) -> np.ndarray:
    """(T, Y, X) label images of n cells in a row that stay where they are."""
    images = np.zeros((frames, 4, 4 * n), np.uint16)
    for i in range(n):
        images[:, 1:3, 4 * i + 1 : 4 * i + 3] = i + 1
    return images


def _folder(images: np.ndarray, path: Path) -> Path:
    path.mkdir()
    for frame, image in enumerate(images):
        imwrite(path / f"mask{frame:03d}.tif", image)
    return path


# ---- metrics


def test_who_gets_no_track_or_is_not_found_stays_in_the_truth(tmp_path: Path):
    """DREEM takes the untracked out of the truth as well, so that nothing is ever missed (M1)."""
    truth = crossing()
    io.save(truth, tmp_path / "truth.csv")
    lost = np.where(truth.track == 1, -1, truth.track)
    scores = api.evaluate(tmp_path / "truth.csv", _found(truth, lost, tmp_path / "half.csv"), match="rows")
    found = next(iter(scores.values()))
    assert found["num_objects"] == 16 and found["num_switches"] == 7  # each row without an id is a track of its own
    assert found["mota"] == 1 - 7 / 16 and found["idf1"] < 0.6
    io.save(truth.take(truth.track == 0), tmp_path / "one.csv")
    missed = next(iter(api.evaluate(tmp_path / "truth.csv", tmp_path / "one.csv").values()))
    assert missed["num_misses"] == 8 and missed["recall"] == missed["mota"] == 0.5


def test_untracked_truth_is_nobody_not_one_individual(tmp_path: Path):
    """In DREEM all that has no track in the truth is one object (M2)."""
    truth = crossing()
    half = Tracks(truth.detections, np.where(truth.track == 1, -1, truth.track))
    io.save(half, tmp_path / "truth.csv")
    scores = api.evaluate(tmp_path / "truth.csv", _found(truth, truth.track, tmp_path / "all.csv"), match="rows")
    found = next(iter(scores.values()))
    assert found["num_unique_objects"] == 1 and found["num_switches"] == 0 and found["recall"] == 1


def test_several_sequences_have_scores_together(tmp_path: Path):
    """DREEM has none of all videos (M7)."""
    for i, world in enumerate((crossing(), gap())):
        io.save(world, tmp_path / "truth" / f"{i}.csv")
        wrong = np.where((world.track == 1) & (world.detections.frame > 3), 7, world.track)
        io.save(Tracks(world.detections, wrong), tmp_path / "found" / f"{i}.csv")
    scores = api.evaluate(tmp_path / "truth", tmp_path / "found", output=tmp_path / "scores.csv")
    assert list(scores) == ["0", "1", "all"]
    assert scores["all"]["num_switches"] == scores["0"]["num_switches"] + scores["1"]["num_switches"] == 2
    assert (tmp_path / "scores.csv").read_text().splitlines()[3].startswith("all,")


# ---- results


def test_three_hundred_cells_come_out_with_three_hundred_labels(tmp_path: Path):
    """DREEM's evaluation writes 8 bits, and fails at id 256 after everything is tracked (M3)."""
    source = _folder(_cells(300), tmp_path / "cells")
    tracks = api.track(source, tmp_path / "tracked", model="motion")
    assert len(tracks.ids) == 300
    image = imread(tmp_path / "tracked" / "mask001.tif")
    assert image.dtype == np.uint16 and len(np.unique(image)) == 301


def test_a_cell_without_a_track_is_written_and_is_no_track(tmp_path: Path):
    """DREEM writes id -1 into unsigned pixels, and fails (M4); an empty frame is another failure (M3)."""
    images = _cells(3, frames=4)
    images[2] = 0
    tracks = api.track(_folder(images, tmp_path / "cells"), tmp_path / "tracked", model="motion", max_tracks=2)
    assert (tracks.track == -1).sum() == 3 and len(tracks.ids) == 2
    written = io.load(tmp_path / "tracked")
    assert len(written) == 9 and not imread(tmp_path / "tracked" / "mask002.tif").any()


def test_a_result_of_cells_is_one_that_the_challenge_takes(tmp_path: Path):
    """DREEM writes a single stack, without a table and without parents (O4)."""
    api.track(_folder(painted(gap().detections), tmp_path / "01"), tmp_path / "01_RES", model="motion")
    names = sorted(path.name for path in (tmp_path / "01_RES").iterdir())
    assert names == [*(f"mask{i:03d}.tif" for i in range(6)), "res_track.txt"]
    table = np.loadtxt(tmp_path / "01_RES" / "res_track.txt", dtype=int)
    assert table.shape[1] == 4


def test_untracked_poses_are_in_no_track_and_users_work_stays_theirs(tmp_path: Path):
    """DREEM puts them into a track named -1 (O3), makes predictions of people's instances, and all scores 1 (O2)."""
    truth = crossing()
    points = truth.detections.box.reshape(-1, 2, 2)
    n = len(points)
    info = VideoInfo("clip.mp4", 8, (40, 80))
    is_user = np.arange(n) % 4 == 0
    columns = {
        "keypoint_score": np.where(is_user[:, None], np.nan, 0.25 + np.arange(2 * n).reshape(n, 2) / 100),
        "score": np.where(is_user, np.nan, 0.5),
        "is_user": is_user,
        "skeleton": Skeleton(("head", "tail"), ((0, 1),)),
    }
    posed = Detections(truth.detections.frame, truth.detections.box, keypoints=points, video=info, **columns)
    io.save(Tracks(posed, truth.track, names={0: "female", 1: "male"}), tmp_path / "a.slp")
    api.track(tmp_path / "a.slp", tmp_path / "b.slp", model="motion", max_tracks=1)
    found = io.load(tmp_path / "b.slp")
    assert (found.track == -1).sum() == n - (found.track == 0).sum() > 0
    assert "-1" not in found.names.values() and len(found.ids) == 1
    assert np.array_equal(found.detections.is_user, is_user)
    assert np.allclose(found.detections.keypoint_score, columns["keypoint_score"], equal_nan=True)
    api.convert(tmp_path / "a.slp", tmp_path / "c.csv")
    assert io.load(tmp_path / "c.csv").names == {0: "female", 1: "male"}


def test_a_result_has_the_name_that_was_asked_for_and_the_same_bytes_each_time(tmp_path: Path):
    """DREEM's names hold the hour, month first (O5)."""
    io.save(Tracks.untracked(crossing().detections), tmp_path / "a.csv")
    for name in ("one", "two"):
        api.track_many([tmp_path / "a.csv"], tmp_path / name, model="motion")
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["a.csv", "a.csv.kintrack.yaml"]
    assert (tmp_path / "one" / "a.csv").read_bytes() == (tmp_path / "two" / "a.csv").read_bytes()


# ---- what is read in


def test_frames_in_any_order_are_all_tracked(tmp_path: Path):
    """DREEM skips frames whose number is lower than that of the one before (D4)."""
    truth = crossing().detections
    lines = [f"{f},{x},{y},8,8" for f, (x, y) in zip(truth.frame, truth.centre, strict=True)]
    (tmp_path / "a.csv").write_text("\n".join(["frame,x,y,width,height", *reversed(lines)]) + "\n")
    tracks = api.track(tmp_path / "a.csv", model="motion")
    assert len(tracks) == len(truth) and (tracks.track >= 0).all()
    assert same_tracks(tracks.track[::2], crossing().track[1::2])  # the rows of a frame were exchanged as well


def test_empty_frames_an_empty_file_and_a_late_start_are_no_failure(tmp_path: Path):
    """DREEM fails where the first frame is empty, or all are (D5)."""
    images = _cells(2, frames=5)
    images[:2] = images[3] = 0
    tracks = api.track(_folder(images, tmp_path / "cells"), tmp_path / "out", model="motion")
    assert tracks.detections.frame.tolist() == [2, 2, 4, 4] and (tracks.track >= 0).all()
    (tmp_path / "none.csv").write_text("frame,x,y\n")
    assert len(api.track(tmp_path / "none.csv", tmp_path / "no.csv", model="motion")) == 0
    assert len(api.track(ArrayLabelVideo(np.zeros((3, 4, 4), np.uint16)), model="motion")) == 0


def test_images_are_taken_by_their_numbers_and_must_be_complete(tmp_path: Path):
    """DREEM pairs masks and images by their place in a list, in which 10 is before 2 (D11)."""
    images = painted(crossing().detections)
    images = np.concatenate([images, images[::-1]])[:11]
    for frame, image in enumerate(images):
        for kind, name in (("01", f"t{frame}.tif"), ("01_GT/TRA", f"man_track{frame}.tif")):
            (tmp_path / kind).mkdir(parents=True, exist_ok=True)
            imwrite(tmp_path / kind / name, image)
    tracks = io.load(tmp_path / "01", identities=False)
    video, labels = io.load_video(tmp_path / "01"), io.load_labels(tmp_path / "01")
    assert all(np.array_equal(video[i][..., 0], labels[i]) for i in range(11)) and len(tracks) == 22
    (tmp_path / "01" / "t7.tif").unlink()
    with pytest.raises((AlignmentError, InputError), match="7"):
        io.load_video(tmp_path / "01")[7]


def test_volumes_are_refused_not_read_by_their_first_plane(tmp_path: Path):
    """DREEM reads the first plane of a volume, and says nothing (D10)."""
    (tmp_path / "cells").mkdir()
    imwrite(tmp_path / "cells" / "mask000.tif", np.ones((5, 8, 8), np.uint16), photometric="minisblack")
    with pytest.raises((FormatError, InputError)):
        io.load(tmp_path / "cells")


def test_16_bits_are_not_stretched_frame_by_frame():
    """DREEM scales each frame by its own darkest and brightest pixel: one hot pixel darkens all others (D10)."""
    from kintrack.config import EncoderConfig
    from kintrack.core.video import ArrayVideo
    from kintrack.windows.crops import iter_crops

    images = np.full((2, 32, 32, 1), 1000, np.uint16)
    images[1, 0, 0] = 65535
    table = Detections([0, 1], np.array([[8.0, 8, 24, 24]] * 2))
    encoder = EncoderConfig(kind="conv", crop_size=16)
    crops = np.concatenate([pixels for _, pixels in iter_crops(ArrayVideo(images), table, encoder, 8)])
    assert np.array_equal(crops[0], crops[1])
