"""Elements that move, are repeated, or are cut out, at places that do not depend on the images."""

from collections.abc import Sequence

import numpy as np

from f2at.gradient.builder import Builder, Node
from f2at.gradient.rules.registry import Gradients, rule, rule_of_all_outputs


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(b: Builder, node: Node, gradient: str) -> Gradients:
    """Back to the shape it had."""
    return [b.reshaped(gradient, node.inputs[0])]


@rule("Transpose")
def transpose(b: Builder, node: Node, gradient: str) -> Gradients:
    """The inverse permutation."""
    order = node.attributes.get("perm") or list(range(b.rank(node.inputs[0])))[::-1]
    return [b("Transpose", gradient, perm=np.argsort(order).tolist())]


@rule("Expand")
def expand(b: Builder, node: Node, gradient: str) -> Gradients:
    """Summed over what was repeated."""
    return [b.unbroadcast(gradient, b.tensors[node.outputs[0]].shape, node.inputs[0])]


@rule("Tile")
def tile(b: Builder, node: Node, gradient: str) -> Gradients:
    """Summed over the tiles, which are an axis each once they are reshaped."""
    x = node.inputs[0]
    repeats = b.value(node, 1, "repeats").tolist()
    one = b.integers(1)
    sizes = b.shape(x)
    parts: list[str] = []
    for axis, count in enumerate(repeats):
        parts += [b.integers(count), b("Slice", sizes, b.integers(axis), b.integers(axis + 1), b.integers(0), one)]
    split = b("Reshape", gradient, b("Concat", *parts, axis=0))
    return [b("ReduceSum", split, b.integers(*range(0, 2 * len(repeats), 2)), keepdims=0)]


@rule("Concat")
def concatenate(b: Builder, node: Node, gradient: str) -> Gradients:
    """To each its part."""
    axis = node.attributes["axis"] % b.rank(node.outputs[0])
    sizes = [b.tensors[name].shape[axis] for name in node.inputs]
    if len(sizes) == 1:
        return [gradient]
    return b.several("Split", gradient, b.integers(*sizes), outputs=len(sizes), axis=axis)


@rule_of_all_outputs("Split")
def split(b: Builder, node: Node, gradients: Sequence[str | None]) -> Gradients:
    """The parts' gradients side by side; zeros for a part that nothing uses."""
    parts = [
        b("Expand", b.scalar(0), b.shape(output)) if gradient is None else gradient
        for gradient, output in zip(gradients, node.outputs, strict=True)
    ]
    return [b("Concat", *parts, axis=node.attributes.get("axis", 0))]


@rule("Slice")
def cut(b: Builder, node: Node, gradient: str) -> Gradients:
    """Zeros around it, axis by axis; between its elements, too, where the slice takes steps."""
    x = node.inputs[0]
    shape = b.tensors[x].shape
    starts, ends = (b.value(node, index, "bounds").tolist() for index in (1, 2))
    axes = b.value(node, 3, "axes").tolist() if node.optional_input(3) else list(range(len(starts)))
    steps = b.value(node, 4, "steps").tolist() if node.optional_input(4) else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = shape[axis % len(shape)]
        taken = np.arange(size)[slice(start, None if step < 0 and end < -size else end, step)]
        gradient = put_back(b, gradient, taken, axis % len(shape), shape)
    return [gradient]


@rule("Pad")
def pad(b: Builder, node: Node, gradient: str) -> Gradients:
    """The part that is no padding; reflected and repeated elements add up."""
    x = node.inputs[0]
    shape = b.tensors[x].shape
    rank = len(shape)
    pads = b.value(node, 1, "pads").tolist()
    axes = [axis % rank for axis in b.value(node, 3, "axes").tolist()] if node.optional_input(3) else list(range(rank))
    padded = [axis for k, axis in enumerate(axes) if pads[k] or pads[len(axes) + k]]
    begin = {axis: pads[k] for k, axis in enumerate(axes)}
    end = {axis: pads[len(axes) + k] for k, axis in enumerate(axes)}
    mode = node.attributes.get("mode", "constant")
    if mode == "constant":
        # From `begin` on as many as there were; negative pads cut, and what they cut has no gradient.
        return [b.pad(gradient, rank, {axis: (-begin[axis], -end[axis]) for axis in padded}) if padded else gradient]
    for axis in padded:
        sources = np.pad(np.arange(shape[axis]), (begin[axis], end[axis]), mode=mode)
        matrix = (np.arange(shape[axis])[:, None] == sources).astype(np.float64)
        gradient = along_axis(b, gradient, matrix, axis, rank)
    return [gradient]


@rule("DepthToSpace")
def depth_to_space(b: Builder, node: Node, gradient: str) -> Gradients:
    """The inverse; in the mode CRD the channels are ordered otherwise."""
    block = node.attributes["blocksize"]
    inverse = b("SpaceToDepth", gradient, blocksize=block)
    if node.attributes.get("mode", "DCR") == "DCR":
        return [inverse]
    # SpaceToDepth gives the channels as (block, block, depth); CRD has them as (depth, block, block).
    depth = b.tensors[node.inputs[0]].shape[1] // block**2
    order = np.arange(depth * block**2).reshape(block**2, depth).T.ravel()
    return [b("Gather", inverse, b.integers(*order.tolist()), axis=1)]


@rule("SpaceToDepth")
def space_to_depth(b: Builder, node: Node, gradient: str) -> Gradients:
    """The inverse."""
    return [b("DepthToSpace", gradient, blocksize=node.attributes["blocksize"])]


@rule("CumSum")
def cumulative_sum(b: Builder, node: Node, gradient: str) -> Gradients:
    """The cumulative sum from the other end."""
    turned = 1 - node.attributes.get("reverse", 0)
    return [b("CumSum", gradient, node.inputs[1], reverse=turned, exclusive=node.attributes.get("exclusive", 0))]


@rule("Trilu")
def triangle(b: Builder, node: Node, gradient: str) -> Gradients:
    """The same triangle."""
    return [b("Trilu", gradient, *node.inputs[1:], upper=node.attributes.get("upper", 1))]


def put_back(b: Builder, gradient: str, taken: np.ndarray, axis: int, shape: Sequence[int]) -> str:
    """Zeros of `shape` along an axis, with the gradient's elements at the places `taken`, each at most once."""
    size = shape[axis]
    if np.array_equal(taken, np.arange(size)):
        return gradient
    if len(taken) and np.array_equal(taken, np.arange(taken[0], taken[0] + len(taken))):
        return b.pad(gradient, len(shape), {axis: (int(taken[0]), int(size - taken[0] - len(taken)))})
    places = np.full(size, len(taken))  # one behind the last is zero
    places[taken] = np.arange(len(taken))
    with_zero = b.pad(gradient, len(shape), {axis: (0, 1)})
    return b("Gather", with_zero, b.integers(*places.tolist()), axis=axis)


def along_axis(b: Builder, gradient: str, matrix: np.ndarray, axis: int, rank: int) -> str:
    """Multiply an axis by a matrix (in, out): its size goes from out to in."""
    if axis == rank - 1:
        return b("MatMul", gradient, b.matrix(matrix.T))
    if axis == rank - 2:
        return b("MatMul", b.matrix(matrix), gradient)
    order = [k for k in range(rank) if k != axis] + [axis]
    last = b("MatMul", b("Transpose", gradient, perm=order), b.matrix(matrix.T))
    return b("Transpose", last, perm=np.argsort(order).tolist())
