from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from f2at.attacks import CountingTarget, Evaluation
from f2at.attacks.threat import norms
from f2at.attacks.white_box.mi_fgsm import mi_fgsm, momentum_ascent


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


class Slopes:
    """A target that nothing breaks, whose gradient is the next of a list, whatever it is asked."""

    classes = 2

    def __init__(self, *gradients: Any) -> None:
        self.gradients = [np.array(g, float).reshape(1, 1, 1, 2) for g in gradients]
        self.seen: list[np.ndarray] = []

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        return np.tile([1.0, 0.0], (len(inputs), 1))

    def gradient(self, inputs: np.ndarray, labels: Any, targets: Any, weights: Any) -> Evaluation:
        self.seen.append(inputs)
        return Evaluation(self.logits(inputs), np.zeros((len(inputs), 5)), self.gradients[len(self.seen) - 1])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_momentum_by_hand(norm: str) -> None:
    image, label = np.full((1, 1, 1, 2), 0.5), np.zeros(1, int)
    target = Slopes((3, 1), (-10, 10), (-7, 0))  # over their l1 norms: (3/4, 1/4), (-1/2, 1/2), (-1, 0)
    found = mi_fgsm(target, image, label, eps=0.3, norm=norm, rng=rng(), steps=3)
    sums = np.array([(0.75, 0.25), (0.25, 0.75), (-0.75, 0.75)])
    steps = np.sign(sums) if norm == "linf" else sums / np.hypot(*sums.T)[:, None]
    path = 0.5 + 0.1 * np.cumsum(steps, axis=0)
    np.testing.assert_allclose([x.ravel() for x in target.seen[1:]], path[:2])
    np.testing.assert_allclose(found.ravel(), path[2])


def test_momentum_decays() -> None:
    image, label = np.full((1, 1, 1, 2), 0.5), np.zeros(1, int)
    for momentum, direction in ((1.0, 1), (0.4, -1)):  # second sum: 0.75 momentum - 0.5
        target = Slopes((3, 1), (-10, 10))
        found = mi_fgsm(target, image, label, eps=0.3, rng=rng(), steps=2, step_size=0.1, momentum=momentum)
        np.testing.assert_allclose(found.ravel(), [0.6 + 0.1 * direction, 0.7])


def test_a_gradient_of_any_size_counts() -> None:
    """Confident models have gradients near the end of the number range; zero ones move nothing."""
    image, label = np.full((1, 1, 1, 2), 0.5), np.zeros(1, int)
    for norm in ("linf", "l2"):
        found = mi_fgsm(Slopes((3e-300, 4e-300)), image, label, eps=0.1, norm=norm, rng=rng(), steps=1)
        assert norms(found - image, norm) == pytest.approx([0.1])
        np.testing.assert_array_equal(mi_fgsm(Slopes((0, 0)), image, label, eps=0.1, rng=rng(), steps=1), image)


def test_evaluations(linear: Callable[..., Any]) -> None:
    model = linear(classes=2)
    distances = model.distances("linf")
    size = float(distances.max()) / 3.5  # the furthest sample breaks at its fourth step
    target = CountingTarget(model.target())
    stopped = mi_fgsm(target, model.inputs, model.labels, eps=1.0, rng=rng(), steps=5, step_size=size)
    # A sample broken by step k is evaluated at its start and after each of k steps.
    needed = torch.floor(distances / size) + 1
    assert target.gradient_evaluations == int((needed + 1).sum())
    assert target.forward_evaluations == 0
    torch.testing.assert_close(norms(stopped - model.inputs, "linf"), needed * size)

    target = CountingTarget(model.target())
    full = mi_fgsm(target, model.inputs, model.labels, eps=0.1, rng=rng(), steps=3, stop_at_success=False)
    assert (target.forward_evaluations, target.gradient_evaluations) == (0, 5 * 3)
    torch.testing.assert_close(norms(full - model.inputs, "linf"), torch.full((5,), 0.1, dtype=full.dtype))


def test_any_gradient_can_be_followed(linear: Callable[..., Any]) -> None:
    """A gradient function with state for each sample sees the rows of those that still stand."""
    model = linear(classes=2)
    target = model.target()
    distances = model.distances("linf")
    size = float(distances.max()) / 3.5
    calls = torch.zeros(5)

    def descend(images: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        calls[index] += 1
        normal = model.weight[1] - model.weight[0]
        away = torch.where(model.labels[index] == 0, 1.0, -1.0)[:, None] * normal
        return target.logits(images), away.reshape(images.shape)

    found = momentum_ascent(
        descend,
        model.inputs,
        eps=1.0,
        norm="linf",
        steps=9,
        step_size=size,
        momentum=1.0,
        judge=(target, model.labels),
    )
    assert bool((model.logits(found).argmax(1) != model.labels).all())
    torch.testing.assert_close(calls, torch.floor(distances / size).float() + 2)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"steps": 0}, "steps must be an integer of at least 1; got 0"),
        ({"step_size": 0.0}, "step_size must be > 0; got 0.0"),
        ({"momentum": -0.5}, "momentum must be >= 0; got -0.5"),
        ({"objective": "hinge"}, "objective must be one of"),
    ],
)
def test_bad_parameters_are_named(linear: Callable[..., Any], parameters: dict[str, Any], reason: str) -> None:
    model = linear(classes=2)
    with pytest.raises(ValueError, match=reason):
        mi_fgsm(model.target(), model.inputs, model.labels, eps=0.1, rng=rng(), **parameters)
