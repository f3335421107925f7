"""Each command from its arguments to what is left on disk, on small worlds."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

import kintrack
from kintrack import io
from kintrack.config import TrackerConfig
from kintrack.core.tracks import Tracks, same_tracks
from kintrack.models import GlobalTrackingTransformer
from kintrack.models.checkpoint import save_model
from worlds import crossing, gap, painted

COMMANDS = ("demo", "track", "train", "eval", "convert", "render", "info", "convert-checkpoint", "segment")

Run = Callable[..., SimpleNamespace]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Two models with weights that nobody has trained: of geometry alone, and with a visual encoder."""
    import torch

    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    small = {"dim": 16, "heads": 2, "decoder_layers": 1}
    geometry = save_model(GlobalTrackingTransformer(small), folder / "geometry.safetensors")
    encoder = {"kind": "conv", "crop_size": 16, "width": 4, "dim": 8}
    pixels = save_model(GlobalTrackingTransformer({**small, "encoder": encoder}), folder / "pixels.safetensors")
    return SimpleNamespace(geometry=geometry, pixels=pixels)


def _movie(path: Path, tracks: Tracks) -> Path:
    images = np.repeat(painted(tracks.detections)[..., None], 3, axis=3)
    io.write_video(path, list((images > 0).astype(np.uint8) * 200), 10.0)
    return path


@pytest.fixture
def det(tmp_path: Path) -> Path:
    """A MOTChallenge file of detections without identities."""
    io.save(Tracks.untracked(gap().detections), tmp_path / "det.txt")
    return tmp_path / "det.txt"


def _left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# ---------------------------------------------------------------------------------------------------------------- help


def _fresh(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "kintrack", *arguments], capture_output=True, text=True, check=False)


def test_help_starts_in_a_blink_and_loads_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['kintrack', '--help']\n"
        "from kintrack.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'scipy', 'pytorch_lightning', 'pydantic', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    seconds = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        after = os.times()
        seconds.append(sum(after[2:4]) - sum(before[2:4]))
    assert sorted(seconds)[1] <= 0.5  # of processor time: what others do on this machine does not count


def test_every_command_is_listed_with_a_line_about_it() -> None:
    shown = _fresh("--help").stdout
    assert all(f" {name} " in shown for name in COMMANDS)
    assert "kintrack demo" in shown


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "info"])
def test_the_help_of_a_command_shows_how_to_use_it(run: Run, command: str) -> None:
    shown = run(command, "--help")
    assert shown.code == 0
    assert f"kintrack {command} " in shown.out.replace("Usage: kintrack", "")


def test_options_say_of_themselves_what_the_config_says(run: Run) -> None:
    shown = " ".join(run("track", "--help").out.replace("│", " ").split())
    # The config itself is not loaded for it, which would double the time that help takes.
    assert TrackerConfig.model_fields["max_tracks"].description in shown


def test_version_and_module_name_the_same_program(run: Run) -> None:
    assert run("--version").out.strip() == f"kintrack {kintrack.__version__}"
    assert _fresh("--version").stdout.strip() == f"kintrack {kintrack.__version__}"


# --------------------------------------------------------------------------------------------------------------- track


def test_mot_in_mot_out_one_row_for_each_row(run: Run, det: Path, models: SimpleNamespace) -> None:
    out = det.with_name("out.txt")
    done = run("track", det, "-o", out, "--model", models.geometry)
    assert (done.code, done.err) == (0, "")
    before, after = (np.loadtxt(path, delimiter=",") for path in (det, out))
    assert len(after) == len(before) == len(gap())
    assert np.allclose(np.delete(after, 1, axis=1), np.delete(before, 1, axis=1))
    assert (before[:, 1] == -1).all()
    assert (after[:, 1] >= 0).all()
    assert "out.txt: Tracks(" in done.out


def test_identities_in_the_input_are_not_looked_at(run: Run, tmp_path: Path, models: SimpleNamespace) -> None:
    found = []
    for name, track in {"a": crossing().track, "b": crossing().track[::-1]}.items():
        io.save(replace(crossing(), track=track), tmp_path / f"{name}.csv")
        run("track", tmp_path / f"{name}.csv", "-o", tmp_path / f"{name}_out.csv", "-m", models.geometry)
        found.append(io.load(tmp_path / f"{name}_out.csv").track)
    assert same_tracks(*found)


