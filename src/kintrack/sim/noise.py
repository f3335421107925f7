"""How a detector errs: the options."""

from typing import Self

import pydantic
from pydantic import Field

from kintrack.config import Config


class NoiseConfig(Config):
    """How a detector errs. Shares are of the true detections."""

    miss: float = Field(default=0.0, ge=0, le=1)
    """Share missed singly, each by itself."""
    burst: float = Field(default=0.0, ge=0, lt=1)
    """Share missed in bursts, several frames of one individual in a row."""
    burst_length: tuple[int, int] = (2, 25)
    """Least and greatest length of a burst, in frames."""
    blank_frames: float = Field(default=0.0, ge=0, lt=1)
    """Share of the frames in which nothing at all is detected: a frame lost by the camera, a detector that failed."""
    occlusion: float | None = Field(default=None, gt=0, le=1)
    """Share of its box above which a body that lies behind one nearer body is missed; None: never."""
    occluders: int = Field(default=0, ge=0)
    """Objects that stand still and hide whoever is behind them; each is put where somebody passes."""
    occluder_size: tuple[float, float] = (2.0, 8.0)
    """Least and greatest side of such an object, in sizes; a third of the picture's at most."""
    occluder_share: float = Field(default=0.6, ge=0, lt=1)
    """Share of its box above which a body behind such an object is missed."""
    merge: float = Field(default=0.0, ge=0, le=1)
    """Share of the pairs of overlapping individuals that are seen as one, in the box around both."""
    merge_overlap: float = Field(default=0.3, ge=0, lt=1)
    """Overlap (intersection over union) above which two can be seen as one."""
    merge_owned: float = Field(default=0.7, ge=0, le=1)
    """Share of such detections that have the identity of one of the two; the others are nobody's."""
    jitter: float = Field(default=0.0, ge=0)
    """Standard deviation of a box's middle and of keypoints, in x and in y, in sizes of the object."""
    scale_jitter: float = Field(default=0.0, ge=0)
    """Standard deviation of a box's width and height, in their logarithm."""
    slow_jitter: float = Field(default=0.0, ge=0)
    """The same as `jitter`, of an error that an individual keeps for a while; both add up."""
    slow_scale_jitter: float = Field(default=0.0, ge=0)
    """The same as `scale_jitter`, of an error that an individual keeps for a while."""
    slow_length: float = Field(default=10.0, gt=0)
    """Frames for which such an error is remembered: after them, 1/e of it is left on average."""
    keyframes: tuple[int, int] | None = None
    """Annotated in one of so many frames only (least and greatest number), between which boxes are linear; None: no."""
    held_sides: bool = False
    """Between key frames a box keeps the sides that it had in the last one, and only its middle moves."""
    grid: float = Field(default=0.0, ge=0)
    """Boxes are rounded to multiples of so many pixels, their lower corner and their sides; 0 is not at all."""
    rescale: float = Field(default=1.0, gt=0)
    """What all boxes are larger by than the truth: detectors and annotators have their habits."""
    keypoint_miss: float = Field(default=0.0, ge=0, lt=1)
    """Share of the keypoints that are missed; a detection keeps at least one."""
    false_rate: float = Field(default=0.0, ge=0)
    """False detections, as a share of the true ones."""
    false_near: float = Field(default=0.5, ge=0, le=1)
    """Share of the false detections that lie on or beside a true one; the others are anywhere."""
    false_length: float = Field(default=1.0, ge=1)
    """Frames for which a false detection stays, on average."""
    point_size: float | None = Field(default=None, gt=0)
    """Size in pixels of an object given as a point; None: a quarter of the median distance to the nearest neighbour."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        for name, what in (("burst_length", "length"), ("keyframes", "number of frames")):
            given = getattr(self, name)
            if given is not None and not 1 <= given[0] <= given[1]:
                raise ValueError(f"{name} is {given}; wanted a least and a greatest {what}, from 1 up")
        if self.held_sides and self.keyframes is None:
            raise ValueError("held_sides is about key frames; set keyframes, or held_sides to False")
        if not 0 < self.occluder_size[0] <= self.occluder_size[1]:
            raise ValueError(f"occluder_size is {self.occluder_size}; wanted a least and a greatest side, above 0")
        return self
