"""Image classifiers h = T o E with normalisation inside, and the checkpoint format."""

from f2at.models.checkpoint import (
    CheckpointError,
    CheckpointInfo,
    is_checkpoint,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from f2at.models.classifier import Classifier
from f2at.models.registry import ARCHITECTURES, create_model

__all__ = [
    "ARCHITECTURES",
    "CheckpointError",
    "CheckpointInfo",
    "Classifier",
    "create_model",
    "is_checkpoint",
    "load_checkpoint",
    "load_weights",
    "save_checkpoint",
]
