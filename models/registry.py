"""Architectures by name."""

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from f2at.models.classifier import Classifier
from f2at.models.from_timm import PREFIX, timm_parts, timm_settings
from f2at.models.resnet import BasicBlock, Bottleneck, resnet
from f2at.models.vgg import vgg16_bn
from f2at.models.wide_resnet import wide_resnet

Body = tuple[nn.Module, int]

# name -> (builder of the body from depth and width, default depth, default width: those of the paper)
ARCHITECTURES: Mapping[str, tuple[Callable[[int, int], Body], int, int]] = {
    "resnet18": (lambda _, width: resnet(BasicBlock, (2, 2, 2, 2), width), 18, 64),
    "resnet50": (lambda _, width: resnet(Bottleneck, (3, 4, 6, 3), width), 50, 64),
    "wide_resnet": (wide_resnet, 34, 10),
    "vgg16_bn": (lambda _, width: vgg16_bn(width), 16, 64),
}

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)


def create_model(
    name: str,
    *,
    classes: int,
    width: int | None = None,
    depth: int | None = None,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Classifier:
    """A freshly initialised classifier.

    Args:
        name: one of `ARCHITECTURES`, or "timm/NAME" for one of timm's.
        classes: number of classes, at least 2.
        width: channels of the first stage (resnet, vgg: 64) or widening factor (wide_resnet: 10).
        depth: layers; only wide_resnet can be built with another depth than its name says (34).
        size: height and width of the images; only some of timm's ask for it.
        mean, std: of each channel of the training images, in [0, 1]; those of CIFAR-10, or timm's own, by default.

    Raises:
        ValueError: the argument's name, what is accepted and what came.
    """
    if classes < 2:
        raise ValueError(f"classes must be at least 2; got {classes}")
    if name.startswith(PREFIX):
        for option, given in (("width", width), ("depth", depth)):
            if given is not None:
                raise ValueError(f"{option} must be left out, since {name} has its own; got {given}")
        settings = timm_settings(name)
        parts = timm_parts(name, size or settings.size)
        return Classifier(
            parts.body,
            width=parts.features,
            classes=classes,
            mean=mean or settings.mean,
            std=std or settings.std,
        )
    if name not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}, or {PREFIX}NAME; got {name!r}")
    build, default_depth, default_width = ARCHITECTURES[name]
    depth = default_depth if depth is None else depth
    width = default_width if width is None else width
    if width < 1:
        raise ValueError(f"width must be at least 1; got {width}")
    if name != "wide_resnet" and depth != default_depth:
        raise ValueError(f"depth of {name} is {default_depth}; got {depth}")
    body, features = build(depth, width)
    return Classifier(body, width=features, classes=classes, mean=mean or CIFAR10_MEAN, std=std or CIFAR10_STD)
