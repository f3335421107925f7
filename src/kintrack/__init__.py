"""Who is who, and who came from whom, for every animal and every cell in a video.

    import kintrack
    tracks = kintrack.load("poses.slp")          # any format: detections, with identities where the file has them
    kintrack.save(tracks, "tracked.csv")
    kintrack.evaluate(truth, prediction)         # every measure of how well a prediction did

    from kintrack import api
    api.track("poses.slp", "tracked.slp")        # what the command line does, from Python

Names are loaded when they are first used, so that ``import kintrack`` costs nothing, and nothing but the models and
their training ever loads torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from kintrack._version import __version__

if TYPE_CHECKING:
    from kintrack.core.clip import Clip, Frame, Instance
    from kintrack.core.detections import Detections, Skeleton, VideoInfo
    from kintrack.core.tracks import Tracks
    from kintrack.core.video import ArrayLabelVideo, ArrayVideo, LabelVideo, Video
    from kintrack.errors import KintrackError
    from kintrack.io import load, load_labels, load_video, save
    from kintrack.metrics import Evaluation, evaluate
    from kintrack.models.gtr import AssociationMatrix, GlobalTrackingTransformer
    from kintrack.segmentation import segment
    from kintrack.sim import observe, simulate
    from kintrack.tracking import Tracker
    from kintrack.training.loss import AssoLoss
    from kintrack.training.runner import GTRRunner

__all__ = [
    "ArrayLabelVideo",
    "ArrayVideo",
    "AssoLoss",
    "AssociationMatrix",
    "Clip",
    "Detections",
    "Evaluation",
    "Frame",
    "GTRRunner",
    "GlobalTrackingTransformer",
    "Instance",
    "KintrackError",
    "LabelVideo",
    "Skeleton",
    "Tracker",
    "Tracks",
    "Video",
    "VideoInfo",
    "__version__",
    "evaluate",
    "load",
    "load_labels",
    "load_video",
    "observe",
    "save",
    "segment",
    "simulate",
]

_HOME = {
    "ArrayLabelVideo": "core.video",
    "ArrayVideo": "core.video",
    "AssoLoss": "training.loss",
    "AssociationMatrix": "models.gtr",
    "Clip": "core.clip",
    "Detections": "core.detections",
    "Evaluation": "metrics",
    "Frame": "core.clip",
    "GTRRunner": "training.runner",
    "GlobalTrackingTransformer": "models.gtr",
    "Instance": "core.clip",
    "KintrackError": "errors",
    "LabelVideo": "core.video",
    "Skeleton": "core.detections",
    "Tracker": "tracking",
    "Tracks": "core.tracks",
    "Video": "core.video",
    "VideoInfo": "core.detections",
    "evaluate": "metrics",
    "load": "io",
    "load_labels": "io",
    "load_video": "io",
    "observe": "sim",
    "save": "io",
    "segment": "segmentation",
    "simulate": "sim",
}


def __getattr__(name: str) -> Any:
    """The public names, each from its module when it is first asked for (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'kintrack' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"kintrack.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