def test_poses_in_poses_out_with_scores_and_skeleton(run: Run, shared_data: Path, tmp_path: Path, models) -> None:
    source, out = shared_data / "flies" / "centered_pair", tmp_path / "tracked.slp"
    (source,) = source.glob("*.slp")
    assert run("track", source, "-o", out, "-m", models.geometry, "-n", 2).code == 0
    before, after = io.load(source).detections, io.load(out)
    assert np.array_equal(after.detections.keypoints, before.keypoints, equal_nan=True)
    assert np.array_equal(after.detections.keypoint_score, before.keypoint_score, equal_nan=True)
    assert after.detections.skeleton == before.skeleton
    assert len(after.ids) <= 2


def test_of_a_file_with_several_videos_one_is_tracked_and_the_rest_kept(
    run: Run, shared_data: Path, tmp_path: Path, models: SimpleNamespace
) -> None:
    source = shared_data / "formats" / "sleap" / "multiview_session" / "minimal_proofread.slp"
    refused = run("track", source, "-o", tmp_path / "o.slp", "-m", models.geometry)
    assert refused.code == 2
    assert "holds 4 videos (0: " in refused.err
    assert run("track", source, "-o", tmp_path / "o.slp", "-m", models.geometry, "--index", 1).code == 0
    for i in range(4):
        before, after = io.load(source, video=i), io.load(tmp_path / "o.slp", video=i)
        assert len(after) == len(before)
        assert i == 1 or same_tracks(after.track, before.track)


def test_a_folder_of_cells_in_a_folder_of_cells_out(run: Run, tmp_path: Path, models: SimpleNamespace) -> None:
    from tifffile import imread, imwrite

    truth = crossing()
    (tmp_path / "01_ST" / "SEG").mkdir(parents=True)
    (tmp_path / "01").mkdir()
    for frame, image in enumerate(painted(truth.detections)):
        imwrite(tmp_path / "01_ST" / "SEG" / f"man_seg{frame:03d}.tif", image)
        imwrite(tmp_path / "01" / f"t{frame:03d}.tif", image)
    done = run("track", f"{tmp_path / '01'}/", "-o", f"{tmp_path / 'result'}/", "-m", models.geometry)
    assert done.code == 0, done.err
    masks = sorted((tmp_path / "result").glob("mask*.tif"))
    assert len(masks) == truth.detections.n_frames
    assert all((imread(mask) > 0).sum() == 2 * 8 * 8 for mask in masks)
    assert len(io.load(tmp_path / "result")) == len(truth)
    assert (tmp_path / "result.kintrack.yaml").is_file()


def test_many_files_go_into_a_folder_named_after_their_sources(run: Run, tmp_path: Path, models) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "videos").mkdir()
    for name, world in {"b": crossing(), "a": gap(), "c": crossing()}.items():
        io.save(Tracks.untracked(world.detections), tmp_path / "in" / f"{name}.csv")
        _movie(tmp_path / "videos" / f"{name}.mp4", world)
    done = run("track", tmp_path / "in", "-v", tmp_path / "videos", "-o", tmp_path / "out", "-m", models.pixels)
    assert done.code == 0, done.err
    assert {name for name in _left(tmp_path / "out") if name.endswith(".csv")} == {"a.csv", "b.csv", "c.csv"}
    for name in "abc":
        made = yaml.safe_load((tmp_path / "out" / f"{name}.csv.kintrack.yaml").read_text())["made"]
        assert Path(made["input"]).stem == Path(made["video"]).stem == name
    assert len(io.load(tmp_path / "out" / "a.csv")) == len(gap())


def test_sequences_whose_files_have_one_name_are_told_apart_by_their_folder(run: Run, tmp_path: Path, models) -> None:
    for name in ("one", "two"):
        io.save(Tracks.untracked(gap().detections), tmp_path / name / "det" / "det.txt")
    inputs = [tmp_path / name / "det" / "det.txt" for name in ("one", "two")]
    assert run("track", *inputs, "-o", tmp_path / "out", "-m", models.geometry).code == 0
    assert {"one.txt", "two.txt"} <= _left(tmp_path / "out")


def test_a_single_file_may_go_into_a_folder(run: Run, det: Path, models: SimpleNamespace) -> None:
    assert run("track", det, "-o", det.parent / "out", "-m", models.geometry).code == 0
    assert "det.txt" in _left(det.parent / "out")


