"""Small classifiers as ONNX graphs, with known weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

CLASSES, SIDE = 4, 6
_RNG = np.random.default_rng(7)
WEIGHT = (_RNG.normal(size=(5, 3, 3, 3)) / 3).astype(np.float32)
BIAS = _RNG.normal(size=5).astype(np.float32)
HEAD = _RNG.normal(size=(5, CLASSES)).astype(np.float32)


def network(
    *,
    shape: Sequence[int | str] = ("N", 3, SIDE, SIDE),
    tail: Sequence[tuple[str, dict[str, Any]]] = (),
    head: NDArray[Any] = HEAD,
    dtype: int = TensorProto.FLOAT,
    opset: int = 17,
    batch: int = 0,
    answer: int | None = None,
) -> onnx.ModelProto:
    """Convolution, softplus, mean over the image, and a linear layer; then the operations in `tail`.

    Args:
        shape: of the input, whose channels are where the 3 is.
        tail: operations with one input, and their attributes.
        head: (5, C).
        dtype: of the input; the weights are of it as well, or, for uint8, float.
        opset: of the operations.
        batch: what a Reshape in front of the linear layer fixes it to; 0 leaves it out.
        answer: the type of the output, if it is another.
    """
    real = TensorProto.FLOAT if dtype == TensorProto.UINT8 else dtype
    kind = helper.tensor_dtype_to_np_dtype(real)
    nodes = [helper.make_node("Cast", ["x"], ["real"], to=real)]
    pixels = "real"
    if shape[1] != 3:
        nodes.append(helper.make_node("Transpose", ["real"], ["first"], perm=[0, 3, 1, 2]))
        pixels = "first"
    nodes += [
        helper.make_node("Conv", [pixels, "weight", "bias"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Softplus", ["c"], ["s"]),
        helper.make_node("GlobalAveragePool", ["s"], ["p"]),
        helper.make_node("Reshape", ["p", "flat"], ["f"]) if batch else helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "head"], ["y0"]),
    ]
    nodes += [
        helper.make_node(operation, [f"y{number}"], [f"y{number + 1}"], **attributes)
        for number, (operation, attributes) in enumerate(tail)
    ]
    constants = {"weight": WEIGHT.astype(kind), "bias": BIAS.astype(kind), "head": head.astype(kind)}
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", dtype, list(shape))],
        [helper.make_tensor_value_info(f"y{len(tail)}", answer or real, None)],
        [numpy_helper.from_array(value, name) for name, value in {**constants, "flat": np.array([batch, 5])}.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def logits_of(pixels: NDArray[Any], head: NDArray[Any] = HEAD) -> NDArray[np.float64]:
    """What the linear layer says of (N, 3, H, W), in float64."""
    padded = np.pad(pixels.astype(np.float64), [(0, 0), (0, 0), (1, 1), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    convolved = np.einsum("nchwij,kcij->nkhw", windows, WEIGHT.astype(np.float64)) + BIAS[:, None, None]
    return np.asarray(np.logaddexp(0, convolved).mean(axis=(2, 3)) @ head.astype(np.float64))


def of_every_quantized_operation() -> onnx.ModelProto:
    """A classifier of images (N, 3, SIDE, SIDE) with an operation of each kind that has a form on integers."""
    rng = np.random.default_rng(3)

    def weights(*shape: int) -> NDArray[np.float32]:
        return np.asarray(rng.normal(size=shape) / np.sqrt(np.prod(shape[1:])), np.float32)

    constants = {
        "first": weights(8, 3, 3, 3),
        "first_bias": weights(8),
        "second": weights(8, 8, 3, 3),
        "second_bias": weights(8),
        "hidden": weights(6, 16),
        "hidden_bias": weights(6),
        "head": weights(6, CLASSES),
    }
    nodes = [
        helper.make_node("Conv", ["x", "first", "first_bias"], ["a"], pads=[1] * 4),
        helper.make_node("LeakyRelu", ["a"], ["b"], alpha=0.1),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["c", "second", "second_bias"], ["d"], pads=[1] * 4),
        helper.make_node("Sigmoid", ["d"], ["e"]),
        helper.make_node("Mul", ["d", "e"], ["f"]),
        helper.make_node("Add", ["f", "c"], ["g"]),
        helper.make_node("AveragePool", ["g"], ["h"], kernel_shape=[2, 2]),
        helper.make_node("Concat", ["h", "h"], ["i"], axis=1),
        helper.make_node("GlobalAveragePool", ["i"], ["j"]),
        helper.make_node("Flatten", ["j"], ["k"]),
        helper.make_node("Gemm", ["k", "hidden", "hidden_bias"], ["l"], transB=1),
        helper.make_node("MatMul", ["l", "head"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
