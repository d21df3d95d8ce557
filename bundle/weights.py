"""Large constants kept beside a graph instead of in it: what reads, cuts and rewrites graphs then copies none of them.

In the graph a placeholder stays, a tensor with name, type and shape that is said to be in another place. A file has no
placeholders: they are filled as it is written.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from types import MappingProxyType
from typing import Any, TypeVar, cast

import numpy as np
import onnx
from google.protobuf.message import Message
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_Message = TypeVar("_Message", bound=Message)
Weights = Mapping[str, NDArray[Any]]  # by what their placeholders call them

NONE: Weights = MappingProxyType({})
_LARGE = 1 << 16  # bytes
_KINDS = {  # others stay in the graph: numpy has no such types
    helper.np_dtype_to_tensor_dtype(np.dtype(code)) for code in ("?", *np.typecodes["AllInteger"], "e", "f", "d")
}
_KEYS = count()  # names of tensors change as graphs are put together
_GRAPH, _INITIALIZER, _RAW = 7, 5, 9  # numbers of protobuf's fields


@dataclass(frozen=True)
class Slim:
    """A graph with its large constants beside it.

    Attributes:
        model: the graph, with placeholders.
        weights: what fills them; there may be more.
    """

    model: onnx.ModelProto
    weights: Weights

    @classmethod
    def of(cls, model: "onnx.ModelProto | Slim") -> "Slim":
        """Take the large constants out of a whole graph, which stays as it is."""
        if isinstance(model, Slim):
            return model
        weights: dict[str, NDArray[Any]] = {}
        slim = _without(model, "graph")
        slim.graph.CopyFrom(_without(model.graph, "initializer"))
        slim.graph.initializer.extend(
            placed(numpy_helper.to_array(tensor), tensor.name, weights)
            if _is_large(tensor.data_type, tensor.dims, tensor.ByteSize())
            else tensor
            for tensor in model.graph.initializer
        )
        return cls(slim, weights)

    @property
    def named(self) -> dict[str, NDArray[Any]]:
        """The weights that the graph has, by the names of its tensors."""
        return {
            tensor.name: self.weights[_key(tensor)] for tensor in self.model.graph.initializer if is_placeholder(tensor)
        }

    def sharing(self, other: "Slim") -> "Slim":
        """The same graph with the arrays of another where they are the same."""
        mine, others = self.named, other.named
        same = {name: array for name, array in others.items() if name in mine and np.array_equal(array, mine[name])}
        keys = {tensor.name: _key(tensor) for tensor in self.model.graph.initializer if is_placeholder(tensor)}
        return Slim(self.model, {key: same.get(name, mine[name]) for name, key in keys.items()})

    def with_inputs(self) -> onnx.ModelProto:
        """The graph with inputs in place of its placeholders."""
        found = _without(self.model, "graph")
        found.graph.CopyFrom(_without(self.model.graph, "initializer"))
        stated = {value.name for value in found.graph.input}
        for tensor in self.model.graph.initializer:
            if not is_placeholder(tensor):
                found.graph.initializer.append(tensor)
            elif tensor.name not in stated:
                found.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        return found

    def parts(self) -> Iterator[bytes | memoryview]:
        """What a file of the whole graph holds, piece by piece; weights are not copied."""
        graph = self.model.graph
        before, behind = _split(graph, _INITIALIZER)
        inside: list[bytes | memoryview] = [before]
        for tensor in graph.initializer:
            filled = list(_filled(tensor, self.weights)) if is_placeholder(tensor) else [tensor.SerializeToString()]
            inside += [_head(_INITIALIZER, filled), *filled]
        inside.append(behind)
        before, behind = _split(self.model, _GRAPH)
        yield from (before, _head(_GRAPH, inside), *inside, behind)

    def whole(self) -> bytes:
        """The whole graph, serialised."""
        return b"".join(self.parts())


def placed(value: NDArray[Any], name: str, weights: dict[str, NDArray[Any]]) -> TensorProto:
    """A tensor for a graph; if it is large, a placeholder for what is added to `weights`."""
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    if not _is_large(kind, value.shape, value.nbytes):
        return numpy_helper.from_array(value, name)
    key = str(next(_KEYS))
    weights[key] = np.ascontiguousarray(value)
    entries = [onnx.StringStringEntryProto(key="location", value=key)]
    return TensorProto(
        name=name, data_type=kind, dims=value.shape, data_location=TensorProto.EXTERNAL, external_data=entries
    )


def array_of(tensor: TensorProto, weights: Weights) -> NDArray[Any]:
    """What a tensor of a graph holds."""
    return weights[_key(tensor)] if is_placeholder(tensor) else numpy_helper.to_array(tensor)


def is_placeholder(tensor: TensorProto) -> bool:
    """Whether what it holds is beside the graph."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def _is_large(kind: int, shape: Sequence[int], size: int) -> bool:
    """Whether a tensor is kept beside graphs; vectors and scalars are not: passes read them, and they are few."""
    return kind in _KINDS and len(shape) > 1 and size >= _LARGE


def _key(tensor: TensorProto) -> str:
    return str(tensor.external_data[0].value)


def _without(message: _Message, field: str) -> _Message:
    """A copy without one field, of which nothing is copied."""
    kept = {found.name: value for found, value in message.ListFields() if found.name != field}
    return cast(_Message, type(message)(**kept))


def _split(message: Message, number: int) -> tuple[bytes, bytes]:
    """What is serialised before a field and behind it: protobuf writes fields in the order of their numbers."""
    fields = message.ListFields()
    before, behind = (
        type(message)(**{field.name: value for field, value in fields if (field.number - number) * side > 0})
        for side in (-1, 1)
    )
    return before.SerializeToString(), behind.SerializeToString()


def _filled(tensor: TensorProto, weights: Weights) -> Iterator[bytes | memoryview]:
    """A placeholder's tensor, serialised."""
    value = weights[_key(tensor)]
    data = value.astype(value.dtype.newbyteorder("<"), copy=False).data.cast("B")
    yield TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims).SerializeToString()
    yield _head(_RAW, [data])
    yield data


def _head(number: int, parts: Iterable[bytes | memoryview]) -> bytes:
    """What protobuf writes before a field of these bytes: its number and its length."""
    return _varint(number << 3 | 2) + _varint(sum(len(part) for part in parts))


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])
