"""The classifier in int8: what it computes, and that its integers are the gradient graph's weights, rounded."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from f2at.attacks.objectives import OBJECTIVES
from f2at.attacks.targets.onnx_target import OnnxTarget
from f2at.bundle.format import BundleError, load_bundle, write_bundle
from f2at.bundle.onnx_check import OnnxError, check_same_weights, parse_model
from f2at.bundle.runtime import create_session
from f2at.export.quantize import compare, quantize


@pytest.fixture(scope="module")
def quantized(exported: Any) -> bytes:
    return quantize(exported.classifier, exported.images)


def test_logits_are_those_of_float32_up_to_rounding(exported: Any, quantized: bytes) -> None:
    exact, rounded = (
        create_session(model).run(None, {"images": exported.images})[0] for model in (exported.classifier, quantized)
    )
    error = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
    assert 1e-4 < error < 0.05


def test_the_same_images_give_the_same_bytes(exported: Any, quantized: bytes) -> None:
    assert quantize(exported.classifier, exported.images) == quantized
    assert quantize(exported.classifier, exported.images // 2) != quantized


def test_agreement_is_counted_on_labelled_images(exported: Any, quantized: bytes) -> None:
    session = create_session(quantized)
    predictions = session.run(None, {"images": exported.images})[0].argmax(1)
    found = compare(exported.classifier, quantized, exported.images, predictions)
    assert found["int8_accuracy"] == 1.0
    assert found["float32_accuracy"] == found["agreement"]
    assert compare(quantized, quantized, exported.images, exported.labels)["agreement"] == 1.0


def linear(weights: Any, *, integers: Any = None, scale: Any = None) -> onnx.ModelProto:
    """logits = W x, with W in float32 or, axis 0, in integers."""
    arrays = {"w": np.array(weights, np.float32)}
    nodes = [helper.make_node("Gemm", ["x", "w"], ["logits"], transB=1)]
    if integers is not None:
        arrays = {
            "q": np.array(integers, np.int8),
            "s": np.array(scale, np.float32),
            "z": np.zeros(len(scale), np.int8),
        }
        nodes.insert(0, helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0))
    size = np.array(weights).shape[1]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, len(weights)])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def test_integers_must_be_the_nearest_to_the_weights() -> None:
    """Steps of 0.5 and 0.1: the integers (2, -3) and (7, 0) stand for (1, -1.5) and (0.7, 0)."""
    rounded = linear(np.zeros((2, 2)), integers=[[2, -3], [7, 0]], scale=[0.5, 0.1])
    assert check_same_weights(rounded, linear([[1.2, -1.3], [0.74, -0.04]]))
    for wrong in ([[1.3, -1.3], [0.74, -0.04]], [[1.2, -1.3], [0.64, -0.04]], [[1.2, -1.3]]):
        with pytest.raises(OnnxError, match=r"integers of shape \(2, 2\), no rounding of gradient\.onnx's"):
            check_same_weights(rounded, linear(wrong))


def test_a_changed_integer_is_refused(exported: Any, quantized: bytes) -> None:
    gradient = parse_model("gradient.onnx", exported.gradient)
    model = parse_model("classifier.onnx", quantized)
    assert check_same_weights(model, gradient)
    weights = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
    changed = numpy_helper.to_array(weights).copy()
    changed[0, 0, 0, 0] += 3 if changed[0, 0, 0, 0] < 0 else -3
    weights.CopyFrom(numpy_helper.from_array(changed, weights.name))
    with pytest.raises(OnnxError, match="no rounding"):
        check_same_weights(model, gradient)


def test_integers_that_are_multiplied_as_they_are_must_be_the_same() -> None:
    """The classifier multiplies integers (2, -3) and (7, 0); what the gradient graph holds is (2, -3) and (7, 1)."""
    multiplied = linear(np.zeros((2, 2)), integers=[[2, -3], [7, 0]], scale=[0.5, 0.1])
    node = next(node for node in multiplied.graph.node if node.op_type == "Gemm")
    node.CopyFrom(helper.make_node("QLinearMatMul", ["x", "one", "zero", "q", "s", "z", "one", "zero"], ["logits"]))
    del multiplied.graph.node[0]
    assert check_same_weights(multiplied, linear(np.zeros((2, 2)), integers=[[2, -3], [7, 0]], scale=[0.5, 0.1]))
    with pytest.raises(OnnxError, match=r"1 only in classifier\.onnx, of shapes \[\(2, 2\)\]"):
        check_same_weights(multiplied, linear(np.zeros((2, 2)), integers=[[2, -3], [7, 1]], scale=[0.5, 0.1]))


def test_a_bundle_says_which_precision_it_has(parts: dict[str, Any], quantized: bytes, tmp_path: Path) -> None:
    int8 = {**parts, "classifier": quantized, "manifest": {**parts["manifest"], "precision": "int8"}}
    assert write_bundle(tmp_path / "int8", **int8).precision == "int8"
    assert load_bundle(tmp_path / "int8").precision == "int8"
    assert write_bundle(tmp_path / "float32", **parts).precision == "float32"
    wrong = ((parts["manifest"], quantized, "float32"), (int8["manifest"], parts["classifier"], "int8"))
    for claim, content, said in wrong:
        with pytest.raises(BundleError, match=f"the manifest says {said}"):
            write_bundle(tmp_path / "wrong", **{**parts, "classifier": content, "manifest": claim})


def test_attacks_see_the_logits_of_the_quantized_classifier(exported: Any, quantized: bytes) -> None:
    target = OnnxTarget(create_session(quantized), create_session(exported.gradient), quantized=True)
    exact = OnnxTarget(create_session(exported.classifier), create_session(exported.gradient))
    inputs = (exported.images.transpose(0, 3, 1, 2) / 255).astype(np.float32)
    weights = np.zeros((len(inputs), len(OBJECTIVES)), np.float32)
    weights[:, 0] = 1
    found, expected = (t.gradient(inputs, exported.labels, exported.labels, weights) for t in (target, exact))
    np.testing.assert_array_equal(found.logits, target.logits(inputs))
    assert np.abs(found.logits - expected.logits).max() > 1e-4
    np.testing.assert_array_equal(found.gradient, expected.gradient)
