"""What can be set: one typed class for each part.

The text under each field is its help, on the command line and in the docs.
"""

from collections.abc import Mapping
from typing import Any, Literal, Self

import pydantic
from pydantic import ConfigDict, Field

from kintrack.config_base import Config as Config
from kintrack.config_base import merge as merge
from kintrack.config_base import parse_overrides as parse_overrides
from kintrack.config_base import read_yaml as read_yaml
from kintrack.config_data import AdmitConfig as AdmitConfig
from kintrack.config_data import AugmentConfig, CropConfig, DropoutConfig
from kintrack.errors import nearest_name

# What the model may know of one detection, of a detection and its neighbour in the same frame, of a detection and an
# earlier sighting of its track, and of a pair of a query and a reference. `kintrack.windows.features` measures them; a
# model is built for a choice of them.
NODE_FEATURES = ("aspect", "score", "has_score", "fill", "has_pose", "crowding")
NEIGHBOUR_FEATURES = ("distance", "overlap", "size_ratio")
HISTORY_FEATURES = ("gap", "distance", "distance_per_gap", "along", "across", "overlap", "size_ratio", "aspect_change")
PAIR_FEATURES = (
    # lengths and counts, compressed as log(1 + x)
    "gap", "sightings", "speed", "speed_smooth", "scatter", "crowding_query", "crowding_reference",
    "distance", "distance_per_gap",
    "residual_fast", "residual_slow", "residual_smooth", "residual_steady",
    "residual_per_gap", "residual_per_scatter", "residual_per_scene", "distance_per_scene", "residual_common",
    "residual_camera", "across",
    # ratios, shares and differences, as they are
    "along", "overlap", "overlap_moved", "overlap_smooth",
    "residual_before", "overlap_before", "residual_before_that", "overlap_before_that",
    "size_change", "shape_change", "shape_change_least", "build_change", "build_change_least", "aspect_change",
    "area_change",
    "margin_distance_query", "margin_distance_reference", "margin_query", "margin_reference",
    "margin_smooth_query", "margin_smooth_reference", "margin_fresh",
    "margin_camera_query", "margin_camera_reference",
    "pose_distance", "pose_similarity", "pose_turn", "pose_change", "has_pose",
    "scene_misses", "scene_gap", "scene_flashes", "scene_births", "scene_losses",
    "camera_moved", "camera_votes", "camera_gain",
    "appearance", "appearance_remembered", "appearance_lead_query", "appearance_lead_track", "has_appearance",
)  # fmt: skip


ENCODERS = ("none", "conv", "efficientnet_lite0")
TIMM = "timm:"  # and the name of one of timm's networks


class EncoderConfig(CropConfig):
    """How pixels become features."""

    kind: str = "none"
    """`none` (geometry alone), `conv` (a small CNN), or by extras pretrained: `efficientnet_lite0`, `timm:<name>`."""
    frozen: bool = False
    """Whether the network before the last layer stays as it is in training."""
    crop_size: int = Field(64, ge=16, le=512)
    """Side of the square crop that the encoder sees, in its own pixels; every detection is scaled to it."""
    margin: float = Field(0.15, ge=0)
    """What a crop shows around its box, as a share of the box's longer side; 0: it is as tight as the box."""
    channels: Literal[1, 3] = 1
    """Channels of a crop for each anchor: 1 is grey, 3 is colour."""
    width: int = Field(16, ge=4, multiple_of=4)
    """Channels of the CNN's first stage, which are normed in four groups; they double in each of four stages."""
    dim: int = Field(32, ge=4)
    """Length of the feature."""

    @pydantic.field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in ENCODERS and not (kind.startswith(TIMM) and kind != TIMM):
            raise ValueError(f"there is no encoder {kind!r}: {nearest_name(kind, [*ENCODERS, TIMM + '<name>'])}")
        return kind


