"""The model that a run starts from: a fresh one, or one whose weights are there already."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from f2at.models import Classifier, create_model, load_checkpoint
from f2at.training.configuration.options import ConfigError, ModelConfig
from f2at.training.data import channel_statistics


class Start(NamedTuple):
    """A model, the arguments of `create_model` that describe it, and a line on where its weights come from."""

    model: Classifier
    architecture: dict[str, Any]
    note: str | None


def starting_model(config: ModelConfig, classes: Sequence[str], images: Tensor) -> Start:
    """The model to train.

    Args:
        config: with `weights`, a checkpoint of this package gives the architecture, the weights and the channel
            statistics that they are used to; what else is given must agree with it. Its head is kept if it has
            the same classes in the same order, or else is a fresh one.
        classes: the names of the data set's classes.
        images: uint8 (N, 3, H, W), the training images, whose statistics a fresh model takes.

    Raises:
        ValueError: the file is no checkpoint (`CheckpointError`), or is of another architecture (`ConfigError`).
    """
    if config.weights is None:
        mean, std = channel_statistics(images)
        shape = {"name": config.name, "classes": len(classes), "width": config.width, "depth": config.depth}
        architecture: dict[str, Any] = {**shape, "mean": mean, "std": std}
        return Start(create_model(**architecture), architecture, None)
    trained, info = load_checkpoint(Path(config.weights))
    for key in ("name", "width", "depth"):
        wanted, found = getattr(config, key), info.architecture.get(key)
        if wanted not in (None, found):
            raise ConfigError(f"model.{key} must be {found} with model.weights = {config.weights}; got {wanted}")
    architecture = {**info.architecture, "classes": len(classes)}
    model = create_model(**architecture)
    kept = info.classes == tuple(classes)
    model.body.load_state_dict(trained.body.state_dict())
    if kept:
        model.head.load_state_dict(trained.head.state_dict())
    head = "its head" if kept else f"a fresh head, since its classes are others ({', '.join(info.classes[:3])}, ...)"
    return Start(model, architecture, f"starts from {config.weights}, with {head}")
