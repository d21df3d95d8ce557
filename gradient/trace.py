"""What a forward graph holds besides its nodes: shapes, types and constants, found by running it twice."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, inliner, numpy_helper, version_converter

from f2at.gradient.builder import Tensor

OPSET = 20
_SHAPES = ("Shape", "Size")  # depend on images by their size only
_BATCHES = (3, 4)  # neither is 1, so that no axis of the batch looks as if it could be repeated


@dataclass(frozen=True)
class Trace:
    """A graph whose functions are inlined, with all that its rules need to know.

    Attributes:
        model: of opset OPSET or newer; what is the same for all images is an initializer, not a node.
        images: the name of its input.
        tensors: everything in it, by name.
    """

    model: onnx.ModelProto
    images: str
    tensors: dict[str, Tensor]


def trace(model: onnx.ModelProto, shape: tuple[int, ...] | None = None) -> Trace:
    """Run a graph with one input and find out what is in it.

    Args:
        model: weights included; any opset that ONNX can convert to OPSET.
        shape: of one image as the input takes it, where the graph leaves its size open.

    Raises:
        ValueError: the graph has several inputs, or one whose size is open and not given.
    """
    model = _upgraded(model)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise ValueError(f"the graph must have one input, the images; got {[value.name for value in inputs]}")
    (images,) = inputs
    batches, sizes = _sizes(images, shape)
    first, second = (_run(model, images, (batch, *sizes)) for batch in batches)
    active = _active(model.graph.node, images.name)
    tensors = {name: Tensor(value.shape, value.dtype, False, value) for name, value in weights.items()}
    for name, value in first.items():
        same = name not in active and value.shape == second[name].shape and np.array_equal(value, second[name])
        tensors[name] = Tensor(value.shape, value.dtype, name in active, value if same else None)
    return Trace(_folded(model, tensors), images.name, tensors)


def _upgraded(model: onnx.ModelProto) -> onnx.ModelProto:
    model = inliner.inline_local_functions(model)
    version = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    if version < OPSET:
        model = version_converter.convert_version(model, OPSET)
    for number, node in enumerate(model.graph.node):
        if node.op_type == "MaxPool" and len(node.output) == 1:
            node.output.append(f"gradient/places_{number}")  # of the largest pixels, which the rule needs
    return model


def _sizes(images: onnx.ValueInfoProto, shape: tuple[int, ...] | None) -> tuple[tuple[int, int], tuple[int, ...]]:
    """Two sizes of a batch, alike if the graph takes only one, and the sizes of an image."""
    batch, *sizes = (axis.dim_value for axis in images.type.tensor_type.shape.dim)
    given = shape or tuple(sizes)
    if len(given) != len(sizes) or any(size not in (0, wanted) for size, wanted in zip(sizes, given, strict=True)):
        raise ValueError(f"shape must be that of an image of the graph, {sizes} (0: any); got {shape}")
    if not all(given):
        raise ValueError(f"shape must be given: the input {images.name!r} leaves it open, {sizes}")
    return ((batch, batch) if batch else _BATCHES), given


def _run(model: onnx.ModelProto, images: onnx.ValueInfoProto, shape: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    """Every tensor that the nodes compute, for random images."""
    names = [name for node in model.graph.node for name in node.output if name]
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    dtype = helper.tensor_dtype_to_np_dtype(images.type.tensor_type.elem_type)
    levels = np.random.default_rng(shape[0]).random(shape)
    values = (255 * levels if np.issubdtype(dtype, np.integer) else levels).astype(dtype)
    return {images.name: values, **dict(zip(names, session.run(names, {images.name: values}), strict=True))}


def _active(nodes: Iterable[onnx.NodeProto], images: str) -> set[str]:
    active = {images}
    for node in nodes:
        if node.op_type not in _SHAPES and any(name in active for name in node.input):
            active.update(name for name in node.output if name)
    return active


def _folded(model: onnx.ModelProto, tensors: dict[str, Tensor]) -> onnx.ModelProto:
    """The graph with constants in place of the nodes whose outputs are always the same."""
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    graph = folded.graph
    kept = [node for node in graph.node if any(name and tensors[name].value is None for name in node.output)]
    computed = {name for node in graph.node for name in node.output if name}
    del graph.node[:]
    graph.node.extend(kept)
    used = {*_read(kept), *(output.name for output in graph.output)}
    for name in sorted(used & computed):
        if (value := tensors[name].value) is not None:
            graph.initializer.append(numpy_helper.from_array(value, name))
    return folded


def _read(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    """The names that nodes read, in their subgraphs as well."""
    for node in nodes:
        yield from node.input
        for attribute in node.attribute:
            yield from _read(attribute.g.node)
