"""Convolutions, and all that is one of a constant kernel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f2at.gradient.builder import Builder, Node, UnsupportedOperationError
from f2at.gradient.rules.registry import Gradients, rule


@dataclass(frozen=True)
class Window:
    """How a kernel goes over the axes of an image; a number for each axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]  # padding before
    end: tuple[int, ...]  # and behind

    @classmethod
    def of(cls, node: Node, image: Sequence[int], result: Sequence[int], kernel: Sequence[int]) -> "Window":
        """As a node's attributes say, for an `image` and a `result` of these sizes; `auto_pad` is worked out."""
        rank = len(kernel)
        strides, dilations = (tuple(node.attributes.get(name, [1] * rank)) for name in ("strides", "dilations"))
        automatic = node.attributes.get("auto_pad", "NOTSET") or "NOTSET"
        if automatic == "NOTSET":
            pads = tuple(node.attributes.get("pads", [0] * 2 * rank))
            begin, end = pads[:rank], pads[rank:]
        elif automatic == "VALID":
            begin, end = (0,) * rank, (0,) * rank
        else:
            reach = [(result[k] - 1) * strides[k] + (kernel[k] - 1) * dilations[k] + 1 for k in range(rank)]
            missing = [max(reach[k] - image[k], 0) for k in range(rank)]
            small, large = tuple(n // 2 for n in missing), tuple(n - n // 2 for n in missing)
            begin, end = (small, large) if automatic == "SAME_UPPER" else (large, small)
        return cls(tuple(kernel), strides, dilations, begin, end)


@rule("Conv")
def convolve(b: Builder, node: Node, gradient: str) -> Gradients:
    """The transposed convolution; kernels are weights."""
    kernel = b.value(node, 1, "a kernel")
    image, result = b.tensors[node.inputs[0]].shape, b.tensors[node.outputs[0]].shape
    window = Window.of(node, image[2:], result[2:], kernel.shape[2:])
    return [transposed(b, gradient, kernel, window, image, result, node.attributes.get("group", 1))]


@rule("ConvTranspose")
def convolve_transposed(b: Builder, node: Node, gradient: str) -> Gradients:
    """The convolution with the same kernel."""
    kernel = b.value(node, 1, "a kernel")
    if node.attributes.get("auto_pad", "NOTSET") not in ("", "NOTSET") or "output_shape" in node.attributes:
        raise UnsupportedOperationError("ConvTranspose with auto_pad or output_shape")
    rank = kernel.ndim - 2
    shared = ("strides", "dilations", "pads", "group")
    keep = {name: node.attributes[name] for name in shared if name in node.attributes}
    gradient = b("Conv", gradient, b.matrix(kernel), kernel_shape=list(kernel.shape[2:]), **keep)
    # Output padding may let the convolution take further steps; they lie beyond the input.
    image = b.tensors[node.inputs[0]].shape[2:]
    axes = range(2, 2 + rank)
    return [b("Slice", gradient, b.integers(*[0] * rank), b.integers(*image), b.integers(*axes))]


def transposed(
    b: Builder,
    gradient: str,
    kernel: NDArray[Any],
    window: Window,
    image: Sequence[int],
    result: Sequence[int],
    group: int,
) -> str:
    """The gradient of a convolution by its input.

    Args:
        b: writes it.
        gradient: of the convolution's output.
        kernel: (K, C / group, *kernel).
        window: of the convolution.
        image: the shape of its input, (N, C, *sizes).
        result: the shape of its output, (N, K, *sizes).
        group: of the convolution.
    """
    rank = len(window.kernel)
    reach = [(size - 1) * dilation for size, dilation in zip(window.kernel, window.dilations, strict=True)]
    begin = [reach[k] - window.begin[k] for k in range(rank)]
    # What the last step of the window left over on the far side has a gradient of zero.
    covered = [(result[2 + k] - 1) * window.strides[k] + reach[k] + 1 - window.begin[k] for k in range(rank)]
    if set(window.strides) == {1} and min(*begin, *(image[2 + k] - covered[k] + reach[k] for k in range(rank))) >= 0:
        # A plain convolution with the kernel turned round is several times as fast as ConvTranspose.
        out_channels, in_channels = kernel.shape[:2]
        grouped = kernel.reshape(group, out_channels // group, in_channels, *window.kernel).swapaxes(1, 2)
        turned = np.flip(grouped.reshape(group * in_channels, -1, *window.kernel), axis=tuple(range(2, 2 + rank)))
        end = [image[2 + k] + reach[k] - result[2 + k] - begin[k] for k in range(rank)]
        return b(
            "Conv",
            gradient,
            b.matrix(turned),
            kernel_shape=list(window.kernel),
            dilations=list(window.dilations),
            pads=[*begin, *end],
            group=group,
        )
    left = [max(image[2 + k] - covered[k], 0) for k in range(rank)]
    cut = [max(covered[k] - image[2 + k], 0) for k in range(rank)]
    padded = b(
        "ConvTranspose",
        gradient,
        b.matrix(kernel),
        kernel_shape=list(window.kernel),
        strides=list(window.strides),
        dilations=list(window.dilations),
        pads=[*window.begin, *cut],
        group=group,
    )
    return b.pad(padded, 2 + rank, {2 + k: (0, left[k]) for k in range(rank)}) if any(left) else padded
