"""What a user reads when something is wrong: what was given, what was wanted, what to do. And that nothing is left."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from kintrack import cli, io
from kintrack.core.tracks import Tracks
from kintrack.models import GlobalTrackingTransformer
from kintrack.models.checkpoint import save_model
from worlds import crossing, gap, painted


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bit of everything that can be wrong."""
    import torch

    here = tmp_path_factory.mktemp("kitchen")
    small = {"dim": 8, "heads": 1, "decoder_layers": 1}
    save_model(GlobalTrackingTransformer(small), here / "m.safetensors")
    encoder = {"kind": "conv", "crop_size": 16, "width": 4, "dim": 4}
    save_model(GlobalTrackingTransformer({**small, "encoder": encoder}), here / "conv.safetensors")
    whole = (here / "m.safetensors").read_bytes()
    (here / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (here / "none.safetensors").write_bytes(b"")
    torch.save({"state_dict": {"w": torch.zeros(2)}}, here / "other.ckpt")
    io.save(Tracks.untracked(gap().detections), here / "det.csv")
    io.save(gap(), here / "truth.csv")
    io.save(gap(), here / "truth.txt")
    io.write_video(here / "short.mp4", [np.zeros((40, 80), np.uint8)] * 3, 10.0)
    io.write_video(here / "small.mp4", [np.zeros((16, 16), np.uint8)] * 9, 10.0)
    (here / "empty.csv").write_text("")
    (here / "empty").mkdir()
    (here / "words.txt").write_text("1,-1,5,5,2,2\n2,-1,five,5,2,2\n")
    (here / "twice.csv").write_text("track_id,frame,x,y\n0,0,1,1\n0,0,2,2\n")
    (here / "c.yaml").write_text("tracker: {max_gaps: 3}\n")
    (here / "list.yaml").write_text("- 1\n")
    (here / "broken.yaml").write_text("a: [1\n")
    for name in ("gt", "results"):
        io.save(gap(), here / name / "one.csv")
    io.save(crossing(), here / "results" / "two.csv")
    io.save(Tracks.untracked(gap().detections), here / "same" / "det.csv")
    return here


TRACK = ["track", "det.csv", "-o", "o.csv"]
MODEL = ["-m", "m.safetensors"]

MESSAGES: dict[str, tuple[list[str], str]] = {
    # input
    "missing file": (["track", "no.csv", "-o", "o.csv", *MODEL], r"no\.csv does not exist; wanted .*check the path"),
    "empty file": (
        ["track", "empty.csv", "-o", "o.csv", *MODEL],
        r"empty\.csv is empty \(0 bytes\); wanted a CSV table",
    ),
    "empty folder": (["track", "empty", "-o", "o", *MODEL], r"empty holds no detections; wanted files ending in"),
    "no number": (
        ["track", "words.txt", "-o", "o.csv", *MODEL],
        r"words\.txt, line 2 .*five.*wanted MOTChallenge text",
    ),
    "unknown suffix": (
        ["track", "short.mp4", "-o", "o.csv", *MODEL],
        r"ends in \.mp4, which is no format of detections",
    ),
    "id twice": (["convert", "twice.csv", "o.txt"], r"twice\.csv.*lines? 2.*3"),
    "unknown source format": (
        ["convert", "det.csv", "o.txt", "--from", "cvs"],
        r"no format 'cvs': did you mean 'csv'\?",
    ),
    # output
    "unknown format": ([*TRACK, "-f", "cvs", *MODEL], r"no format 'cvs': did you mean 'csv'\?"),
    "unknown output suffix": (
        ["track", "det.csv", "-o", "o.xyz", *MODEL],
        r"o\.xyz ends in \.xyz, which is no format",
    ),
    "several into a file": (
        ["track", "det.csv", "truth.csv", "-o", "o.csv", *MODEL],
        r"2 files are to be tracked, but o\.csv is one file; give the name of a folder",
    ),
    "two of one name": (
        ["track", "det.csv", "same/det.csv", "-o", "out", *MODEL],
        r"det\.csv and same/det\.csv would both be written to out/det\.csv; track them one by one",
    ),
    "exists": (
        ["convert", "det.csv", "truth.csv"],
        r"truth\.csv exists; choose another name, or allow .*--overwrite",
    ),
    "the input itself": (
        ["convert", "det.csv", "det.csv"],
        r"det\.csv is the input itself; give the result another name",
    ),
    "no labels": (
        ["track", "det.csv", "-o", "res", "-f", "ctc", *MODEL],
        r"a CTC folder is made of label images, which det\.csv has none of; write \.csv or \.txt",
    ),
    "no such place": (
        ["convert", "det.csv", "truth.txt/o.txt"],
        r"cannot write truth\.txt/o\.txt: .*is a file, not a folder",
    ),
    # options
    "unknown key in --set": (
        [*TRACK, "--set", "tracker.max_gaps=3"],
        r"unknown option 'tracker\.max_gaps': did you mean 'max_gap'\?",
    ),
    "unknown part in --set": (
        [*TRACK, "--set", "trakcer.gate=3"],
        r"unknown option 'trakcer': did you mean 'tracker'\?",
    ),
    "--set without a value": ([*TRACK, "--set", "gate"], r"assigns nothing; write it as part\."),
    "wrong value": (
        [*TRACK, "--set", "tracker.max_gap=long"],
        r"option 'tracker\.max_gap' is 'long': input should be a valid integer",
    ),
    "unknown key in a file": ([*TRACK, "--config", "c.yaml"], r"max_gaps': did you mean 'max_gap'"),
    "no config file": ([*TRACK, "--config", "no.yaml"], r"config file no\.yaml does not exist"),
    "config of another kind": ([*TRACK, "--config", "list.yaml"], r"holds a list; wanted keys"),
    "broken config": ([*TRACK, "--config", "broken.yaml"], r"broken\.yaml is not YAML"),
    "no such training option": (
        ["train", "truth.csv", "-o", "run", "--set", "max_epoch=2"],
        r"unknown option 'max_epoch': did you mean 'max_epochs'\?",
    ),
    # models
    "unknown model": ([*TRACK, "-m", "genral"], r"no model 'genral', by name or as a file"),
    "cut model": ([*TRACK, "-m", "cut.safetensors"], r"cut\.safetensors is damaged or not to its"),
    "empty model": ([*TRACK, "-m", "none.safetensors"], r"none\.safetensors is empty"),
    "another's model": ([*TRACK, "-m", "other.ckpt"], r"checkpoint of another model, not a kintrack"),
    # video
    "no video": (
        [*TRACK, "-m", "conv.safetensors"],
        r"this model looks at pixels \(its visual encoder is 'conv'\).*none that belongs to .*det\.csv.*--video",
    ),
    "missing video": ([*TRACK, "-v", "no.mp4", *MODEL], r"no\.mp4 does not exist; wanted a video"),
    "short video": (
        [*TRACK, "-v", "short.mp4", "-m", "conv.safetensors"],
        r"past the end of .*short\.mp4: it has 3 frames \(0\.\.2\), and they reach frame 5; give the video",
    ),
    "small video": (
        [*TRACK, "-v", "small.mp4", "-m", "conv.safetensors"],
        r"lie outside the images of .*small\.mp4 \(16 x 16\)",
    ),
    "short video to draw on": (
        ["render", "truth.csv", "-o", "o.mp4", "-v", "short.mp4"],
        r"past the end of .*short\.mp4",
    ),
    # the rest
    "truth without identities": (["eval", "det.csv", "truth.csv"], r"truth has \d+ rows but no identities"),
    "sequence without counterpart": (
        ["eval", "gt", "results"],
        r"two in results: no counterpart of that name \(there are one\); .*paired by stem",
    ),
    "report of another kind": (
        ["eval", "truth.csv", "truth.txt", "-o", "r.xlsx"],
        r"r\.xlsx ends in \.xlsx; .*\.json or \.csv",
    ),
    "not MOTChallenge": (["eval", "truth.csv", "truth.txt", "--mot-challenge"], r"truth has no column 'class'"),
    "poses of boxes": (["render", "truth.csv", "-o", "o.mp4", "--show", "poses"], r"no keypoints; show boxes"),
    "nothing to learn": (["train", "det.csv", "-o", "run"], r"det\.csv has no identities.*give annotated tracks"),
    "no pixels to learn from": (
        ["train", "truth.csv", "-o", "run", "--set", "model.encoder.kind=conv"],
        r"looks at pixels, but no video belongs to truth\.csv; give it with --video",
    ),
}  # fmt: skip


def _said(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[object, str]:
    monkeypatch.setattr(sys, "argv", ["kintrack", *arguments])
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    return leaving.value.code, " ".join(capsys.readouterr().err.replace("│", " ").split())


def _everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("case", MESSAGES)
def test_an_error_says_what_to_do_and_leaves_nothing(case: str, kitchen: Path, monkeypatch, capsys) -> None:
    arguments, words = MESSAGES[case]
    monkeypatch.chdir(kitchen)
    before = _everything(kitchen)
    code, said = _said(arguments, monkeypatch, capsys)
    assert code == 2
    assert said.count("error: ") == 1
    assert re.search(words, said), said
    assert _everything(kitchen) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trakc"], r"Usage: kintrack .*No such command 'trakc'. Did you mean 'track'"),
        (
            ["track", "det.csv", "--modle", "m"],
            r"No such option: --modle \(Possible options?: --model\)|Did you mean --model",
        ),
        (["track", "det.csv"], r"Missing option '--output'"),
        (["track"], r"Missing argument"),
        (["track", "a.csv", "-o", "b.csv", "--device", "gpu"], r"'gpu' is not one of 'auto', 'cpu', 'cuda', 'mps'"),
        (
            ["eval", "a.csv", "b.csv", "--threshold", "2"],
            r"Invalid value for '--threshold': .* less than or equal to 1",
        ),
        (["track", "a.csv", "-o", "b.csv", "-n", "many"], r"Invalid value for '--max-tracks' / '-n': .*valid integer"),
    ],
)
def test_a_mistyped_command_or_option_is_named_with_the_nearest(arguments, words, monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, said = _said(arguments, monkeypatch, capsys)
    assert code == 2
    assert re.search(words, said), said


def test_a_pickle_with_code_is_refused_and_not_run(kitchen: Path, monkeypatch, capsys) -> None:
    import pickle

    import torch

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (kitchen / "boom",))

    (kitchen / "bomb.pkl").write_bytes(pickle.dumps(Bomb()))
    torch.save({"state_dict": Bomb()}, kitchen / "bomb.ckpt")
    monkeypatch.chdir(kitchen)
    for name in ("bomb.pkl", "bomb.ckpt"):
        code, said = _said([*TRACK, "-m", name], monkeypatch, capsys)
        assert code == 2
        assert "refused" in said
    assert not (kitchen / "boom").exists()


