"""What a bundle's graphs must satisfy before anything runs them. Needs onnx, not PyTorch."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.checker import ValidationError

Interface = Mapping[str, tuple[str, tuple[int | None, ...]]]  # name -> (numpy dtype, shape; None: the batch)
_Tensor = tuple[str, tuple[int, ...], bytes]
# Where operations have scales, which may be one for each channel; those of other operations are single numbers.
_SCALES = {
    "QuantizeLinear": (1,),
    "DequantizeLinear": (1,),
    "QLinearConv": (1, 4, 6),
    "QLinearMatMul": (1, 4, 6),
    "QGemm": (1, 4, 7),
}
_SLACK = 1e-5  # relative: rounding was worked out in float32


class OnnxError(ValueError):
    """A graph that is refused, with the reason in one line."""


def parse_model(name: str, data: bytes) -> onnx.ModelProto:
    """Read a serialised model; refuse an invalid one and one that reads tensors from other files.

    Raises:
        OnnxError: with the file's `name` and the reason.
    """
    try:
        model = onnx.load_model_from_string(data)
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors(model)):
            raise OnnxError(f"{name} keeps tensors in other files, which no digest covers")
        onnx.checker.check_model(data)
    except (DecodeError, ValidationError) as error:
        raise OnnxError(f"{name} is not a valid ONNX model ({str(error).splitlines()[0]})") from error
    return model


def check_interface(name: str, model: onnx.ModelProto, *, inputs: Interface, outputs: Interface) -> None:
    """Refuse a model whose inputs or outputs differ in name, type or shape; a None size must be dynamic.

    Raises:
        OnnxError: with what was expected and what was found.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    found = [value for value in model.graph.input if value.name not in weights]
    for kind, wanted, values in (("inputs", inputs, found), ("outputs", outputs, model.graph.output)):
        described = {value.name: _describe(value) for value in values}
        if described != wanted:
            raise OnnxError(f"{name} must have the {kind} {dict(wanted)}; got {described}")


def check_same_weights(classifier: onnx.ModelProto, gradient: onnx.ModelProto) -> bool:
    """Refuse two graphs that do not hold the same weights, so that the audit attacks what is served.

    Byte for byte; weights that the classifier keeps as integers must be the gradient graph's, rounded to the nearest
    unless they are the same integers there, as those must be that it multiplies as integers. Every floating-point
    tensor of more than one element that the output "logits" depends on counts, wherever the graph keeps it, except
    those whose elements are all 1: the kernels of identity convolutions, which carry no information. What only the
    backward pass holds is made of these weights (a kernel turned round, a slope of a normalisation) and does not count;
    that its gradients are right is proven at export.

    Returns:
        Whether the classifier keeps any as integers.

    Raises:
        OnnxError: with the number and the shapes of the tensors that only one graph has.
    """
    forward = [list(_forward_tensors(model)) for model in (classifier, gradient)]
    served, attacked = (_weights(model, kept) for model, kept in zip((classifier, gradient), forward, strict=True))
    rounded, sources = _rounded_weights(classifier), set()
    integers = {weight.key for weight in _rounded_weights(gradient)}
    for weight in rounded:
        if weight.key in integers:
            continue
        source = next((tensor for tensor in attacked if weight.is_rounded(tensor)), None)
        if source is None:
            raise OnnxError(
                f"classifier.onnx has integers of shape {weight.values.shape}, no rounding of gradient.onnx's"
            )
        sources.add(source)  # one tensor may be the source of several, such as biases of zeros
    multiplied = _multiplied_integers(classifier, forward[0])
    unknown = multiplied - {_key(numpy_helper.to_array(tensor)) for tensor in forward[1]}
    for name, only in (("classifier", served - attacked | unknown), ("gradient", attacked - served - sources)):
        if only:
            shapes = sorted({shape for _, shape, _ in only})
            raise OnnxError(f"the graphs differ in weights: {len(only)} only in {name}.onnx, of shapes {shapes}")
    return bool(rounded or multiplied)


@dataclass(frozen=True)
class _Rounded:
    """A constant that a DequantizeLinear node makes of integers: its values, and the distance between two of them."""

    values: NDArray[np.float64]
    step: NDArray[np.float64]

    @property
    def key(self) -> tuple[tuple[int, ...], bytes, bytes]:
        """Equal for the same constants."""
        return self.values.shape, self.values.tobytes(), self.step.tobytes()

    def is_rounded(self, tensor: _Tensor) -> bool:
        """Whether these values are the tensor's, rounded to the nearest."""
        dtype, shape, data = tensor
        if shape != self.values.shape:
            return False
        exact = np.frombuffer(data, dtype).reshape(shape).astype(np.float64)
        return bool(np.all(np.abs(self.values - exact) <= 0.5 * self.step * (1 + _SLACK) + _SLACK * np.abs(exact)))


def _rounded_weights(model: onnx.ModelProto) -> list[_Rounded]:
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in constants:
            continue
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        integers = constants[node.input[0]].astype(np.float64)
        scale, zero = (np.asarray(constants.get(name, 0), np.float64) for name in [*node.input[1:], ""][:2])
        shape = [-1 if dimension == axis else 1 for dimension in range(integers.ndim)] if scale.size > 1 else []
        step = scale.reshape(shape)
        found.append(_Rounded((integers - zero.reshape(shape)) * step, np.broadcast_to(step, integers.shape)))
    return found


def _weights(model: onnx.ModelProto, kept: Iterable[onnx.TensorProto]) -> set[_Tensor]:
    scales = {
        node.input[place]
        for node in model.graph.node
        for place in _SCALES.get(node.op_type, ())
        if place < len(node.input)
    }
    arrays = (numpy_helper.to_array(tensor) for tensor in kept if tensor.name not in scales)
    return {
        _key(array)
        for array in arrays
        if array.size > 1 and array.dtype.kind not in "biuSUO" and not np.all(array == 1)
    }


def _multiplied_integers(model: onnx.ModelProto, kept: Iterable[onnx.TensorProto]) -> set[_Tensor]:
    """8-bit integers that operations take as they are; a single one is a zero point."""
    names = {name for node in model.graph.node if node.op_type != "DequantizeLinear" for name in node.input}
    arrays = (numpy_helper.to_array(tensor) for tensor in kept if tensor.name in names)
    return {_key(array) for array in arrays if array.dtype.name in ("int8", "uint8") and array.ndim > 1}


def _key(array: NDArray[Any]) -> _Tensor:
    return array.dtype.name, array.shape, array.tobytes()


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every constant tensor of the model: initializers and attributes, in subgraphs and functions too."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def read_names(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    """The names that nodes read, in their subgraphs as well."""
    for node in nodes:
        yield from node.input
        for attribute in node.attribute:
            for graph in [attribute.g, *attribute.graphs]:
                yield from read_names(graph.node)
                yield from (output.name for output in graph.output)


def _forward_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every constant tensor that the output "logits" depends on; those of functions, all of them."""
    needed = {"logits"}
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(read_names([node]))
            yield from _node_tensors([node])
    yield from (tensor for tensor in model.graph.initializer if tensor.name in needed)
    yield from (tensor.values for tensor in model.graph.sparse_initializer if tensor.values.name in needed)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if node.op_type == "Constant" and attribute.name == "value_floats":
                yield numpy_helper.from_array(np.array(attribute.floats, np.float32))
            for graph in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
                yield from _graph_tensors(graph)


def _describe(value: onnx.ValueInfoProto) -> tuple[str, tuple[int | None, ...]]:
    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name if tensor.elem_type else "unknown"
    return dtype, tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
