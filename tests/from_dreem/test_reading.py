"""DREEM's configs in our words: what is mapped, refused, compared, of no use, or unknown."""

from pathlib import Path

import pytest
import yaml

from kintrack.config_dreem import DreemCrops
from kintrack.errors import ConfigError
from kintrack.follow import TrackConfig
from kintrack.from_dreem import ask, is_dreems, lay_over
from kintrack.from_dreem.keys import ROWS
from kintrack.score_files import EvalConfig

FOLDER = Path(__file__).parent
TRAINING = yaml.safe_load((FOLDER / "train_flies.yaml").read_text())
TRACKING = yaml.safe_load((FOLDER / "track_flies.yaml").read_text())


@pytest.mark.parametrize(
    ("tree", "theirs"),
    [
        (TRAINING, True),
        (TRACKING, True),
        ({"ckpt_path": "m.ckpt"}, True),
        ({"model": {"d_model": 64}}, True),
        ({"dataset": {"test_dataset": {"crop_size": 64}}}, True),
        ({"tracker": {"window_size": 8}}, False),
        ({"model": {"kind": "dreem", "d_model": 64}, "batch_size": 2}, False),
        ({"model": "general", "tracker": {"max_gap": 3}}, False),
        ({"dataset": {}, "data": {}, "max_epochs": 3}, False),
        ({}, False),
    ],
)
def test_a_config_of_dreem_is_known_by_its_shape(tree, theirs):
    assert is_dreems(tree) is theirs


def test_a_config_of_ours_is_what_it_is():
    tree = {"tracker": {"max_gap": 3}, "review": 5}
    asked = ask(tree, "track")
    assert (asked.config, asked.is_dreems, asked.notes, asked.files.sources) == (tree, False, (), ())


def test_a_config_of_tracking_in_our_words():
    asked = ask(TRACKING, "track")
    config = TrackConfig.of(asked.config)
    assert asked.is_dreems and config.device == "cpu"
    assert config.dreem == DreemCrops(crop_size=24, padding=5, anchors=("centroid",))
    tracker = config.tracker
    assert (tracker.kind, tracker.window_size, tracker.iou, tracker.mult_thresh) == ("dreem", 8, "mult", True)
    assert (tracker.max_gap, tracker.max_tracks, tracker.max_center_dist, tracker.max_angle_diff) == (
        None,
        2,
        None,
        0.0,
    )
    assert (asked.files.model, str(asked.files.output)) == ("models/flies.ckpt", "results")


def test_what_had_no_effect_and_what_is_not_needed_is_said_in_two_sentences(caplog):
    with caplog.at_level("INFO", "kintrack"):
        asked = ask(TRACKING, "track")
    assert tuple(record.getMessage() for record in caplog.records) == asked.notes
    idle, unneeded = asked.notes
    assert idle == "the config is DREEM's; no effect there: tracker.decay_time, tracker.use_vis_feats"
    assert unneeded.startswith("the config is DREEM's; not needed here: dataloader, dataset.test_dataset.chunk, ")


def test_of_a_validation_the_files_are_needed():
    (idle, unneeded) = ask(TRAINING, "train").notes
    assert "dataset.val_dataset.anchors" in unneeded and "val_dataset.dir" not in unneeded + idle


def test_a_training_in_our_words():
    from kintrack.training.dreem_config import train_config

    config = train_config(ask(TRAINING, "train").config)
    assert (config.model.kind, config.model.d_model, config.model.nhead) == ("dreem", 32, 2)
    assert (config.model.pos.mode, config.model.temp.emb_num, config.model.encoder.kind) == ("learned", 8, "descriptor")
    assert config.model.fourier  # DREEM has them with a descriptor, whatever it is told
    assert config.model.decoder_self_attn  # what is not said is as in DREEM's own file, not as in its class
    assert (config.optimizer.name, config.optimizer.arguments["lr"]) == ("Adam", 0.002)
    assert (config.scheduler.name, config.scheduler.arguments["patience"], config.scheduler.frequency) == (
        "ReduceLROnPlateau", 4, 1,
    )  # fmt: skip
    assert (config.max_epochs, config.batch_size, config.stop_after, config.clip_gradient) == (2, 1, 7, None)
    assert (config.data.frames, config.dreem.crop_size, config.dreem.padding, config.workers) == (4, 16, 0, 0)
    assert config.data.augment.rotate == 45.0 and config.data.augment.blur == 0.2 and config.data.augment.flip == 0.0
    assert (config.data.other_light, config.data.detection_dropout.share) == (1.0, 0.1)
    assert (config.tracker.overlap_thresh, config.accelerator, config.loggers) == (0.1, "cpu", ())


