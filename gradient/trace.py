"""What a forward graph holds besides its nodes: shapes, types and constants, found by running it twice."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, inliner, shape_inference, version_converter

from f2at.bundle.onnx_check import read_names
from f2at.bundle.runtime import RUNTIME_ERRORS, reason
from f2at.bundle.weights import Slim, Weights, array_of, placed
from f2at.gradient.builder import WRITTEN, Builder, Tensor
from f2at.gradient.integers import written_out
from f2at.gradient.rules import RULES

OPSET = 20
_LOOPS = ("Range",)  # is defined by a loop, and needs no rule: it depends on sizes only
_SHAPES = ("Shape", "Size", "RandomNormalLike", "RandomUniformLike")  # depend on images by their size only
_BATCHES = (3, 4)  # neither is 1, so that no axis of the batch looks as if it could be repeated


@dataclass(frozen=True)
class Trace:
    """A graph whose functions are inlined, with all that its rules need to know.

    Attributes:
        model: of opset OPSET or newer; what is the same for all images is an initializer, not a node.
        images: the name of its input.
        tensors: everything in it, by name.
        weights: what fills its placeholders.
    """

    model: onnx.ModelProto
    images: str
    tensors: dict[str, Tensor]
    weights: Weights


def trace(
    source: onnx.ModelProto | Slim, shape: tuple[int, ...] | None = None, indices: Mapping[str, int] | None = None
) -> Trace:
    """Run a graph and find out what is in it.

    Args:
        source: the graph; any opset that ONNX can convert to OPSET.
        shape: of one image as the input takes it, where the graph leaves its size open.
        indices: inputs besides the images, integers (N,), by name, with the number that they lie below.

    Raises:
        ValueError: the graph has other inputs, or images whose size is open and not given.
    """
    source = upgraded(Slim.of(source))
    model = with_places(written_out(source.model))
    indices = indices or {}
    constants = {tensor.name: array_of(tensor, source.weights) for tensor in model.graph.initializer}
    images = input_of(model, besides=indices)
    batches, sizes = _sizes(images, shape)
    active = reached(model.graph.node, {images.name})
    varying = active | reached(model.graph.node, indices)
    run = _everything(Slim(model, source.weights), varying)
    first, second = (run(_random(images, (batch, *sizes), indices)) for batch in batches)
    tensors = {name: Tensor(value.shape, value.dtype, False, value) for name, value in constants.items()}
    for name, (dims, dtype, value) in first.items():
        other = second[name].value
        same = value is not None and other is not None and np.array_equal(value, other)
        opened = _open(dims, second[name][0])
        tensors[name] = Tensor(dims, dtype, name in active, value if same else None, opened)
    folded = _folded(model, tensors)
    return Trace(folded.model, images.name, tensors, {**source.weights, **folded.weights})


def _open(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int | str | None, ...] | None:
    """The sizes of a tensor in two runs as one."""
    if len(first) != len(second):
        return None
    pairs = zip(first, second, strict=True)
    return tuple(a if a == b else "N" if (a, b) == _BATCHES else None for a, b in pairs)


def upgraded(source: Slim) -> Slim:
    """The same graph in opset OPSET or newer, its functions inlined, ONNX's own that have no rule among them.

    Raises:
        ValueError: it cannot be brought there, since ONNX does not know its operations, for one.
    """
    model = source.model
    if not any(item.domain in ("", "ai.onnx") for item in model.opset_import):
        raise ValueError("the graph must state the opset of ONNX that it uses; it states none")
    try:
        model = inliner.inline_local_functions(model)
        model = version_converter.convert_version(model, OPSET) if opset(model) < OPSET else model
        tried: list[tuple[str, str]] = []
        while (composed := _composed(model)) and composed != tried:  # what cannot be written out is refused by name
            tried = composed
            model = inliner.inline_selected_functions(_typed(model), composed, inline_schema_functions=True)
    except Exception as error:  # its errors have no base, and some are failed assertions
        raise ValueError(
            _refusal(source) or f"the graph cannot be brought to opset {OPSET}: {reason(error)}"
        ) from error
    return Slim(model, source.weights)


def _composed(model: onnx.ModelProto) -> list[tuple[str, str]]:
    """Operations without a rule that ONNX defines by simpler ones, such as Attention, as (domain, name)."""
    version = opset(model)
    names = {node.op_type for node in model.graph.node if node.domain in ("", "ai.onnx")} - {*RULES, *_LOOPS}
    # Any, since onnx's stubs do not know whether a schema has a function.
    schemas: list[Any] = [onnx.defs.get_schema(name, version, "") for name in sorted(names) if onnx.defs.has(name, "")]
    return [("", each.name) for each in schemas if each.has_function or each.has_context_dependent_function]


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same with the type of every tensor, weights included, which the inliner looks for."""
    found = shape_inference.infer_shapes(model)
    known = {value.name for value in [*found.graph.input, *found.graph.value_info]}
    weights = (tensor for tensor in found.graph.initializer if tensor.name not in known)
    found.graph.value_info.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in weights
    )
    return found


