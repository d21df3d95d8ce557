"""Image classifiers h = T o E with normalisation inside, and the checkpoint format."""

from models.checkpoint import CheckpointError, CheckpointInfo, load_checkpoint, save_checkpoint
from models.classifier import Classifier
from models.registry import ARCHITECTURES, create_model

__all__ = [
    "ARCHITECTURES",
    "CheckpointError",
    "CheckpointInfo",
    "Classifier",
    "create_model",
    "load_checkpoint",
    "save_checkpoint",
]