def test_a_config_of_a_training_tells_tracking_what_its_checkpoint_was_shown():
    """DREEM shows 5 pixels more in tracking, whatever a model was trained with (C3)."""
    asked = ask({**TRAINING, "ckpt_path": "m.ckpt"}, "track")
    assert TrackConfig.of(asked.config).dreem == DreemCrops(crop_size=16, padding=0)
    assert not {"device", "precision"} & asked.config.keys()  # where it was trained is not where it tracks
    own = {"test_dataset": {"crop_size": 20}}
    again = ask({**TRAINING, "dataset": {**TRAINING["dataset"], **own}}, "track")
    assert again.config["dreem"]["crop_size"] == 20 and again.config["dreem"]["padding"] == 0


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("trackre", {}, r"has trackre, which no DREEM knows: did you mean 'tracker'\?"),
        ("tracker", {"max_gaps": 3}, r"has tracker\.max_gaps, which no DREEM knows: did you mean 'max_gap'\?"),
        ("dataset", {"tets_dataset": {}}, r"dataset\.tets_dataset, which no DREEM knows: .*'test_dataset'"),
        ("dataset", {"test_dataset": {"dri": {}}}, r"test_dataset\.dri, which no DREEM knows: did you mean 'dir'"),
        ("max_gap", 3, r"has max_gap, which no DREEM knows: did you mean 'tracker\.max_gap'"),
        ("trainer", {"precison": 16}, r"trainer\.precison, which no DREEM knows: did you mean 'precision'"),
        ("output_format", "cvs", r"output_format is 'cvs' in the config of DREEM: .* did you mean 'csv'"),
        ("output_format", "both", r"a run writes one format; give native, and `kintrack convert`"),
        ("trainer", {"accelerator": "tpu"}, r"trainer\.accelerator is 'tpu' in the config .*did you mean 'cpu'"),
        ("trainer", {"limit_predict_batches": 0.5}, r"limit_predict_batches is 0\.5 .*: a share is no number"),
        ("dataset", {"test_dataset": {"crop_size": [64, 80]}}, r"a model is shown crops of one size; give one number"),
        ("dataset", {"test_dataset": {"dir": "data"}}, r"test_dataset\.dir is 'data' .* and not a section; give keys"),
        ("tracker", {"front_nodes": 3}, r"front_nodes is 3 .*: that is no value for it; give what DREEM takes there"),
        ("dataset", {"test_dataset": {"anchors": 3}}, r"keypoints drawn by chance are no place .*name the keypoints"),
    ],
)  # fmt: skip
def test_what_is_unknown_or_not_here_is_told_with_what_to_do(key, value, words):
    """DREEM swallows what it does not know (F-102), and fails late, or not at all, where a value is wrong (C8)."""
    with pytest.raises(ConfigError, match=words):
        ask({**TRACKING, key: value}, "track")


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"trainer": {"precision": "16-mixed"}}, r"precision is 16-mixed .*: weights are trained in 32 bits; leave it"),
        ({"trainer": {"limit_train_batches": 0.5}}, r"limit_train_batches is 0\.5 .*: a share is no number"),
        ({"trainer": {"limit_val_batches": 1}}, r"limit_val_batches is 1 .*; leave it out, or give 1\.0"),
        ({"trainer": {"max_time": "12h"}}, r"max_time is '12h' .*: a time is written as days:hours:minutes:seconds"),
        ({"scheduler": {"name": ["LinearLR", "CosineAnnealingLR"]}}, r"scheduler is .*several schedulers after"),
        ({"logging": {"logger_type": "WandLogger"}}, r"logger_type is 'WandLogger' .*did you mean 'WandbLogger'"),
        ({"model": {"encoder_cfg": {"encoder_type": "resnext"}}}, r"encoder_type is 'resnext'.*knows resnet, descrip"),
        ({"early_stopping": {"monitor": "train_loss"}}, r"early_stopping\.monitor says 'train_loss' and checkpointing"),
        ({"checkpointing": {"monitor": ["val_loss", "a"]}}, r"one measure decides which epoch is best; give one"),
        ({"dataset": {"train_dataset": {"crop_size": 16}, "val_dataset": {"crop_size": 18}}},
         r"train_dataset\.crop_size is 16 and that of val_dataset is 18: .*give both alike"),
        ({"dataset": {"train_dataset": {"augmentations": {"Cutout": {"p": 1}}}}}, r"augmentations\.Cutout is .*; l"),
    ],
)  # fmt: skip
def test_what_a_training_cannot_do_is_told(section, words):
    with pytest.raises(ConfigError, match=words):
        ask({**TRAINING, **section}, "train")


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"embedding_meta": {"pos": {"mode": None}}}, r"'model\.pos\.mode' is None: input should be 'off', 'learned'"),
        ({"embedding_meta": {"pos": {"mode": "learned", "mlp_cfg": {"hidden_dims": 8, "num_layers": 1}}}},
         r"unknown option 'model\.pos\.mlp_cfg\.hidden_dims': did you mean 'hidden_dim'"),
        ({"embedding_meta": {"pos": {"mode": "learned", "over_boxes": False}}}, r"model\.pos\.over_boxes' is False"),
        ({"activation": "glu"}, r"'model\.activation' is 'glu': input should be 'relu' or 'gelu'"),
    ],
)  # fmt: skip
def test_what_is_documented_there_and_fails_in_the_first_step_fails_before_it(section, words):
    from kintrack.training.dreem_config import train_config

    with pytest.raises(ConfigError, match=words):
        train_config(ask({**TRAINING, "model": section}, "train").config)