def test_a_folder_of_cells_that_disagrees_with_its_table_is_refused(
    shared_data: Path, tmp_path, monkeypatch, capsys
) -> None:
    cells = shared_data / "cells" / "disc_nuclei"
    code, said = _said(["convert", str(cells), str(tmp_path / "o.csv")], monkeypatch, capsys)
    assert code == 2
    assert "man_track.txt" in said
    assert not list(tmp_path.iterdir())


def test_too_many_tracks_for_a_label_image_are_refused(tmp_path: Path) -> None:
    from kintrack.core.detections import Detections
    from kintrack.core.video import ArrayLabelVideo
    from kintrack.errors import InputError

    n = 65_536
    one = Detections(np.zeros(n), np.tile([[0.0, 0, 1, 1]], (n, 1)), label=np.arange(1, n + 1))
    labels = ArrayLabelVideo(np.arange(1, n + 1, dtype=np.int64).reshape(1, 256, 256))
    with pytest.raises(InputError, match="65"):
        io.save(Tracks(one, np.arange(n)), tmp_path / "res", "ctc", labels=labels)
    with pytest.raises(InputError, match="no track to write"):
        few = ArrayLabelVideo(painted(gap().detections))
        io.save(Tracks.untracked(gap().detections), tmp_path / "res", "ctc", labels=few)
    assert not (tmp_path / "res").exists()
