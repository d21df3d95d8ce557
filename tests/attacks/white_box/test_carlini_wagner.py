from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from f2at.attacks import CountingTarget
from f2at.attacks.threat import norms
from f2at.attacks.white_box.carlini_wagner import carlini_wagner


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("classes", [2, 5])
def test_nearly_exact_on_a_linear_model(linear: Callable[..., Any], classes: int) -> None:
    model = linear(classes=classes, samples=6)
    found = carlini_wagner(
        model.target(),
        model.inputs,
        model.labels,
        eps=10.0,
        rng=rng(),
        steps=150,
        learning_rate=0.002,
        stop_at_success=False,
    )
    assert bool((model.logits(found).argmax(1) != model.labels).all())
    ratio = norms(found - model.inputs, "l2") / model.distances("l2")
    assert 1 < float(ratio.min()) <= float(ratio.max()) < 1.03


def test_confidence_is_a_margin(linear: Callable[..., Any]) -> None:
    """Errors lie where the margin is at least kappa: in a linear model of two classes, that much farther."""
    model = linear(classes=2, samples=4)
    known: Any = {"eps": 10.0, "rng": rng(), "steps": 150, "learning_rate": 0.005, "stop_at_success": False}
    found = carlini_wagner(model.target(), model.inputs, model.labels, confidence=1.0, **known)
    logits = model.logits(found)
    margin = logits.gather(1, 1 - model.labels[:, None]) - logits.gather(1, model.labels[:, None])
    assert float(margin.min()) >= 1 - 1e-6
    slope = torch.linalg.vector_norm(model.weight[1] - model.weight[0])
    ratio = norms(found - model.inputs, "l2") / (model.distances("l2") + 1 / slope)
    assert 0.999 < float(ratio.min()) <= float(ratio.max()) < 1.05


def test_errors_within_eps_cost_nothing_more(linear: Callable[..., Any]) -> None:
    model = linear(classes=2, samples=5)
    distances = model.distances("l2").sort().values
    eps = float(distances[1] + distances[2]) / 2
    counts = {}
    for stop in (True, False):
        target = CountingTarget(model.target())
        found = carlini_wagner(
            target,
            model.inputs,
            model.labels,
            eps=eps,
            rng=rng(),
            steps=60,
            searches=5,
            learning_rate=0.005,
            stop_at_success=stop,
        )
        broken = model.logits(found).argmax(1) != model.labels
        assert torch.equal(broken, model.distances("l2") < eps)
        moved = norms(found - model.inputs, "l2")
        torch.testing.assert_close(moved[~broken], torch.full((3,), eps, dtype=moved.dtype))  # brought into the ball
        assert target.forward_evaluations == 0
        assert target.gradient_evaluations <= 5 * 5 * 60
        counts[stop] = target.gradient_evaluations
    assert counts[True] < counts[False]


def test_a_descent_that_stalls_ends(linear: Callable[..., Any]) -> None:
    """The constant is too small to leave the input: after a tenth of the steps, the loss is no better."""
    model = linear(classes=2)
    target = CountingTarget(model.target())
    known: Any = {"searches": 1, "initial_constant": 1e-12, "stop_at_success": False}
    carlini_wagner(target, model.inputs, model.labels, eps=1.0, rng=rng(), steps=100, **known)
    assert target.gradient_evaluations == 5 * 11


def test_black_and_white_pixels(linear: Callable[..., Any]) -> None:
    """tanh has no inverse at the ends of its range, and hardly a slope near them."""
    model = linear(classes=2, samples=1)
    image = (model.inputs > 0.5).double()
    label = model.logits(image).argmax(1)
    found = carlini_wagner(model.target(), image, label, eps=10.0, rng=rng(), steps=150, searches=8, learning_rate=0.1)
    assert bool(torch.isfinite(found).all())
    assert bool(model.logits(found).argmax(1) != label)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"steps": 0}, "steps must be an integer of at least 1; got 0"),
        ({"searches": 0}, "searches must be an integer of at least 1; got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0; got 0.0"),
        ({"initial_constant": -1.0}, "initial_constant must be > 0; got -1.0"),
        ({"confidence": -1.0}, "confidence must be >= 0; got -1.0"),
        ({"norm": "linf"}, "norm must be l2; got 'linf'"),
    ],
)
def test_bad_parameters_are_named(linear: Callable[..., Any], parameters: dict[str, Any], reason: str) -> None:
    model = linear(classes=2)
    with pytest.raises(ValueError, match=reason):
        carlini_wagner(model.target(), model.inputs, model.labels, eps=0.1, rng=rng(), **parameters)
