"""Rounding to integers of few bits and back, passed straight through: attacks need the slope of what is rounded."""

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from f2at.gradient.builder import Builder, Node, UnsupportedOperationError
from f2at.gradient.rules.registry import Gradients, rule

# The gradient of a tensor of integers is one by their values, in float32.


@rule("QuantizeLinear")
def quantize(b: Builder, node: Node, gradient: str) -> Gradients:
    """1 / scale where x is not beyond the range of the integers: a quantiser often is the ReLU as well."""
    x = node.inputs[0]
    scale, zero, low, high = _grid(b, node, b.tensors[node.outputs[0]].dtype)
    kind = b.tensors[x].dtype
    above = b("Greater", x, b.constant(((low - zero) * scale).astype(kind)))
    below = b("LessOrEqual", x, b.constant(((high - zero) * scale).astype(kind)))
    slope = b("Div", b.where(b("And", above, below), gradient), b.matrix(scale))
    return [slope if kind == np.float32 else b("Cast", slope, to=helper.np_dtype_to_tensor_dtype(kind))]


@rule("DynamicQuantizeLinear")
def quantize_to_its_range(b: Builder, node: Node, gradient: str) -> Gradients:
    """1 / scale: the integers cover all of x. The scale and the zero point, which depend on x, count as constants."""
    return [b("Div", gradient, node.outputs[1])]


@rule("DequantizeLinear")
def dequantize(b: Builder, node: Node, gradient: str) -> Gradients:
    """The scale."""
    scale, *_ = _grid(b, node, b.tensors[node.inputs[0]].dtype)
    if b.tensors[node.outputs[0]].dtype != np.float32:
        gradient, b.real = b("Cast", gradient, to=helper.np_dtype_to_tensor_dtype(np.float32)), np.dtype(np.float32)
    return [b("Mul", gradient, b.matrix(scale))]


def less_zero_point(b: Builder, node: Node, index: int, zero: int) -> str:
    """The weights of an operation on integers, input `index`, less their zero point, input `zero`: type `real`.

    Nodes and not a new constant, as the file stays small then.

    Raises:
        UnsupportedOperationError: one of the two is computed from the images.
    """
    b.value(node, index, "weights")  # refuses those
    floats = b("Cast", node.inputs[index], to=helper.np_dtype_to_tensor_dtype(b.real))
    if not node.optional_input(zero):
        return floats
    return b("Sub", floats, b.matrix(b.value(node, zero, "a zero point")))


def _grid(b: Builder, node: Node, kind: np.dtype) -> tuple[NDArray[np.float64], NDArray[np.float64], int, int]:
    """Scale and zero point, shaped to be broadcast to the images' tensor, and the range of the integers."""
    scale = np.asarray(b.value(node, 1, "a scale"), np.float64)
    zero = b.value(node, 2, "a zero point") if node.optional_input(2) else np.zeros_like(scale)
    if not np.issubdtype(kind, np.integer) or scale.ndim > 1:
        raise UnsupportedOperationError(f"{node.operation} of {kind} with a scale of {scale.ndim} axes")
    shape = [1] * b.rank(node.inputs[0])
    if scale.size > 1:
        shape[node.attributes.get("axis", 1)] = -1
    bounds = np.iinfo(kind)
    return scale.reshape(shape), np.asarray(zero, np.float64).reshape(shape), int(bounds.min), int(bounds.max)
