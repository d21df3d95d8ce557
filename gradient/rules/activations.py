"""Functions of each element by itself."""

import numpy as np

from f2at.gradient.builder import Builder, Node
from f2at.gradient.rules.blocked import blocks, step
from f2at.gradient.rules.registry import Gradients, rule


@rule("Identity", "Dropout")
def identity(_: Builder, node: Node, gradient: str) -> Gradients:  # noqa: ARG001
    """As it is: dropout does nothing outside training."""
    return [gradient]


@rule("Relu")
def relu(b: Builder, node: Node, gradient: str) -> Gradients:
    """0 at 0, as autograd has it."""
    if blocks(b, node.outputs[0]):
        return [b("Mul", gradient, step(b, node.outputs[0]))]
    return [b("Mul", gradient, b.mask(b("Greater", node.outputs[0], b.scalar(0))))]


@rule("LeakyRelu")
def leaky_relu(b: Builder, node: Node, gradient: str) -> Gradients:
    """alpha below 0 and at it."""
    slope = b.scalar(node.attributes.get("alpha", 0.01))
    return [b("Where", b("Greater", node.inputs[0], b.scalar(0)), gradient, b("Mul", gradient, slope))]


@rule("PRelu")
def prelu(b: Builder, node: Node, gradient: str) -> Gradients:
    """A slope per channel, say, below 0 and at it; the slopes are weights."""
    x, slope = node.inputs
    b.value(node, 1, "a slope")
    return [b("Where", b("Greater", x, b.scalar(0)), gradient, b("Mul", gradient, slope))]


@rule("ThresholdedRelu")
def thresholded_relu(b: Builder, node: Node, gradient: str) -> Gradients:
    """0 up to alpha."""
    return [b.where(b("Greater", node.inputs[0], b.scalar(node.attributes.get("alpha", 1.0))), gradient)]


@rule("Clip")
def clip(b: Builder, node: Node, gradient: str) -> Gradients:
    """0 where it clips, and at the bounds."""
    for index, comparison in ((1, "Greater"), (2, "Less")):
        if bound := node.optional_input(index):
            gradient = b("Mul", gradient, b.mask(b(comparison, node.inputs[0], bound)))
    return [gradient]


@rule("Elu")
def elu(b: Builder, node: Node, gradient: str) -> Gradients:
    """alpha exp(x) = y + alpha below 0."""
    below = b("Add", node.outputs[0], b.scalar(node.attributes.get("alpha", 1.0)))
    return [_by_sign(b, node, gradient, b.scalar(1), below)]


@rule("Selu")
def selu(b: Builder, node: Node, gradient: str) -> Gradients:
    """gamma, and gamma alpha exp(x) = y + gamma alpha below 0."""
    gamma = node.attributes.get("gamma", 1.0507009873554805)
    below = b("Add", node.outputs[0], b.scalar(gamma * node.attributes.get("alpha", 1.6732632423543772)))
    return [_by_sign(b, node, gradient, b.scalar(gamma), below)]


@rule("Celu")
def celu(b: Builder, node: Node, gradient: str) -> Gradients:
    """exp(x / alpha) = y / alpha + 1 below 0."""
    alpha = b.scalar(node.attributes.get("alpha", 1.0))
    return [_by_sign(b, node, gradient, b.scalar(1), b("Add", b("Div", node.outputs[0], alpha), b.scalar(1)))]


@rule("Sigmoid")
def sigmoid(b: Builder, node: Node, gradient: str) -> Gradients:
    """y (1 - y)."""
    y = node.outputs[0]
    return [b("Mul", gradient, b("Mul", y, b("Sub", b.scalar(1), y)))]


@rule("HardSigmoid")
def hard_sigmoid(b: Builder, node: Node, gradient: str) -> Gradients:
    """alpha where alpha x + beta lies between 0 and 1."""
    y = node.outputs[0]
    inside = b("And", b("Greater", y, b.scalar(0)), b("Less", y, b.scalar(1)))
    return [b("Mul", gradient, b("Mul", b.mask(inside), b.scalar(node.attributes.get("alpha", 0.2))))]


