"""Batches of any size, also for graphs that were exported for one."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from f2at.bundle.runtime import RUNTIME_ERRORS, reason
from f2at.bundle.weights import Slim
from f2at.gradient.builder import Builder
from f2at.gradient.trace import input_of, needed, quiet_session, reached

_SYMBOL = "N"
_LARGEST = 1024  # a number above it is no batch


def with_any_batch(source: Slim, images: NDArray[Any]) -> tuple[Slim, int | None, NDArray[Any]]:
    """The graph for batches of any size if it can be had, else for the size that comes back as well.

    A graph whose input has a batch of one size, or whose nodes have, is opened up, and kept if it says of a batch what
    it says of its images one by one.

    Args:
        source: a classifier's graph; the first axis of its output is the batch.
        images: (N, ...) as the graph takes them, N >= 3.

    Returns:
        The graph, the only size of batches that it takes or None for any, and what it says of the images.

    Raises:
        ValueError: it cannot classify these images at all.
    """
    fixed, size, said = _of_one_size(source, images)
    model = source.model
    for candidate in (_described(model, _SYMBOL), _described(_opened(model, size), _SYMBOL)):
        slim = Slim(candidate, source.weights)
        if _agrees(slim, images, said):
            return slim, None, said
    return fixed, size, said


def _of_one_size(source: Slim, images: NDArray[Any]) -> tuple[Slim, int, NDArray[Any]]:
    """The graph for batches of the size it states, that size, and what it says.

    Where it states none: of one image or, if it takes no single one, of the size that a Reshape of it was fixed to.
    """
    model = source.model
    stated = input_of(model).type.tensor_type.shape.dim[0].dim_value
    sizes = [stated] if stated else [1, *_reshaped_to(model)]
    errors = []
    for size in sizes:
        fixed = Slim(_described(model, size), source.weights)
        try:
            return fixed, size, answer(fixed, images, size)
        except ValueError as error:
            errors.append(error)
    raise errors[0]


def _reshaped_to(model: onnx.ModelProto) -> list[int]:
    """The first numbers, above one, of what the graph's Reshape nodes reshape to."""
    constants = _constants(model.graph)
    shapes = [
        numpy_helper.to_array(constants[node.input[1]])
        for node in model.graph.node
        if node.op_type == "Reshape" and node.input[1] in constants
    ]
    return sorted({int(shape[0]) for shape in shapes if 1 < shape[:1].sum() <= _LARGEST})


def answer(
    model: onnx.ModelProto | Slim, images: NDArray[Any], batch: int | None = None, *, output: str | None = None
) -> NDArray[Any]:
    """What an output, the first if none is named, says of images, in batches of one size if it takes no other.

    Raises:
        ValueError: ONNX Runtime cannot load the graph or run it.
    """
    slim = Slim.of(model)
    output, name = output or slim.model.graph.output[0].name, input_of(slim.model).name
    try:
        run = quiet_session(slim)
        found = [run([output], {name: chunk})[0] for chunk in chunks(images, batch or len(images))]
    except RUNTIME_ERRORS as error:
        raise ValueError(f"ONNX Runtime cannot run the graph: {reason(error)}") from error
    return np.concatenate(found)[: len(images)]


def chunks(images: NDArray[Any], size: int) -> list[NDArray[Any]]:
    """Batches of exactly `size`, the last one filled up with the last image."""
    filled = np.concatenate([images, np.repeat(images[-1:], -len(images) % size, axis=0)])
    return [filled[start : start + size] for start in range(0, len(filled), size)]


def _agrees(model: Slim, images: NDArray[Any], said: NDArray[Any]) -> bool:
    """Whether a graph says the same of batches of two sizes, of which one at least is new to it."""
    counts = (len(images), len(images) - 1)
    try:
        together = [answer(model, images[:count]) for count in counts]
    except ValueError:
        return False
    scale = float(np.abs(said.astype(np.float64)).max())
    tolerance = tolerance_of(said)
    return all(
        found.shape == said[:count].shape
        and np.allclose(found.astype(np.float64), said[:count], rtol=tolerance, atol=tolerance * scale)
        for count, found in zip(counts, together, strict=True)
    )


def tolerance_of(values: NDArray[np.floating[Any]]) -> float:
    """Up to which relative error two ways to compute them count as the same: sums may be taken in another order."""
    return max(1e-4, 16 * float(np.finfo(values.dtype).eps)) if values.dtype.kind == "f" else 0.0


def _described(model: onnx.ModelProto, batch: str | int) -> onnx.ModelProto:
    """The graph with another size of the batch in its input; what it said of tensors inside is dropped."""
    found = onnx.ModelProto()
    found.CopyFrom(model)
    del found.graph.value_info[:]
    for value in (input_of(found), *found.graph.output):
        axes = value.type.tensor_type.shape.dim
        if axes:
            axes[0].CopyFrom(helper.make_tensor_value_info("", 1, [batch]).type.tensor_type.shape.dim[0])
    return found


def _opened(model: onnx.ModelProto, size: int) -> onnx.ModelProto:
    """The graph with "any" in place of `size` as the first number of what its Reshape nodes reshape to.

    For a batch of one, what is the same for all images is repeated before it is put beside something of each.
    """
    found = onnx.ModelProto()
    found.CopyFrom(model)
    graph = found.graph
    constants = _constants(graph)
    b, images = Builder({}, "batch/"), input_of(found).name
    varying = reached(graph.node, {images})
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] in constants:
            shape = numpy_helper.to_array(constants[node.input[1]]).copy()
            if shape.size and shape[0] == size:
                shape[0] = 0 if -1 in shape else -1
                node.input[1] = b.constant(shape)
        if node.op_type == "Concat" and size == 1 and varying.intersection(node.input):
            for place, name in enumerate(node.input):
                if name in constants and constants[name].dims:
                    batch = b("Shape", images, start=0, end=1)
                    ones = b.integers(*[1] * (len(constants[name].dims) - 1))
                    node.input[place] = b("Expand", name, b("Concat", batch, ones, axis=0))
        nodes += [*b.nodes, node]
        b.nodes.clear()
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    graph.initializer.extend(b.initializers)
    return needed(found, [output.name for output in graph.output])


def _constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in graph.initializer} | {
        node.output[0]: attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