class ModelConfig(Config):
    """The Global Tracking Transformer."""

    encoder: EncoderConfig = EncoderConfig()
    """The visual encoder."""
    dim: int = Field(48, ge=8)
    """Length of a token."""
    heads: int = Field(4, ge=1)
    """Attention heads."""
    encoder_layers: int = Field(1, ge=0)
    """Layers in which a detection looks at its neighbours in the same frame."""
    history_layers: int = Field(1, ge=0)
    """Layers in which the last sighting of a track looks back at the earlier ones that are remembered."""
    decoder_layers: int = Field(2, ge=1)
    """Layers in which queries and references look at each other; each gives an association matrix."""
    feedforward: int = Field(2, ge=1)
    """Width of the feed-forward blocks, in token lengths."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of activations dropped in training."""
    neighbours: int = Field(6, ge=0)
    """Neighbours in its own frame that a detection looks at."""
    node_features: tuple[str, ...] = NODE_FEATURES
    """What the model may know of a detection."""
    pair_features: tuple[str, ...] = PAIR_FEATURES
    """What the model may know of a pair."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} cannot be divided among {self.heads} heads; take a multiple")
        for given, known in ((self.node_features, NODE_FEATURES), (self.pair_features, PAIR_FEATURES)):
            for name in given:
                if name not in known:
                    raise ValueError(f"unknown feature {name!r}: {nearest_name(name, known)}")
        return self


class LossConfig(Config):
    """The association loss, and for models that look at pixels the contrast of looks."""

    both_ways: bool = True
    """Whether references also ask which query they are seen as (softmax over the queries of a frame, and a null)."""
    focal: float = Field(0.5, ge=0)
    """Exponent by which easy answers count less: each is weighted by (1 - probability) ** focal."""
    layer_weight: float = Field(0.5, ge=0, le=1)
    """Weight of each decoder layer before the last; the last counts 1."""
    appearance: float = Field(0.5, ge=0)
    """Weight of the contrast of looks in training: crops of one individual are to look alike, and unlike others'."""


class TrackerConfig(Config):
    """From scores to identities, frame by frame."""

    max_tracks: int | None = Field(None, ge=1)
    """The true number of individuals, where known: there are never more ids than this."""
    max_gap: int = Field(60, ge=1)
    """Frames after which an individual that is not seen is no longer looked for."""
    gap_per_sighting: float = Field(4.0, gt=0)
    """A track seen n times is looked for at most n times this long: short ones, often false, are soon forgotten."""
    memory: int = Field(8, ge=1)
    """Last sightings of each track that are remembered; a model knows the number it was trained with."""
    compare: Literal["track", "sightings"] = "track"
    """What a detection is compared with: a `track` as a whole, or each of its remembered `sightings` (as in GTR)."""
    candidates: int = Field(8, ge=1)
    """Nearest tracks that a detection is compared with."""
    gate: float = Field(6.0, gt=0)
    """How far from where it is expected an individual may be, in sizes; widens with the square root of the gap."""
    gate_gap: int = Field(25, ge=1)
    """Gap in frames beyond which the gate does not widen any more."""
    threshold: float = Field(0.5, gt=0, lt=1)
    """Probability below which a detection is not linked to a track."""
    confidence_temperature: float = Field(1.0, gt=0, allow_inf_nan=False)
    """What log-odds are divided by to become confidences; fitted by `scripts/calibrate.py`. It changes no link."""
    confidence_bias: float = Field(0.0, allow_inf_nan=False)
    """Log-odds that speak for links, and against starts, before that; fitted with it. It changes no link."""
    combine: Literal["mean", "sum"] = "mean"
    """How, with `compare: sightings`, their scores become one: `mean`, or `sum` as in GTR (Zhou et al. 2022)."""
    returning: Literal["reidentify", "new"] = "reidentify"
    """An individual that was out of sight for longer than `max_lost` frames: gets its id back, or a new one."""
    max_lost: int = Field(1, ge=1)
    """With `returning: new`, the gap in frames beyond which an individual counts as gone."""
    min_score: float | None = None
    """Detections with a lower score start no track (they stay in the result, untracked, unless they fit one)."""
    size: float | None = Field(None, gt=0)
    """Size in pixels of an individual given as a point; estimated from the neighbours' distance where not given."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_tracks is not None and self.returning == "new":
            raise ValueError(
                f"max_tracks {self.max_tracks} says that there are never more individuals, and returning 'new' that "
                "who returns is another one; give one of them"
            )
        return self

    def of_any_video(self) -> dict[str, Any]:
        """What goes with a model's weights: all but what is said of the one video that they were trained on."""
        return {key: value for key, value in self.to_dict().items() if key not in ("max_tracks", "min_score", "size")}


