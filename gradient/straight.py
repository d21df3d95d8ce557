"""Rounding, signs and thresholds passed straight through: what stands in for slopes that a model hides.

What is constant between jumps has the slope 0, and an attack that follows it learns nothing. Backward Pass
Differentiable Approximation (Athalye, Carlini & Wagner, "Obfuscated Gradients Give a False Sense of Security", 2018,
https://arxiv.org/abs/1802.00420, Section 4.1) computes such a layer as it is, and differentiates it as if it were the
identity, which it is close to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from f2at.gradient.builder import Builder, Node, Tensor, UnsupportedOperationError
from f2at.gradient.rules.registry import Gradients, Rule
from f2at.gradient.thresholds import Values

_WINDOW = 1.0  # a sign or a step moves with what lies no farther than this from its jump


@dataclass(frozen=True)
class Straight:
    """A rule in place of the usual one.

    Attributes:
        rule: what passes the gradient on.
        name: of the node, as the file has it; None where the rule only goes with those of other nodes.
    """

    rule: Rule
    name: str | None


def straight_through(
    nodes: Sequence[onnx.NodeProto], tensors: Mapping[str, Tensor], prefix: str = ""
) -> dict[str, Straight]:
    """The nodes that jump, and what they are differentiated as, by their first outputs.

    These are Round, Floor, Ceil, casts to integers, masks of bits and shifts: the identity, in its scale; Sign, and
    comparisons whose answer is a number of the model: the identity near the jump; what a threshold cuts off, by Where,
    by a product with a mask or as ThresholdedRelu does: the identity, if the value jumps there, as it does not in a
    ReLU; and x - Mod(x, c), which rounds, as x.

    Args:
        nodes: of a traced graph.
        tensors: of it.
        prefix: begins the names of all tensors whose nodes are meant; it is left out of names.
    """
    values = Values(nodes, tensors)
    gates = set(values.gating())
    found: dict[str, Straight] = {}
    for proto in nodes:
        if not proto.output[0].startswith(prefix) or not any(name and tensors[name].active for name in proto.input):
            continue
        node = Node.of(proto)
        rule, counts = _rule(node, tensors, values, gates)
        if rule is not None:
            name = proto.name.removeprefix(prefix) or proto.output[0].removeprefix(prefix)
            found[proto.output[0]] = Straight(rule, name if counts else None)
    return found


def _rule(node: Node, tensors: Mapping[str, Tensor], values: Values, gates: set[str]) -> tuple[Rule | None, bool]:
    """What a node is differentiated as, and whether it is one that jumps."""
    operation = node.operation
    if operation in _ALWAYS:
        return _ALWAYS[operation], True
    if operation == "Cast":
        return _cast, _truncates(node, tensors)
    if operation == "Not":
        return _negated, False
    if operation in _STEPS:
        return (None if node.outputs[0] in gates else _STEPS[operation]), True
    if operation == "Mod":
        return (_nothing, True) if values.taken_from_itself(node) else (None, False)
    if operation == "ThresholdedRelu":
        return (_identity, True) if node.attributes.get("alpha", 1.0) != 0 else (None, False)
    if operation == "Where" and not any(tensors[name].active for name in node.inputs[1:]):
        return _chosen_number, False
    if operation in ("Where", "Mul"):
        place = values.cut(node)
        return (None, False) if place is None else (_only(place), True)
    return None, False


def _truncates(node: Node, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a Cast is from floating point to integers."""
    wanted = helper.tensor_dtype_to_np_dtype(node.attributes["to"])
    return np.issubdtype(tensors[node.inputs[0]].dtype, np.floating) and bool(np.issubdtype(wanted, np.integer))


def _identity(b: Builder, node: Node, gradient: str) -> Gradients:  # noqa: ARG001
    return [gradient]


def _nothing(b: Builder, node: Node, gradient: str) -> Gradients:  # noqa: ARG001
    return []


def _cast(b: Builder, node: Node, gradient: str) -> Gradients:
    """The gradient of integers is one by their values, in float32; of what becomes true or false there is none."""
    if node.attributes["to"] == onnx.TensorProto.BOOL:
        return []
    source = b.tensors[node.inputs[0]].dtype
    return [_of_type(b, gradient, source if np.issubdtype(source, np.floating) else np.dtype(np.float32))]


