"""The exported graphs against closed forms and against autograd where it is easy to be wrong."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from f2at.attacks.objectives import OBJECTIVES, objectives
from f2at.bundle.onnx_check import check_same_weights, parse_model
from f2at.bundle.runtime import create_session
from f2at.export.graphs import export_graphs

Array = NDArray[Any]


def run(graph: bytes, images: Array, labels: Array, targets: Array, weights: Array) -> dict[str, Array]:
    session = create_session(graph, threads=1, providers=["CPUExecutionProvider"])
    feed = {"images": images, "labels": labels, "targets": targets, "weights": weights.astype(np.float32)}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feed), strict=True))


def autograd(model: nn.Module, images: Array, labels: Array, targets: Array, weights: Array) -> Array:
    x = torch.from_numpy(images).requires_grad_()
    values = objectives(model(x), torch.from_numpy(labels), torch.from_numpy(targets))
    (gradient,) = torch.autograd.grad((values * torch.from_numpy(weights).float()).sum(), x)
    return gradient.numpy()


class Linear(nn.Module):
    """logits = W (x - mean) / std"""

    std: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, 3 * 4 * 5))
        self.register_buffer("std", torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = ((x - 0.5) / self.std).flatten(1) @ self.weight.T
        return logits


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_gradients_of_a_linear_model_have_their_closed_form(classes: int) -> None:
    torch.manual_seed(classes)
    rng = np.random.default_rng(classes)
    model = Linear(classes)
    classifier, graph = export_graphs(model, (4, 5))
    n = len(OBJECTIVES)
    pixels = rng.integers(0, 256, (n, 4, 5, 3), dtype=np.uint8)
    images = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)) / np.float32(255)
    labels = rng.integers(0, classes, n)
    targets = (labels + 1) % classes

    found = run(graph, images, labels, targets, np.eye(n))

    rows = model.weight.detach().numpy().reshape(classes, 3, 4, 5) / np.array([0.2, 0.3, 0.4]).reshape(3, 1, 1)
    z = np.einsum("nchw,kchw->nk", images - 0.5, rows)
    probability = np.exp(z - z.max(1, keepdims=True))
    probability /= probability.sum(1, keepdims=True)
    others = np.where(np.arange(classes) == labels[:, None], -np.inf, z)
    index = {name: i for i, name in enumerate(OBJECTIVES)}  # sample i is asked for objective i

    i = index["cross_entropy"]
    expected = np.einsum("k,kchw->chw", probability[i], rows) - rows[labels[i]]
    np.testing.assert_allclose(found["gradient"][i], expected, rtol=1e-3, atol=1e-4)
    i = index["margin"]
    np.testing.assert_allclose(found["gradient"][i], rows[others[i].argmax()] - rows[labels[i]], rtol=1e-3, atol=1e-4)
    i = index["logit_difference"]
    np.testing.assert_allclose(found["gradient"][i], rows[targets[i]] - rows[labels[i]], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found["logits"], z, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found["objectives"][:, index["margin"]], others.max(1) - z[range(n), labels], rtol=1e-3)

    session = create_session(classifier, threads=1, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"images": pixels})[0], z, rtol=1e-3, atol=1e-4)
    check_same_weights(parse_model("classifier", classifier), parse_model("gradient", graph))


def test_the_weights_mix_objectives_within_one_batch(exported: Any) -> None:
    rng = np.random.default_rng(1)
    images = rng.random((6, 3, 9, 8), np.float32)
    labels, targets = rng.integers(0, 4, 6), rng.integers(0, 4, 6)
    weights = rng.normal(size=(6, len(OBJECTIVES)))
    found = run(exported.gradient, images, labels, targets, weights)
    expected = autograd(exported.model, images, labels, targets, weights)
    np.testing.assert_allclose(found["gradient"], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 33])
def test_any_batch_size_gives_each_sample_the_same(exported: Any, n: int) -> None:
    rng = np.random.default_rng(2)
    images = rng.random((33, 3, 9, 8), np.float32)
    labels, targets, weights = rng.integers(0, 4, 33), rng.integers(0, 4, 33), rng.random((33, len(OBJECTIVES)))
    whole = run(exported.gradient, images, labels, targets, weights)
    part = run(exported.gradient, images[:n], labels[:n], targets[:n], weights[:n])
    for name, value in part.items():
        assert len(value) == n
        np.testing.assert_allclose(value, whole[name][:n], rtol=1e-4, atol=1e-6)


class Pooled(nn.Module):
    """Pooling straight on the image: on a constant image every window is a tie."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.convolution = nn.MaxPool2d(3, stride=2, padding=1), nn.Conv2d(3, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.convolution(self.pool(x)).mean((2, 3))
        return logits


def test_ties_in_pooling_go_where_autograd_sends_them() -> None:
    torch.manual_seed(0)
    model = Pooled()
    _, graph = export_graphs(model, (7, 7))
    images = np.zeros((4, 3, 7, 7), np.float32)
    images[1] = 0.25
    images[2:, :, 3:, :] = 0.5
    images[3, :, :, 5:] = 1
    arguments = images, np.array([0, 1, 0, 1]), np.array([1, 0, 1, 0]), np.eye(len(OBJECTIVES))[:4]
    found = run(graph, *arguments)["gradient"]
    expected = autograd(model, *arguments)
    assert np.array_equal(found != 0, expected != 0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


class Kinked(nn.Module):
    """ReLU of exactly zero wherever the image is 0.5."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.head = nn.Conv2d(3, 4, 1, bias=False), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.relu(self.convolution(x - 0.5)).mean((2, 3)))
        return logits


def test_the_gradient_of_relu_at_zero_is_zero() -> None:
    torch.manual_seed(0)
    model = Kinked()
    _, graph = export_graphs(model, (4, 4))
    images = np.full((1, 3, 4, 4), 0.5, np.float32)
    images[0, :, 1, 1] = 0.75
    arguments = images, np.array([0]), np.array([1]), np.eye(len(OBJECTIVES))[3:4]
    found = run(graph, *arguments)["gradient"]
    assert np.argwhere(np.abs(found[0]).max(0)).tolist() == [[1, 1]]
    np.testing.assert_allclose(found, autograd(model, *arguments), rtol=1e-5)


def test_confident_samples_keep_their_gradient() -> None:
    """p_y is 1 in float32, and the gradient of its cross-entropy is tiny but not noise."""
    torch.manual_seed(0)
    model = Linear(3)
    _, graph = export_graphs(model, (4, 5))
    images = np.full((1, 3, 4, 5), 0.5, np.float32) + model.weight[0].detach().numpy().reshape(1, 3, 4, 5) * 0.1
    arguments = images.astype(np.float32), np.array([0]), np.array([1]), np.eye(len(OBJECTIVES))[:1]
    found = run(graph, *arguments)["gradient"]
    expected = autograd(model.double(), images.astype(np.float64), *arguments[1:])
    assert 0 < np.abs(expected).max() < 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3 * float(np.abs(expected).max()))


def test_graphs_carry_no_traces_of_the_machine_that_exported_them(exported: Any) -> None:
    for graph in (exported.classifier, exported.gradient):
        assert b"site-packages" not in graph
        assert b"/export/" not in graph
