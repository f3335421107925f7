"""What of the data is used: which detections are tracked, what crops show, and how training varies both."""

from typing import Any, Literal

import pydantic
from pydantic import Field

from kintrack.config_base import Config


class AdmitConfig(Config):
    """Which detections are tracked. The others stay in the result, untracked, and it is said how many they are.

    What a person made or corrected is always tracked.
    """

    max_overlap: float | None = Field(None, ge=0, lt=1)
    """Of two boxes in a frame that overlap by more, one is set aside: that with fewer keypoints seen, then with the
    lower score, then the later row. None: nobody is."""
    overlap: Literal["smaller", "union"] = "smaller"
    """What the intersection of two boxes is a share of: the `smaller` box (as in DREEM), or their `union` (IoU)."""
    max_objects: int | None = Field(None, ge=1)
    """Detections that a frame holds at most; those of the lowest score are set aside, after what overlaps."""


class DropoutConfig(Config):
    """What is left out of training clips, as if it had not been seen, by chance."""

    share: float = Field(0.0, ge=0, le=1)
    """Chance of each one."""
    most: int | None = Field(None, ge=0)
    """How many at most: of the detections of a frame, of the keypoints of a detection. None: however many."""


class AugmentConfig(Config):
    """How pixels and places of training clips are varied: drawn once for each clip, and the same in all its frames.

    Boxes, keypoints and masks go where the pixels go.
    """

    flip: float = Field(0.5, ge=0, le=1)
    """Share of clips that are mirrored; left and right keypoints change places."""
    quarters: bool = True
    """Whether clips are turned by 0, 90, 180 or 270 degrees."""
    turn_each: float = Field(0.5, ge=0, le=1)
    """Share of clips of which each crop is turned so by itself: then nobody is known by the way they lie, as they are
    for some frames. For animals that are seen from above; models of DREEM are not taught so."""
    rotate: float = Field(0.0, ge=0, le=180)
    """Most degrees by which clips of real videos are turned besides, to either side."""
    scale: float = Field(1.0, ge=1)
    """Clips of real videos are enlarged by up to this factor, or made as much smaller."""
    brightness: float = Field(0.1, ge=0)
    """Spread of the brightness from clip to clip; 1 is from black to white."""
    shade: float = Field(0.08, ge=0)
    """Most spread of it among the crops of a clip: places in the shade."""
    contrast: float = Field(0.25, ge=0)
    """Spread of the contrast from clip to clip, in its logarithm."""
    flicker: float = Field(0.1, ge=0)
    """Most spread of it among the crops of a clip: lamps that flicker."""
    blur: float = Field(0.5, ge=0, le=1)
    """Share of clips that are out of focus: by 0.5 to 3 % of the crop's side, alike in all of a clip."""
    motion_blur: float = Field(0.0, ge=0, le=1)
    """Share of clips that are smeared along a line: by 5 to 15 % of the crop's side, alike in all of a clip."""
    noise: float = Field(0.5, ge=0, le=1)
    """Share of clips with the noise of a camera: by up to 6 % of the range from black to white."""


class CropConfig(Config):
    """What a crop shows of a detection."""

    anchors: tuple[str, ...] = ("box",)
    """What a crop is centred on: the middle of the `box`, the `centroid` (the mean of the keypoints seen, or of the own
    mask's pixels), or a keypoint by its name. Of several, each has a crop, and these are stacked as channels."""
    handle_missing: Literal["centroid", "ignore", "drop"] = "centroid"
    """Where an anchor is not seen: the crop shows the centroid, it is blank (`ignore`), or its detection is left out of
    all (`drop`): it stays in the result, untracked."""
    dilation_radius: float | None = Field(None, gt=0)
    """Pixels of the video around each keypoint seen, beyond which a crop is blank; none: it shows all."""
    own_mask: bool = False
    """Whether a crop shows the pixels of the detection's own mask alone, so that neighbours are blank."""

    @pydantic.field_validator("anchors", mode="before")
    @classmethod
    def _several(cls, anchors: Any) -> Any:
        return (anchors,) if isinstance(anchors, str) else anchors

    @pydantic.field_validator("anchors")
    @classmethod
    def _some(cls, anchors: tuple[str, ...]) -> tuple[str, ...]:
        if not anchors:
            raise ValueError("a crop needs one anchor or more: box, centroid, or keypoints by name")
        return tuple("centroid" if name == "midpoint" else name for name in anchors)  # DREEM has two words for it
