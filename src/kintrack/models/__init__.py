"""Tensors in, tensors out: the Global Tracking Transformer. Knows nothing of files, detections or Lightning."""

from kintrack.models.gtr import AssociationMatrix, GlobalTrackingTransformer

__all__ = ["AssociationMatrix", "GlobalTrackingTransformer"]
