"""Pooling."""

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from f2at.gradient.builder import Builder, Node, UnsupportedOperationError
from f2at.gradient.rules.convolution import Window, transposed
from f2at.gradient.rules.registry import Gradients, rule


@rule("GlobalAveragePool")
def global_average_pool(b: Builder, node: Node, gradient: str) -> Gradients:
    """An equal share to every pixel."""
    x = node.inputs[0]
    share = b("Mul", gradient, b.scalar(1 / np.prod(b.tensors[x].shape[2:])))
    return [b("Expand", share, b.shape(x))]


@rule("AveragePool")
def average_pool(b: Builder, node: Node, gradient: str) -> Gradients:
    """Each mean's gradient, divided by how many it is of, to all of its pixels."""
    image, result = b.tensors[node.inputs[0]].shape, b.tensors[node.outputs[0]].shape
    kernel = tuple(node.attributes["kernel_shape"])
    window = Window.of(node, image[2:], result[2:], kernel)
    gradient = b("Mul", gradient, b.matrix(1 / _counts(node, window, image[2:], result[2:])))
    ones = b.matrix(np.ones((image[1], 1, *kernel)))
    return [transposed(b, gradient, ones, window, image, result, image[1])]


@rule("LpPool")
def lp_pool(b: Builder, node: Node, gradient: str) -> Gradients:
    """x |x|^(p - 2) / y^(p - 1)."""
    x, y = node.inputs[0], node.outputs[0]
    image, result = b.tensors[x].shape, b.tensors[y].shape
    p = node.attributes.get("p", 2)
    kernel = tuple(node.attributes["kernel_shape"])
    window = Window.of(node, image[2:], result[2:], kernel)
    share = b("Div", gradient, y if p == 2 else b("Pow", y, b.scalar(p - 1)))
    share = b.where(b("Greater", y, b.scalar(0)), share)
    spread = transposed(b, share, b.matrix(np.ones((image[1], 1, *kernel))), window, image, result, image[1])
    slope = x if p == 2 else b("Mul", x, b("Pow", b("Abs", x), b.scalar(p - 2)))
    return [b("Mul", spread, slope)]


@rule("MaxPool")
def max_pool(b: Builder, node: Node, gradient: str) -> Gradients:
    """To the pixel that was the largest, whose place the pooling itself gives as a second output."""
    x = node.inputs[0]
    if len(node.outputs) < 2 or not node.outputs[1]:
        raise UnsupportedOperationError("MaxPool without the output Indices")  # `trace` adds it
    zeros = b(
        "ConstantOfShape",
        b("ReduceProd", b.shape(x), keepdims=1),
        value=helper.make_tensor("zero", helper.np_dtype_to_tensor_dtype(b.real), [1], [0.0]),
    )
    rows = b("Reshape", node.outputs[1], b.integers(-1))
    scattered = b.added("ScatterElements", zeros, rows, b("Reshape", gradient, b.integers(-1)), axis=0)
    return [b.reshaped(scattered, x)]


def _counts(node: Node, window: Window, image: tuple[int, ...], result: tuple[int, ...]) -> NDArray[np.float64]:
    """How many pixels each mean is of; padding counts if `count_include_pad` says so, what ceil_mode adds never."""
    counts = np.ones((1, 1))
    padded = node.attributes.get("count_include_pad", 0)
    for k, size in enumerate(image):
        starts = np.arange(result[k]) * window.strides[k] - window.begin[k]
        places = starts[:, None] + np.arange(window.kernel[k]) * window.dilations[k]
        low, high = (-window.begin[k], size + window.end[k]) if padded else (0, size)
        inside = ((places >= low) & (places < high)).sum(axis=1)
        counts = counts[..., None] * inside
    return counts
