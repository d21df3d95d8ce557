"""The backward pass in operations that ONNX Runtime keeps fast: convolutions, in its blocked (NCHWc) layout.

PyTorch's autodiff emits ATen's backward operators. Each rule here replaces one of them by an equal computation from
convolutions and products of equal shapes, which ONNX Runtime does not leave the blocked layout for; comparisons,
selections and transposed convolutions it does. Weights stay shared with the forward pass: they are flipped and
transposed by operations in the graph, which ONNX Runtime evaluates once, when it loads the model.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

aten = torch.ops.aten

# Times this, a positive activation is beyond where tanh is exactly 1, and zero remains 0: a step function.
_STEEP = 1e38


def step(x: Tensor) -> Tensor:
    """1 where x > 0 and 0 where x = 0, for x >= 0 of shape (N, C, H, W).

    A depthwise convolution and an activation that fuses into it. (x below 1e-37 counts as between the two.)
    """
    return torch.tanh(_scale(x, _STEEP))


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

    A convolution with stride s sends every s-th gradient pixel to a given residue class (mod s) of input pixels,
    so each of the s * s classes is an ordinary convolution of the gradient with some of the flipped weights. They
    are computed as one convolution with s * s as many channels, and interleaved by a pixel shuffle.
    """
    if transposed or any(factor != 1 for factor in dilation) or len(set(stride)) > 1:
        raise NotImplementedError("only plain convolutions with one stride and without dilation can be exported")
    s = stride[0]
    outputs, _, *kernel = weight.shape
    weight = weight.unflatten(0, (groups, outputs // groups)).transpose(1, 2).flatten(0, 1).flip(2, 3)

    pads, extra, taps = [], [], []
    for k, p, size, found in zip(kernel, padding, x.shape[2:], gradient.shape[2:], strict=True):
        shift, before = divmod(s - k + p, s)
        m = -(-(k + before) // s)
        taps.append(m)
        extra.append((before, s * m - k - before))
        pads.append((-shift, -(-size // s) - found + shift + m - 1))
    if s > 1:
        weight = F.pad(weight, (*extra[1], *extra[0]))
        weight = weight.unflatten(3, (taps[1], s)).unflatten(2, (taps[0], s)).flip(3, 5)
        weight = weight.permute(0, 3, 5, 1, 2, 4).flatten(0, 2)
    if any(first != last for first, last in pads):
        gradient = F.pad(gradient, (*pads[1], *pads[0]))
        pads = [(0, 0), (0, 0)]
    symmetric = [first for first, _ in pads]
    result = F.conv2d(gradient, weight, padding=symmetric, groups=groups)
    if s > 1:
        result = F.pixel_shuffle(result, s)
        if result.shape[2:] != x.shape[2:]:
            result = result[:, :, : x.shape[2], : x.shape[3]]
        result = _scale(result, 1.0)
    return result, None, None


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
    """For aten.max_pool2d_with_indices_backward: each gradient goes to its window's first maximum, as in autograd."""
    indices = rest[-1]
    zeros = torch.zeros_like(x).flatten(2)
    return _scale(zeros.scatter_add(2, indices.flatten(2), gradient.flatten(2)).view_as(x), 1.0)


RULES: dict[Any, Callable[..., Any]] = {
    aten.threshold_backward.default: relu_backward,
    aten.convolution_backward.default: convolution_backward,
    aten.avg_pool2d_backward.default: average_pool_backward,
    aten.max_pool2d_with_indices_backward.default: max_pool_backward,
}


def _scale(x: Tensor, factor: float) -> Tensor:
    """Multiply by a constant, as a depthwise convolution."""
    channels = x.shape[1]
    kernel = torch.full((channels, 1, 1, 1), factor)
    return F.conv2d(x, kernel, groups=channels)
