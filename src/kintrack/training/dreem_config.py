"""What can be set where a model of DREEM is trained. The defaults are those of DREEM's own training."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pydantic
from pydantic import Field

from kintrack.config import Config, LossConfig, OptimizerConfig, SchedulerConfig, TrainConfig
from kintrack.config_data import AugmentConfig, DropoutConfig
from kintrack.config_dreem import DreemCrops, DreemTrackerConfig
from kintrack.models.dreem_config import DreemConfig

# What `dreem train` trains where nothing is said; the defaults of its classes are much larger.
_MODEL: dict[str, Any] = {
    "d_model": 128, "nhead": 1, "num_encoder_layers": 1, "num_decoder_layers": 1, "num_layers_attn_head": 1,
    "return_intermediate_dec": True, "decoder_self_attn": True,
    "pos": {"mode": "learned", "emb_num": 16, "normalize": True}, "temp": {"mode": "learned", "emb_num": 16},
}  # fmt: skip
_ADAM = {"name": "Adam", "lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
_PLATEAU = {"name": "ReduceLROnPlateau", "patience": 5, "threshold": 1e-3, "threshold_mode": "rel", "frequency": 1}


class DreemLossConfig(Config):
    """DREEM's association loss; see `kintrack.training.dreem.DreemLoss`."""

    kind: Literal["dreem"] = "dreem"
    """Says that this loss is meant; `kintrack` is ours, with its own options."""
    neg_unmatched: bool = False
    """Whether detections that nobody knows are taught to be nobody in every frame."""
    epsilon: float = Field(1e-4, gt=0)
    """What is added to the number of true pairs, so that none are no division by 0."""
    asso_weight: float = Field(1.0, ge=0)
    """A factor of the whole."""


class DreemDataConfig(Config):
    """How clips are taken from annotated videos: pieces of so many frames that follow each other."""

    frames: int = Field(32, ge=2)
    """Most frames of a clip (clip_length in DREEM's config)."""
    clips: int | None = Field(None, ge=1)
    """Clips in an epoch, drawn anew for each; none: all that there are."""
    detection_dropout: DropoutConfig = DropoutConfig()
    """Detections that are left out by chance."""
    keypoint_dropout: DropoutConfig = DropoutConfig()
    """Keypoints that are blanked by chance, which moves crops that are around their middle; a detection keeps one."""
    other_light: float = Field(0.8, ge=0, le=1)
    """Share of clips that are varied as `augment` says."""
    augment: AugmentConfig = AugmentConfig()
    """How."""
    easy: ClassVar[int] = 1  # every frame is asked


class DreemTrainConfig(TrainConfig):
    """A training of a model of DREEM; `model.kind=dreem`, or a model of DREEM to begin with, chooses it."""

    model: DreemConfig = Field(DreemConfig.of(_MODEL))  # type: ignore[assignment]
    """The model: as small as what `dreem train` trains, where nothing else is said."""
    tracker: DreemTrackerConfig = DreemTrackerConfig()  # type: ignore[assignment]
    """The tracker that validation measures with, and that goes with the weights."""
    loss: DreemLossConfig | LossConfig = DreemLossConfig()  # type: ignore[assignment]
    """DREEM's loss, or ours on the same matrices (`loss.kind=kintrack`)."""
    data: DreemDataConfig = DreemDataConfig()  # type: ignore[assignment]
    """How clips are taken from annotated videos."""
    dreem: DreemCrops = DreemCrops()
    """How detections are shown; it goes with the weights."""
    optimizer: OptimizerConfig = Field(OptimizerConfig.of(_ADAM))
    """The optimiser: Adam with a learning rate of 1e-4 and a weight decay of 0.01, unless another is named."""
    scheduler: SchedulerConfig | None = Field(SchedulerConfig.of(_PLATEAU))
    """The scheduler: half the rate after five epochs without a better loss; none: as `schedule` says."""
    batch_size: int = Field(1, ge=1)
    """Clips in a step."""
    max_epochs: int = Field(20, ge=1)
    """Epochs."""
    stop_after: int | None = Field(10, ge=1)
    """Epochs without a better validation after which training ends."""
    metrics: tuple[str, ...] = ("num_switches",)
    """Measures of tracking, taken in each validation."""
    clip_gradient: float | None = Field(None, gt=0)
    """Greatest norm of a step's gradient."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of a running mean of the weights, which is then validated and kept; none: the weights themselves."""
    blank_appearance: float = Field(0.0, ge=0, le=0)
    """A model of DREEM is nothing without pixels: they are never withheld."""

    @pydantic.field_validator("model", mode="before")
    @classmethod
    def _small(cls, given: Any) -> Any:
        """What is not said is as `dreem train` has it."""
        return {**_MODEL, **given} if isinstance(given, Mapping) else given

    @pydantic.field_validator("optimizer", mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        """Arguments without a name are for the default optimiser."""
        return {**_ADAM, **given} if isinstance(given, Mapping) and "name" not in given else given

    @pydantic.field_validator("loss", mode="before")
    @classmethod
    def _which_loss(cls, given: Any) -> Any:
        return any_loss(given)

    def card(self) -> dict[str, Any]:
        """What goes with the weights: their tracker, and how detections are to be shown to them."""
        return super().card() | {"crops": self.dreem.to_dict()}


def any_loss(given: LossConfig | DreemLossConfig | Mapping[str, Any] | None) -> LossConfig | DreemLossConfig:
    """DREEM's loss; ours where ``kind`` says `kintrack`, or where an option that only ours has is set."""
    if given is None or isinstance(given, LossConfig | DreemLossConfig):
        return given or DreemLossConfig()
    rest = {key: value for key, value in given.items() if key != "kind"}
    is_ours = given.get("kind") == "kintrack" or ("kind" not in given and LossConfig.model_fields.keys() & given.keys())
    return LossConfig.of(rest) if is_ours else DreemLossConfig.of(given)


def train_config(given: TrainConfig | Mapping[str, Any] | None = None) -> TrainConfig:
    """The config of a training: a `DreemTrainConfig` where its model is one of DREEM (``model.kind`` is ``dreem``)."""
    if given is None or isinstance(given, TrainConfig):
        return given or TrainConfig()
    model = given.get("model")
    kind = model.get("kind") if isinstance(model, Mapping) else getattr(model, "kind", None)
    return DreemTrainConfig.of(given) if kind == "dreem" else TrainConfig.of(given)


__all__ = ["DreemDataConfig", "DreemLossConfig", "DreemTrainConfig", "any_loss", "train_config"]
