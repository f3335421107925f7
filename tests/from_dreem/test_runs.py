"""DREEM's configs from the command line to the results, as a lab runs them: two of its files, and few changes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from kintrack import api, io
from kintrack.core.tracks import Tracks, same_tracks
from kintrack.errors import AlignmentError, ConfigError, InputError
from worlds import crossing, gap, painted

HERE = Path(__file__).parent
CHECKPOINT = HERE.parent / "golden" / "dreem" / "descriptor.ckpt"
Run = Callable[..., SimpleNamespace]


def _clip(folder: Path, name: str, truth: Tracks, video: str | None = None) -> None:
    """An annotated `.slp` and its movie, as SLEAP leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    io.save(truth, folder / f"{name}.slp")
    images = np.repeat(painted(truth.detections)[..., None], 3, axis=3)
    io.write_video(folder / f"{video or name}.mp4", list((images > 0).astype(np.uint8) * 200), 10.0)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a lab, with DREEM's configs, its checkpoint and its data."""
    monkeypatch.chdir(tmp_path)
    for name in ("track_flies.yaml", "train_flies.yaml"):
        shutil.copy(HERE / name, tmp_path)
    Path("models").mkdir()
    shutil.copy(CHECKPOINT, "models/flies.ckpt")
    for part in ("test", "train", "val"):
        _clip(tmp_path / "data" / part, "a", crossing())
        _clip(tmp_path / "data" / part, "b", gap())
    return tmp_path


def _write(lab: Path, name: str, **changes: object) -> Path:
    """One of the two configs with sections of its own."""
    tree = yaml.safe_load((lab / f"{name}_flies.yaml").read_text()) | changes
    (lab / "changed.yaml").write_text(yaml.safe_dump(tree))
    return lab / "changed.yaml"


def _saved(result: Path) -> dict:
    return yaml.safe_load(result.with_name(f"{result.name}.kintrack.yaml").read_text())


def test_tracking_takes_everything_from_the_config(run, lab):
    done = run("track", "--config", "track_flies.yaml")
    assert done.code == 0, done.err
    assert {path.name for path in (lab / "results").glob("*.slp")} == {"a.slp", "b.slp"}
    saved = _saved(lab / "results" / "a.slp")
    assert (saved["tracker"]["kind"], saved["tracker"]["max_tracks"], saved["tracker"]["max_gap"]) == ("dreem", 2, None)
    assert (saved["dreem"]["crop_size"], saved["dreem"]["padding"], saved["device"]) == (24, 5, "cpu")
    assert Path(saved["made"]["video"]).name == "a.mp4" and saved["made"]["model"] == "flies"
    assert len(io.load(lab / "results" / "a.slp")) == len(crossing())
    assert (
        done.err.count("note: the config is DREEM's; no effect there: tracker.decay_time, tracker.use_vis_feats") == 1
    )
    assert done.err.count("note: the config is DREEM's; not needed here: dataloader, ") == 1
    assert "warning" not in done.err


def test_quietly_nothing_is_noted(run, lab):
    assert run("track", "--config", "track_flies.yaml", "--quiet").err == ""


def test_the_command_line_goes_before_set_before_the_config_and_defaults_before_nothing(run, lab):
    """An untouched default of a command overrides --config and --set in DREEM (C1)."""
    config = _write(lab, "track", tracker={"iou": "max", "confidence_threshold": 0.25, "max_tracks": 2, "max_gap": 7})
    done = run("track", "--config", config, "--set", "tracker.max_gap=9", "-n", 1, "-o", "mine.slp", "data/test/b.slp")
    assert done.code == 0, done.err
    saved = _saved(lab / "mine.slp")
    assert (saved["tracker"]["iou"], saved["tracker"]["confidence_threshold"]) == ("max", 0.25)  # config over default
    assert saved["tracker"]["max_gap"] == 9  # --set over config
    assert saved["tracker"]["max_tracks"] == 1  # command line over config
    assert Path(saved["made"]["input"]).name == "b.slp" and not (lab / "results").exists()


def test_device_and_limits_act(run, lab):
    """DREEM strips both before it runs (C2)."""
    limited = _write(lab, "track", trainer={"accelerator": "cpu", "limit_predict_batches": 1})
    assert "lie after the first 3 frames (frames)" in run("track", "--config", limited, "-o", "few").err
    few = io.load(lab / "few" / "a.slp")
    assert len(few) == len(crossing())
    assert (few.track[few.detections.frame < 3] >= 0).all() and (few.track[few.detections.frame >= 3] == -1).all()
    for how in (["--set", "device=cuda"], ["--device", "cuda"]):
        done = run("track", "--config", "track_flies.yaml", "-o", "gpu", *how)
        assert done.code == 0 or "device 'cuda' was asked for, but torch sees none here" in done.err
    gpu = _write(lab, "track", trainer={"accelerator": "gpu"})
    assert run("track", "--config", gpu, "-o", "cpu", "--device", "cpu").code == 0


