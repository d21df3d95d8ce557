"""What rules see of a forward graph, and how they write the backward graph behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from f2at.bundle.weights import placed

WRITTEN = "gradient/"  # begins every name that the backward pass adds
_SHARED = 64  # constants of up to so many elements are written once


class UnsupportedOperationError(NotImplementedError):
    """A graph with an operation that has no gradient here; the message names it, and says which form of it is meant."""


class NoGradientError(ValueError):
    """A graph that depends on images in no way that has a gradient: it rounds all that it makes of them, for one."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the forward graph.

    Attributes:
        shape: its sizes for the batch that the graph was traced with.
        dtype: of its elements.
        active: whether it depends on the images.
        value: what it holds, if that is the same for all images and batches; else None.
        sizes: `shape`, with "N" for an axis that is the batch, and None for one that depends on it otherwise.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    active: bool
    value: NDArray[Any] | None = None
    sizes: tuple[int | str | None, ...] | None = None


@dataclass(frozen=True)
class Node:
    """A node of the forward graph; absent optional inputs and outputs are named ""."""

    operation: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]  # texts decoded

    @classmethod
    def of(cls, node: onnx.NodeProto) -> "Node":
        """A node as ONNX has it."""
        attributes = {item.name: _plain(helper.get_attribute_value(item)) for item in node.attribute}
        return cls(node.op_type, tuple(node.input), tuple(node.output), attributes)

    def optional_input(self, index: int) -> str | None:
        """The name of an input that may be absent."""
        return self.inputs[index] or None if index < len(self.inputs) else None