class DataConfig(Config):
    """How training clips are taken from annotated videos."""

    clips: int = Field(2000, ge=1)
    """Clips in an epoch."""
    frames: int = Field(60, ge=2)
    """Most frames of a clip."""
    max_rows: int = Field(500, ge=1)
    """About as many detections has a clip at most: of a crowd it is short, though never below 12 frames."""
    easy: int = Field(4, ge=1)
    """Of the frames in which whoever is nearest is the one, only every so many are asked: there is little to learn."""
    max_stride: int = Field(5, ge=1)
    """Clips are taken at every, every second, … frame, up to this one, by chance."""
    max_objects: int = Field(40, ge=1)
    """Individuals in a clip; of a crowd, those around one of them."""
    simulated: float = Field(0.3, ge=0, le=1)
    """Share of clips that are simulated worlds instead."""
    noisy: float = Field(0.9, ge=0, le=1)
    """Share of clips seen by a detector that misses, errs and invents; the others are as annotated."""
    blank: float = Field(0.4, ge=0, le=1)
    """Share of clips from which each group of features (scores, mask areas, keypoints) is taken away."""
    swap: float = Field(0.05, ge=0, le=1)
    """Chance that two individuals were exchanged in the remembered tracks, for each frame."""
    own: float = Field(0.5, ge=0, le=1)
    """Share of clips remembered by the tracks that the model itself finds for them, from `own_after` on."""
    own_after: float = Field(0.6, ge=0)
    """Share of the epochs after which the model learns from its own mistakes; 1: never."""
    fragment: float = Field(0.01, ge=0, le=1)
    """Chance that a remembered track was broken, for each individual and frame."""
    hidden: float = Field(0.0, ge=0, le=1)
    """Share of clips in which everybody is out of sight for long, one after the other: there looks are worth most."""
    detection_dropout: DropoutConfig = DropoutConfig()
    """Detections that are left out, besides those that the detectors of `noisy` clips miss."""
    keypoint_dropout: DropoutConfig = DropoutConfig()
    """Keypoints that are blanked, besides those that these detectors miss; a detection keeps one."""
    other_light: float = Field(0.8, ge=0, le=1)
    """Share of clips that are varied as `augment` says; for models that look at pixels, and by `rotate` and `scale`."""
    augment: AugmentConfig = AugmentConfig()
    """How."""


class OptimizerConfig(Config):
    """A torch optimiser: its name, and its own arguments beside it."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    name: str = "Adam"
    """A class of `torch.optim`. Adam's learning rate is 1e-4 and its betas are 0.9 and 0.999 where not given."""

    @property
    def arguments(self) -> dict[str, Any]:
        """What the optimiser is built with."""
        defaults = {"lr": 1e-4, "betas": (0.9, 0.999)} if self.name.lower() == "adam" else {}
        return defaults | (self.model_extra or {})