def test_the_same_from_python_by_path_or_mapping(lab):
    by_path = api.track_many(config="track_flies.yaml")
    tree = yaml.safe_load(Path("track_flies.yaml").read_text())
    one = api.track("data/test/a.slp", config=tree)
    assert same_tracks(by_path[Path("results/a.slp")].track, one.track)
    assert set(by_path) == {Path("results/a.slp"), Path("results/b.slp")}


def test_labels_and_videos_belong_together_by_stem(run, lab):
    """DREEM pairs what two globs find, in whatever order the file system has (D2)."""
    shutil.rmtree(lab / "data" / "test")
    for name, truth in {"z": crossing(), "m": gap(), "c": crossing()}.items():
        _clip(lab / "data" / "test", name, truth)
    (lab / "data" / "test" / "y.mp4").write_bytes((lab / "data" / "test" / "z.mp4").read_bytes())
    assert run("track", "--config", "track_flies.yaml").code == 0
    for name in "zmc":
        assert Path(_saved(lab / "results" / f"{name}.slp")["made"]["video"]).stem == name


def test_lists_are_paired_by_stem_and_else_as_they_stand(lab):
    from kintrack.from_dreem import ask

    def pairs(**dataset: object) -> list[tuple[str, str]]:
        found = ask({"dataset": {"test_dataset": dataset}}, "track").files.sources
        return [(path.stem, video.stem) for path, video in found]

    test = "data/test"
    crossed = pairs(slp_files=[f"{test}/a.slp", f"{test}/b.slp"], video_files=[f"{test}/b.mp4", f"{test}/a.mp4"])
    assert crossed == [("a", "a"), ("b", "b")]
    Path(test, "a.mp4").rename(f"{test}/first.mp4")
    Path(test, "b.mp4").rename(f"{test}/second.mp4")
    named = pairs(slp_files=[f"{test}/a.slp", f"{test}/b.slp"], video_files=[f"{test}/first.mp4", f"{test}/second.mp4"])
    assert named == [("a", "first"), ("b", "second")]
    with pytest.raises(AlignmentError, match="names 2 slp_files and 1 video_files, .* give a video for each"):
        pairs(slp_files=[f"{test}/a.slp", f"{test}/b.slp"], video_files=[f"{test}/first.mp4"])


@pytest.mark.parametrize(
    ("dir", "words"),
    [
        ({"path": "nowhere"}, r"nowhere does not exist, which dataset\.test_dataset\.dir\.path of the config names"),
        ({"path": "models"}, r"models holds no file ending in \.slp .*there are files ending in \.ckpt: correct"),
        ({"path": "data/test", "labels_suffix": ".h5"}, r"ends in \.h5, which is no format of detections"),
        ({"path": "empty"}, r"empty holds no file ending in \.slp .*; give another folder"),
        ({"path": "empty", "labels_suffix": ".tiff"}, r"empty holds no detections; wanted files ending in"),
        ({"path": None}, r"nothing says what is to be tracked; name it, or give a config that does"),
    ],
)
def test_an_empty_folder_and_a_wrong_suffix_are_errors(run, lab, dir, words):
    """DREEM ends well with nothing done (C8), or with an error of its own (C7)."""
    import re

    (lab / "empty").mkdir()
    done = run("track", "--config", _write(lab, "track", dataset={"test_dataset": {"dir": dir, "crop_size": 24}}))
    assert done.code == 2 and re.search(words, done.err), done.err
    assert not (lab / "results").exists()


def test_masks_are_tracked_by_their_config(run, lab):
    """Also with the suffix that DREEM fails at (C7)."""
    from tifffile import imwrite

    truth = crossing()
    for name in ("cells/s1", "cells/s1_GT/TRA"):
        (lab / name).mkdir(parents=True)
    for frame, image in enumerate(painted(truth.detections)):
        imwrite(lab / "cells" / "s1" / f"frame_{frame:05d}.tiff", (image > 0).astype(np.uint8) * 200)
        imwrite(lab / "cells" / "s1_GT" / "TRA" / f"frame_{frame:05d}.tiff", image)
    dataset = {"dir": {"path": "cells", "labels_suffix": ".tiff", "vid_suffix": ".tiff"}, "crop_size": 20}
    done = run("track", "--config", _write(lab, "track", dataset={"test_dataset": dataset}))
    assert done.code == 0, done.err
    (result,) = (path for path in (lab / "results").iterdir() if path.is_dir())
    assert len(io.load(result)) == len(truth)


def test_a_table_is_written_where_one_is_asked_for(run, lab):
    assert run("track", "--config", _write(lab, "track", output_format="csv")).code == 0
    assert len(io.load(lab / "results" / "a.csv")) == len(crossing())


def test_what_was_weighed_is_written_beside_each_result_where_it_is_asked_for(run, lab):
    from kintrack.io.meta import read_meta

    assert run("track", "--config", _write(lab, "track", save_frame_meta=True)).code == 0
    assert len(read_meta(lab / "results" / "b.slp.h5").rows)


def test_a_model_must_be_named(run, lab):
    config = _write(lab, "track", ckpt_path=None)
    done = run("track", "--config", config)
    assert done.code == 2 and "names no checkpoint; give ckpt_path in it, or --model" in done.err
    assert run("track", "--config", config, "--model", "models/flies.ckpt").code == 0