def test_max_tracks_is_a_true_limit(run: Run, det: Path, models: SimpleNamespace) -> None:
    for n in (1, 2):
        run("track", det, "-o", det.with_name("o.csv"), "-m", models.geometry, "--max-tracks", n, "--overwrite")
        assert len(io.load(det.with_name("o.csv")).ids) <= n


# -------------------------------------------------------------------------------------------------------------- config


def _saved(out: Path) -> dict:
    return yaml.safe_load(out.with_name(f"{out.name}.kintrack.yaml").read_text())


def test_a_flag_beats_set_which_beats_the_config_file_which_beats_the_defaults(run: Run, det: Path, models) -> None:
    config, out = det.with_name("c.yaml"), det.with_name("out.txt")
    config.write_text("tracker: {max_tracks: 5, max_gap: 11, gate: 3.0, memory: 2}\nbatch: 7\ndevice: cuda\n")
    overrides = ["--set", "tracker.max_tracks=4", "--set", "tracker.max_gap=12", "--set", "threads=1"]
    done = run(
        "track",
        det,
        "-o",
        out,
        "--config",
        config,
        *overrides,
        "--max-tracks",
        2,
        "--device",
        "cpu",
        "-m",
        models.geometry,
    )
    assert done.code == 0, done.err
    saved = _saved(out)
    assert saved["tracker"]["max_tracks"] == 2  # flag over --set over file
    assert saved["tracker"]["max_gap"] == 12  # --set over file
    assert (saved["tracker"]["gate"], saved["tracker"]["memory"], saved["batch"]) == (3.0, 2, 7)  # file over default
    assert saved["tracker"]["candidates"] == 8  # default
    assert (saved["device"], saved["threads"], saved["model"]) == ("cpu", 1, str(models.geometry))


def test_what_a_model_asks_for_beats_the_defaults_and_nothing_else(run: Run, det: Path, tmp_path: Path) -> None:
    card = {"tracker": {"max_gap": 33, "gate": 2.5}}
    weights = save_model(GlobalTrackingTransformer({"dim": 8, "heads": 1}), tmp_path / "m.safetensors", card=card)
    out = det.with_name("out.txt")
    assert run("track", det, "-o", out, "-m", weights, "--set", "tracker.gate=4").code == 0
    assert (_saved(out)["tracker"]["max_gap"], _saved(out)["tracker"]["gate"]) == (33, 4.0)


def test_the_saved_config_makes_the_same_result_again(run: Run, det: Path, models: SimpleNamespace) -> None:
    first, second = det.with_name("one.txt"), det.with_name("two.txt")
    run("track", det, "-o", first, "-m", models.geometry, "-n", 2, "--set", "tracker.threshold=0.3")
    assert run("track", det, "-o", second, "--config", f"{first}.kintrack.yaml").code == 0
    assert first.read_bytes() == second.read_bytes()
    assert {k: v for k, v in _saved(first).items() if k != "made"} == {
        k: v for k, v in _saved(second).items() if k != "made"
    }


def test_the_saved_config_names_the_version_and_the_weights(run: Run, det: Path, models: SimpleNamespace) -> None:
    import hashlib

    run("track", det, "-o", det.with_name("out.txt"), "-m", models.geometry)
    made = _saved(det.with_name("out.txt"))["made"]
    assert made["kintrack"] == kintrack.__version__
    assert made["model_sha256"] == hashlib.sha256(models.geometry.read_bytes()).hexdigest()
    assert (made["input"], made["video"]) == (str(det), None)