def _refusal(source: Slim) -> str:
    """Why ONNX Runtime does not load a graph, which it says more clearly than a converter that fails; "" if it does."""
    try:
        quiet_session(source)
    except RUNTIME_ERRORS as error:
        return f"ONNX Runtime cannot load the graph: {reason(error)}"
    return ""


def opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operations that a model uses."""
    return int(next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx")))


def input_of(model: onnx.ModelProto, *, besides: Collection[str] = ()) -> onnx.ValueInfoProto:
    """The input that is neither a weight nor named in `besides`.

    Raises:
        ValueError: there are several, or there is none.
    """
    others = {tensor.name for tensor in model.graph.initializer}.union(besides)
    inputs: list[onnx.ValueInfoProto] = [value for value in model.graph.input if value.name not in others]
    if len(inputs) != 1:
        raise ValueError(f"the graph must have one input, the images; got {[value.name for value in inputs]}")
    return inputs[0]


def with_places(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with the places of the largest pixels as an output of every MaxPool, which its rule needs."""
    found = onnx.ModelProto()
    found.CopyFrom(model)
    for number, node in enumerate(found.graph.node):
        if node.op_type == "MaxPool" and len(node.output) == 1:
            node.output.append(f"{WRITTEN}places_{number}")
    return found


def without_places(node: onnx.NodeProto) -> onnx.NodeProto:
    """A node without what `with_places` gave it."""
    found = onnx.NodeProto()
    found.CopyFrom(node)
    if len(found.output) == 2 and found.output[1].startswith(f"{WRITTEN}places_"):
        del found.output[1]
    return found


def _sizes(images: onnx.ValueInfoProto, shape: tuple[int, ...] | None) -> tuple[tuple[int, int], tuple[int, ...]]:
    """Two sizes of a batch, alike if the graph takes only one, and the sizes of an image."""
    batch, *sizes = (axis.dim_value for axis in images.type.tensor_type.shape.dim)
    given = shape or tuple(sizes)
    if len(given) != len(sizes) or any(size not in (0, wanted) for size, wanted in zip(sizes, given, strict=True)):
        raise ValueError(f"shape must be that of an image of the graph, {sizes} (0: any); got {shape}")
    if not all(given):
        raise ValueError(f"shape must be given: the input {images.name!r} leaves it open, {sizes}")
    return ((batch, batch) if batch else _BATCHES), given


