"""What is on disk after a run that was refused, that failed, or that was interrupted: what was there before."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from kintrack import io
from kintrack.core.detections import Detections
from kintrack.core.tracks import Tracks
from kintrack.core.video import ArrayLabelVideo
from kintrack.errors import InputError, OutputError, OutputExistsError
from kintrack.io.writing import new_file, new_folder

LABELS = ArrayLabelVideo(np.ones((2, 4, 4), np.uint16))
TRACKS = Tracks(Detections.of([0, 1], [[0, 0, 4, 4]] * 2, label=[1, 1]), np.array([0, 0]))
NAMES = ["a.slp", "a.txt", "a.csv", "a"]


def on_disk(folder: Path) -> dict[str, bytes | None]:
    """Everything in a folder, hidden or not, with its content."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def save(path: Path, overwrite: bool = False) -> None:
    if path.suffix == ".slp":
        pytest.importorskip("h5py")
    io.save(TRACKS, path, labels=LABELS, overwrite=overwrite)


@pytest.mark.parametrize("name", NAMES)
def test_output_that_exists_is_refused_and_stays(tmp_path: Path, name: str) -> None:
    save(tmp_path / name)
    before = on_disk(tmp_path)
    with pytest.raises(OutputExistsError, match=rf"{name} exists.*overwrit.*--overwrite"):
        save(tmp_path / name)
    assert on_disk(tmp_path) == before
    save(tmp_path / name, overwrite=True)
    assert on_disk(tmp_path).keys() == before.keys()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), MemoryError(), OSError(errno.ENOSPC, "No space left on device")]
)
def test_a_writer_that_fails_half_way_leaves_no_half_file(
    tmp_path: Path, name: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / name)
    before = on_disk(tmp_path)
    known = io.FORMATS[io.detect_format(tmp_path / name)]

    def half(tracks: Tracks, path: Path, **options: object) -> None:
        known.write(tracks, path, **options)
        raise error

    broken = io.Format(known.name, known.suffixes, known.about, known.read, half, known.carries)
    monkeypatch.setitem(io.FORMATS, known.name, broken)
    for target, overwrite in ((tmp_path / name, True), (tmp_path / f"new_{name}", False)):
        with pytest.raises(OutputError if isinstance(error, OSError) else type(error)) as caught:
            save(target, overwrite=overwrite)
        if isinstance(error, OSError):
            words = f"cannot write {target}: no space is left on the disk; free some, or write somewhere else"
            assert str(caught.value) == words
    assert on_disk(tmp_path) == before


@pytest.mark.parametrize("name", NAMES)
def test_a_parent_that_is_a_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="one of its parents is a file, not a folder; give a path in a folder"):
        save(tmp_path / "file" / "deeper" / name)
    assert on_disk(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EROFS, "the disk is read-only; write somewhere else"),
        (errno.EACCES, "permission was denied; write somewhere else, or change the folder's permissions"),
        (errno.EDQUOT, "the disk quota is used up; free some space, or write somewhere else"),
        (errno.EIO, "[Errno 5] broken"),
    ],
)
def test_what_the_system_refuses_is_said_in_words(
    tmp_path: Path, number: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object, **options: object) -> str:
        raise OSError(number, "broken")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(OutputError) as caught:
        save(tmp_path / "a.csv")
    assert str(caught.value) == f"cannot write {tmp_path / 'a.csv'}: {words}"
    assert on_disk(tmp_path) == {}


def test_parents_that_are_missing_are_made(tmp_path: Path) -> None:
    save(tmp_path / "some" / "where" / "a.csv")
    assert list(on_disk(tmp_path)) == ["some", "some/where", "some/where/a.csv"]


def test_a_file_where_a_folder_is_to_be_and_the_other_way_round(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(OutputExistsError, match="a is a file, but a folder is to be written there; give another name"):
        save(tmp_path / "a", overwrite=True)
    with pytest.raises(
        OutputExistsError, match="b.csv is a folder, but a file is to be written there; give a file name"
    ):
        io.save(TRACKS, tmp_path / "b.csv", "csv", overwrite=True)
    assert on_disk(tmp_path) == {"a": b"mine", "b.csv": None}


def test_refused_tracks_leave_what_was_there(tmp_path: Path) -> None:
    save(tmp_path / "a")
    before = on_disk(tmp_path)
    with pytest.raises(InputError, match="there is no track to write"):
        io.save(Tracks.untracked(TRACKS.detections), tmp_path / "a", labels=LABELS, overwrite=True)
    assert on_disk(tmp_path) == before


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "a")
    before = on_disk(tmp_path)
    rename = Path.replace

    def refuse_new(self: Path, target: Path) -> Path:
        if self.name == "a" and self.parent != tmp_path:
            raise OSError(errno.EACCES, "no")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", refuse_new)
    with pytest.raises(OutputError, match="permission was denied"):
        save(tmp_path / "a", overwrite=True)
    assert on_disk(tmp_path) == before


def test_nothing_is_under_the_final_name_before_the_end(tmp_path: Path) -> None:
    with new_file(tmp_path / "a.txt") as draft:
        draft.write_text("x")
        assert draft.name == "a.txt"
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_text() == "x"
    with new_folder(tmp_path / "b") as draft:
        (draft / "c").write_text("y")
        assert not (tmp_path / "b").exists()
    assert (tmp_path / "b" / "c").read_text() == "y"
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b"]
