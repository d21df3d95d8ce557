"""ResNet for small images (He et al., CVPR 2016): a 3x3 stem without pooling, four stages."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def _conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class _EveryOther(nn.Module):
    """Every second row and column of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, ::2, ::2]


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    if stride == 2 and inputs < 8:
        # The same function and the same names. A strided 1x1 convolution of fewer channels than a vector holds, in
        # channels-last memory, writes past its workspace on processors with AVX2 (oneDNN issue 6035).
        convolution, norm = _conv_bn(inputs, outputs, 1)
        return nn.Sequential(OrderedDict({"every_other": _EveryOther(), "0": convolution, "1": norm}))
    return _conv_bn(inputs, outputs, 1, stride)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            _conv_bn(inputs, width, 3, stride), nn.ReLU(inplace=True), _conv_bn(width, width, 3)
        )
        self.shortcut = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.branch(x) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up, and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.branch = nn.Sequential(
            _conv_bn(inputs, width, 1),
            nn.ReLU(inplace=True),
            _conv_bn(width, width, 3, stride),
            nn.ReLU(inplace=True),
            _conv_bn(width, outputs, 1),
        )
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.branch(x) + self.shortcut(x))


def resnet(block: type[BasicBlock] | type[Bottleneck], depths: Sequence[int], width: int) -> tuple[nn.Module, int]:
    """A ResNet body and its number of features.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        depths: blocks in each stage; every stage after the first halves the image and doubles the width.
        width: channels of the first stage (64 in the paper).
    """
    layers: list[nn.Module] = [_conv_bn(3, width, 3), nn.ReLU(inplace=True)]
    channels = width
    for stage, depth in enumerate(depths):
        for index in range(depth):
            stride = 2 if stage > 0 and index == 0 else 1
            layers.append(block(channels, width << stage, stride))
            channels = (width << stage) * block.expansion
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers), channels