def _random(images: onnx.ValueInfoProto, shape: tuple[int, ...], indices: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """What to feed: images, and indices for them."""
    rng = np.random.default_rng(shape[0])
    dtype = helper.tensor_dtype_to_np_dtype(images.type.tensor_type.elem_type)
    levels = rng.random(shape) * (255 if np.issubdtype(dtype, np.integer) else 1)
    return {
        images.name: levels.astype(dtype),
        **{name: rng.integers(0, bound, shape[0]) for name, bound in indices.items()},
    }


class _Found(NamedTuple):
    """A tensor in a run; its value is None where only its shape and type were asked for."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    value: NDArray[Any] | None


def _everything(source: Slim, varying: Collection[str]) -> Callable[[dict[str, NDArray[Any]]], dict[str, _Found]]:
    """From inputs to every tensor there is, the inputs included.

    Of those that vary, which together may be gigabytes, only the shape and, as no elements at all, the type are kept.
    """
    names = [name for node in source.model.graph.node for name in node.output if name]
    described = {name: (f"{WRITTEN}shape_{i}", f"{WRITTEN}none_{i}") for i, name in enumerate(names) if name in varying}
    b = Builder({}, f"{WRITTEN}probe/")
    flat, none = b.integers(-1), b.integers(0)
    for node in source.model.graph.node:  # each tensor is looked at as soon as it is there, and may go
        b.nodes.append(node)
        for name in (output for output in node.output if output in described):
            shape, empty = described[name]
            part = b("Slice", b("Reshape", name, flat), none, none)
            b.nodes += [helper.make_node("Shape", [name], [shape]), helper.make_node("Identity", [part], [empty])]
    probe = onnx.ModelProto()
    probe.CopyFrom(source.model)
    del probe.graph.node[:]
    probe.graph.node.extend(b.nodes)
    probe.graph.initializer.extend(b.initializers)
    fetched = [output for name in names for output in described.get(name, (name,))]
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in fetched)
    session = quiet_session(Slim(probe, source.weights))

    def run(feeds: dict[str, NDArray[Any]]) -> dict[str, _Found]:
        values = dict(zip(fetched, session(fetched, feeds), strict=True))
        found = {name: _Found(value.shape, value.dtype, None) for name, value in feeds.items()}
        for name in names:
            if name in described:
                shape, empty = (values[output] for output in described[name])
                found[name] = _Found(tuple(shape.tolist()), empty.dtype, None)
            else:
                found[name] = _Found(values[name].shape, values[name].dtype, values[name])
        return found

    return run


def quiet_session(
    model: onnx.ModelProto | Slim,
) -> Callable[[Sequence[str] | None, Mapping[str, NDArray[Any]]], list[Any]]:
    """The run of a session for a few runs on the CPU: without optimisation, and without a word of what fails.

    Large weights are inputs there, which ONNX Runtime takes where they lie, and copies as constants.
    """
    slim = Slim.of(model)
    weights = slim.named
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED  # as nodes are listed, shapes first
    options.enable_cpu_mem_arena = False  # it keeps what it once had
    graph = slim.with_inputs().SerializeToString()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return lambda outputs, feeds: session.run(outputs, {**weights, **feeds})


def reached(nodes: Iterable[onnx.NodeProto], sources: Collection[str]) -> set[str]:
    """The names of what depends on these tensors, themselves included, by more than their shapes."""
    reached = set(sources)
    for node in nodes:
        if node.op_type not in _SHAPES and any(name in reached for name in node.input):
            reached.update(name for name in node.output if name)
    return reached


def _folded(model: onnx.ModelProto, tensors: dict[str, Tensor]) -> Slim:
    """The graph with constants in place of the nodes whose outputs are always the same.

    Integers stay integers: what a DequantizeLinear makes of them is left to it.
    """
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    graph = folded.graph
    kept = [
        node
        for node in graph.node
        if node.op_type == "DequantizeLinear" or any(name and tensors[name].value is None for name in node.output)
    ]
    made = {name for node in kept for name in node.output}
    computed = {name for node in graph.node for name in node.output if name} - made
    del graph.node[:]
    graph.node.extend(kept)
    weights: dict[str, NDArray[Any]] = {}
    for name in sorted(computed.intersection([*read_names(kept), *(output.name for output in graph.output)])):
        if (value := tensors[name].value) is not None:
            graph.initializer.append(placed(value, name, weights))
    return Slim(needed(folded, [output.name for output in graph.output]), weights)


def needed(model: onnx.ModelProto, outputs: Collection[str]) -> onnx.ModelProto:
    """The graph for some of its outputs, without the nodes and constants that they do not need."""
    found = onnx.ModelProto()
    found.CopyFrom(model)
    graph = found.graph
    read, kept = set(outputs), []
    for node in reversed(graph.node):
        if read.intersection(node.output):
            kept.append(node)
            read.update(read_names([node]))
    for field, values in (
        (graph.output, [value for value in graph.output if value.name in outputs]),
        (graph.node, kept[::-1]),
        (graph.initializer, [tensor for tensor in graph.initializer if tensor.name in read]),
        (graph.sparse_initializer, [tensor for tensor in graph.sparse_initializer if tensor.values.name in read]),
    ):
        copies = [type(value).FromString(value.SerializeToString()) for value in values]
        del field[:]
        field.extend(copies)
    return found
