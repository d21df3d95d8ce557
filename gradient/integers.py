"""Operations on integers in the form of operations on what they stand for, ONNX Runtime's quantiser's among them."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper

from f2at.gradient.builder import WRITTEN, Builder, Node


class _Form(NamedTuple):
    """Where an operation on integers has what: each value is followed by its scale and its zero point.

    Attributes:
        operation: the same on floating-point numbers.
        values: places of the integers that it works on.
        scale: place of the output's scale, which the zero point follows.
        bias: place of a bias, which is counted in products of the two values' units.
    """

    operation: str
    values: tuple[int, ...]
    scale: int
    bias: int | None = None


_FORMS = {
    "QLinearConv": _Form("Conv", (0, 3), 6, bias=8),
    "QLinearMatMul": _Form("MatMul", (0, 3), 6),
    "QGemm": _Form("Gemm", (0, 3), 7, bias=6),
    "QLinearAdd": _Form("Add", (0, 3), 6),
    "QLinearMul": _Form("Mul", (0, 3), 6),
    "QLinearAveragePool": _Form("AveragePool", (0,), 3),
    "QLinearGlobalAveragePool": _Form("GlobalAveragePool", (0,), 3),
    "QLinearLeakyRelu": _Form("LeakyRelu", (0,), 3),
    "QLinearSigmoid": _Form("Sigmoid", (0,), 3),
    "QLinearSoftmax": _Form("Softmax", (0,), 3),
}
_CONCAT = "QLinearConcat"  # the output's scale comes first, and then any number of values
_DOMAINS = ("", "ai.onnx", "com.microsoft")
_WEIGHT_AXIS = {"Conv": 0, "MatMul": 1, "Gemm": 1}  # of the channels that scales of weights may be for
# Rules of these compute with what the operation takes and gives.
_ARITHMETIC = ("Mul", "Div", "Abs", "Max", "Min", "Clip", "Pow")
# Of these another value would be another operation; what else an operation has besides is left out.
_OTHERWISE = {"channels_last": 0, "opset": 13}


def written_out(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with DequantizeLinear, the operation itself and QuantizeLinear in place of operations on integers.

    It says the same but for roundings to the neighbouring integer. What is of another form stays as it is.
    """
    if not any(_form(node) for node in model.graph.node):
        return model
    b = Builder({}, f"{WRITTEN}integers/")
    for node in model.graph.node:
        if form := _form(node):
            _write(b, Node.of(node), form)
            b.nodes[-1].output[0] = node.output[0]
        else:
            b.nodes.append(node)
    found = onnx.ModelProto()
    found.CopyFrom(model)
    del found.graph.node[:]
    found.graph.node.extend(b.nodes)
    return found


def _form(node: onnx.NodeProto) -> _Form | None:
    if node.domain not in _DOMAINS:
        return None
    if node.op_type == _CONCAT:
        return _Form("Concat", tuple(range(2, len(node.input), 3)), 0)
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    usual = all(attributes.get(name, value) == value for name, value in _OTHERWISE.items())
    return _FORMS.get(node.op_type) if usual else None


def _write(b: Builder, node: Node, form: _Form) -> None:
    """Write the nodes for a node; the last one gives its output."""

    def triple(place: int) -> list[str]:
        names = [node.optional_input(place + offset) or "" for offset in range(3)]
        return names if names[2] else names[:2]

    axis = _WEIGHT_AXIS.get(form.operation, 1)
    if node.attributes.get("transB"):
        axis = 0
    values = [b("DequantizeLinear", *triple(place), axis=axis if k else 1) for k, place in enumerate(form.values)]
    if form.bias is not None and (bias := node.optional_input(form.bias)):
        unit = b("Mul", *(node.inputs[place + 1] for place in form.values))
        values.append(b("DequantizeLinear", bias, unit, axis=0))
    kept = {name: value for name, value in node.attributes.items() if name not in _OTHERWISE}
    result = b(form.operation, *values, **kept)
    scale, zero = (node.optional_input(form.scale + offset) for offset in range(2))
    if scale:  # a product may be left as it is
        b("QuantizeLinear", result, scale, *([zero] if zero else []))


def in_floats(b: Builder, node: Node) -> Node:
    """A node of arithmetic on integers as one on the same numbers in float32, the type of their gradients."""
    if node.operation not in _ARITHMETIC or not np.issubdtype(b.tensors[node.outputs[0]].dtype, np.integer):
        return node

    def as_float(name: str) -> str:
        if not name:
            return name
        tensor = b.tensors[name]
        found = b("Cast", name, to=onnx.TensorProto.FLOAT)
        value = None if tensor.value is None else tensor.value.astype(np.float32)
        b.tensors[found] = replace(tensor, dtype=np.dtype(np.float32), value=value)
        return found

    return replace(node, inputs=tuple(map(as_float, node.inputs)), outputs=tuple(map(as_float, node.outputs)))