class Builder:
    """Writes the nodes of a backward graph, or of what stands before the forward graph.

    Args:
        tensors: of the forward graph, by name; those that rules add are kept with them.
        prefix: begins the names of what is written.

    Attributes:
        real: the floating-point type of the gradient being written; scalars have it.
        nodes: what was written, in order.
        initializers: the constants of it.
        weights: what fills those that are placeholders.
        described: tensors of the backward graph, by name, that are shaped like some of the forward graph.
    """

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str = WRITTEN) -> None:
        self.tensors = dict(tensors)
        self.prefix = prefix
        self.real: np.dtype[Any] = np.dtype(np.float32)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.weights: dict[str, NDArray[Any]] = {}
        self.described: dict[str, onnx.ValueInfoProto] = {}
        self._shared: dict[tuple[object, ...], str] = {}
        self._count = 0

    def __call__(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """Write a node with one output; return the output's name."""
        (output,) = self.several(operation, *inputs, outputs=1, **attributes)
        return output

    def several(self, operation: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """Write a node with several outputs; return their names."""
        names = [self.name(operation) for _ in range(outputs)]
        self.nodes.append(helper.make_node(operation, list(inputs), names, name=names[0], **attributes))
        return names

    def name(self, hint: str) -> str:
        """A name that nothing else has."""
        self._count += 1
        return f"{self.prefix}{hint}_{self._count}"

    def constant(self, value: NDArray[Any]) -> str:
        """A constant."""
        value = np.ascontiguousarray(value).reshape(value.shape)
        key = (value.dtype.str, value.shape, value.tobytes()) if value.size <= _SHARED else None
        if key and key in self._shared:
            return self._shared[key]
        name = self.name("constant")
        self.initializers.append(placed(value, name, self.weights))
        if key:
            self._shared[key] = name
        return name

    def scalar(self, value: float) -> str:
        """A number of type `real`."""
        return self.constant(np.asarray(value, dtype=self.real))

    def matrix(self, value: NDArray[Any]) -> str:
        """An array of type `real`."""
        return self.constant(value.astype(self.real))

    def integers(self, *values: int) -> str:
        """A list of integers, such as axes."""
        return self.constant(np.array(values, dtype=np.int64))

    def shape(self, name: str) -> str:
        """The shape of a forward tensor, as a tensor: its batch may be any."""
        key = ("shape", name)
        if key not in self._shared:
            self._shared[key] = self("Shape", name)
        return self._shared[key]

    def reshaped(self, gradient: str, name: str) -> str:
        """A gradient in the shape of a forward tensor."""
        sizes = self.tensors[name].sizes
        free = None if sizes is None else sum(not isinstance(size, int) for size in sizes)
        if sizes is None or free not in (0, 1) or 0 in sizes:
            return self("Reshape", gradient, self.shape(name))
        return self("Reshape", gradient, self.integers(*(size if isinstance(size, int) else -1 for size in sizes)))

    def describe(self, gradient: str, name: str) -> None:
        """State that a gradient has the shape of a forward tensor: ONNX Runtime lays out what it knows the shape of."""
        tensor = self.tensors[name]
        if tensor.sizes is not None and gradient.startswith(self.prefix):
            real = tensor.dtype if np.issubdtype(tensor.dtype, np.floating) else np.dtype(np.float32)
            kind = helper.np_dtype_to_tensor_dtype(real)
            self.described[gradient] = helper.make_tensor_value_info(gradient, kind, tensor.sizes)

    def rank(self, name: str) -> int:
        """The number of axes of a forward tensor."""
        return len(self.tensors[name].shape)

    def active(self, name: str) -> bool:
        """Whether a forward tensor depends on the images, so that its gradient is needed."""
        return bool(name) and self.tensors[name].active

    def value(self, node: Node, index: int, what: str) -> NDArray[Any]:
        """What an input holds.

        Raises:
            UnsupportedOperationError: it is computed from the images.
        """
        value = self.tensors[node.inputs[index]].value
        if value is None:
            raise UnsupportedOperationError(f"{node.operation} with {what} that is computed")
        return value

    def mask(self, condition: str) -> str:
        """1 where the condition holds, else 0, of type `real`."""
        return self("Cast", condition, to=helper.np_dtype_to_tensor_dtype(self.real))

    def where(self, condition: str, gradient: str) -> str:
        """The gradient where the condition holds, else 0; what is not finite elsewhere does not matter."""
        return self("Where", condition, gradient, self.scalar(0))

    def added(self, operation: str, zeros: str, places: str, values: str, **attributes: Any) -> str:
        """Values added to zeros at places, which may come twice, by ScatterND or ScatterElements.

        In float32: ONNX Runtime adds up no float16 on the CPU.
        """
        if self.real != np.float16:
            return self(operation, zeros, places, values, reduction="add", **attributes)
        wide = [self("Cast", name, to=onnx.TensorProto.FLOAT) for name in (zeros, values)]
        added = self(operation, wide[0], places, wide[1], reduction="add", **attributes)
        return self("Cast", added, to=onnx.TensorProto.FLOAT16)

    def pad(self, gradient: str, rank: int, pads: Mapping[int, tuple[int, int]]) -> str:
        """Zeros before and behind some axes; negative numbers cut.

        All axes are written out: when ONNX Runtime 1.31 moves a Transpose past a Pad with the input `axes`, it takes
        the pads for those of all axes, and fails.
        """
        begin, end = ([pads.get(axis, (0, 0))[side] for axis in range(rank)] for side in (0, 1))
        return self("Pad", gradient, self.integers(*begin, *end))

    def unbroadcast(self, gradient: str, shape: Sequence[int], name: str) -> str:
        """Sum a gradient of `shape` over the axes along which the forward tensor `name` was repeated."""
        return self.sum_to(gradient, shape, self.tensors[name].shape)

    def sum_to(self, gradient: str, shape: Sequence[int], target: Sequence[int]) -> str:
        """Sum a gradient of `shape` over the axes along which a tensor of shape `target` is broadcast to it."""
        leading = len(shape) - len(target)
        axes = [axis for axis in range(len(shape)) if axis < leading or target[axis - leading] == 1 != shape[axis]]
        if axes:
            gradient = self("ReduceSum", gradient, self.integers(*axes), keepdims=1)
        if leading:
            gradient = self("Squeeze", gradient, self.integers(*range(leading)))
        return gradient


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