def test_a_config_that_contradicts_its_checkpoint_is_refused(lab):
    """DREEM goes on with random numbers (C11)."""
    stated = {"d_model": 16, "dropout": 0.3, "encoder_cfg": {"encoder_type": "descriptor"}}
    config = yaml.safe_load(Path("track_flies.yaml").read_text())
    assert len(api.track("data/test/a.slp", config={**config, "model": stated}))
    with pytest.raises(
        ConfigError, match=r"is not that of the checkpoint, which has d_model 16 \(the config says 64\)"
    ):
        api.track("data/test/a.slp", config={**config, "model": {**stated, "d_model": 64}})


def test_an_evaluation_tracks_and_scores_by_its_config(run, lab):
    done = run("eval", "--config", "track_flies.yaml")
    assert done.code == 0, done.err
    assert {path.name for path in (lab / "results").iterdir() if path.suffix != ".yaml"} == {
        "a.slp", "b.slp", "scores.json",
    }  # fmt: skip
    scores = yaml.safe_load((lab / "results" / "scores.json").read_text())
    assert set(scores) == {"a", "b", "all"} and scores["all"]["provenance"]["match"] == "rows"


def test_an_evaluation_of_what_was_tracked_before_takes_its_options_from_a_config(run, lab):
    assert run("track", "--config", "track_flies.yaml").code == 0
    (lab / "eval.yaml").write_text("{match: centre, distance: 9, unit: pixel}")
    said = ["eval", "data/test", "results", "--config", "eval.yaml", "-o", "s.json"]
    assert run(*said).code == 0
    scores = yaml.safe_load((lab / "s.json").read_text())["a"]["provenance"]
    assert scores["match"] == "centre"  # C1: the config goes before a default of the command
    assert run(*said, "--match", "rows", "--overwrite").code == 0
    assert yaml.safe_load((lab / "s.json").read_text())["a"]["provenance"]["match"] == "rows"
    (lab / "eval.yaml").write_text("{macth: centre}")
    assert "unknown option 'macth': did you mean 'match'" in run(*said, "--overwrite").err


def test_what_is_to_be_evaluated_must_be_said(run, lab):
    assert "Missing argument 'TRUTH'" in run("eval").err
    with pytest.raises(InputError, match="nothing to evaluate was named; give TRUTH and PREDICTION, or a config"):
        api.evaluate(config={"ckpt_path": "models/flies.ckpt"})
    with pytest.raises(InputError, match=r"nothing says what the truth of x\.slp is; give both"):
        api.evaluate(prediction="x.slp")


def test_one_command_scores_a_model_on_annotated_tracks(run, lab):
    done = run("eval", "data/test/a.slp", "--model", "motion")
    assert done.code == 0 and "num_switches" in done.out
    assert not list(lab.glob("data/test/*.yaml"))  # nothing is kept where nobody said where


@pytest.mark.slow
def test_a_training_and_the_tracking_with_its_model_by_their_configs(run, lab):
    done = run("train", "--config", "train_flies.yaml")
    assert done.code == 0, done.err
    made = lab / "models" / "lab" / "flies"
    assert {"model.safetensors", "config.yaml", "metrics.csv"} <= {path.name for path in made.iterdir()}
    saved = yaml.safe_load((made / "config.yaml").read_text())
    assert (saved["model"]["kind"], saved["model"]["d_model"], saved["optimizer"]["lr"]) == ("dreem", 32, 0.002)
    assert saved["dreem"]["crop_size"] == 16 and saved["data"]["frames"] == 4
    config = _write(lab, "track", ckpt_path=str(made / "model.safetensors"))
    done = run("track", "--config", config, "--set", "dataset.test_dataset.crop_size=16")
    assert done.code == 0, done.err
    assert (io.load(lab / "results" / "a.slp").track >= 0).all()


@pytest.mark.slow
def test_fine_tuning_honours_what_is_said(run, lab):
    """DREEM takes the optimiser, the scheduler and the loss from the checkpoint (C9)."""
    tree = yaml.safe_load((lab / "train_flies.yaml").read_text())
    tree["model"] = {"ckpt_path": "models/flies.ckpt"}
    tree |= {"optimizer": {"name": "SGD", "lr": 0.01}, "trainer": {"max_epochs": 1, "accelerator": "cpu"}}
    (lab / "tune.yaml").write_text(yaml.safe_dump(tree))
    done = run("train", "--config", "tune.yaml", "-o", "tuned", "--set", "loss.asso_weight=0.5")
    assert done.code == 0, done.err
    saved = yaml.safe_load((lab / "tuned" / "config.yaml").read_text())
    assert (saved["optimizer"]["name"], saved["optimizer"]["lr"], saved["loss"]["asso_weight"]) == ("SGD", 0.01, 0.5)
    assert (saved["model"]["d_model"], saved["max_epochs"]) == (16, 1)
    tree["model"] |= {"d_model": 64}
    with pytest.raises(
        ConfigError, match=r"is not that of the checkpoint, which has d_model 16 \(the config says 64\)"
    ):
        api.train(config=tree, output="other")