def test_what_is_documented_there_and_never_read_is_said():
    """Of the keys and values that DREEM's documentation has and its code has not."""
    tracker = {"decay_time": 0.9, "iou": "mult", "distance_penalty_multiplier": 2.0}
    dataset = {"test_dataset": {"detection_iou_threshold": 0.5, "crop_size": 20}, "metrics": {"test": "all"}}
    asked = ask({**TRACKING, "tracker": tracker, "dataset": dataset}, "track")
    for key in ("tracker.decay_time", "dataset.metrics", "dataset.test_dataset.detection_iou_threshold"):
        assert key in asked.notes[0]
    config = TrackConfig.of(asked.config)
    assert (config.tracker.distance_penalty_multiplier, config.dreem.padding) == (2.0, 0)
    with pytest.raises(ConfigError, match="option 'iou' is 'add': input should be 'mult' or 'max'"):
        TrackConfig.of(ask({**TRACKING, "tracker": {"iou": "add"}}, "track").config)


@pytest.mark.parametrize(("given", "ours"), [("gpu", "cuda"), ("cuda", "cuda"), ("cpu", "cpu"), ("auto", "auto")])
def test_where_it_runs_is_where_the_config_says(given, ours):
    """DREEM strips it (C2)."""
    assert ask({**TRACKING, "trainer": {"accelerator": given}}, "track").config["device"] == ours


@pytest.mark.parametrize(("given", "ours"), [(32, "exact"), ("16-mixed", "half"), ("bf16-true", "half")])
def test_tracking_in_16_bits_is_tracking_in_16_bits(given, ours):
    assert ask({**TRACKING, "trainer": {"precision": given}}, "track").config["precision"] == ours
    with pytest.raises(ConfigError, match="precision is 64 in the config of DREEM: there is no such choice"):
        ask({**TRACKING, "trainer": {"precision": 64}}, "track")


def test_a_config_object_says_what_was_set_in_it_and_what_kind_of_model_it_is_for():
    from kintrack.training.dreem_config import DreemTrainConfig

    asked = ask(DreemTrainConfig(max_epochs=3), "train")
    assert asked.config == {"max_epochs": 3, "model": {"kind": "dreem"}}
    assert ask(TrackConfig(review=2), "track").config == {"review": 2}


def test_many_mistakes_are_one_message():
    with pytest.raises(ConfigError, match=r"a, which .*; .* d, which .*; and 2 more like these$"):
        ask({**TRACKING, **dict.fromkeys("abcdef", 1)}, "track")


