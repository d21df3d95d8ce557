"""The model that a run starts from: a fresh one, or one whose weights are there already."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from f2at.models import Classifier, create_model, is_checkpoint, load_checkpoint, load_weights
from f2at.models.from_timm import PREFIX, PRETRAINED, timm_parts, timm_settings
from f2at.training.configuration.options import SIZE, Config, ConfigError, DataConfig, ModelConfig
from f2at.training.data import channel_statistics
from f2at.training.data.mapped import MappedImages


class Start(NamedTuple):
    """A model, the arguments of `create_model` that describe it, and a line on where its weights come from."""

    model: Classifier
    architecture: dict[str, Any]
    note: str | None


def with_size(config: Config) -> Config:
    """With the size of the images: the one given, or the one that the weights or the timm model are used to."""
    if config.data.size is not None:
        return config
    size, name, weights = SIZE, config.model.name, config.model.weights
    if weights and is_checkpoint(Path(weights)):
        size = load_checkpoint(Path(weights))[1].input_size[0]
    elif name and name.startswith(PREFIX):
        size = timm_settings(name).size
    return replace(config, data=replace(config.data, size=size))


def starting_model(
    config: ModelConfig, data: DataConfig, classes: Sequence[str], images: Tensor | MappedImages
) -> Start:
    """The model to train.

    Args:
        config: `weights` may be a checkpoint of this package, which gives the architecture and the channel statistics
            as well; what else is given must agree with it. Or it is a safetensors file whose tensors are named as the
            architecture names them, or "pretrained" for timm's own. A head for the same classes is kept: by their names
            where the file has them, otherwise by their number. Any other head is a fresh one.
        data: of which the size matters to some architectures.
        classes: the names of the data set's classes.
        images: uint8 (N, 3, H, W), the training images, whose statistics a fresh model takes.

    Raises:
        ValueError: the file is no checkpoint (`CheckpointError`), or is of another architecture (`ConfigError`).
    """
    if config.weights and is_checkpoint(Path(config.weights)):
        return _from_checkpoint(config, data.preparation.size[0], classes)
    if config.name.startswith(PREFIX):
        return _from_timm(config, data.preparation.size[0], classes)
    if config.weights == PRETRAINED:
        raise ConfigError(f"model.weights = {PRETRAINED} needs model.name = {PREFIX}NAME; got {config.name!r}")
    mean, std = channel_statistics(images)
    shape = {"name": config.name, "classes": len(classes), "width": config.width, "depth": config.depth}
    architecture: dict[str, Any] = {**shape, "mean": mean, "std": std}
    model = create_model(**architecture)
    if config.weights is None:
        return Start(model, architecture, None)
    tensors, _ = load_weights(Path(config.weights))
    own = model.state_dict()
    kept = "head.weight" in tensors and tensors["head.weight"].shape == own["head.weight"].shape
    ours = tuple(name for name in own if name.startswith("normalize.") or (name.startswith("head.") and not kept))
    try:
        model.load_state_dict({**tensors, **{name: own[name] for name in ours}})
    except RuntimeError as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[1:2])
        raise ConfigError(
            f"model.weights = {config.weights} does not fit model.name = {config.name}: {reason[:300]}"
        ) from None
    return Start(model, architecture, _said(config.weights, kept))


def _from_checkpoint(config: ModelConfig, size: int, classes: Sequence[str]) -> Start:
    assert config.weights is not None
    trained, info = load_checkpoint(Path(config.weights))
    for key in ("name", "width", "depth"):
        wanted, found = getattr(config, key), info.architecture.get(key)
        if wanted not in (None, found):
            raise ConfigError(f"model.{key} must be {found} with model.weights = {config.weights}; got {wanted}")
    architecture = {**info.architecture, "classes": len(classes)}
    if "size" in architecture:
        architecture["size"] = size
    model = create_model(**architecture)
    kept = info.classes == tuple(classes)
    try:
        model.body.load_state_dict(trained.body.state_dict())
    except RuntimeError:  # position embeddings, for example, are of one size
        raise ConfigError(
            f"data.size must be {info.input_size[0]} with model.weights = {config.weights}; got {size}"
        ) from None
    if kept:
        model.head.load_state_dict(trained.head.state_dict())
    return Start(model, architecture, _said(config.weights, kept, info.classes))


def _from_timm(config: ModelConfig, size: int, classes: Sequence[str]) -> Start:
    for key in ("width", "depth"):
        if getattr(config, key) is not None:
            raise ConfigError(f"model.{key} must be left out with {config.name}; got {getattr(config, key)}")
    settings = timm_settings(config.name)
    weights = config.weights if config.weights in (None, PRETRAINED) else load_weights(Path(config.weights))[0]
    try:
        body, features, classifier = timm_parts(config.name, size, weights)
    except ValueError as error:
        raise ConfigError(f"model.weights = {config.weights}: {error}" if config.weights else str(error)) from error
    statistics = {"mean": list(settings.mean), "std": list(settings.std)}
    architecture = {"name": config.name, "classes": len(classes), "size": size, **statistics}
    model = Classifier(body, width=features, classes=len(classes), **statistics)
    kept = classifier is not None and classifier.out_features == len(classes)
    if kept:
        assert isinstance(classifier, nn.Linear)
        model.head.load_state_dict(classifier.state_dict())
    return Start(model, architecture, _said(config.weights, kept) if config.weights else None)


def _said(weights: str, kept: bool, classes: Sequence[str] = ()) -> str:
    others = f" ({', '.join(classes[:3])}, ...)" if classes else ""
    head = "its head" if kept else f"a fresh head, since its classes are others{others}"
    return f"starts from {weights}, with {head}"
