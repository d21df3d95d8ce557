"""Convolutions, and all that is one of a constant kernel."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from f2at.gradient.builder import Builder, Node, UnsupportedOperationError
from f2at.gradient.rules.blocked import entered
from f2at.gradient.rules.registry import Gradients, rule
from f2at.gradient.rules.rounding import less_zero_point


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
    return [_of_image(b, node, gradient, node.inputs[1])]


@rule("ConvInteger")
def convolve_integers(b: Builder, node: Node, gradient: str) -> Gradients:
    """The same, by the kernel less its zero point."""
    return [_of_image(b, node, gradient, less_zero_point(b, node, 1, 3))]


@rule("ConvTranspose")
def convolve_transposed(b: Builder, node: Node, gradient: str) -> Gradients:
    """The convolution with the same kernel."""
    kernel = b.value(node, 1, "a kernel")
    if node.attributes.get("auto_pad", "NOTSET") not in ("", "NOTSET") or "output_shape" in node.attributes:
        raise UnsupportedOperationError("ConvTranspose with auto_pad or output_shape")
    rank = kernel.ndim - 2
    shared = ("strides", "dilations", "pads", "group")
    keep = {name: node.attributes[name] for name in shared if name in node.attributes}
    gradient = b("Conv", gradient, node.inputs[1], kernel_shape=list(kernel.shape[2:]), **keep)
    # Output padding may let the convolution take further steps; they lie beyond the input.
    image = b.tensors[node.inputs[0]].shape[2:]
    axes = range(2, 2 + rank)
    return [b("Slice", gradient, b.integers(*[0] * rank), b.integers(*image), b.integers(*axes))]


@rule("Col2Im")
def columns_to_image(b: Builder, node: Node, gradient: str) -> Gradients:
    """The patches of the gradient: a convolution with a kernel for each place in them."""
    kernel = [int(size) for size in b.value(node, 2, "a size of blocks")]
    places = math.prod(kernel)
    channels = b.tensors[node.outputs[0]].shape[1]
    one_each = np.tile(np.eye(places).reshape(places, 1, *kernel), (channels, *[1] * (1 + len(kernel))))
    window = {name: node.attributes[name] for name in ("strides", "dilations", "pads") if name in node.attributes}
    patches = b("Conv", gradient, b.matrix(one_each), kernel_shape=kernel, group=channels, **window)
    return [b("Reshape", patches, b.integers(0, channels * places, -1))]


def _of_image(b: Builder, node: Node, gradient: str, kernel: str) -> str:
    shape = b.value(node, 1, "a kernel").shape
    image, result = b.tensors[node.inputs[0]].shape, b.tensors[node.outputs[0]].shape
    window = Window.of(node, image[2:], result[2:], shape[2:])
    return transposed(b, gradient, kernel, window, image, result, node.attributes.get("group", 1))


def transposed(
    b: Builder, gradient: str, kernel: str, window: Window, image: Sequence[int], result: Sequence[int], group: int
) -> str:
    """The gradient of a convolution by its input.

    A plain convolution with the kernel turned round is several times as fast as ConvTranspose. With strides, every
    s-th pixel of the image, a residue class, comes from the same taps of the kernel: a class is a plain convolution,
    too, and the classes are interleaved.

    Args:
        b: writes it.
        gradient: of the convolution's output.
        kernel: the name of what is constant, (K, C / group, *kernel).
        window: of the convolution.
        image: the shape of its input, (N, C, *sizes).
        result: the shape of its output, (N, K, *sizes).
        group: of the convolution.
    """
    rank = len(window.kernel)
    # Where there is one step only, its length does not matter.
    strides = tuple(1 if result[2 + k] == 1 else window.strides[k] for k in range(rank))
    reach = [(size - 1) * dilation for size, dilation in zip(window.kernel, window.dilations, strict=True)]
    if set(strides) == {1}:
        begin = [reach[k] - window.begin[k] for k in range(rank)]
        end = [image[2 + k] + reach[k] - result[2 + k] - begin[k] for k in range(rank)]
        turned = _turned(b, kernel, [result[1], image[1] // group, *window.kernel], group)
        return _convolved(b, gradient, turned, window.kernel, begin, end, group, dilations=list(window.dilations))
    whole = all(window.kernel[k] >= strides[k] for k in range(rank))
    if rank == 2 and set(window.dilations) == {1} and (group == 1 or whole):
        return _interleaved(b, gradient, kernel, replace(window, strides=strides), image, result, group)
    # What the last step of the window left over on the far side has a gradient of zero.
    covered = [(result[2 + k] - 1) * strides[k] + reach[k] + 1 - window.begin[k] for k in range(rank)]
    left = [max(image[2 + k] - covered[k], 0) for k in range(rank)]
    cut = [max(covered[k] - image[2 + k], 0) for k in range(rank)]
    padded = b(
        "ConvTranspose",
        gradient,
        kernel,
        kernel_shape=list(window.kernel),
        strides=list(strides),
        dilations=list(window.dilations),
        pads=[*window.begin, *cut],
        group=group,
    )
    return b.pad(padded, 2 + rank, {2 + k: (0, left[k]) for k in range(rank)}) if any(left) else padded


def _interleaved(
    b: Builder, gradient: str, kernel: str, window: Window, image: Sequence[int], result: Sequence[int], group: int
) -> str:
    """`transposed` with strides, of images with two axes: the classes' convolutions in one, or side by side."""
    channels, axes = image[1], range(2)
    (s, t), size = window.strides, [-(-image[2 + k] // window.strides[k]) for k in axes]
    turned = _turned(b, kernel, [result[1], channels // group, *window.kernel], group)
    classes = list(itertools.product(*([_taps(window, k, place) for place in range(window.strides[k])] for k in axes)))
    while not all(taps.number for taps in classes[-1]):  # of strides longer than the kernel: no taps, zeros at the end
        classes.pop()
    parts = [turned if _all(window, pair) else _part(b, turned, pair, window.strides) for pair in classes]
    if group == 1:  # one convolution for all: their taps filled up with zeros to the same window
        first = [min(pair[k].first for pair in classes) for k in axes]
        length = [max(pair[k].first + pair[k].number for pair in classes) - first[k] for k in axes]
        for index, pair in enumerate(classes):
            begins = [pair[k].first - first[k] for k in axes]
            pads = {2 + k: (begins[k], length[k] - begins[k] - pair[k].number) for k in axes}
            parts[index] = b.pad(parts[index], 4, pads) if any(map(any, pads.values())) else parts[index]
        parts = [b("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]]
        windows = [(first, length)]
    else:
        windows = [([taps.first for taps in pair], [taps.number for taps in pair]) for pair in classes]
    found = []
    for part, (first, length) in zip(parts, windows, strict=True):
        end = [size[k] - result[2 + k] + first[k] + length[k] - 1 for k in axes]
        found.append(_convolved(b, gradient, part, length, [-start for start in first], end, group))
    # With the channels last it is a move of whole rows of t * channels numbers, ten times as fast as DepthToSpace.
    pixels = b("Transpose", b("Concat", *found, axis=1) if len(found) > 1 else found[0], perm=[0, 2, 3, 1])
    if len(classes) < s * t:
        pixels = b.pad(pixels, 4, {3: (0, (s * t - len(classes)) * channels)})
    pixels = b("Transpose", b("Reshape", pixels, b.integers(0, *size, s, t * channels)), perm=[0, 1, 3, 2, 4])
    pixels = b("Reshape", pixels, b.integers(0, s * size[0], t * size[1], channels))
    if (s * size[0], t * size[1]) != tuple(image[2:]):
        pixels = b("Slice", pixels, b.integers(0, 0), b.integers(*image[2:]), b.integers(1, 2))
    return entered(b, b("Transpose", pixels, perm=[0, 3, 1, 2]), channels)


class _Taps(NamedTuple):
    """The taps of a turned kernel that make a residue class of the image's pixels, along one axis."""

    start: int  # the first of them in the kernel
    end: int  # behind the last
    number: int
    first: int  # the pixel of the result under the first tap, for the first pixel of the class


def _taps(window: Window, axis: int, place: int) -> _Taps:
    """Of the pixels `place`, `place` + stride, ...

    With y[j] = sum_t w[t] x[s j + t - p], x[s m + r] takes w[t] from y[m + (r + p - t) / s], where s divides.
    """
    size, stride = window.kernel[axis], window.strides[axis]
    shift, least = divmod(place + window.begin[axis], stride)
    count = max(-(-(size - least) // stride), 0)
    start = size - 1 - least - stride * (count - 1)
    return _Taps(start, size - least, count, shift - count + 1)


def _all(window: Window, pair: Sequence[_Taps]) -> bool:
    return tuple(taps.number for taps in pair) == window.kernel


def _part(b: Builder, turned: str, pair: Sequence[_Taps], strides: Sequence[int]) -> str:
    starts, ends = b.integers(*(taps.start for taps in pair)), b.integers(*(taps.end for taps in pair))
    return b("Slice", turned, starts, ends, b.integers(2, 3), b.integers(*strides))


def _turned(b: Builder, kernel: str, shape: Sequence[int], group: int) -> str:
    """A kernel (K, C / group, *sizes) as (C, K / group, *sizes), its sizes reversed.

    Nodes and not a new constant: the file stays as large as it was, and ONNX Runtime works them out when it loads it.
    """
    outputs, inputs, *sizes = shape
    rank = len(sizes)
    if group == 1:
        kernel = b("Transpose", kernel, perm=[1, 0, *range(2, 2 + rank)])
    elif outputs != group or inputs != 1:
        kernel = b("Reshape", kernel, b.integers(group, outputs // group, inputs, *sizes))
        kernel = b("Transpose", kernel, perm=[0, 2, 1, *range(3, 3 + rank)])
        kernel = b("Reshape", kernel, b.integers(group * inputs, outputs // group, *sizes))
    axes = [2 + k for k in range(rank) if sizes[k] > 1]
    if axes:
        ends = b.integers(*[-(2**31)] * len(axes))
        starts, steps = (b.integers(*[-1] * len(axes)) for _ in range(2))
        kernel = b("Slice", kernel, starts, ends, b.integers(*axes), steps)
    return kernel


def _convolved(
    b: Builder,
    gradient: str,
    kernel: str,
    size: Sequence[int],
    begin: Sequence[int],
    end: Sequence[int],
    group: int,
    **more: Any,
) -> str:
    """A convolution; negative pads cut."""
    rank = len(size)
    if min(*begin, *end) < 0:
        gradient = b.pad(gradient, 2 + rank, {2 + k: (begin[k], end[k]) for k in range(rank)})
        begin = end = [0] * rank
    return b("Conv", gradient, kernel, kernel_shape=list(size), pads=[*begin, *end], group=group, **more)
