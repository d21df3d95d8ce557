"""Architectures of timm (PyTorch Image Models), with its weights if asked: their features, and a head of our own.

timm takes seconds to import, so that is left until one of its models is asked for.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

PREFIX = "timm/"
PRETRAINED = "pretrained"


class TimmBody(nn.Module):
    """A timm model without its classifier: normalised images (N, 3, H, W) to pooled features (N, D)."""

    model: Any  # timm's models are modules with methods of their own

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """As timm's own forward does, up to the classifier."""
        features: Tensor = self.model.forward_head(self.model.forward_features(x), pre_logits=True)
        return features


def is_timm(model: nn.Module) -> bool:
    """Whether a classifier is built on one of timm's models, which `torch.fx` is not to trace.

    Tracing would fix what their layers do in train mode, and some of their norms are activations as well.
    """
    return isinstance(getattr(model, "body", None), TimmBody)


class Settings(NamedTuple):
    """What a timm model expects of its images: their size in pixels, and mean and deviation of each channel."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Parts(NamedTuple):
    """A body, the number of its features, and the classifier that its weights came with, if any."""

    body: TimmBody
    features: int
    classifier: nn.Linear | None


def timm_settings(name: str) -> Settings:
    """The settings of `timm/NAME` or `timm/NAME.TAG`.

    Raises:
        ValueError: there is no such model.
    """
    config = _configuration(name)
    return Settings(int(config.input_size[-1]), tuple(config.mean), tuple(config.std))


def timm_parts(name: str, size: int, weights: Mapping[str, Tensor] | str | None = None) -> Parts:
    """The parts of `timm/NAME`, built for square images of a size.

    Args:
        name: of the model, with a tag where it has several sets of weights.
        size: in pixels; most networks of convolutions take any.
        weights: named tensors as timm names them; "pretrained" for those that the hub has; None for random ones.

    Raises:
        ValueError: there is no such model, it takes no images of this size, its classifier is not one linear layer, or
            the weights do not fit or cannot be fetched.
    """
    import timm

    configuration = _configuration(name)
    options: dict[str, Any] = {"img_size": size} if configuration.fixed_input_size else {}
    if isinstance(weights, Mapping):
        found = _classes(weights, configuration.classifier)
        options |= {"pretrained": True, "num_classes": found}
        options["pretrained_cfg_overlay"] = {"state_dict": dict(weights), "num_classes": found}
    else:
        options["pretrained"] = weights == PRETRAINED
    try:
        model: Any = timm.create_model(name.removeprefix(PREFIX), **options).eval()
        probe = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            scores, features = model(probe), TimmBody(model)(probe)
    except Exception as error:  # of timm, of the hub's client, of whichever network library it uses
        raise ValueError(_reason(name, size, weights, error)) from error
    classifier = model.get_classifier() if model.num_classes else None
    if classifier is not None and not _is_all(classifier, features, scores):
        raise ValueError(f"architecture {name} cannot be used: it does not end in features and one linear layer")
    model.reset_classifier(0)
    return Parts(TimmBody(model.train()), features.shape[1], classifier)


def _is_all(classifier: Any, features: Tensor, scores: Tensor) -> bool:
    """Whether a classifier is one linear layer, and all that there is from features (N, D) to scores (N, C)."""
    if not isinstance(classifier, nn.Linear) or features.shape[1:] != (classifier.in_features,):
        return False
    return torch.allclose(classifier(features), scores, rtol=1e-3, atol=1e-4)


def _configuration(name: str) -> Any:
    import timm

    from f2at.command_line import suggestion

    bare = name.removeprefix(PREFIX)
    architecture, _, tag = bare.partition(".")
    known = timm.list_models(architecture) if not tag else timm.list_pretrained(f"{architecture}.*")
    if bare not in known:
        near = suggestion(bare, timm.list_pretrained() if tag else timm.list_models(), PREFIX)
        raise ValueError(f"architecture must be one that timm has; got {name!r}{near}")
    return timm.get_pretrained_cfg(bare)


def _classes(weights: Mapping[str, Tensor], classifier: str | Sequence[str] | None) -> int:
    """Of the classifier among the tensors; 0 without one."""
    names = [classifier] if isinstance(classifier, str) else classifier or []
    return next((len(weights[f"{name}.weight"]) for name in names if f"{name}.weight" in weights), 0)


def _reason(name: str, size: int, weights: Mapping[str, Tensor] | str | None, error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if weights == PRETRAINED:
        return (
            f"the pretrained weights of {name} cannot be had ({lines[0]}); without a network, fetch the safetensors "
            "file where there is one and give its path"
        )
    if weights is not None:
        return f"the weights do not fit {name}: {lines[min(1, len(lines) - 1)][:300]}"
    return f"architecture {name} takes no images of {size} pixels: {lines[0]}"
