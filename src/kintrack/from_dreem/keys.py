"""The table: every key of DREEM's YAML configs, and what becomes of it. The docs print it as it stands here."""

from kintrack.from_dreem import values
from kintrack.from_dreem.fates import (
    FORMAT,
    INPUT,
    META,
    MODEL,
    OUTPUT,
    VAL,
    VIDEO,
    Fate,
    Row,
    compared,
    idle,
    refused,
    to,
    unneeded,
)

_OF_TRAINING, _OF_TRACKING, _AS_GIVEN = unneeded("of training"), unneeded("of tracking"), unneeded("nothing is altered")


def _both(section: str, names: str, fate: Fate) -> Row:
    return Row(section, names, fate, fate)


def _train(section: str, names: str, fate: Fate) -> Row:
    return Row(section, names, fate, _OF_TRAINING)


_TOP = (
    Row("", "ckpt_path", unneeded("a training begins with `model.ckpt_path`"), to(MODEL)),
    Row("", "outdir", idle("it trains into `checkpointing.dirpath`"), to(OUTPUT, "a folder")),
    Row(
        "", "output_format", _OF_TRACKING, to(FORMAT, "`native` is the input's; `both` is refused", values.format_name)
    ),
    Row("", "save_frame_meta", _OF_TRACKING, to(META, "a file beside each result", bool)),
    Row("metrics", "train val", idle("the loss alone is taken"), _OF_TRAINING),
    Row("metrics", "test", _OF_TRACKING, unneeded("all measures are taken, of the same rows (`match` is `rows`)")),
    _both("", "params_config", to("--config", "the file that it names is laid over this one")),
    _both("view_batch", "enable num_frames no_train", idle("older ones had it")),
)

# Of the three sections, `track` and `eval` take test_dataset, `train` the other two.
_FILES = "all of that suffix, by name; each with the video of its stem (D2)"
_LOOKS = "this and what follows from `train_dataset` where `test_dataset` does not say: as in training (C3)"
_DRAWN = "drawn once for a clip, where DREEM draws for each frame (D8), and always, whatever its `p`"
_DATA = "dataset.*_dataset"
_CHANGES = f"{_DATA}.augmentations"
_DATASET = (
    Row(_DATA, "dir.path", to(INPUT, f"of `val_dataset` `{VAL}`; {_FILES}"), to(INPUT, _FILES)),
    _both(_DATA, "dir.labels_suffix", to(INPUT, "`.slp` where not given")),
    _both(_DATA, "dir.vid_suffix", to(VIDEO, "`.mp4` where not given; `.tiff` does as well (C7)")),
    Row(_DATA, "slp_files", to(INPUT, f"of `val_dataset` `{VAL}`"), to(INPUT)),
    Row(_DATA, "video_files", to(VIDEO, "by stem"), to(VIDEO, "by stem; in the order given where stems are others")),
    Row(
        _DATA,
        "crop_size",
        to("dreem.crop_size", "that of `val_dataset` must be the same", values.side),
        to("dreem.crop_size", _LOOKS, values.side),
    ),
    _both(_DATA, "padding", to("dreem.padding", "0 where not given, also in tracking (C3)")),
    _both(_DATA, "anchors", to("dreem.anchors", "a number of them, drawn by chance, is refused", values.anchors)),
    _both(
        _DATA,
        "handle_missing",
        to("dreem.handle_missing", "of several anchors `centroid` is `ignore`, as there"),
    ),
    _both(_DATA, "use_tight_bbox", to("dreem.tight")),
    _both(_DATA, "dilation_radius_px", to("dreem.dilation_radius", "", values.radius)),
    _both(_DATA, "apply_mask_to_crop", to("dreem.own_mask")),
    _both(_DATA, "normalize_image", to("dreem.intensity", "`unit`, or `byte`", values.intensity)),
    Row(
        _DATA,
        "max_detection_overlap",
        refused("true tracks are learned from whole", 0, None),
        to("admit.max_overlap", "", values.off_at_zero),
    ),
    Row(
        _DATA,
        "max_tracks",
        refused("true tracks are learned from whole", float("inf"), None),
        to("admit.max_objects", "", values.whole),
    ),
    Row(_DATA, "clip_length", to("data.frames"), unneeded("nothing is cut in chunks, whose last frames would go (D1)")),
    Row(
        _DATA,
        "chunk",
        refused("a clip is as long as `data.frames` at most; give `true`", True, None),
        unneeded("nothing is cut in chunks"),
    ),
    Row(_DATA, "n_chunks", to("data.clips", "a share is refused", values.clips), unneeded("all is tracked")),
    Row(_DATA, "seed", to("seed"), unneeded("nothing is left to chance")),
    Row(
        _DATA,
        "mode",
        unneeded("`train` and `val_dataset` are what they are"),
        unneeded("nothing is shuffled or altered (T15)"),
    ),
    _both(_DATA, "max_batching_gap", unneeded("a gap in the annotation is a gap in time (D6)")),
    _both(_DATA, "verbose", idle()),
    _both(_DATA, "detection_iou_threshold", idle("documented, and never read: `max_detection_overlap` is")),
    _both("dataset", "metrics", idle("documented, and never read: `metrics` at the top is")),
    Row(_CHANGES, "NodeDropout", to("data.keypoint_dropout", "", values.dropout), _AS_GIVEN),
    Row(_CHANGES, "InstanceDropout", to("data.detection_dropout", "", values.dropout), _AS_GIVEN),
    Row(_CHANGES, "Rotate", to("data.augment.rotate", _DRAWN, values.rotate), _AS_GIVEN),
    Row(
        _CHANGES,
        "RandomBrightnessContrast",
        to("data.augment", f"`brightness` and `contrast`; {_DRAWN}", values.light),
        _AS_GIVEN,
    ),
    Row(_CHANGES, "Blur GaussianBlur", to("data.augment.blur", "its `p`", values.chance), _AS_GIVEN),
    Row(_CHANGES, "MotionBlur", to("data.augment.motion_blur", "its `p`", values.chance), _AS_GIVEN),
    Row(_CHANGES, "GaussNoise ISONoise", to("data.augment.noise", "its `p`", values.chance), _AS_GIVEN),
    Row(_CHANGES, "HorizontalFlip VerticalFlip Flip", to("data.augment.flip", "its `p`", values.chance), _AS_GIVEN),
    Row(_CHANGES, "RandomRotate90", to("data.augment.quarters", "", values.happens), _AS_GIVEN),
    Row(_CHANGES, "RandomScale", to("data.augment.scale", _DRAWN, values.scale), _AS_GIVEN),
    Row(_CHANGES, "*", refused("there is no such change here; see `data.augment`"), _AS_GIVEN),
)

