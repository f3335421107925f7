"""What DREEM's tracker and its crops may be told, under DREEM's own names."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import pydantic
from pydantic import Field, ModelWrapValidatorHandler, SerializeAsAny, WrapValidator

from kintrack.config import Config, TrackerConfig, merge
from kintrack.config_data import CropConfig
from kintrack.errors import nearest_name


class DreemTrackerConfig(Config):
    """DREEM's tracker, from summed scores to identities; `tracker: dreem` or `tracker.kind=dreem` chooses it."""

    kind: Literal["dreem"] = "dreem"
    """Says that this tracker is meant."""
    window_size: int = Field(8, ge=1)
    """Last sightings of each track that a detection is compared with."""
    overlap_thresh: float = 0.01
    """Score above which a detection belongs to a track."""
    mult_thresh: bool = True
    """Whether that score is for each remembered sighting of the track, as the scores are sums over them."""
    iou: Literal["mult", "max"] | None = "mult"
    """How the overlap with the last box counts: the score moves towards it, the greater of the two, or not at all."""
    max_center_dist: float | None = Field(None, ge=0)
    """Distance in pixels from the last box beyond which the score falls; none: distance does not matter."""
    distance_penalty_multiplier: float = Field(1.0, ge=0)
    """How much it falls, in mean scores of the detection."""
    max_angle_diff: float = Field(0.0, ge=0, le=180)
    """Turn in degrees since the last sighting beyond which the score falls; 0: directions do not matter."""
    angle_diff_penalty_multiplier: float = Field(1.0, ge=0)
    """How much it falls, in mean scores of the detection."""
    front_nodes: tuple[str, ...] = ()
    """Keypoints at the front, the best first; with those at the back they say where an animal points."""
    back_nodes: tuple[str, ...] = ()
    """Keypoints at the back, the best first."""
    max_gap: int | None = Field(500, ge=1)
    """Frames after which a track that is not seen is forgotten; none: never, as in DREEM, where each frame then takes
    longer than the one before."""
    max_tracks: int | None = Field(None, ge=1)
    """The true number of individuals, where known: there are never more ids than this."""
    confidence_threshold: float = Field(0.0, ge=0, le=1)
    """Frames are flagged in which a detection's track is less certain than this; 0: none are."""
    temperature: float = Field(0.1, gt=0)
    """By which scores are divided before their softmax says how certain a track is."""

    @pydantic.field_validator("iou", mode="before")
    @classmethod
    def _none(cls, iou: Any) -> Any:
        return iou or None

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.front_nodes) != bool(self.back_nodes):
            raise ValueError("front_nodes and back_nodes say together where an animal points; give both or neither")
        return self

    def of_any_video(self) -> dict[str, Any]:
        """What goes with a model's weights: all but what is said of the one video that they were trained on."""
        return {key: value for key, value in self.to_dict().items() if key != "max_tracks"}


class DreemCrops(CropConfig):
    """How detections are shown to a model of DREEM; its checkpoints do not say."""

    crop_size: int | None = Field(None, ge=1)
    """Side of the square around the anchor in pixels, as it was in training (crop_size in DREEM's config)."""
    padding: int = Field(0, ge=0)
    """Pixels around it, as in training. DREEM shows 5 when it tracks, whatever it was trained with: its defect C3."""
    anchors: tuple[str, ...] = ("centroid",)
    """Keypoints, or the `centroid`, in the middle of the squares; as many as the model was trained with."""
    tight: bool = False
    """Whether a crop shows the box of its detection alone, unscaled in the middle of a black square of `crop_size`."""
    intensity: Literal["auto", "unit", "byte"] = "auto"
    """Brightness from 0 to 1, or to 255 (with 16 bits: between the darkest and the brightest pixel of the frame); auto:
    as DREEM has it, `byte` for masks and `unit` for all else."""


_ONLY_DREEMS = DreemTrackerConfig.model_fields.keys() - TrackerConfig.model_fields.keys()


def tracker_tree(given: Any) -> dict[str, Any]:
    """What is said of a tracker as a mapping: its name alone means that tracker with its defaults."""
    return {"kind": given} if isinstance(given, str) else dict(given or {})


def is_dreems(tracker: Mapping[str, Any]) -> bool:
    """Whether a mapping speaks of DREEM's tracker: by its kind, or by an option that only that tracker has."""
    return tracker.get("kind") == "dreem" or ("kind" not in tracker and bool(_ONLY_DREEMS & tracker.keys()))


def _which_tracker(given: Any, handler: ModelWrapValidatorHandler[TrackerConfig]) -> Any:
    """DreemTrackerConfig where DREEM's tracker is meant, else what `handler` makes: a TrackerConfig."""
    if isinstance(given, DreemTrackerConfig):
        return given
    if not isinstance(given, str | Mapping):
        return handler(given)
    tree = tracker_tree(given)
    if is_dreems(tree):
        return DreemTrackerConfig.of(tree)
    if (kind := tree.pop("kind", "kintrack")) != "kintrack":
        raise ValueError(f"there is no tracker {kind!r}: {nearest_name(str(kind), ['kintrack', 'dreem'])}")
    return handler(tree)


if TYPE_CHECKING:
    AnyTracker = TrackerConfig | DreemTrackerConfig
else:
    # Not a union: where an option is wrong, pydantic would name it for each member of one.
    AnyTracker = Annotated[SerializeAsAny[TrackerConfig], WrapValidator(_which_tracker)]


def with_card(config: Mapping[str, Any], card: Mapping[str, Any]) -> dict[str, Any]:
    """What was said, over what a model's card asks for: its tracker, unless another one was chosen."""
    tree = dict(config)
    said, asked = tracker_tree(tree.pop("tracker", None)), tracker_tree(card.get("tracker"))
    if is_dreems(said) and not is_dreems(asked):
        asked = {}
    return merge({"tracker": asked, "dreem": card.get("crops", {})}, tree, {"tracker": said})


__all__ = ["AnyTracker", "DreemCrops", "DreemTrackerConfig", "tracker_tree", "with_card"]
