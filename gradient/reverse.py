"""Reverse mode: the rules, applied to a graph from its end to its beginning."""

import functools
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from f2at.bundle.weights import Slim
from f2at.gradient.builder import Builder, Node, NoGradientError, Tensor, UnsupportedOperationError
from f2at.gradient.integers import in_floats
from f2at.gradient.rules import RULES
from f2at.gradient.straight import Straight, straight_through
from f2at.gradient.trace import Trace, trace

COTANGENT, GRADIENT = "cotangent", "gradient"
_PASSED = "straight_through"  # of a graph's metadata: what was passed straight through


def vector_jacobian(
    model: onnx.ModelProto,
    shape: tuple[int, ...] | None = None,
    indices: Mapping[str, int] | None = None,
    *,
    straight: bool = False,
) -> onnx.ModelProto:
    """The graph of v -> J(x)^T v, J the Jacobian of a graph's first output by its images x.

    Args:
        model: a graph with one input besides those in `indices`.
        shape: of one image, where the graph leaves it open.
        indices: see `trace`.
        straight: pass what rounds, takes signs or cuts off by thresholds straight through, see
            `f2at.gradient.straight`; `passed_through` names it.

    Returns:
        A graph of the same inputs and `cotangent`, v, of the output's shape and type, which gives the output under its
        own name and `gradient`, of the input's shape. Of integer images it is the gradient by their values.

    Raises:
        UnsupportedOperationError: an operation between images and output has no rule.
        NoGradientError: the output does not depend on the images in a way that has a gradient.
        ValueError: as `trace`.
    """
    traced = trace(model, shape, indices)
    graph = traced.model.graph
    output = graph.output[0]
    builder = Builder(traced.tensors)
    otherwise = straight_through(graph.node, traced.tensors) if straight else {}
    name, passed = backpropagate(traced, builder, {output.name: COTANGENT}, otherwise)
    builder.nodes.append(helper.make_node("Identity", [name], [GRADIENT]))

    result = onnx.ModelProto()
    result.CopyFrom(traced.model)
    del result.graph.output[:], result.graph.value_info[:]
    graph = result.graph
    graph.node.extend(builder.nodes)
    graph.initializer.extend(builder.initializers)
    graph.value_info.extend(builder.described.values())
    graph.input.append(_described(COTANGENT, traced.tensors[output.name]))
    graph.output.extend(
        [_described(output.name, traced.tensors[output.name]), _described(GRADIENT, traced.tensors[traced.images])]
    )
    state_passed(result, passed)
    whole = Slim(result, {**traced.weights, **builder.weights}).whole()
    return onnx.load_model_from_string(whole)


def state_passed(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """State in a gradient graph which nodes of the forward graph it passes straight through, if any."""
    if names:
        model.metadata_props.add(key=_PASSED, value=json.dumps(names))


def passed_through(model: onnx.ModelProto) -> list[str]:
    """The names of the nodes that a gradient graph passes straight through; of nodes without one, their outputs'."""
    return next((list(json.loads(item.value)) for item in model.metadata_props if item.key == _PASSED), [])


def backpropagate(
    traced: Trace, builder: Builder, gradients: dict[str, str], otherwise: Mapping[str, Straight] | None = None
) -> tuple[str, list[str]]:
    """Write the backward pass; return the name of the gradient by the images, and those of `otherwise` that it used.

    Args:
        traced: the graph.
        builder: of its tensors.
        gradients: names of the gradients of some of its tensors, by the names of those.
        otherwise: what replaces rules, by the first output of a node.

    Raises:
        UnsupportedOperationError: operations have no rule, or not in this form.
        NoGradientError: none of these tensors depends on the images in a way that has a gradient.
    """
    if missing := sorted({_name(node) for node in traced.model.graph.node if _lacks_rule(builder, node)}):
        raise UnsupportedOperationError(", ".join(missing))
    otherwise, passed = otherwise or {}, []
    terms: dict[str, list[str]] = defaultdict(list)
    for tensor, gradient in gradients.items():
        terms[tensor].append(gradient)
    for proto in reversed(traced.model.graph.node):
        node = Node.of(proto)
        incoming = [_total(builder, terms[name]) if builder.active(name) else None for name in node.outputs]
        if all(gradient is None for gradient in incoming):
            continue
        for name, total in zip(node.outputs, incoming, strict=True):
            if total is not None:
                builder.describe(total, name)
        builder.real = _real(builder.tensors[next(filter(None, node.outputs))].dtype)
        rule, replaced = RULES[node.operation], otherwise.get(node.outputs[0])
        if replaced is not None and incoming[0] is not None:
            outgoing = replaced.rule(builder, node, incoming[0])
            passed += [replaced.name] if replaced.name else []
        else:
            outgoing = rule(builder, in_floats(builder, node), incoming)
        for name, one in zip(node.inputs, outgoing, strict=False):
            if one is not None and builder.active(name):
                terms[name].append(one)
    found = _total(builder, terms[traced.images])
    if found is None:
        raise NoGradientError("the output does not depend on the images in a way that has a gradient")
    return found, passed[::-1]


def _lacks_rule(builder: Builder, node: onnx.NodeProto) -> bool:
    known = node.domain in ("", "ai.onnx") and node.op_type in RULES
    return not known and any(builder.active(name) for name in node.output)


def _name(node: onnx.NodeProto) -> str:
    return f"{node.domain or 'ai.onnx'}.{node.op_type}"


def _described(name: str, tensor: Tensor) -> onnx.ValueInfoProto:
    """A tensor of this one's type, or of its gradient's, and of as many axes."""
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(_real(tensor.dtype)), [None] * len(tensor.shape)
    )


def _total(builder: Builder, terms: list[str]) -> str | None:
    """Their sum, two by two: ONNX Runtime fuses an Add into a convolution, and a Sum not."""
    return functools.reduce(lambda left, right: builder("Add", left, right), terms) if terms else None


def _real(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type of a tensor's gradient: its own, or float32 for integers."""
    return dtype if np.issubdtype(dtype, np.floating) else np.dtype(np.float32)
