"""Reductions along axes."""

import numpy as np

from f2at.gradient.builder import Builder, Node
from f2at.gradient.rules.registry import Gradients, rule


def axes_of(b: Builder, node: Node) -> list[int]:
    """The axes that are reduced, from 0."""
    rank = b.rank(node.inputs[0])
    if "axes" in node.attributes:
        axes = list(node.attributes["axes"])
    else:
        axes = b.value(node, 1, "axes").tolist() if node.optional_input(1) else []
    if not axes and node.attributes.get("noop_with_empty_axes", 0):
        return []
    return sorted(axis % rank for axis in axes) or list(range(rank))


@rule("ReduceSum", "ReduceMean")
def total(b: Builder, node: Node, gradient: str) -> Gradients:
    """1, or an equal share, to each."""
    x, axes = node.inputs[0], axes_of(b, node)
    gradient = _with_axes(b, node, gradient, axes)
    if node.operation == "ReduceMean":
        gradient = b("Mul", gradient, b.scalar(1 / np.prod([b.tensors[x].shape[axis] for axis in axes])))
    return [b("Expand", gradient, b.shape(x))]


@rule("ReduceSumSquare")
def sum_of_squares(b: Builder, node: Node, gradient: str) -> Gradients:
    """2 x."""
    gradient = _with_axes(b, node, gradient, axes_of(b, node))
    return [b("Mul", gradient, b("Mul", node.inputs[0], b.scalar(2)))]


@rule("ReduceL1")
def sum_of_magnitudes(b: Builder, node: Node, gradient: str) -> Gradients:
    """The sign."""
    return [b("Mul", _with_axes(b, node, gradient, axes_of(b, node)), b("Sign", node.inputs[0]))]


@rule("ReduceL2")
def length(b: Builder, node: Node, gradient: str) -> Gradients:
    """x / y; 0 where y is."""
    axes = axes_of(b, node)
    y = _with_axes(b, node, node.outputs[0], axes)
    share = b.where(b("Greater", y, b.scalar(0)), b("Div", _with_axes(b, node, gradient, axes), y))
    return [b("Mul", share, node.inputs[0])]


@rule("ReduceLogSumExp")
def log_sum_exp(b: Builder, node: Node, gradient: str) -> Gradients:
    """exp(x - y)."""
    axes = axes_of(b, node)
    shifted = b("Sub", node.inputs[0], _with_axes(b, node, node.outputs[0], axes))
    return [b("Mul", _with_axes(b, node, gradient, axes), b("Exp", shifted))]


@rule("ReduceMax", "ReduceMin", "GlobalMaxPool")
def extremum(b: Builder, node: Node, gradient: str) -> Gradients:
    """An equal share to each that is as large, or as small, as the result."""
    x = node.inputs[0]
    pooling = node.operation == "GlobalMaxPool"
    axes = list(range(2, b.rank(x))) if pooling else axes_of(b, node)
    y = node.outputs[0] if pooling else _with_axes(b, node, node.outputs[0], axes)
    taken = b.mask(b("Equal", x, y))
    share = b("Div", taken, b("ReduceSum", taken, b.integers(*axes), keepdims=1))
    return [b("Mul", gradient if pooling else _with_axes(b, node, gradient, axes), share)]


@rule("Softmax")
def softmax(b: Builder, node: Node, gradient: str) -> Gradients:
    """y (g - sum(g y))."""
    y, axis = node.outputs[0], node.attributes.get("axis", -1)
    mean = b("ReduceSum", b("Mul", gradient, y), b.integers(axis), keepdims=1)
    return [b("Mul", y, b("Sub", gradient, mean))]


@rule("LogSoftmax")
def log_softmax(b: Builder, node: Node, gradient: str) -> Gradients:
    """g - exp(y) sum(g)."""
    y, axis = node.outputs[0], node.attributes.get("axis", -1)
    return [b("Sub", gradient, b("Mul", b("Exp", y), b("ReduceSum", gradient, b.integers(axis), keepdims=1)))]


def _with_axes(b: Builder, node: Node, name: str, axes: list[int]) -> str:
    """A tensor of the output's shape with the reduced axes as axes of size 1."""
    return name if node.attributes.get("keepdims", 1) or not axes else b("Unsqueeze", name, b.integers(*axes))