def _sign(b: Builder, node: Node, gradient: str) -> Gradients:
    """1 from -1 to 1, of which the sign is the rounded value."""
    x = node.inputs[0]
    return [b.where(_near(b, x, b.tensors[x].dtype), gradient)]


def _shift(b: Builder, node: Node, gradient: str) -> Gradients:
    """The power of two."""
    bits = b.value(node, 1, "a number of bits").astype(np.float64)
    powers = 2.0 ** (bits if node.attributes["direction"] == "LEFT" else -bits)
    return [_first(b, node, b("Mul", gradient, b.matrix(np.asarray(powers))))]


def _bits(b: Builder, node: Node, gradient: str) -> Gradients:
    """1 to what is masked."""
    if all(b.active(name) for name in node.inputs):
        raise UnsupportedOperationError(f"{node.operation} with a mask that is computed")
    return [b.unbroadcast(gradient, b.tensors[node.outputs[0]].shape, x) if b.active(x) else None for x in node.inputs]


def _above(b: Builder, node: Node, gradient: str) -> Gradients:
    return _step(b, node, gradient, 1)


def _below(b: Builder, node: Node, gradient: str) -> Gradients:
    return _step(b, node, gradient, -1)


def _step(b: Builder, node: Node, gradient: str, sign: int) -> Gradients:
    """1 to what must be larger, and -1 to the other, where they are close together."""
    left, right = node.inputs
    kind = b.tensors[left].dtype
    difference = b("Sub", left, right)
    if not np.issubdtype(kind, np.floating):
        floats = [b("Cast", name, to=onnx.TensorProto.FLOAT) for name in node.inputs]
        difference, kind = b("Sub", *floats), np.dtype(np.float32)
    passed = _of_type(b, b.where(_near(b, difference, kind), gradient), kind)
    negative = b("Neg", passed)
    shape = b.tensors[node.outputs[0]].shape
    pair = (passed, negative) if sign > 0 else (negative, passed)
    return [
        b.unbroadcast(one, shape, name) if b.active(name) else None for one, name in zip(pair, node.inputs, strict=True)
    ]


def _negated(b: Builder, node: Node, gradient: str) -> Gradients:  # noqa: ARG001
    return [b("Neg", gradient)]


def _chosen_number(b: Builder, node: Node, gradient: str) -> Gradients:
    """To the condition, as to a number that is 0 or 1: the difference of what it chooses from."""
    condition, chosen, other = node.inputs
    slope = b("Mul", gradient, b("Sub", chosen, other))
    summed = b.unbroadcast(slope, b.tensors[node.outputs[0]].shape, condition)
    return [_of_type(b, summed, np.dtype(np.float32))]


def _only(place: int) -> Rule:
    """The identity on one input."""

    def rule(b: Builder, node: Node, gradient: str) -> Gradients:
        passed = b.unbroadcast(gradient, b.tensors[node.outputs[0]].shape, node.inputs[place])
        return [passed if k == place else None for k in range(len(node.inputs))]

    return rule


def _first(b: Builder, node: Node, gradient: str) -> str:
    return b.unbroadcast(gradient, b.tensors[node.outputs[0]].shape, node.inputs[0])


def _near(b: Builder, name: str, kind: np.dtype) -> str:
    """Where a tensor lies in the window around 0."""
    return b("LessOrEqual", b("Abs", name), b.constant(np.asarray(_WINDOW, kind)))


def _of_type(b: Builder, gradient: str, kind: np.dtype) -> str:
    """A gradient, which is of type `real`, in another type."""
    return gradient if kind == b.real else b("Cast", gradient, to=helper.np_dtype_to_tensor_dtype(kind))


_ALWAYS: dict[str, Rule] = {
    **dict.fromkeys(("Round", "Floor", "Ceil"), _identity),
    "Sign": _sign,
    "BitShift": _shift,
    "BitwiseAnd": _bits,
    "BitwiseOr": _bits,
}
_STEPS: dict[str, Rule] = {"Greater": _above, "GreaterOrEqual": _above, "Less": _below, "LessOrEqual": _below}