_LOADER = "dataloader.*_dataloader"
_DATALOADER = (
    Row(_LOADER, "num_workers", to("workers"), unneeded("pixels are read ahead")),
    Row(_LOADER, "shuffle", unneeded("clips come in an order drawn from `seed`"), unneeded()),
    _both(_LOADER, "batch_size pin_memory collate_fn", idle("it is fixed")),
    _both(
        _LOADER,
        "sampler batch_sampler drop_last timeout worker_init_fn multiprocessing_context generator "
        "prefetch_factor persistent_workers pin_memory_device in_order",
        unneeded("of how torch reads, not of what"),
    ),
)

_MODEL = (
    Row(
        "model",
        "ckpt_path",
        to(MODEL, "its weights; what else is said goes before what it was trained with (C9)"),
        unneeded("`ckpt_path` at the top says it"),
    ),
    *(
        Row("model", name, to(f"model.{name}"), compared(f"model.{name}"))
        for name in (
            "d_model",
            "nhead",
            "num_encoder_layers",
            "num_decoder_layers",
            "dropout",
            "activation",
            "return_intermediate_dec",
            "norm",
            "num_layers_attn_head",
            "dropout_attn_head",
            "decoder_self_attn",
        )
    ),
    _both("model", "return_embedding", idle("nobody asks for them")),
    Row("model.embedding_meta", "pos", to("model.pos"), compared("model.pos")),
    Row("model.embedding_meta", "temp", to("model.temp"), compared("model.temp")),
    Row("model.embedding_meta", "use_fourier", to("model.fourier"), compared("model.fourier")),
    _both("model.embedding_meta", "embedding_agg_method", idle("it averages, whatever is said")),
    Row("model", "encoder_cfg", to("model.encoder", "", values.encoder), compared("model.encoder", values.encoder)),
)

_LEARNING = (
    _train("loss", "neg_unmatched", to("loss.neg_unmatched")),
    _train("loss", "epsilon", to("loss.epsilon")),
    _train("loss", "asso_weight", to("loss.asso_weight")),
    _train("", "optimizer", to("optimizer", "any of `torch.optim`", values.optimizer)),
    _train(
        "",
        "scheduler",
        to("scheduler", "any of `torch.optim.lr_scheduler`; a list of them is refused", values.scheduler),
    ),
)

_WANDB = "wandb asks its environment (`WANDB_PROJECT`, `WANDB_ENTITY`, ...)"
_ROUND = (
    _train(
        "logging", "logger_type", to("loggers", "`CSVLogger`: `metrics.csv` is always written (C10)", values.loggers)
    ),
    _train("logging", "name group", to(OUTPUT, "`models/GROUP/NAME`, where `dirpath` is not given")),
    _train("logging", "save_dir dir", unneeded("the log is in the folder of the training")),
    _train(
        "logging",
        "project entity notes tags job_type log_model id resume mode offline anonymous version prefix "
        "experiment config reinit",
        unneeded(_WANDB),
    ),
    _train("early_stopping", "monitor", to("monitor", "", values.monitor)),
    _train("early_stopping", "patience", to("stop_after")),
    _train(
        "early_stopping", "min_delta", unneeded("any gain counts: 0.1 of a loss is more than late epochs gain (C12)")
    ),
    _train("early_stopping", "mode", unneeded("it follows from `monitor`")),
    _train(
        "early_stopping",
        "check_finite stopping_threshold divergence_threshold verbose strict "
        "check_on_train_epoch_end log_rank_zero_only",
        unneeded(),
    ),
    _train("checkpointing", "monitor", to("monitor", "one of them", values.monitor)),
    _train("checkpointing", "dirpath", to(OUTPUT)),
    _train(
        "checkpointing",
        "save_top_k every_n_epochs every_n_train_steps train_time_interval save_last save_on_train_epoch_end "
        "filename mode auto_insert_metric_name save_weights_only enable_version_counter verbose",
        unneeded("the best epoch and the last are kept, not every one (C12)"),
    ),
    Row("runner.metrics", "train val", idle("the loss alone is taken"), _OF_TRAINING),
    Row("runner.metrics", "test", _OF_TRACKING, unneeded("all measures are taken")),
    Row("runner.persistent_tracking", "train val test", idle(), idle()),
    Row("runner", "test_save_path", _OF_TRACKING, unneeded("`--output` of `eval`")),
    Row("runner", "save_frame_meta", _OF_TRACKING, unneeded("`save_frame_meta` at the top says it")),
)

