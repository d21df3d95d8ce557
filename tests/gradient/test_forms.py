"""One network in the forms that exporters write: any opset, functions, weights as integers."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from f2at.attacks.objectives import OBJECTIVES
from f2at.gradient.classifier import Classifier, gradient_graph, read_classifier
from f2at.gradient.integers import _FORMS, written_out
from f2at.gradient.proof import prove
from tests.gradient import networks
from tests.gradient.networks import logits_of, network
from tests.gradient.test_classifier import IMAGES, LABELS, LEVELS, MARGIN, TARGETS, check, run


@pytest.mark.parametrize("opset", range(9, 24))
def test_opsets(opset: int) -> None:
    check(read_classifier(network(opset=opset)), lambda levels: logits_of(levels / 255))


@pytest.mark.parametrize("opset", [10, 17, 21])
def test_functions_are_inlined(opset: int) -> None:
    """An activation as a function of the file's own, which calls another one."""
    model = network(opset=opset)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    inner = helper.make_function("own", "Inner", ["a"], ["b"], [helper.make_node("Softplus", ["a"], ["b"])], imports)
    call = helper.make_node("Inner", ["a"], ["b"], domain="own")
    model.functions.extend([inner, helper.make_function("own", "Outer", ["a"], ["b"], [call], imports)])
    model.opset_import.append(helper.make_opsetid("own", 1))
    (node,) = (node for node in model.graph.node if node.op_type == "Softplus")
    node.op_type, node.domain = "Outer", "own"
    check(read_classifier(model), lambda levels: logits_of(levels / 255))


@pytest.mark.parametrize("axis", [None, 0])
def test_weights_as_integers(axis: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel behind DequantizeLinear, with one scale or one for each channel, is the kernel that it stands for."""
    largest = np.abs(networks.WEIGHT).max(axis=None if axis is None else (1, 2, 3), keepdims=axis is not None)
    scale = (largest / 127).astype(np.float32)
    integers = np.round(networks.WEIGHT / scale).astype(np.int8)
    monkeypatch.setattr(networks, "WEIGHT", integers * scale)
    model = network()
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == "weight")
    weight.CopyFrom(numpy_helper.from_array(integers, "integers"))
    model.graph.initializer.append(numpy_helper.from_array(scale.reshape(-1 if axis == 0 else ()), "scale"))
    options: dict[str, Any] = {} if axis is None else {"axis": axis}
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["integers", "scale"], ["weight"], **options))
    check(read_classifier(model), lambda levels: logits_of(levels / 255))


def test_a_file_that_was_quantized_dynamically(tmp_path: Path) -> None:
    """Its gradients are nearly those of the file before. Its integers depend on the batch, so it gets one at a time."""
    onnx.save(network(), tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "integers.onnx")
    model = onnx.load(tmp_path / "integers.onnx")
    assert {"ConvInteger", "MatMulInteger"} <= {node.op_type for node in model.graph.node}
    classifier = read_classifier(model)
    assert classifier.batch == 1
    found, expected = (_gradient(read).reshape(len(IMAGES), -1) for read in (classifier, read_classifier(network())))
    cosines = (found * expected).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert (cosines > 0.99).all()
    assert prove(classifier, IMAGES) == {"error": None, "lines": 0, "flat": 0}  # it jumps, and has no slopes


class _Once(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self.batches = iter([{"x": (LEVELS / 255).astype(np.float32)}])

    def get_next(self) -> Any:
        return next(self.batches, None)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", [QuantType.QUInt8, QuantType.QInt8])
def test_operations_on_integers_are_written_out(tmp_path: Path, kind: QuantType, per_channel: bool) -> None:
    """Every operation that the static quantiser writes: gradients are those of the form with QuantizeLinear around."""
    model = networks.of_every_quantized_operation()
    onnx.save(model, tmp_path / "float.onnx")
    forms = {}
    for form in (QuantFormat.QOperator, QuantFormat.QDQ):
        options = {"per_channel": per_channel, "activation_type": kind, "weight_type": QuantType.QInt8}
        quantize_static(tmp_path / "float.onnx", tmp_path / "int8.onnx", _Once(), quant_format=form, **options)
        forms[form] = onnx.load(tmp_path / "int8.onnx")
    written = {node.op_type for node in forms[QuantFormat.QOperator].graph.node}
    assert {*_FORMS, "QLinearConcat"} - {"QLinearSoftmax"} <= written
    found, expected = (_gradient(read_classifier(form)).reshape(len(IMAGES), -1) for form in forms.values())
    cosines = (found * expected).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert np.median(cosines) > 0.999
    assert cosines.min() > 0.9  # an integer may be rounded to its other neighbour, and move the place of a maximum


def test_an_operation_on_integers_of_another_layout_is_named() -> None:
    inputs = ["x", "s", "z", "s", "z"]
    node = helper.make_node("QLinearGlobalAveragePool", inputs, ["y"], domain="com.microsoft", channels_last=1)
    graph = helper.make_graph([node], "one", [], [])
    assert written_out(helper.make_model(graph)).graph.node[0] == node


def _gradient(classifier: Classifier) -> NDArray[np.float32]:
    weights = np.zeros((len(IMAGES), len(OBJECTIVES)), np.float32)
    weights[:, MARGIN] = 1
    feeds = {"images": (LEVELS / 255).astype(np.float32), "labels": LABELS, "targets": TARGETS, "weights": weights}
    return np.asarray(run(gradient_graph(classifier), feeds, classifier.batch)[2])
