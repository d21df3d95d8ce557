"""Image classifiers h = T o E with normalisation inside, and the checkpoint format."""

from f2at.models.checkpoint import CheckpointError, CheckpointInfo, load_checkpoint, save_checkpoint
from f2at.models.classifier import Classifier
from f2at.models.registry import ARCHITECTURES, create_model

__all__ = [
    "ARCHITECTURES",
    "CheckpointError",
    "CheckpointInfo",
    "Classifier",
    "create_model",
    "load_checkpoint",
    "save_checkpoint",
]
