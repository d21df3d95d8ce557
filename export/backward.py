"""The backward pass in operations that ONNX Runtime keeps fast: convolutions, in its blocked (NCHWc) layout.

PyTorch's autodiff emits ATen's backward operators. Each rule here replaces one of them by an equal computation from
convolutions and products of equal shapes, for which ONNX Runtime stays in the blocked layout; comparisons, selections
and transposed convolutions make it leave. Weights stay shared with the forward pass: they are flipped and
transposed by operations in the graph, which ONNX Runtime evaluates once, when it loads the model.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

aten = torch.ops.aten

_STEEP = 1e30


def step(x: Tensor) -> Tensor:
    """1 where x > 0 and 0 where x = 0, for x >= 0 of shape (N, C, H, W), exactly (unless 0 < x < 1e-29).

    A depthwise convolution, x -> 1e30 x - 4, and an activation that ONNX Runtime fuses into it: hard sigmoid is
    0 below -3 and 1 above 3.
    """
    channels = x.shape[1]
    kernel, bias = torch.full((channels, 1, 1, 1), _STEEP), torch.full((channels,), -4.0)
    return F.hardsigmoid(F.conv2d(x, kernel, bias, groups=channels))


def relu_backward(gradient: Tensor, output: Tensor, threshold: float) -> Tensor:
    """For aten.threshold_backward: the gradient where the output is positive."""
    if gradient.ndim != 4 or threshold != 0:
        return torch.where(output <= threshold, 0.0, gradient)
    return gradient * step(output)


def convolution_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    _bias_sizes: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    _output_padding: Any,
    groups: int,
    _output_mask: Any,
) -> tuple[Tensor, None, None]:
    """For aten.convolution_backward: the gradient with respect to the input, of shape (N, C, H, W).

    The gradient of a convolution with stride s puts every s-th input pixel, a residue class (mod s), together from
    the same taps of the kernel. So each of the s * s classes is an ordinary convolution of the output's gradient with
    a part of the flipped, transposed weight. They are computed as one, with s * s times the channels, and interleaved.
    """
    s = stride[0]
    if transposed or set(stride) != {s} or set(dilation) != {1} or (s > 1 and groups > 1):
        raise NotImplementedError(
            "only convolutions with one stride for both axes, without dilation, and without groups if the stride "
            "is not 1, can be exported"
        )
    size = int(x.shape[2]), int(x.shape[3])
    outputs = weight.shape[0]
    weight = weight.unflatten(0, (groups, outputs // groups)).transpose(1, 2).flatten(0, 1).flip(2, 3)
    fill, pads = [], []
    for axis in (1, 0):  # F.pad takes the last axis first
        kernel = weight.shape[2 + axis]
        # Pixel s * i + r takes tap s * (o - shift) + (s - 1 - r) of the flipped kernel, filled up with zeros to
        # a multiple of s, from gradient pixel i + o.
        shift, before = divmod(s - kernel + padding[axis], s)
        taps = -(-(kernel + before) // s)
        fill += [before, s * taps - kernel - before]
        pads += [-shift, -(-size[axis] // s) - gradient.shape[2 + axis] + shift + taps - 1]
    if s > 1:
        weight = F.pad(weight, fill)
        weight = weight.unflatten(3, (-1, s)).unflatten(2, (-1, s)).flip(3, 5)  # (C, K, taps, s, taps, s)
        weight = weight.permute(3, 5, 0, 1, 2, 4).flatten(0, 2)
    if pads[0] == pads[1] >= 0 and pads[2] == pads[3] >= 0:
        result = F.conv2d(gradient, weight, padding=(pads[2], pads[0]), groups=groups)
    else:
        result = F.conv2d(F.pad(gradient, pads), weight, groups=groups)
    return (_enter(_interleave(result, s, size)) if s > 1 else result), None, None


def average_pool_backward(gradient: Tensor, x: Tensor, kernel: Sequence[int], *_: Any) -> Tensor:
    """For aten.avg_pool2d_backward over whole images: spread (N, C, 1, 1) evenly over (N, C, H, W).

    That is the transpose of the pooling as a depthwise convolution.
    """
    if tuple(kernel) != tuple(x.shape[2:]):
        raise NotImplementedError("only average pooling over whole images can be exported")
    height, width = (int(size) for size in kernel)
    channels = int(x.shape[1])
    spread = torch.full((channels, 1, height, width), 1 / (height * width))
    padding = [height - 1, width - 1]
    return F.conv2d(gradient, spread, padding=padding, groups=channels)


def max_pool_backward(gradient: Tensor, x: Tensor, *rest: Any) -> Tensor:
    """For aten.max_pool2d_with_indices_backward: each gradient goes to the maximum that the forward pass took."""
    indices = rest[-1]
    zeros = torch.zeros_like(x).flatten(2)
    return _enter(zeros.scatter_add(2, indices.flatten(2), gradient.flatten(2)).view_as(x))


RULES: dict[Any, Callable[..., Any]] = {
    aten.threshold_backward.default: relu_backward,
    aten.convolution_backward.default: convolution_backward,
    aten.avg_pool2d_backward.default: average_pool_backward,
    aten.max_pool2d_with_indices_backward.default: max_pool_backward,
}


def _interleave(classes: Tensor, s: int, size: tuple[int, int]) -> Tensor:
    """Residue classes (N, s*s*C, h, w) to pixels (N, C, s*h, s*w), cut to `size`.

    With the channels last it is a move of whole rows of s * C numbers, ten times faster than a pixel shuffle; and
    ONNX Runtime's reordering into and out of the blocked layout does the change of layout.
    """
    n, channels, rows, columns = classes.shape
    pixels = classes.permute(0, 2, 3, 1).reshape(n, rows, columns, s, channels // s)
    pixels = pixels.transpose(2, 3).reshape(n, s * rows, s * columns, channels // s**2)
    if (s * int(rows), s * int(columns)) != size:
        pixels = pixels[:, : size[0], : size[1]]
    return pixels.permute(0, 3, 1, 2)


def _enter(x: Tensor) -> Tensor:
    """The identity, as a depthwise convolution: ONNX Runtime enters the blocked layout at convolutions only."""
    channels = x.shape[1]
    return F.conv2d(x, torch.ones(channels, 1, 1, 1), groups=channels)
