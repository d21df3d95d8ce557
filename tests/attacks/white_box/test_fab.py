from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from f2at.attacks import CountingTarget, Evaluation
from f2at.attacks.targets.torch_target import TorchTarget
from f2at.attacks.threat import NORMS, norms
from f2at.attacks.white_box.fab import fab_targeted


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("norm", NORMS)
def test_exact_on_a_linear_model_of_many_classes(linear: Callable[..., Any], norm: str) -> None:
    """The nearest boundary need not be the runner-up's; the overshoot leaves the error less than 1 % beyond it."""
    model = linear(classes=8, samples=40)
    found = fab_targeted(
        model.target(), model.inputs, model.labels, eps=1.0, norm=norm, rng=rng(), steps=5, stop_at_success=False
    )
    ratio = norms(found - model.inputs, norm) / model.distances(norm)
    assert 1 < float(ratio.min()) <= float(ratio.max()) < 1.01


def test_steps_by_hand() -> None:
    """One pixel at 0.5, boundary at 0.6: multiples of the distance 0.1 are worked out with eta = 1.5."""
    seen: list[float] = []

    class Step:
        classes = 2

        def logits(self, inputs: np.ndarray) -> np.ndarray:
            seen.append(float(inputs[0, 0, 0, 0]))
            return np.stack([0.6 - inputs[:, 0, 0, 0], 0 * inputs[:, 0, 0, 0]], axis=1)

        def gradient(self, inputs: np.ndarray, labels: Any, targets: Any, weights: Any) -> Evaluation:
            value = inputs[:, 0, 0, 0] - 0.6
            return Evaluation(self.logits(inputs), np.tile(value[:, None], (1, 5)), np.ones_like(inputs))

    image, label = np.full((1, 1, 1, 1), 0.5), np.zeros(1, int)
    found = fab_targeted(
        Step(), image, label, eps=1.0, rng=rng(), steps=2, eta=1.5, beta=0.8, alpha_max=0.1, stop_at_success=False
    )
    first = 0.5 + 1.5 * 0.1  # both projections are the boundary
    back = 0.5 + 0.8 * 0.15  # 0.62: beyond the boundary, which is then 0.02 behind and 0.1 from the input
    second = 0.9 * (back - 1.5 * 0.02) + 0.1 * 0.65  # bias 0.1 < 0.02 / 0.12
    np.testing.assert_allclose(seen, [0.5, 0.5, first, back, second])
    np.testing.assert_allclose(found.item(), first)  # 0.596 was no error


def test_evaluations(linear: Callable[..., Any]) -> None:
    model = linear(classes=4, samples=6)
    out_of_reach: Any = {"eps": 0.5 * float(model.distances("linf").min()), "rng": rng()}
    cases: list[tuple[dict[str, Any], int]] = [({}, 3), ({"target_classes": 2}, 2), ({"restarts": 2}, 6)]
    for parameters, runs in cases:
        target = CountingTarget(model.target())
        fab_targeted(target, model.inputs, model.labels, steps=5, **parameters, **out_of_reach)
        assert (target.forward_evaluations, target.gradient_evaluations) == (6 + 6 * runs * 5, 6 * runs * 5)


def test_errors_within_eps_cost_nothing_more(linear: Callable[..., Any]) -> None:
    model = linear(classes=2, samples=5)
    distances = model.distances("l2")
    eps = float(distances.sort().values[2]) * 1.06  # three of five; the first step overshoots by 1.05
    target = CountingTarget(model.target())
    found = fab_targeted(target, model.inputs, model.labels, eps=eps, norm="l2", rng=rng(), steps=4)
    near = distances < eps / 1.05
    assert int(near.sum()) == 3
    assert target.gradient_evaluations == 3 * 1 + 2 * 4
    assert torch.equal(model.logits(found).argmax(1) != model.labels, near)
    moved = norms(found - model.inputs, "l2")
    torch.testing.assert_close(moved[near], 1.05 * distances[near])
    torch.testing.assert_close(moved[~near], torch.full((2,), eps, dtype=moved.dtype))  # brought into the ball
    wrong = 1 - model.labels
    target = CountingTarget(model.target())
    assert torch.equal(fab_targeted(target, model.inputs, wrong, eps=eps, rng=rng()), model.inputs)
    assert (target.forward_evaluations, target.gradient_evaluations) == (5, 0)


@pytest.mark.parametrize("norm", NORMS)
def test_breaks_what_lies_within_reach_of_the_minimum_norm_attack(convnet: Callable[..., nn.Module], norm: str) -> None:
    """Stopping at success changes no verdict, but for errors beyond eps that remain errors when moved into the ball."""
    target = TorchTarget(convnet(), classes=10, snap=False)
    inputs = torch.from_numpy(rng().integers(-100, 356, (12, 3, 8, 8)).clip(0, 255) / 255).float()
    labels = target.logits(inputs).argmax(1)
    large = 1.0 if norm == "linf" else 20.0
    found = fab_targeted(target, inputs, labels, eps=large, norm=norm, rng=rng(), steps=8, stop_at_success=False)
    assert bool((target.logits(found).argmax(1) != labels).all())
    distances = norms(found - inputs, norm)
    eps = float(distances.median()) * 1.0001
    stopped = fab_targeted(target, inputs, labels, eps=eps, norm=norm, rng=rng(), steps=8)
    fell = target.logits(stopped).argmax(1) != labels
    assert bool(fell[distances <= eps].all())
    assert not bool(fell[distances > 1.05 * eps].any())
    assert int(fell.sum()) < 12


def test_restarts_begin_at_half_of_eps(linear: Callable[..., Any]) -> None:
    model = linear(classes=2)
    starts = []

    class Recorder(CountingTarget):
        def gradient(self, inputs: Any, *rest: Any) -> Evaluation:
            starts.append(inputs)
            return super().gradient(inputs, *rest)

    eps = 0.5 * float(model.distances("l2").min())
    fab_targeted(
        Recorder(model.target()), model.inputs, model.labels, eps=eps, norm="l2", rng=rng(), steps=1, restarts=2
    )
    assert torch.equal(starts[0], model.inputs)
    torch.testing.assert_close(norms(starts[1] - model.inputs, "l2"), torch.full((5,), eps / 2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"steps": 0}, "steps must be an integer of at least 1; got 0"),
        ({"restarts": 0}, "restarts must be an integer of at least 1; got 0"),
        ({"target_classes": 0}, "target_classes must be an integer of at least 1; got 0"),
        ({"alpha_max": 1.5}, r"alpha_max must lie in \[0, 1\]; got 1.5"),
        ({"beta": -0.1}, r"beta must lie in \[0, 1\]; got -0.1"),
        ({"eta": 0.9}, "eta must be at least 1; got 0.9"),
    ],
)
def test_bad_parameters_are_named(linear: Callable[..., Any], parameters: dict[str, Any], reason: str) -> None:
    model = linear(classes=3)
    with pytest.raises(ValueError, match=reason):
        fab_targeted(model.target(), model.inputs, model.labels, eps=0.1, rng=rng(), **parameters)