@rule("HardSwish")
def hard_swish(b: Builder, node: Node, gradient: str) -> Gradients:
    """x / 3 + 1/2 between -3 and 3."""
    x = node.inputs[0]
    slope = b("Add", b("Mul", x, b.scalar(1 / 3)), b.scalar(0.5))
    slope = b("Where", b("LessOrEqual", x, b.scalar(-3)), b.scalar(0), slope)
    return [b("Mul", gradient, b("Where", b("GreaterOrEqual", x, b.scalar(3)), b.scalar(1), slope))]


@rule("Tanh")
def tanh(b: Builder, node: Node, gradient: str) -> Gradients:
    """1 - y^2."""
    y = node.outputs[0]
    return [b("Mul", gradient, b("Sub", b.scalar(1), b("Mul", y, y)))]


@rule("Softplus")
def softplus(b: Builder, node: Node, gradient: str) -> Gradients:
    """The sigmoid."""
    return [b("Mul", gradient, b("Sigmoid", node.inputs[0]))]


@rule("Softsign")
def softsign(b: Builder, node: Node, gradient: str) -> Gradients:
    """1 / (1 + |x|)^2 = (1 - |y|)^2."""
    slope = b("Sub", b.scalar(1), b("Abs", node.outputs[0]))
    return [b("Mul", gradient, b("Mul", slope, slope))]


@rule("Mish")
def mish(b: Builder, node: Node, gradient: str) -> Gradients:
    """Of x tanh(softplus(x)): t + x sigmoid(x) (1 - t^2)."""
    x = node.inputs[0]
    t = b("Tanh", b("Softplus", x))
    inner = b("Mul", b("Mul", x, b("Sigmoid", x)), b("Sub", b.scalar(1), b("Mul", t, t)))
    return [b("Mul", gradient, b("Add", t, inner))]


@rule("Erf")
def erf(b: Builder, node: Node, gradient: str) -> Gradients:
    """2 exp(-x^2) / sqrt(pi)."""
    x = node.inputs[0]
    bell = b("Exp", b("Neg", b("Mul", x, x)))
    return [b("Mul", gradient, b("Mul", bell, b.scalar(2 / np.sqrt(np.pi))))]


@rule("Gelu")
def gelu(b: Builder, node: Node, gradient: str) -> Gradients:
    """Of x Phi(x), or of its approximation by a hyperbolic tangent."""
    x = node.inputs[0]
    slope = _gelu_by_tanh(b, x) if node.attributes.get("approximate", "none") == "tanh" else _gelu(b, x)
    return [b("Mul", gradient, slope)]


def _gelu(b: Builder, x: str) -> str:
    """Phi(x) + x phi(x)."""
    cumulative = b("Mul", b("Add", b("Erf", b("Mul", x, b.scalar(np.sqrt(0.5)))), b.scalar(1)), b.scalar(0.5))
    bell = b("Exp", b("Mul", b("Mul", x, x), b.scalar(-0.5)))
    return b("Add", cumulative, b("Mul", x, b("Mul", bell, b.scalar(1 / np.sqrt(2 * np.pi)))))


def _gelu_by_tanh(b: Builder, x: str) -> str:
    """With t = tanh(u), u = c (x + k x^3): (1 + t) / 2 + x (1 - t^2) u' / 2."""
    c, k = np.sqrt(2 / np.pi), 0.044715
    square = b("Mul", x, x)
    u = b("Mul", b("Mul", x, b("Add", b("Mul", square, b.scalar(k)), b.scalar(1))), b.scalar(c))
    t = b("Tanh", u)
    slope = b("Mul", b("Add", b("Mul", square, b.scalar(3 * k)), b.scalar(1)), b.scalar(c))
    steep = b("Mul", b("Mul", b("Mul", x, b.scalar(0.5)), b("Sub", b.scalar(1), b("Mul", t, t))), slope)
    return b("Add", b("Mul", b("Add", t, b.scalar(1)), b.scalar(0.5)), steep)


def _by_sign(b: Builder, node: Node, gradient: str, above: str, below: str) -> str:
    """The gradient times one slope where x > 0, another elsewhere."""
    return b("Mul", gradient, b("Where", b("Greater", node.inputs[0], b.scalar(0)), above, below))