_EACH = "each epoch is validated; `data.clips` says how long one is"
_TRAINER = (
    _train("trainer", "max_epochs", to("max_epochs")),
    _train("trainer", "max_time", to("max_minutes", "", values.minutes)),
    _train("trainer", "gradient_clip_val", to("clip_gradient", "`null` is none, as in DREEM", values.off_at_zero)),
    _train("trainer", "gradient_clip_algorithm", refused("gradients are clipped by their norm", "norm", None)),
    _train("trainer", "accumulate_grad_batches", to("batch_size", "clips in a step; 1 where not given, as in DREEM")),
    _train("trainer", "limit_train_batches", to("data.clips", "a share is refused", values.clips)),
    _train(
        "trainer", "limit_val_batches", refused("all of the validation counts; give fewer files to `--val`", 1.0, None)
    ),
    _train("trainer", "devices", to("devices")),
    _train("trainer", "strategy", to("strategy")),
    _train("trainer", "num_nodes", refused("one machine trains", 1, None)),
    Row(
        "trainer",
        "precision",
        refused("weights are trained in 32 bits", 32, "32", "32-true", None),
        to("precision", "`half` for 16 bits", values.precision),
    ),
    _train("trainer", "min_epochs min_steps", unneeded("`stop_after` counts from the best epoch")),
    _train("trainer", "max_steps", refused("give `max_epochs`, and `data.clips` for how long one is", -1, None)),
    _train("trainer", "check_val_every_n_epoch val_check_interval num_sanity_val_steps", unneeded(_EACH)),
    _train("trainer", "fast_dev_run", refused("for a try give `max_epochs: 1` and `data.clips`", False, None)),
    _train("trainer", "overfit_batches", refused("for a try give few files", 0, 0.0, None)),
    _train(
        "trainer",
        "callbacks plugins",
        refused("these are objects, not options; `fit(..., callbacks=...)` takes some", None),
    ),
    _train(
        "trainer",
        "deterministic benchmark sync_batchnorm use_distributed_sampler reload_dataloaders_every_n_epochs "
        "enable_autolog_hparams inference_mode barebones",
        unneeded("runs are repeatable as they are"),
    ),
    Row(
        "trainer",
        "accelerator",
        to("accelerator", "`gpu` is `cuda`", values.device),
        to("device", "acts, unlike there (C2)", values.device),
    ),
    Row(
        "trainer",
        "limit_predict_batches limit_test_batches",
        _OF_TRACKING,
        to("frames", "in clips of `clip_length`; acts, unlike there (C2)", values.frames),
    ),
    _both(
        "trainer",
        "log_every_n_steps enable_checkpointing enable_progress_bar enable_model_summary default_root_dir logger "
        "detect_anomaly profiler",
        unneeded("of Lightning's words, not of the result"),
    ),
)

_SAME = "window_size overlap_thresh mult_thresh distance_penalty_multiplier angle_diff_penalty_multiplier temperature"
_TRACKER = (
    *(_both("tracker", name, to(f"tracker.{name}")) for name in (*_SAME.split(), "confidence_threshold", "iou")),
    *(_both("tracker", name, to(f"tracker.{name}", "", values.whole)) for name in ("max_center_dist", "max_tracks")),
    _both("tracker", "max_gap", to("tracker.max_gap", "also below `window_size` (T8); 500 unless given", values.whole)),
    _both("tracker", "max_angle_diff", to("tracker.max_angle_diff", "`null` is off", values.angle)),
    *(_both("tracker", name, to(f"tracker.{name}", "", values.nodes)) for name in ("front_nodes", "back_nodes")),
    _both("tracker", "decay_time use_vis_feats verbose persistent_tracking", idle()),
    _both("tracker", "enable_crop_saving", unneeded("crops are not kept")),
)

SECTIONS: dict[str, tuple[Row, ...]] = {
    "top": _TOP,
    "dataset": _DATASET,
    "dataloader": _DATALOADER,
    "model": _MODEL,
    "learning": _LEARNING,
    "round": _ROUND,
    "trainer": _TRAINER,
    "tracker": _TRACKER,
}
"""The rows, by the table of the docs that shows them."""
ROWS = tuple(row for rows in SECTIONS.values() for row in rows)
