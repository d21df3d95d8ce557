"""Arithmetic of elements, with broadcasting."""

import numpy as np
from onnx import helper

from f2at.gradient.builder import Builder, Node
from f2at.gradient.rules.registry import Gradients, rule


@rule("Add", "Sum")
def add(b: Builder, node: Node, gradient: str) -> Gradients:
    """1 to each."""
    return [_of(b, node, name, gradient) for name in node.inputs]


@rule("Mean")
def mean(b: Builder, node: Node, gradient: str) -> Gradients:
    """An equal share to each."""
    share = b("Mul", gradient, b.scalar(1 / len(node.inputs)))
    return [_of(b, node, name, share) for name in node.inputs]


@rule("Sub")
def subtract(b: Builder, node: Node, gradient: str) -> Gradients:
    """1 and -1."""
    left, right = node.inputs
    return [_of(b, node, left, gradient), _of(b, node, right, b("Neg", gradient)) if b.active(right) else None]


@rule("Mul")
def multiply(b: Builder, node: Node, gradient: str) -> Gradients:
    """The other factor."""
    left, right = node.inputs
    return [
        _of(b, node, one, b("Mul", gradient, other)) if b.active(one) else None
        for one, other in ((left, right), (right, left))
    ]


@rule("Div")
def divide(b: Builder, node: Node, gradient: str) -> Gradients:
    """1 / b and -y / b."""
    left, right = node.inputs
    share = b("Div", gradient, right)
    return [
        _of(b, node, left, share) if b.active(left) else None,
        _of(b, node, right, b("Neg", b("Mul", share, node.outputs[0]))) if b.active(right) else None,
    ]


@rule("Pow")
def power(b: Builder, node: Node, gradient: str) -> Gradients:
    """p x^(p - 1) for exponents that are constants; 0 where p is 0."""
    x = node.inputs[0]
    exponent = np.asarray(b.value(node, 1, "an exponent"), dtype=b.real)
    if np.all(exponent == 2):
        slope = b("Mul", x, b.scalar(2))
    else:  # x^0 = 1 also at x = 0, where x^(-1) would be infinite
        slope = b("Mul", b("Pow", x, b.constant(np.where(exponent == 0, 0, exponent - 1))), b.constant(exponent))
    return [_of(b, node, x, b("Mul", gradient, slope))]


@rule("Max", "Min")
def extremum(b: Builder, node: Node, gradient: str) -> Gradients:
    """All to the one that is taken; where several are equal, to the first of them."""
    gradients: list[str | None] = []
    free: str | None = None  # 1 where none before was taken
    for name in node.inputs:
        taken = b.mask(b("Equal", name, node.outputs[0]))
        if free is not None:
            taken = b("Mul", taken, free)
        gradients.append(_of(b, node, name, b("Mul", gradient, taken)) if b.active(name) else None)
        rest = b("Sub", b.scalar(1), taken)
        free = rest if free is None else b("Mul", free, rest)
    return gradients


@rule("Where")
def where(b: Builder, node: Node, gradient: str) -> Gradients:
    """To the one that is chosen."""
    condition, chosen, other = node.inputs
    return [
        None,
        _of(b, node, chosen, b.where(condition, gradient)) if b.active(chosen) else None,
        _of(b, node, other, b.where(b("Not", condition), gradient)) if b.active(other) else None,
    ]


@rule("Neg")
def negative(b: Builder, node: Node, gradient: str) -> Gradients:  # noqa: ARG001
    """-1."""
    return [b("Neg", gradient)]


@rule("Abs")
def absolute(b: Builder, node: Node, gradient: str) -> Gradients:
    """The sign."""
    return [b("Mul", gradient, b("Sign", node.inputs[0]))]


@rule("Exp")
def exponential(b: Builder, node: Node, gradient: str) -> Gradients:
    """Itself."""
    return [b("Mul", gradient, node.outputs[0])]


@rule("Log")
def logarithm(b: Builder, node: Node, gradient: str) -> Gradients:
    """1 / x."""
    return [b("Div", gradient, node.inputs[0])]


@rule("Sqrt")
def square_root(b: Builder, node: Node, gradient: str) -> Gradients:
    """1 / (2 y)."""
    return [b("Div", gradient, b("Mul", node.outputs[0], b.scalar(2)))]


@rule("Reciprocal")
def reciprocal(b: Builder, node: Node, gradient: str) -> Gradients:
    """-y^2."""
    y = node.outputs[0]
    return [b("Neg", b("Mul", gradient, b("Mul", y, y)))]


@rule("Mod")
def modulo(b: Builder, node: Node, gradient: str) -> Gradients:
    """1 to what is divided by a constant."""
    b.value(node, 1, "a divisor")
    return [_of(b, node, node.inputs[0], gradient)]


@rule("Sign", "Floor", "Ceil", "Round", "ArgMax", "ArgMin", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
@rule("And", "Or", "Xor", "Not", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot", "IsNaN", "IsInf")
@rule("Bernoulli", "Multinomial")
def flat(_: Builder, node: Node, gradient: str) -> Gradients:  # noqa: ARG001
    """None: constant between its jumps, or drawn at random."""
    return []


@rule("Cast")
def cast(b: Builder, node: Node, gradient: str) -> Gradients:
    """Cast back, from floating point to floating point or from 8-bit images; to integers it rounds, and has none."""
    source = b.tensors[node.inputs[0]].dtype
    if not np.issubdtype(helper.tensor_dtype_to_np_dtype(node.attributes["to"]), np.floating):
        return []
    wanted = source if np.issubdtype(source, np.floating) else np.dtype(np.float32)
    if wanted == b.real:
        return [gradient]
    return [b("Cast", gradient, to=helper.np_dtype_to_tensor_dtype(wanted))]


def _of(b: Builder, node: Node, name: str, gradient: str) -> str | None:
    """A gradient of the output's shape as one of the input `name`, if that needs one."""
    return b.unbroadcast(gradient, b.tensors[node.outputs[0]].shape, name) if b.active(name) else None
