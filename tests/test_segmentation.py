"""Masks by Cellpose: with a package of that name that finds squares, as Cellpose 3 and as Cellpose 4."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import label

import kintrack
from kintrack import api, cli, io
from kintrack.core.tracks import same_tracks
from kintrack.core.video import ArrayVideo
from kintrack.errors import InputError, MissingExtraError, OutputExistsError
from worlds import crossing, painted


def _install(version: str, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A package `cellpose` that labels what is bright, and remembers how it was asked."""
    said = SimpleNamespace(made=[], asked=[])

    class CellposeModel:
        def __init__(self, **given: object) -> None:
            said.made.append(given)

        def eval(self, image: np.ndarray, **given: object) -> tuple[np.ndarray, list[object], object]:
            said.asked.append({"shape": image.shape, "dtype": image.dtype, **given})
            bright = image if image.ndim == 2 else image.max(axis=2)
            return label(bright > 100)[0], [], None

    package, models = ModuleType("cellpose"), ModuleType("cellpose.models")
    package.version, package.models = version, models
    models.CellposeModel, models.MODEL_NAMES = CellposeModel, ["cyto3", "cpsam"]
    models.get_user_models = lambda: ["mine"]
    monkeypatch.setitem(sys.modules, "cellpose", package)
    monkeypatch.setitem(sys.modules, "cellpose.models", models)
    return said


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    return _install("4.0.7", monkeypatch)


def _pixels() -> np.ndarray:
    return (painted(crossing().detections) > 0).astype(np.uint8) * 200


def test_a_folder_of_frames_is_segmented_and_tracked(four, tmp_path: Path, monkeypatch):
    """DREEM's own way from a folder of frames ends in an IndexError, or in nothing at all (C6)."""
    (tmp_path / "cells").mkdir()
    for i, image in enumerate(_pixels()):
        Image.fromarray(image).save(tmp_path / "cells" / f"frame_{i}.png")
    monkeypatch.setattr(sys, "argv", ["kintrack", "segment", str(tmp_path / "cells"), "-o", str(tmp_path / "masks")])
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    assert leaving.value.code == 0
    assert sorted(p.name for p in (tmp_path / "masks").iterdir()) == [f"mask00{i}.tif" for i in range(8)]
    tracks = api.track(tmp_path / "masks", tmp_path / "tracked", model="motion")
    assert same_tracks(tracks.track, crossing().track)
    assert len(io.load(tmp_path / "tracked").ids) == 2


def test_cell_257_of_an_8_bit_image_is_cell_257(four):
    """DREEM writes labels in the type of the image: 256 is background then, and 257 is cell 1 (D17)."""
    dots = np.zeros((1, 60, 60), np.uint8)
    dots[0, ::3, ::3] = 255  # 400 of them
    masks = api.segment(ArrayVideo(dots), min_size=0)
    assert masks[0].dtype == np.uint16 and masks[0].max() == 400
    assert len(np.unique(masks[0])) == 401


@pytest.mark.parametrize("version", ["3.1.1", "4.2.1"])
def test_each_cellpose_is_asked_in_its_own_words(version: str, monkeypatch, tmp_path: Path):
    said = _install(version, monkeypatch)
    api.segment(ArrayVideo(_pixels()), diameter=12, cellprob_threshold=-1, device="cpu")
    api.segment(ArrayVideo(_pixels()), model="cyto3")
    (tmp_path / "trained").touch()
    api.segment(ArrayVideo(np.repeat(_pixels()[..., None], 3, axis=3)), model=tmp_path / "trained")
    assert all(str(made.pop("device")) == "cpu" and made.pop("gpu") is False for made in said.made)
    old = version.startswith("3")
    assert said.made[0] == ({"model_type": "cyto3"} if old else {})
    assert said.made[1] == {"model_type" if old else "pretrained_model": "cyto3"}
    assert said.made[2] == {"pretrained_model": str(tmp_path / "trained")}
    grey, colour = said.asked[0], said.asked[-1]
    assert grey["diameter"] == 12 and grey["cellprob_threshold"] == -1 and grey["min_size"] == 15
    assert grey["shape"] == (40, 80) and "channel_axis" not in grey and ("channels" in grey) == old
    assert colour["shape"] == (40, 80, 3) and colour["channel_axis"] == 2


def test_masks_in_memory_are_tracked_with_pixels_in_memory(four):
    masks = kintrack.segment(ArrayVideo(_pixels()))
    tracks = api.track(masks, model="motion")
    assert same_tracks(tracks.track, crossing().track)


def test_progress_is_told_frame_by_frame(four):
    told = []
    api.segment(ArrayVideo(_pixels()), progress=lambda *what: told.append(what))
    assert told[0] == ("segmenting", 1, 8) and told[-1] == ("segmenting", 8, 8)


def test_what_is_wrong_is_said_and_nothing_is_left(four, tmp_path: Path, monkeypatch):
    video = ArrayVideo(_pixels())
    with pytest.raises(InputError, match=r"Cellpose 4\.0\.7 has no model 'cyto': did you mean 'cyto3'\?; or give"):
        api.segment(video, tmp_path / "masks", model="cyto")
    with pytest.raises(InputError, match=r"found 65536 cells in frame 0, but a label image has 16 bits"):
        crowd = np.zeros((1, 512, 512), np.uint8)
        crowd[0, ::2, ::2] = 255
        api.segment(ArrayVideo(crowd), tmp_path / "masks")
    with pytest.raises(InputError, match=r"masks of shape \(20, 40\) of frame 0, which is \(40, 80\)"):
        with monkeypatch.context() as patch:
            halved = lambda self, image, **given: (np.zeros((20, 40), int), [], None)  # noqa: E731
            patch.setattr(sys.modules["cellpose.models"].CellposeModel, "eval", halved)
            api.segment(video, tmp_path / "masks")
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(OutputExistsError, match="mine"):
        api.segment(video, tmp_path / "mine", overwrite=True)


def test_without_cellpose_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cellpose", None)
    with pytest.raises(MissingExtraError, match=r"needs the package cellpose.* pip install 'kintrack\[cellpose\]'"):
        api.segment(ArrayVideo(_pixels()))
