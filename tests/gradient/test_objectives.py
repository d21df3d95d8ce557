"""The traced objectives against the same code on numpy arrays, and their gradients against autograd."""

import numpy as np
import onnxruntime
import pytest
import torch

from f2at.attacks.objectives import OBJECTIVES as NAMES
from f2at.attacks.objectives import objectives
from f2at.gradient.objectives import LABELS, LOGITS, OBJECTIVES, TARGETS, objectives_graph
from f2at.gradient.reverse import COTANGENT, GRADIENT, vector_jacobian

N = 12


def samples(classes: int, spread: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, of which the first half are right, labels, and targets that are other classes."""
    rng = np.random.default_rng(classes)
    logits = (spread * rng.normal(size=(N, classes))).astype(np.float32)
    labels = logits.argmax(axis=1)
    labels[N // 2 :] = (labels[N // 2 :] + 1) % classes
    return logits, labels, (labels + rng.integers(1, classes, N)) % classes


@pytest.mark.parametrize("classes", [2, 3, 4, 10, 1000])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 30.0, 1000.0])
def test_values_and_gradients(classes: int, spread: float) -> None:
    logits, labels, targets = samples(classes, spread)
    graph = vector_jacobian(objectives_graph(classes), indices={LABELS: classes, TARGETS: classes})
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    z = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    exact = objectives(z, torch.tensor(labels), torch.tensor(targets))
    for index, name in enumerate(NAMES):
        weights = np.zeros((N, len(NAMES)), np.float32)
        weights[:, index] = 1
        feeds = {LOGITS: logits, LABELS: labels, TARGETS: targets, COTANGENT: weights}
        values, gradient = session.run([OBJECTIVES, GRADIENT], feeds)
        expected, (slope,) = exact[:, index].detach(), torch.autograd.grad(exact[:, index].sum(), z, retain_graph=True)
        scale = float(expected.abs().max())
        np.testing.assert_allclose(values[:, index], expected, rtol=1e-5, atol=1e-6 * scale, err_msg=name)
        np.testing.assert_allclose(gradient, slope, rtol=2e-4, atol=1e-5 * float(slope.abs().max()), err_msg=name)


def test_a_confident_sample_keeps_its_gradient() -> None:
    """Where the label's probability is 1 - 2e-13, cross-entropy and its gradient are still exact."""
    logits = np.array([[30.0, 0.0, 0.0]], np.float32)
    graph = vector_jacobian(objectives_graph(3), indices={LABELS: 3, TARGETS: 3})
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    labels, weights = np.zeros(1, np.int64), np.array([[1, 0, 0, 0, 0]], np.float32)
    feeds = {LOGITS: logits, LABELS: labels, TARGETS: labels + 1, COTANGENT: weights}
    values, gradient = session.run([OBJECTIVES, GRADIENT], feeds)
    p = np.exp(-30.0)
    np.testing.assert_allclose(values[0, 0], 2 * p, rtol=1e-5)
    np.testing.assert_allclose(gradient[0], [-2 * p, p, p], rtol=1e-5)
