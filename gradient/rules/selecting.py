"""Elements that are picked by indices, which may be computed, and may repeat."""

import numpy as np
from onnx import TensorProto

from f2at.gradient.builder import Builder, Node, UnsupportedOperationError
from f2at.gradient.rules.moving import put_back
from f2at.gradient.rules.registry import Gradients, rule


@rule("Gather")
def gather(b: Builder, node: Node, gradient: str) -> Gradients:
    """Added up where the elements came from."""
    x, indices = node.inputs
    shape = b.tensors[x].shape
    axis = node.attributes.get("axis", 0) % len(shape)
    taken = b.tensors[indices].value
    if taken is not None:
        taken = taken % shape[axis]
        if taken.ndim == 0:
            return [put_back(b, b("Unsqueeze", gradient, b.integers(axis)), taken.reshape(1), axis, shape)]
        if taken.ndim == 1 and len(set(taken.tolist())) == len(taken):
            return [put_back(b, gradient, taken, axis, shape)]
    # Rows of the axis, brought to the front, to which the gradient's rows are added.
    count = len(b.tensors[indices].shape)
    rank = len(b.tensors[node.outputs[0]].shape)
    front = [*range(axis, axis + count), *range(axis), *range(axis + count, rank)]
    rows = b("Transpose", gradient, perm=front)
    order = [axis, *(k for k in range(len(shape)) if k != axis)]
    zeros = b("Transpose", _zeros(b, x), perm=order)
    places = b("Unsqueeze", _from_zero(b, indices, x, axis), b.integers(-1))
    added = b.added("ScatterND", zeros, places, rows)
    return [b("Transpose", added, perm=[order.index(k) for k in range(len(shape))])]


@rule("GatherElements")
def gather_elements(b: Builder, node: Node, gradient: str) -> Gradients:
    """Added up where the elements came from."""
    x, indices = node.inputs
    axis = node.attributes.get("axis", 0)
    return [b.added("ScatterElements", _zeros(b, x), indices, gradient, axis=axis)]


@rule("GatherND")
def gather_nd(b: Builder, node: Node, gradient: str) -> Gradients:
    """Added up where the elements came from."""
    x, indices = node.inputs
    shared = range(node.attributes.get("batch_dims", 0))  # axes that the indices have in common with x, and do not name
    none = b("Mul", b("Slice", indices, b.integers(0), b.integers(1), b.integers(-1)), b.integers(0))
    named = [b("Add", _places(b, x, axis, b.rank(indices)), none) for axis in shared]
    places = b("Concat", *named, indices, axis=-1) if named else indices
    return [b.added("ScatterND", _zeros(b, x), places, gradient)]


@rule("ScatterND")
def scatter_nd(b: Builder, node: Node, gradient: str) -> Gradients:
    """To the updates what lies where they were put; to the data the rest, or all where updates were added."""
    _, indices, updates = node.inputs
    how = node.attributes.get("reduction", "none")
    if how not in ("none", "add"):
        raise UnsupportedOperationError(f"ScatterND with reduction {how!r}")
    rest = gradient if how == "add" else b("ScatterND", gradient, indices, b("Expand", b.scalar(0), b.shape(updates)))
    return [rest, None, b("GatherND", gradient, indices) if b.active(updates) else None]


@rule("ScatterElements")
def scatter_elements(b: Builder, node: Node, gradient: str) -> Gradients:
    """As `scatter_nd`."""
    _, indices, updates = node.inputs
    how, axis = node.attributes.get("reduction", "none"), node.attributes.get("axis", 0)
    if how not in ("none", "add"):
        raise UnsupportedOperationError(f"ScatterElements with reduction {how!r}")
    zeros = b("Expand", b.scalar(0), b.shape(updates))
    rest = gradient if how == "add" else b("ScatterElements", gradient, indices, zeros, axis=axis)
    return [rest, None, b("GatherElements", gradient, indices, axis=axis) if b.active(updates) else None]


@rule("TopK")
def top_k(b: Builder, node: Node, gradient: str) -> Gradients:
    """Back to the elements that were taken; the places are its second output."""
    axis = node.attributes.get("axis", -1)
    if len(node.outputs) < 2 or not node.outputs[1]:
        raise UnsupportedOperationError("TopK without the output Indices")
    return [b.added("ScatterElements", _zeros(b, node.inputs[0]), node.outputs[1], gradient, axis=axis)]


def _zeros(b: Builder, name: str) -> str:
    return b("Expand", b.scalar(0), b.shape(name))


def _places(b: Builder, x: str, axis: int, rank: int) -> str:
    """0, 1, ... along an axis of x, as a tensor of that rank whose other axes have one element."""
    size = b("Gather", b.shape(x), b.constant(np.array(axis)), axis=0)
    places = b("Range", b.constant(np.array(0)), size, b.constant(np.array(1)))
    return b("Reshape", places, b.integers(*(-1 if k == axis else 1 for k in range(rank))))


def _from_zero(b: Builder, indices: str, x: str, axis: int) -> str:
    """The indices as int64, those that count from the end made to count from the start."""
    indices = b("Cast", indices, to=TensorProto.INT64)
    size = b("Gather", b.shape(x), b.integers(axis), axis=0)
    return b("Where", b("Less", indices, b.integers(0)), b("Add", indices, size), indices)
