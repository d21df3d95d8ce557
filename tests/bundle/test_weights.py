"""Weights beside a graph: what comes back is the graph, byte for byte."""

import numpy as np
import onnx
import pytest
from numpy.typing import DTypeLike
from onnx import TensorProto, helper, numpy_helper

from f2at.bundle.runtime import CPU, create_session
from f2at.bundle.weights import Slim, is_placeholder

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 400)).astype(np.float32)


def graph(dtype: DTypeLike = np.float32, *, listed: bool = False) -> onnx.ModelProto:
    """x W + b, W of 160,000 numbers; in old files constants are listed among the inputs as well."""
    weight = (10 * RNG.normal(size=(400, 400))).astype(dtype)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 400])]
    if listed:
        kind = helper.np_dtype_to_tensor_dtype(weight.dtype)
        inputs.append(helper.make_tensor_value_info("w", kind, weight.shape))
    return helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Cast", ["w"], ["real"], to=TensorProto.FLOAT),
                helper.make_node("Gemm", ["x", "real", "b"], ["y"]),
            ],
            "linear",
            inputs,
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 400])],
            [
                numpy_helper.from_array(np.ones(400, np.float32), "b"),
                numpy_helper.from_array(weight, "w"),
                numpy_helper.from_array(np.arange(40_000), "long"),
            ],
            doc_string="a graph",
            value_info=[helper.make_tensor_value_info("real", TensorProto.FLOAT, [400, 400])],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=9,
        producer_name="a test",
    )


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint16", "int64", "bool"])
def test_a_graph_comes_back_byte_for_byte_and_runs_without_its_weights_inside(dtype: str, listed: bool) -> None:
    model = graph(dtype, listed=listed)
    data = model.SerializeToString()
    slim = Slim.of(model)
    assert model.SerializeToString() == data == slim.whole()
    assert [tensor.name for tensor in slim.model.graph.initializer if is_placeholder(tensor)] == ["w"] == [*slim.named]
    assert Slim.of(slim) is slim
    (expected,) = create_session(data, providers=[CPU]).run(None, {"x": X})
    (found,) = create_session(slim, providers=[CPU]).run(None, {"x": X})
    np.testing.assert_array_equal(found, expected)


def test_types_that_numpy_lacks_stay_in_the_graph() -> None:
    model = graph()
    model.graph.initializer.append(
        helper.make_tensor("half", TensorProto.BFLOAT16, [300, 300], np.ones(90_000), raw=False)
    )
    words = TensorProto(name="words", data_type=TensorProto.STRING, dims=[300, 300], string_data=[b"word"] * 90_000)
    model.graph.initializer.append(words)
    slim = Slim.of(model)
    assert [*slim.named] == ["w"]
    assert slim.whole() == model.SerializeToString()


def test_graphs_share_equal_arrays_and_keep_their_own() -> None:
    first, second = Slim.of(graph()), Slim.of(graph())
    again = Slim.of(onnx.load_model_from_string(first.whole()))
    assert again.sharing(first).named["w"] is first.named["w"]
    assert second.sharing(first).named["w"] is second.named["w"]
