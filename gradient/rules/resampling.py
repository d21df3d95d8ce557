"""Resizing."""

import functools
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from f2at.gradient.builder import Builder, Node, UnsupportedOperationError
from f2at.gradient.rules.moving import along_axis
from f2at.gradient.rules.registry import Gradients, rule

_SEPARABLE = (
    "mode",
    "coordinate_transformation_mode",
    "nearest_mode",
    "cubic_coeff_a",
    "exclude_outside",
    "antialias",
    "extrapolation_value",
)


@rule("Resize")
def resize(b: Builder, node: Node, gradient: str) -> Gradients:
    """The transposed interpolation of each axis."""
    shape, result = b.tensors[node.inputs[0]].shape, b.tensors[node.outputs[0]].shape
    if node.attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise UnsupportedOperationError("Resize with tf_crop_and_resize")
    scales = b.tensors[node.inputs[2]].value if node.optional_input(2) else None
    attributes = tuple(sorted((name, node.attributes[name]) for name in _SEPARABLE if name in node.attributes))
    axes = node.attributes.get("axes", list(range(len(shape))))
    for axis in range(len(shape)):
        if shape[axis] != result[axis]:
            scale = None if scales is None or not scales.size else float(scales[list(axes).index(axis)])
            matrix = _interpolation(shape[axis], result[axis], scale, attributes)
            gradient = along_axis(b, gradient, matrix, axis, len(shape))
    return [gradient]


@functools.lru_cache(maxsize=64)
def _interpolation(
    size: int, result: int, scale: float | None, attributes: tuple[tuple[str, Any], ...]
) -> NDArray[np.float64]:
    """Row k is what a 1 at place k of an axis becomes: interpolation is linear, so ONNX Runtime itself can say."""
    places = ["x", "", "scales"] if scale is not None else ["x", "", "", "sizes"]
    constant = (
        helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, scale, 1])
        if scale is not None
        else helper.make_tensor("sizes", TensorProto.INT64, [4], [size, 1, result, 1])
    )
    graph = helper.make_graph(
        [helper.make_node("Resize", places, ["y"], **dict(attributes))],
        "interpolation",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [size, 1, size, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [constant],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (rows,) = session.run(None, {"x": np.eye(size, dtype=np.float32).reshape(size, 1, size, 1)})
    return np.asarray(rows, dtype=np.float64).reshape(size, result)
