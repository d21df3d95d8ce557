"""Architectures by name."""

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from f2at.models.classifier import Classifier
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
    mean: Sequence[float] = CIFAR10_MEAN,
    std: Sequence[float] = CIFAR10_STD,
) -> Classifier:
    """A freshly initialised classifier.

    Args:
        name: one of `ARCHITECTURES`.
        classes: number of classes, at least 2.
        width: channels of the first stage (resnet, vgg: 64) or widening factor (wide_resnet: 10).
        depth: layers; only wide_resnet can be built with another depth than its name says (34).
        mean, std: of each channel of the training images, in [0, 1].

    Raises:
        ValueError: the argument's name, what is accepted and what came.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}; got {name!r}")
    build, default_depth, default_width = ARCHITECTURES[name]
    depth = default_depth if depth is None else depth
    width = default_width if width is None else width
    if classes < 2:
        raise ValueError(f"classes must be at least 2; got {classes}")
    if width < 1:
        raise ValueError(f"width must be at least 1; got {width}")
    if name != "wide_resnet" and depth != default_depth:
        raise ValueError(f"depth of {name} is {default_depth}; got {depth}")
    body, features = build(depth, width)
    return Classifier(body, width=features, classes=classes, mean=mean, std=std)