class SchedulerConfig(Config):
    """A torch scheduler of the learning rate: its name, and its own arguments beside it."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    name: str = "ReduceLROnPlateau"
    """A class of `torch.optim.lr_scheduler`, or WarmupCosine. By default the rate is halved after 10 looks in vain."""
    monitor: str = "val_loss"
    """What ReduceLROnPlateau looks at."""
    interval: Literal["epoch", "step"] = "epoch"
    """What is counted between two looks."""
    frequency: int = Field(10, ge=1)
    """How many of them."""

    @property
    def arguments(self) -> dict[str, Any]:
        """What the scheduler is built with."""
        plateau = {"mode": "min", "factor": 0.5, "patience": 10}
        return (plateau if self.name.lower() == "reducelronplateau" else {}) | (self.model_extra or {})


_ADAMW = {"name": "AdamW", "lr": 1e-3, "weight_decay": 0.01}


class TrainConfig(Config):
    """A whole training: what is trained, on what, and how."""

    model: ModelConfig = ModelConfig()
    """The model."""
    tracker: TrackerConfig = TrackerConfig()
    """The tracker whose questions the model learns to answer."""
    loss: LossConfig = LossConfig()
    """The loss."""
    data: DataConfig = DataConfig()
    """How clips are taken from annotated videos."""
    optimizer: OptimizerConfig = Field(OptimizerConfig.of(_ADAMW))
    """The optimiser: AdamW with a learning rate of 1e-3 and a weight decay of 0.01, unless another is named."""
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    """How the learning rate falls: to nothing along a cosine, by half where the loss gets no better, or not at all."""
    scheduler: SchedulerConfig | None = None
    """A scheduler of torch by its `name`, with its arguments beside it, in place of `schedule`."""
    warmup: int = Field(100, ge=0)
    """Steps in which the learning rate rises from nothing."""
    patience: int = Field(3, ge=1)
    """With `schedule: plateau`, epochs without a better loss after which the learning rate is halved."""
    batch_size: int = Field(8, ge=1)
    """Clips in a step."""
    max_epochs: int = Field(10, ge=1)
    """Epochs."""
    max_minutes: float | None = Field(None, gt=0)
    """Minutes after which training ends, whatever is left to do."""
    stop_after: int | None = Field(None, ge=1)
    """Epochs without a better validation after which training ends."""
    monitor: str = "val_loss"
    """What decides which epoch was best: `val_loss`, `val_` and one of `metrics`, or `train_loss`."""
    metrics: tuple[str, ...] = ("num_switches", "idf1")
    """Measures of tracking, taken in each validation."""
    clip_gradient: float | None = Field(1.0, gt=0)
    """Greatest norm of a step's gradient."""
    ema: float | None = Field(0.998, gt=0, lt=1)
    """Decay of the running mean of the weights, which is what is validated and kept; none: the weights themselves."""
    blank_appearance: float = Field(0.3, ge=0, le=1)
    """Share of steps in which crops are withheld, so that one model works with pixels and without."""
    seed: int = Field(0, ge=0)
    """What the order of clips, their noise, and the first weights are drawn from."""
    workers: int = Field(0, ge=0)
    """Processes that prepare clips beside the one that trains; 0: that one does it, which suits a busy machine."""
    accelerator: str = "auto"
    """Where to train: `auto`, `cpu`, `cuda` or `mps`."""
    devices: int | str = "auto"
    """How many devices, or `auto`."""
    strategy: str = "auto"
    """How several devices share the work: `auto`, `ddp`, `ddp_spawn`, …"""
    loggers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Where the log goes besides metrics.csv."""

    @pydantic.field_validator("optimizer", mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        """Arguments without a name are for the default optimiser."""
        return {**_ADAMW, **given} if isinstance(given, Mapping) and "name" not in given else given

    @pydantic.field_validator("scheduler", mode="before")
    @classmethod
    def _each_time(cls, given: Any) -> Any:
        """It looks after every epoch, or step, where it is not said how often."""
        return {"frequency": 1, **given} if isinstance(given, Mapping) else given

    def card(self) -> dict[str, Any]:
        """What goes with the weights of this training: the tracker that they were trained for."""
        return {"tracker": self.tracker.of_any_video()}