def test_no_limit_is_null_and_a_limit_acts():
    """DREEM fails at null (T8), and takes the limits of a run from it before it begins (C2)."""
    tree = {
        **TRACKING,
        "tracker": {"max_gap": None, "max_tracks": float("inf")},
        "trainer": {"limit_predict_batches": 2},
    }
    config = TrackConfig.of(ask(tree, "track").config)
    assert (config.tracker.max_gap, config.tracker.max_tracks) == (None, None)
    assert config.frames == 2 * TRACKING["dataset"]["test_dataset"]["clip_length"]


def test_what_is_set_goes_before_the_config_under_either_name():
    tree = lay_over(TRACKING, {"tracker": {"max_tracks": 5, "kind": "dreem"}, "review": 3, "outdir": "there",
                               "dataset": {"test_dataset": {"crop_size": 31}}})  # fmt: skip
    asked = ask(tree, "track")
    assert (asked.config["tracker"]["max_tracks"], asked.config["review"]) == (5, 3)
    assert (asked.config["dreem"]["crop_size"], str(asked.files.output)) == (31, "there")


def test_options_of_ours_have_a_section_in_a_config_of_dreem():
    asked = ask({**TRACKING, "kintrack": {"tracker": {"max_tracks": 9}, "review": 1}}, "track")
    assert (asked.config["tracker"]["max_tracks"], asked.config["tracker"]["window_size"]) == (9, 8)
    assert asked.config["review"] == 1


def test_a_config_may_name_another_that_is_laid_over_it(tmp_path):
    (tmp_path / "more.yaml").write_text("tracker: {max_tracks: 7}\n")
    asked = ask({**TRACKING, "params_config": str(tmp_path / "more.yaml")}, "track")
    assert (asked.config["tracker"]["max_tracks"], asked.config["tracker"]["window_size"]) == (7, 8)


def test_without_early_stopping_nothing_stops_early():
    assert ask({**TRAINING, "early_stopping": None}, "train").config["stop_after"] is None


def test_what_stands_for_nothing_in_a_config_is_nothing():
    asked = ask({**TRACKING, "dataset": None, "trainer": None, "dataloader": {}}, "track")
    assert "dreem" not in asked.config and asked.files.sources == ()


def test_every_option_that_a_key_is_mapped_to_is_there():
    from kintrack.training.dreem_config import DreemTrainConfig

    known = {"train": DreemTrainConfig, "track": TrackConfig}
    for row in ROWS:
        for command, config in known.items():
            fate = row.fate(command)
            if fate.kind in ("mapped", "compared") and not fate.target.startswith(("-", "INPUT")):
                whole = DreemTrainConfig if fate.kind == "compared" else config
                assert _has(whole, fate.target.split(".")), f"{row.keys}: {fate.target} in {command}"


def _has(config, path):
    from kintrack.config_dreem import DreemTrackerConfig
    from kintrack.training.dreem_config import DreemLossConfig

    for part in path:
        if part not in config.model_fields:
            return False
        config = {"tracker": DreemTrackerConfig, "loss": DreemLossConfig}.get(
            part, config.model_fields[part].annotation
        )
    return True


def test_every_key_has_one_row_and_every_row_says_why():
    keys = [key for row in ROWS for key in row.keys]
    assert len(keys) == len(set(keys)) > 200
    for row in ROWS:
        for fate in (row.train, row.track):
            assert fate.target if fate.kind in ("mapped", "compared") else fate.why or fate.kind != "refused"
    assert not EvalConfig.model_fields.keys() & TrackConfig.model_fields.keys()  # one section holds both


@pytest.mark.parametrize("said", [{}, {"handle_missing": "centroid"}])
def test_of_several_anchors_those_that_are_missing_are_blank_as_in_dreem(said):
    several = ask({"dataset": {"test_dataset": {"anchors": ["head", "tail"], "crop_size": 24, **said}}}, "track")
    assert several.config["dreem"]["handle_missing"] == "ignore"
    one = ask({"dataset": {"test_dataset": {"anchors": "head", "crop_size": 24, **said}}}, "track")
    assert one.config["dreem"].get("handle_missing", "centroid") == "centroid"
