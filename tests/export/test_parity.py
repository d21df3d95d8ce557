from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from f2at.attacks.objectives import OBJECTIVES
from f2at.export.graphs import export_graphs
from f2at.export.parity import TOLERANCE, ParityError, check_parity
from f2at.models import create_model


def check(exported: Any, **changes: bytes) -> dict[str, Any]:
    return check_parity(**{**exported._asdict(), **changes})


def test_a_faithful_export_passes_with_room_to_spare(exported: Any) -> None:
    result = check(exported)
    assert result["tolerance"] == TOLERANCE
    assert result["samples"] == 32
    assert result["logits"]["error"] < 1e-5
    assert set(result["gradient"]) == set(OBJECTIVES)
    assert all(entry["error"] < 1e-5 and entry["kinks"] <= 2 for entry in result["gradient"].values())


def broken(graph: bytes, edit: Callable[[onnx.ModelProto], object]) -> bytes:
    model = onnx.load_model_from_string(graph)
    edit(model)
    return bytes(model.SerializeToString())


def leaky_masks(model: onnx.ModelProto) -> None:
    """Let a little gradient through where a ReLU was off."""
    for node in model.graph.node:
        if node.op_type == "HardSigmoid":
            node.ClearField("attribute")
            node.attribute.extend([helper.make_attribute("alpha", 1.0), helper.make_attribute("beta", 0.1)])


def other_weights(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.ndim == 4:
            tensor.CopyFrom(numpy_helper.from_array(array * np.float32(1.001), tensor.name))


def negated(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        for i, name in enumerate(node.output):
            if name == "gradient":
                node.output[i] = "before"
    model.graph.node.append(helper.make_node("Neg", ["before"], ["gradient"]))


def not_a_number(model: onnx.ModelProto) -> None:
    negated(model)
    model.graph.node[-1].op_type = "Log"


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (leaky_masks, "gradient of cross_entropy differs from autograd's: relative error 0"),
        (other_weights, "logits of gradient.onnx differ from the model's"),
        (negated, "relative error 2, limit 1e-04"),
        (not_a_number, "gradient of cross_entropy differs .* nan"),
    ],
)
def test_a_broken_gradient_graph_fails(exported: Any, edit: Callable[[onnx.ModelProto], object], reason: str) -> None:
    with pytest.raises(ParityError, match=reason):
        check(exported, gradient=broken(exported.gradient, edit))


def test_a_broken_classifier_fails(exported: Any) -> None:
    with pytest.raises(ParityError, match="logits differ from the model's"):
        check(exported, classifier=broken(exported.classifier, other_weights))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "classes", "size"),
    [
        ("resnet18", {"width": 8}, 10, 16),
        ("resnet50", {"width": 4}, 2, 16),
        ("wide_resnet", {"width": 1, "depth": 10}, 3, 32),
        ("vgg16_bn", {"width": 4}, 10, 16),
    ],
)
def test_every_architecture_exports_exactly(
    name: str,
    options: dict[str, Any],
    classes: int,
    size: int,
    randomise_norms: Callable[[nn.Module], nn.Module],
) -> None:
    torch.manual_seed(0)
    model = randomise_norms(create_model(name, classes=classes, **options))
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (8, size, size, 3), dtype=np.uint8), rng.integers(0, classes, 8)
    result = check_parity(model, *export_graphs(model, (size, size)), images, labels)
    assert all(entry["error"] < 2e-5 for entry in result["gradient"].values())
