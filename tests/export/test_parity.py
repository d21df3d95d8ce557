from collections.abc import Callable
from functools import partial
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


class Edges(nn.Module):
    """Logits of the differences of neighbours that are positive: there is a kink where two pixels are equal."""

    def __init__(self) -> None:
        super().__init__()
        self.difference = nn.Conv2d(3, 3, (1, 2), groups=3, bias=False)
        self.difference.weight.data[:] = torch.tensor([1.0, -1.0])
        self.head = nn.Linear(3 * 4 * 3, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.difference(images).relu().flatten(1))
        return logits


def masks(model: onnx.ModelProto, *, of: str) -> None:
    """Let the gradient through the ReLU where its `input` or `output` is at least 0; it was where that is above 0."""
    (relu,) = [node for node in model.graph.node if node.op_type == "Relu"]
    (mask,) = [node for node in model.graph.node if node.op_type == "Greater" and node.input[0] == relu.output[0]]
    mask.op_type = "GreaterOrEqual"
    mask.input[0] = {"input": relu.input, "output": relu.output}[of][0]


@pytest.mark.parametrize("equal", [1, 16])
def test_where_right_gradients_differ_much_those_close_by_decide(equal: int) -> None:
    torch.manual_seed(0)
    model, rng = Edges(), np.random.default_rng(0)
    images = rng.permuted(np.tile(np.arange(0, 240, 5, dtype=np.uint8), (16, 1)), axis=1).reshape(16, 4, 4, 3)
    images[:equal, 0, 0] = images[:equal, 0, 1]
    labels = rng.integers(0, 5, 16)
    classifier, gradient = export_graphs(model, (4, 4))
    changed = broken(gradient, partial(masks, of="input"))  # as right at 0
    result = check_parity(model, classifier, changed, images, labels)
    for entry in result["gradient"].values():
        assert entry["error"] < 1e-5
        assert equal <= entry["kinks"] < 32
        assert entry["cosine"] < 0.999
    with pytest.raises(ParityError, match="gradient of cross_entropy differs"):
        check_parity(model, classifier, broken(gradient, partial(masks, of="output")), images, labels)
