"""Recurrent layers as PyTorch exports them, against autograd; and the forms that ONNX knows besides."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from f2at.gradient.builder import UnsupportedOperationError
from f2at.gradient.reverse import COTANGENT, vector_jacobian
from tests.gradient.test_models import exported
from tests.gradient.test_rules import run

UNITS, STEPS, FEATURES = 5, 6, 4
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


class Rows(nn.Module):
    """Rows of an image as a sequence; the outputs of all times, and the last states, are used."""

    def __init__(self, layer: Callable[..., nn.Module], **options: Any) -> None:
        super().__init__()
        self.layer = layer(FEATURES, UNITS, batch_first=True, **options)

    def forward(self, images: Tensor) -> Tensor:
        outputs, last = self.layer(images)
        states = last if isinstance(last, tuple) else (last,)
        flat = [outputs.flatten(1), *(state.transpose(0, 1).flatten(1) for state in states)]
        return torch.cat([part.sin() for part in flat], dim=1)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"num_layers": 2, "bias": False}], ids=str)
@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
def test_of_layers_of_pytorch_it_is_autograds(layer: Callable[..., nn.Module], options: dict[str, Any]) -> None:
    torch.manual_seed(1)
    model = Rows(layer, **options).eval()
    for batch in (2, 3):
        images = torch.randn(batch, STEPS, FEATURES, requires_grad=True)
        outputs = model(images)
        v = torch.randn_like(outputs)
        (expected,) = torch.autograd.grad((outputs * v).sum(), images)
        graph = vector_jacobian(exported(model, images.detach()), (STEPS, FEATURES))
        said, gradient = run(graph, {graph.graph.input[0].name: images.detach().numpy(), COTANGENT: v.numpy()})
        np.testing.assert_allclose(said, outputs.detach(), atol=1e-5)
        np.testing.assert_allclose(gradient, expected, atol=1e-5)


@pytest.mark.parametrize("way", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize(
    ("operation", "attributes"),
    [("LSTM", {}), ("GRU", {"linear_before_reset": 0}), ("GRU", {"linear_before_reset": 1}), ("RNN", {})],
    ids=str,
)
def test_of_every_form_it_is_that_of_central_differences(
    operation: str, attributes: dict[str, Any], last_only: bool, way: str
) -> None:
    """Their first states depend on the images as well, and the outputs of all times may be none of the graph's."""
    model = layer(operation, last_only=last_only, direction=way, **attributes)
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2, STEPS, FEATURES)).astype(np.float32)
    graph = vector_jacobian(model)
    onnx.checker.check_model(graph)
    (y,) = run(model, {"x": x})
    v = rng.normal(size=y.shape).astype(np.float32)
    _, gradient = run(graph, {"x": x, COTANGENT: v})
    for _ in range(5):
        u = rng.normal(size=x.shape).astype(np.float32)
        above, below = (run(model, {"x": x + sign * np.float32(1e-2) * u})[0].astype(np.float64) for sign in (1, -1))
        np.testing.assert_allclose((gradient * u).sum(), ((above - below) * v).sum() / 2e-2, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clip": 1.0}, "LSTM with clip"),
        ({"input_forget": 1}, "LSTM with input_forget"),
        ({"activations": ["Sigmoid", "Relu", "Tanh"]}, r"LSTM with activations \['Sigmoid', 'Relu', 'Tanh'\]"),
        ({"peepholes": True}, "LSTM with peepholes"),
        ({"lengths": True}, "LSTM with sequences of different lengths"),
    ],
    ids=str,
)
def test_a_form_without_a_rule_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedOperationError, match=said):
        vector_jacobian(layer("LSTM", last_only=False, direction="forward", **options))


def layer(
    operation: str,
    *,
    last_only: bool,
    direction: str,
    peepholes: bool = False,
    lengths: bool = False,
    **attributes: Any,
) -> onnx.ModelProto:
    """A layer on the rows of images (N, T, I), which begins with the means of each image; its outputs are squared."""
    rng = np.random.default_rng(9)

    def weights(*shape: int) -> NDArray[np.float32]:
        return rng.normal(size=shape, scale=0.4).astype(np.float32)  # small, so that differences are those of a line

    ways, gates = 2 if direction == "bidirectional" else 1, GATES[operation]
    constants: dict[str, NDArray[Any]] = {
        "w": weights(ways, gates * UNITS, FEATURES),
        "r": weights(ways, gates * UNITS, UNITS),
        "b": weights(ways, 2 * gates * UNITS),
        "p": weights(ways, 3 * UNITS),
        "axes": np.array([0, 2]),
        "many": np.array([ways, 1, UNITS]),
        "lengths": np.array([3, 6], np.int32),
    }
    inputs = ["sequence", "w", "r", "b", "lengths" if lengths else "", "first"]
    if operation == "LSTM":
        inputs += ["first", "p"] if peepholes else ["first"]
    outputs = ["" if last_only else "all", "last", *(["cells"] if operation == "LSTM" else [])]
    nodes = [
        helper.make_node("Transpose", ["x"], ["sequence"], perm=[1, 0, 2]),
        helper.make_node("ReduceMean", ["sequence", "axes"], ["means"], keepdims=1),
        helper.make_node("Tile", ["means", "many"], ["first"]),
        helper.make_node(operation, inputs, outputs, hidden_size=UNITS, direction=direction, **attributes),
    ]
    flat = []
    for name in filter(None, outputs):
        axes = [2, 0, 1, 3] if name == "all" else [1, 0, 2]
        nodes.append(helper.make_node("Transpose", [name], [f"{name}_of"], perm=axes))
        nodes.append(helper.make_node("Flatten", [f"{name}_of"], [f"{name}_flat"]))
        flat.append(f"{name}_flat")
    nodes.append(helper.make_node("Concat", flat, ["together"], axis=1))
    nodes.append(helper.make_node("Mul", ["together", "together"], ["y"]))
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2 if lengths else "N", STEPS, FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name in read],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