def test_the_device_that_is_asked_for_is_the_one_that_is_used(run: Run, det: Path, models, monkeypatch) -> None:
    from kintrack.models import checkpoint

    asked = []
    load = checkpoint.load_model
    monkeypatch.setattr(checkpoint, "load_model", lambda path, device: asked.append(device) or load(path, "cpu"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for i, device in enumerate(("cpu", "cuda", "auto")):
        assert run("track", det, "-o", det.with_name(f"{i}.txt"), "-m", models.geometry, "--device", device).code == 0
    assert asked == ["cpu", "cuda", "cuda"]


def test_a_path_is_a_file_however_it_is_written(run: Run, det: Path, models, monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for place in ("m.safetensors", "models/m.safetensors"):
        (tmp_path / place).write_bytes(models.geometry.read_bytes())
    monkeypatch.chdir(tmp_path)
    for i, written in enumerate(("m.safetensors", "./m.safetensors", "models/m.safetensors")):
        assert run("track", det, "-o", tmp_path / f"{i}.txt", "-m", written).code == 0


# -------------------------------------------------------------------------------------------------------------- pixels


def test_the_video_is_opened_only_by_a_model_that_looks_at_it(run: Run, det: Path, models: SimpleNamespace) -> None:
    det.with_suffix(".mp4").write_bytes(b"this is no movie")
    assert run("track", det, "-o", det.with_name("a.txt"), "-m", models.geometry).code == 0
    done = run("track", det, "-o", det.with_name("b.txt"), "-m", models.pixels)
    assert done.code == 2
    assert "cannot be opened as a movie" in done.err


def test_the_video_is_found_by_its_name_or_given(run: Run, det: Path, models: SimpleNamespace) -> None:
    movie = _movie(det.with_name("elsewhere.mp4"), gap())
    given = run("track", det, "-o", det.with_name("a.txt"), "-m", models.pixels, "--video", movie)
    assert given.code == 0, given.err
    movie.rename(det.with_suffix(".mp4"))
    assert run("track", det, "-o", det.with_name("b.txt"), "-m", models.pixels).code == 0
    assert det.with_name("a.txt").read_bytes() == det.with_name("b.txt").read_bytes()


# ------------------------------------------------------------------------------------------------- what is left on disk


def test_an_output_that_exists_is_kept_unless_overwriting_is_allowed(run: Run, det: Path, models) -> None:
    out = det.with_name("out.txt")
    out.write_text("precious")
    refused = run("track", det, "-o", out, "-m", models.geometry)
    assert refused.code == 2
    assert out.read_text() == "precious"
    assert run("track", det, "-o", out, "-m", models.geometry, "--overwrite").code == 0
    assert out.read_text() != "precious"


def test_the_input_is_never_written_over(run: Run, det: Path, models: SimpleNamespace) -> None:
    before = det.read_bytes()
    refused = run("track", det, "-o", det, "-m", models.geometry, "--overwrite")
    assert (refused.code, det.read_bytes()) == (2, before)
    assert "is the input itself" in refused.err
    refused = run("convert", det, det, "--overwrite")
    assert (refused.code, det.read_bytes()) == (2, before)


@pytest.mark.parametrize("where", ["kintrack.tracking.Tracker.update", "kintrack.io.mot.write"])
def test_an_interrupted_run_leaves_no_file(run: Run, det: Path, models, monkeypatch, where: str) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    if where.endswith("write"):
        known = io.FORMATS["mot"]
        monkeypatch.setitem(io.FORMATS, "mot", replace(known, write=interrupted))
    else:
        monkeypatch.setattr(where, interrupted)
    before = _left(det.parent)
    done = run("track", det, "-o", det.with_name("out.txt"), "-m", models.geometry)
    assert done.code == 130
    assert _left(det.parent) == before


def test_a_run_that_is_told_to_end_leaves_no_file(run: Run, det: Path, models: SimpleNamespace, monkeypatch) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    known = io.FORMATS["mot"]

    def written(_: Tracks, path: Path, **__: object) -> None:
        path.write_text("half of it")
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setitem(io.FORMATS, "mot", replace(known, write=written))
    before = _left(det.parent)
    done = run("track", det, "-o", det.with_name("out.txt"), "-m", models.geometry)
    assert done.code == 143
    assert _left(det.parent) == before
    assert signal.getsignal(signal.SIGTERM) == handler


def test_a_failed_run_leaves_no_file(run: Run, det: Path, models: SimpleNamespace, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(io.FORMATS, "mot", replace(io.FORMATS["mot"], write=full))
    before = _left(det.parent)
    done = run("track", det, "-o", det.with_name("out.txt"), "-m", models.geometry)
    assert done.code == 2
    assert "no space is left on the disk" in done.err
    assert _left(det.parent) == before


def test_one_file_that_cannot_be_read_does_not_keep_the_others_from_being_tracked(run: Run, det: Path) -> None:
    folder = det.with_name("many")
    folder.mkdir()
    for name in ("a.txt", "c.txt"):
        (folder / name).write_bytes(det.read_bytes())
    (folder / "b.txt").write_text("1,2,three\n")
    done = run("track", folder, "-o", det.with_name("tracked"), "-m", "motion")
    assert done.code == 2
    assert sorted(p.name for p in det.with_name("tracked").glob("*.txt")) == ["a.txt", "c.txt"]
    assert all(f"{name}: Tracks" in done.out + done.err for name in ("a.txt", "c.txt"))
    assert "1 of 3 files could not be tracked, the others are done" in done.err
    assert re.search(r"b\.txt: .*three", done.err)


def test_where_no_file_can_be_read_nothing_is_said_to_be_done(run: Run, det: Path) -> None:
    folder = det.with_name("many")
    folder.mkdir()
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text("1,2,three\n")
    done = run("track", folder, "-o", det.with_name("tracked"), "-m", "motion")
    assert done.code == 2
    assert "2 of 2 files could not be tracked, which is all of them" in done.err and "are done" not in done.err


def test_what_is_wrong_for_every_file_stops_at_the_first(run: Run, det: Path, monkeypatch) -> None:
    def worked(*_: object, **__: object) -> None:
        raise AssertionError("work was done first")

    monkeypatch.setattr("kintrack.track_one.follow", worked)
    folder = det.with_name("many")
    folder.mkdir()
    for name in ("a.txt", "b.txt"):
        (folder / name).write_bytes(det.read_bytes())
    done = run("track", folder, "-o", det.with_name("tracked"), "-m", "no_such_model")
    assert done.code == 2 and "could not be tracked" not in done.err and "no_such_model" in done.err


def test_where_nothing_can_be_written_is_said_before_any_work(run: Run, det: Path, models, monkeypatch) -> None:
    def worked(*_: object, **__: object) -> None:
        raise AssertionError("work was done first")

    monkeypatch.setattr("kintrack.track_one.follow", worked)
    before = _left(det.parent)
    done = run("track", det, "-o", det / "deep" / "out.txt", "-m", models.geometry)
    assert done.code == 2
    assert "det.txt is a file, not a folder; give a path in a folder" in done.err
    monkeypatch.setattr("os.access", lambda _, mode: mode == os.R_OK)
    done = run("track", det, "-o", det.with_name("new") / "out.txt", "-m", models.geometry)
    assert done.code == 2
    assert "no permission to write into" in done.err
    assert _left(det.parent) == before


# ------------------------------------------------------------------------------------------------------------- terminal


def test_nothing_moves_where_nobody_looks_and_quiet_says_nothing(run: Run, det: Path, models) -> None:
    done = run("track", det, "-o", det.with_name("a.txt"), "-m", models.geometry)
    assert done.err == ""
    result, *where_to_look = done.out.splitlines()
    assert "a.txt: Tracks(" in result and len(where_to_look) <= 1 and "\r" not in done.out
    assert all(line.startswith("links and starts with a confidence below") for line in where_to_look)
    quiet = run("track", det, "-o", det.with_name("b.txt"), "-m", models.geometry, "--quiet")
    assert (quiet.out, quiet.err) == ("", "")


def test_on_a_terminal_there_is_a_bar_with_frames_a_second(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from kintrack.terminal import progress_bars

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress_bars(quiet=False) as tell:
        assert tell is not None
        for frame in range(1, 101):
            tell("tracking", frame, 100)
        tell("tracking", 1, 50)  # the next video
    shown = capsys.readouterr().err
    assert "tracking" in shown
    assert "100/100" in shown
    assert "1/50" in shown
    assert "frames/s" in shown


def test_an_error_is_one_line_and_debug_shows_where_it_came_up(run: Run, tmp_path: Path) -> None:
    missing = tmp_path / "no.csv"
    done = run("convert", missing, tmp_path / "o.txt")
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
    with pytest.raises(kintrack.KintrackError):
        run("--debug", "convert", missing, tmp_path / "o.txt")


def test_names_in_brackets_are_printed_as_they_are(run: Run, tmp_path: Path) -> None:
    assert "[bold]x[/bold].csv does not exist" in run("convert", "[bold]x[/bold].csv", tmp_path / "o.txt").err


def test_track_ends_with_the_frames_to_look_at_first_and_a_slp_suggests_them(
    run: Run, models: SimpleNamespace, tmp_path: Path
) -> None:
    sio = pytest.importorskip("sleap_io")
    io.save(crossing(), tmp_path / "a.slp")
    weights = "--model", models.geometry  # that nobody has trained: it is sure of nothing
    done = run("track", tmp_path / "a.slp", "-o", tmp_path / "b.slp", *weights)
    assert done.code == 0, done.err
    tracks = io.load(tmp_path / "b.slp")
    low = np.flatnonzero(tracks.confidence < 0.9)
    frames = np.unique(tracks.detections.frame[low]).tolist()
    assert len(frames) > 2
    line = f"links and starts with a confidence below 0.9: {len(low)}; look first at"
    assert done.out.splitlines()[-1].startswith(f"{line} frames {frames[0]}, {frames[1]}, ")
    assert done.out.splitlines()[-1].endswith("(counted from 0)")

    def suggested() -> list[int]:
        return [s.frame_idx for s in sio.load_slp(str(tmp_path / "b.slp"), open_videos=False).suggestions]

    assert suggested() == frames
    assert yaml.safe_load((tmp_path / "b.slp.kintrack.yaml").read_text())["review"] == 50
    least = tracks.detections.frame[low[np.argmin(tracks.confidence[low])]]
    done = run("track", tmp_path / "a.slp", "-o", tmp_path / "b.slp", *weights, "--review", 1, "--overwrite")
    assert done.out.splitlines()[-1] == f"{line} the least sure frame {least} (counted from 0)"
    assert suggested() == [least]
    done = run("track", tmp_path / "a.slp", "-o", tmp_path / "b.slp", *weights, "--review", 0, "--overwrite")
    assert "look first" not in done.out and suggested() == []
    assert run("track", tmp_path / "a.slp", "-o", tmp_path / "c.slp", "--review", -1).code == 2


# ----------------------------------------------------------------------------------------------------------------- eval


def test_eval_prints_every_measure_and_writes_json_and_csv(run: Run, tmp_path: Path) -> None:
    truth, prediction = tmp_path / "truth.csv", tmp_path / "swapped.csv"
    io.save(crossing(), truth)
    track = crossing().track.copy()
    track[len(track) // 2 :] = 1 - track[len(track) // 2 :]
    io.save(replace(crossing(), track=track), prediction)
    done = run("eval", truth, prediction, "-o", tmp_path / "r.json")
    assert done.code == 0, done.err
    shown = {line.split()[0]: line.split()[1] for line in done.out.splitlines() if len(line.split()) > 2}
    assert (shown["idf1"], shown["num_switches"], shown["recall"]) == ("0.500", "2", "1.000")
    written = json.loads((tmp_path / "r.json").read_text())["truth"]
    assert written["measures"]["num_switches"] == 2
    assert written["provenance"]["match"] == "iou"
    assert run("eval", truth, prediction, "-o", tmp_path / "r.csv").code == 0
    with (tmp_path / "r.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["sequence"], float(row["idf1"])) == ("truth", 0.5)


def test_eval_pairs_folders_by_stem_and_adds_them_up(run: Run, tmp_path: Path) -> None:
    for name, world in {"one": crossing(), "two": gap()}.items():
        io.save(world, tmp_path / "truth" / f"{name}.csv")
        io.save(world, tmp_path / "found" / f"{name}.txt")
    done = run("eval", tmp_path / "truth", tmp_path / "found", "-o", tmp_path / "all.csv")
    assert done.code == 0, done.err
    with (tmp_path / "all.csv").open() as file:
        rows = {row["sequence"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["one", "two", "all"]
    assert [float(row["hota"]) for row in rows.values()] == [1.0] * 3
    assert float(rows["all"]["num_objects"]) == len(crossing()) + len(gap())
    assert [line.split()[0] for line in done.out.splitlines()[1:4]] == ["one", "two", "all"]


def test_eval_matches_as_it_is_told(run: Run, tmp_path: Path) -> None:
    moved = crossing().detections.box + 5.0  # of a side of 8: IoU below a half, centres within a size
    io.save(crossing(), tmp_path / "t.csv")
    io.save(replace(crossing(), detections=crossing().detections.with_columns(box=moved)), tmp_path / "p.csv")
    recalls = {}
    for options in (("iou", 0.5), ("iou", 0.05), ("centre", 0.1)):
        out = tmp_path / f"{options}.json"
        run("eval", tmp_path / "t.csv", tmp_path / "p.csv", "--match", options[0], "--threshold", options[1], "-o", out)
        recalls[options] = json.loads(out.read_text())["t"]["measures"]["recall"]
    assert recalls[("iou", 0.5)] == 0.0
    assert recalls[("iou", 0.05)] > 0.5
    assert recalls[("centre", 0.1)] == 1.0


def test_eval_says_whether_the_confidences_hold_and_find_the_mistakes(run: Run, tmp_path: Path) -> None:
    n = len(crossing())
    track = crossing().track.copy()
    track[n // 2 :] = 1 - track[n // 2 :]
    confidence = np.where(np.arange(n) // 2 == n // 4, 0.1, 1.0)  # of the exchange
    confidence[:2] = np.nan
    io.save(crossing(), tmp_path / "truth" / "a.csv")
    io.save(replace(crossing(), track=track, confidence=confidence), tmp_path / "found" / "a.csv")
    line = f"confidence: {n - 2} links and 0 starts judged, 2 wrong; ECE {2 * 0.1 / (n - 2):.3f}"
    done = run("eval", tmp_path / "truth" / "a.csv", tmp_path / "found" / "a.csv", "-o", tmp_path / "r.json")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-2] == f"{line}; the least sure 2 % hold 50% of the wrong ones"
    told = json.loads((tmp_path / "r.json").read_text())["a"]["confidence"]
    assert (told["links"], told["n_wrong"]) == (n - 2, 2)
    # Several sequences: of all of them together. One that says nothing of its confidence adds nothing.
    io.save(gap(), tmp_path / "truth" / "b.csv")
    io.save(gap(), tmp_path / "found" / "b.txt")
    assert run("eval", tmp_path / "truth", tmp_path / "found").out.splitlines()[-1].startswith(line)


# ----------------------------------------------------------------------------------------------- convert and render


def test_convert_keeps_the_tracks_and_says_what_is_lost(run: Run, tmp_path: Path) -> None:
    io.save(crossing(), tmp_path / "a.csv")
    done = run("convert", tmp_path / "a.csv", tmp_path / "a.txt")
    assert done.code == 0
    assert same_tracks(io.load(tmp_path / "a.txt").track, crossing().track)
    assert done.err.startswith("warning: ")
    assert "cannot hold" in done.err
    assert "label" in done.err


def test_convert_takes_formats_by_name_where_suffixes_say_nothing(run: Run, tmp_path: Path) -> None:
    io.save(gap(), tmp_path / "a.csv")
    (tmp_path / "a.csv").rename(tmp_path / "table.dat")
    done = run("convert", tmp_path / "table.dat", tmp_path / "out.tracks", "--from", "csv", "--format", "mot")
    assert done.code == 0, done.err
    assert len(io.load(tmp_path / "out.tracks", "mot")) == len(gap())


def test_render_draws_on_the_video_as_long_as_it_is(run: Run, tmp_path: Path) -> None:
    io.save(crossing(), tmp_path / "clip.csv")
    _movie(tmp_path / "clip.mp4", crossing())
    done = run("render", tmp_path / "clip.csv", "-o", tmp_path / "o.mp4", "--scale", 2, "--no-ids", "--trail", 0)
    assert done.code == 0, done.err
    with io.load_video(tmp_path / "o.mp4") as drawn, io.load_video(tmp_path / "clip.mp4") as video:
        assert drawn.shape[:3] == (len(video), 2 * video.shape[1], 2 * video.shape[2])
        assert drawn.fps == video.fps == 10.0
        colours = np.ptp(drawn[3].astype(int), axis=2)
        assert colours.max() > 60  # the video is grey, what is drawn is not


def test_render_without_a_video_draws_on_black(run: Run, tmp_path: Path) -> None:
    io.save(gap(), tmp_path / "tracks.csv")
    done = run("render", tmp_path / "tracks.csv", "-o", tmp_path / "o.mp4", "--fps", 5)
    assert done.code == 0
    assert re.search(r"warning: no video that belongs to .*tracks\.csv was found: drawn on black", done.err)
    with io.load_video(tmp_path / "o.mp4") as drawn:
        assert (len(drawn), drawn.fps) == (gap().detections.n_frames, 5.0)
        assert np.median(drawn[0]) < 20
        assert drawn[0].max() > 100


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("o.avi", (), "o.avi ends in .avi; movies are written as .mp4"),
        ("o.mp4", ("--fps", 0), "a movie of 0 frames a second cannot be written; give a rate above 0, like --fps 25"),
        ("o.mp4", ("--fps", "nan"), "a movie of nan frames a second"),
        ("o.mp4", ("--scale", 0), "option 'scale' is 0.0"),
    ],
)
def test_a_movie_that_cannot_be_is_refused_before_anything_is_read(
    run: Run, tmp_path: Path, name: str, options: tuple[object, ...], words: str
) -> None:
    done = run("render", tmp_path / "nothing.csv", "-o", tmp_path / name, *options)
    assert done.code == 2
    assert words in done.err
    assert _left(tmp_path) == set()


def test_render_finds_the_video_of_what_was_tracked(run: Run, det: Path, tmp_path: Path, models) -> None:
    _movie(det.with_suffix(".mp4"), gap())
    run("track", det, "-o", tmp_path / "elsewhere" / "out.txt", "-m", models.geometry)
    done = run("render", tmp_path / "elsewhere" / "out.txt", "-o", tmp_path / "o.mp4")
    assert (done.code, done.err) == (0, "")
    with io.load_video(tmp_path / "o.mp4") as drawn, io.load_video(det.with_suffix(".mp4")) as video:
        assert drawn.shape == video.shape


def test_render_tints_the_masks_of_a_folder_of_cells(run: Run, tmp_path: Path) -> None:
    from kintrack.core.video import ArrayLabelVideo

    io.save(crossing(), tmp_path / "res", "ctc", labels=ArrayLabelVideo(painted(crossing().detections)))
    assert run("render", tmp_path / "res", "-o", tmp_path / "o.mp4", "--no-ids", "--trail", 0).code == 0
    x0, y0, x1, y1 = crossing().detections.box[0].astype(int)
    with io.load_video(tmp_path / "o.mp4") as drawn:
        assert drawn[0][(y0 + y1) // 2, (x0 + x1) // 2].max() > 60  # a box would be hollow


# ------------------------------------------------------------------------------------------------- info, demo, train


def test_info_says_what_a_report_of_a_problem_needs(run: Run) -> None:
    shown = run("info").out
    for word in (
        "kintrack",
        kintrack.__version__,
        "python",
        "torch",
        "numpy",
        "devices",
        "cpu",
        "models",
        "sleap",
        "mot",
    ):
        assert word in shown


@pytest.mark.slow
def test_demo_leaves_movie_picture_tables_and_scores(run: Run, tmp_path: Path, models, monkeypatch) -> None:
    from PIL import Image

    from kintrack import demo

    monkeypatch.setattr(demo, "WORLD", {**demo.WORLD, "n_frames": 40})
    out = tmp_path / "demo"
    done = run("demo", "-o", out, "-m", models.geometry)
    assert done.code == 0, done.err
    names = {"truth.csv", "detections.csv", "tracks.csv", "tracked.mp4", "paths.png", "scores.json"}
    assert _left(out) == names
    assert all(str(out / name) in done.out for name in names)
    assert set(json.loads((out / "scores.json").read_text())) == {"kintrack", "nearest neighbour"}
    assert (io.load(out / "detections.csv").track == -1).all()
    assert len(io.load_video(out / "tracked.mp4")) == 40
    with Image.open(out / "paths.png") as picture:
        assert picture.size[0] > 1000
    again = run("demo", "-o", out, "-m", models.geometry)
    assert again.code == 2
    assert "exists" in again.err


@pytest.mark.slow
def test_an_interrupted_training_says_how_to_go_on(run: Run, tmp_path: Path, monkeypatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kintrack.api.train", interrupted)
    done = run("train", tmp_path / "a.csv", "-o", tmp_path / "run")
    assert done.code == 130
    assert re.search(r"interrupted; with --resume it goes on after the last whole epoch in .*run", done.err)


def test_train_then_track_with_what_was_learned(run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        io.save(crossing(), tmp_path / f"{name}.csv")
    small = [
        "max_epochs=1",
        "data.clips=2",
        "data.frames=4",
        "batch_size=2",
        "model.dim=8",
        "model.heads=1",
        "accelerator=cpu",
    ]
    options = [part for item in small for part in ("--set", item)]
    done = run("train", tmp_path / "a.csv", "--val", tmp_path / "b.csv", "-o", tmp_path / "run", *options)
    assert done.code == 0, done.err
    assert {"model.safetensors", "best.ckpt", "last.ckpt", "metrics.csv", "config.yaml"} <= _left(tmp_path / "run")
    refused = run("train", tmp_path / "a.csv", "-o", tmp_path / "run", *options)
    assert refused.code == 2
    for weights in ("model.safetensors", "best.ckpt"):
        used = run("track", tmp_path / "b.csv", "-o", tmp_path / f"{weights}.csv", "-m", tmp_path / "run" / weights)
        assert used.code == 0, used.err
    further = ["--resume", *options, "--set", "max_epochs=2"]
    assert run("train", tmp_path / "a.csv", "--val", tmp_path / "b.csv", "-o", tmp_path / "run", *further).code == 0
    with (tmp_path / "run" / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]
