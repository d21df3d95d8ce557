"""Trigonometric and hyperbolic functions, and their inverses."""

from f2at.gradient.builder import Builder, Node
from f2at.gradient.rules.registry import Gradients, rule


@rule("Sin", "Sinh")
def sine(b: Builder, node: Node, gradient: str) -> Gradients:
    """The cosine of that kind."""
    return [b("Mul", gradient, b("Cosh" if node.operation == "Sinh" else "Cos", node.inputs[0]))]


@rule("Cos")
def cosine(b: Builder, node: Node, gradient: str) -> Gradients:
    """Minus the sine."""
    return [b("Neg", b("Mul", gradient, b("Sin", node.inputs[0])))]


@rule("Cosh")
def hyperbolic_cosine(b: Builder, node: Node, gradient: str) -> Gradients:
    """The hyperbolic sine."""
    return [b("Mul", gradient, b("Sinh", node.inputs[0]))]


@rule("Tan")
def tangent(b: Builder, node: Node, gradient: str) -> Gradients:
    """1 + y^2."""
    return [b("Mul", gradient, b("Add", _square(b, node.outputs[0]), b.scalar(1)))]


@rule("Atan", "Atanh")
def inverse_tangent(b: Builder, node: Node, gradient: str) -> Gradients:
    """1 / (1 + x^2) and 1 / (1 - x^2)."""
    sign = "Sub" if node.operation == "Atanh" else "Add"
    return [b("Div", gradient, b(sign, b.scalar(1), _square(b, node.inputs[0])))]


@rule("Asin", "Acos")
def inverse_sine(b: Builder, node: Node, gradient: str) -> Gradients:
    """1 / sqrt(1 - x^2), negative for the inverse cosine."""
    slope = b("Div", gradient, b("Sqrt", b("Sub", b.scalar(1), _square(b, node.inputs[0]))))
    return [b("Neg", slope) if node.operation == "Acos" else slope]


@rule("Asinh", "Acosh")
def inverse_hyperbolic_sine(b: Builder, node: Node, gradient: str) -> Gradients:
    """1 / sqrt(x^2 + 1) and 1 / sqrt(x^2 - 1)."""
    sign = "Sub" if node.operation == "Acosh" else "Add"
    return [b("Div", gradient, b("Sqrt", b(sign, _square(b, node.inputs[0]), b.scalar(1))))]


def _square(b: Builder, x: str) -> str:
    return b("Mul", x, x)
