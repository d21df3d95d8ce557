"""Normalisations."""

import numpy as np

from f2at.gradient.builder import Builder, Node
from f2at.gradient.rules.registry import Gradients, rule


@rule("BatchNormalization")
def batch_normalization(b: Builder, node: Node, gradient: str) -> Gradients:
    """scale / sqrt(variance + epsilon), of running statistics."""
    scale, variance = (b.value(node, index, "statistics").astype(np.float64) for index in (1, 4))
    slope = scale / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    return [b("Mul", gradient, b.matrix(slope.reshape(-1, *[1] * (b.rank(node.inputs[0]) - 2))))]


@rule("LayerNormalization")
def layer_normalization(b: Builder, node: Node, gradient: str) -> Gradients:
    """Of the axes from `axis` on; scale and bias are weights."""
    x = node.inputs[0]
    b.value(node, 1, "a scale")
    rank = b.rank(x)
    axes = list(range(node.attributes.get("axis", -1) % rank, rank))
    return [_normalised(b, node, x, b("Mul", gradient, node.inputs[1]), axes)]


@rule("InstanceNormalization")
def instance_normalization(b: Builder, node: Node, gradient: str) -> Gradients:
    """Of each channel of each image."""
    x = node.inputs[0]
    rank = b.rank(x)
    scale = b.value(node, 1, "a scale").reshape(-1, *[1] * (rank - 2))
    return [_normalised(b, node, x, b("Mul", gradient, b.matrix(scale)), list(range(2, rank)))]


@rule("GroupNormalization")
def group_normalization(b: Builder, node: Node, gradient: str) -> Gradients:
    """Of each group of channels of each image; the scale is per group up to opset 20 and per channel from 21 on."""
    x = node.inputs[0]
    channels, groups = b.tensors[x].shape[1], node.attributes["num_groups"]
    scale = b.value(node, 1, "a scale")
    per_channel = np.repeat(scale, channels // groups) if len(scale) == groups else scale
    gradient = b("Mul", gradient, b.matrix(per_channel.reshape(-1, *[1] * (b.rank(x) - 2))))
    grouped = b.integers(0, groups, -1)  # 0: the size that is there
    pieces = _normalised(b, node, b("Reshape", x, grouped), b("Reshape", gradient, grouped), [2])
    return [b.reshaped(pieces, x)]


@rule("LRN")
def local_response_normalization(b: Builder, node: Node, gradient: str) -> Gradients:
    """With s = bias + alpha / size sum(x^2) around: g s^-beta - 2 alpha beta / size x sum(g x s^(-beta - 1)) around."""
    x = node.inputs[0]
    size, alpha = node.attributes["size"], node.attributes.get("alpha", 1e-4)
    beta, bias = node.attributes.get("beta", 0.75), node.attributes.get("bias", 1.0)
    channels = b.tensors[x].shape[1]
    offsets = np.arange(channels) - np.arange(channels)[:, None]  # of channel k, a column, from channel c, a row
    around = ((offsets >= -((size - 1) // 2)) & (offsets <= size // 2)).astype(np.float64)

    def summed(name: str, matrix: np.ndarray) -> str:
        flat = b("MatMul", b.matrix(matrix), b("Reshape", name, b.integers(0, channels, -1)))
        return b.reshaped(flat, x)

    s = b("Add", b("Mul", summed(b("Mul", x, x), around), b.scalar(alpha / size)), b.scalar(bias))
    damped = b("Pow", s, b.scalar(-beta))
    inner = summed(b("Div", b("Mul", b("Mul", gradient, x), damped), s), around.T)
    return [b("Sub", b("Mul", gradient, damped), b("Mul", b("Mul", x, inner), b.scalar(2 * alpha * beta / size)))]


@rule("LpNormalization")
def lp_normalization(b: Builder, node: Node, gradient: str) -> Gradients:
    """Of x / |x|: (g - y sum(g y)) / |x| for p = 2, (g - sign(x) sum(g y)) / |x| for p = 1."""
    x, y = node.inputs[0], node.outputs[0]
    axis = b.integers(node.attributes.get("axis", -1))
    p = node.attributes.get("p", 2)
    size = b("ReduceL2" if p == 2 else "ReduceL1", x, axis, keepdims=1)
    along = b("ReduceSum", b("Mul", gradient, y), axis, keepdims=1)
    inner = b("Mul", y if p == 2 else b("Sign", x), along)
    return [b.where(b("Greater", size, b.scalar(0)), b("Div", b("Sub", gradient, inner), size))]


def _normalised(b: Builder, node: Node, x: str, gradient: str, axes: list[int]) -> str:
    """Of (x - mean) / deviation along `axes`: (g - mean(g) - z mean(g z)) / deviation, z the result."""
    reduced = b.integers(*axes)

    def mean(name: str) -> str:
        return b("ReduceMean", name, reduced, keepdims=1)

    centred = b("Sub", x, mean(x))
    variance = mean(b("Mul", centred, centred))
    inverse = b("Reciprocal", b("Sqrt", b("Add", variance, b.scalar(node.attributes.get("epsilon", 1e-5)))))
    z = b("Mul", centred, inverse)
    inner = b("Sub", b("Sub", gradient, mean(gradient)), b("Mul", z, mean(b("Mul", gradient, z))))
    return b("Mul", inner, inverse)
