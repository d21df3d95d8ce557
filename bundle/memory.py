"""How many images a graph may be given at once: what it holds in memory for one, from the shapes of its tensors."""

import math

import onnx
from onnx import helper, shape_inference

_BUDGET = 256 << 20  # bytes that a run's tensors may take at the same time
_LARGE = 4096  # elements of a constant that says nothing of shapes


def images_at_once(model: onnx.ModelProto) -> int:
    """The most images per run for which its tensors stay within a quarter of a gigabyte, at least 1.

    It follows from the graph alone, so that an audit cuts its batches in the same way wherever it runs.
    """
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 1  # the only size that it takes, or any
    return batch * max(1, _BUDGET // max(1, bytes_per_run(model)))


def bytes_per_run(model: onnx.ModelProto) -> int:
    """The most bytes of tensors that are alive at once in a run, as far as their shapes can be told.

    On one image, if the graph takes batches of any size.

    Nodes run in the order of the file, and a tensor is dropped after the last node that reads it.
    """
    sizes = _sizes(model)
    kept = {value.name for value in model.graph.output}
    last = {name: place for place, node in enumerate(model.graph.node) for name in node.input}
    alive = most = 0
    for place, node in enumerate(model.graph.node):
        alive += sum(sizes.get(name, 0) for name in node.output)
        most = max(most, alive)
        ended = {name for name in (*node.input, *node.output) if last.get(name, place) == place} - kept
        alive -= sum(sizes.get(name, 0) for name in ended)
    return most


def _sizes(model: onnx.ModelProto) -> dict[str, int]:
    """Bytes of each tensor that the graph computes, for a batch of one."""
    sketch = _without_weights(model)
    for value in sketch.graph.input:
        for axis in value.type.tensor_type.shape.dim:
            if not axis.HasField("dim_value"):
                axis.dim_value = 1
    inferred = shape_inference.infer_shapes(sketch, data_prop=True)
    computed = {name for node in sketch.graph.node for name in node.output}
    values = (*inferred.graph.value_info, *inferred.graph.output)
    return {value.name: _size(value.type.tensor_type) for value in values if value.name in computed}


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with its weights as inputs: their values say nothing of shapes, and they may be gigabytes."""
    graph = model.graph
    large = [tensor for tensor in graph.initializer if math.prod(tensor.dims) > _LARGE]
    names = {tensor.name for tensor in large}
    inputs = [helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in large]
    found = helper.make_graph(
        graph.node,
        "sketch",
        [*(value for value in graph.input if value.name not in names), *inputs],
        [helper.make_empty_tensor_value_info(value.name) for value in graph.output],
        [tensor for tensor in graph.initializer if tensor.name not in names],
    )
    return helper.make_model(found, opset_imports=model.opset_import, ir_version=model.ir_version)


def _size(tensor: onnx.TypeProto.Tensor) -> int:
    if not tensor.HasField("shape") or not tensor.elem_type:
        return 0
    elements = math.prod(int(axis.dim_value) for axis in tensor.shape.dim)
    return elements * int(helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize)
