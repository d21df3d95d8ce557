from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from f2at.attacks import CountingTarget, Evaluation
from f2at.attacks.targets.torch_target import TorchTarget
from f2at.attacks.threat import norms
from f2at.attacks.white_box.pgd import pgd


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_steps_have_the_length_given(linear: Callable[..., Any], norm: str) -> None:
    model = linear(classes=2)
    arguments: Any = {"eps": 0.1, "norm": norm, "rng": rng(), "start": "none", "stop_at_success": False}
    for steps in (1, 3):
        moved = pgd(model.target(), model.inputs, model.labels, steps=steps, step_size=0.01, **arguments)
        expected = torch.full((len(model.labels),), 0.01 * steps, dtype=moved.dtype)
        torch.testing.assert_close(norms(moved - model.inputs, norm), expected)


def test_default_step_size_crosses_the_ball(linear: Callable[..., Any]) -> None:
    model = linear(classes=2)
    moved = pgd(
        model.target(), model.inputs, model.labels, eps=0.1, rng=rng(), steps=5, start="none", stop_at_success=False
    )
    assert norms(moved - model.inputs, "linf").min() == pytest.approx(0.1)  # 5 steps of 0.05, cut to 0.1
    one = pgd(
        model.target(), model.inputs, model.labels, eps=0.1, rng=rng(), steps=50, start="none", stop_at_success=False
    )
    torch.testing.assert_close(one, moved)  # 50 steps of 0.005 end in the same corner


def test_gaussian_start_is_the_small_one_of_training(linear: Callable[..., Any]) -> None:
    model = linear(classes=2, samples=200)

    class Recorder(CountingTarget):
        def gradient(self, inputs: Any, *rest: Any) -> Evaluation:
            seen.append(inputs)
            return super().gradient(inputs, *rest)

    seen: list[torch.Tensor] = []
    pgd(Recorder(model.target()), model.inputs, model.labels, eps=0.1, rng=rng(), steps=1, start="gaussian")
    noise = (seen[0] - model.inputs).flatten()
    assert float(noise.std()) == pytest.approx(0.001, rel=0.05)
    assert abs(float(noise.mean())) < 4 * 0.001 / len(noise) ** 0.5


@pytest.mark.parametrize("stop", [True, False])
def test_initial_points_replace_the_start(linear: Callable[..., Any], stop: bool) -> None:
    """One small step away from them, and no number is drawn."""
    model = linear(classes=2, samples=5)
    initial = (model.inputs + 0.02).clamp(0, 1)
    generator = rng()
    arguments: Any = {"eps": 0.1, "rng": generator, "steps": 1, "step_size": 1e-4, "stop_at_success": stop}
    moved = pgd(model.target(), model.inputs, model.labels, initial, **arguments)
    right = model.logits(initial).argmax(1) == model.labels
    assert bool(right.any())
    torch.testing.assert_close(norms(moved - initial, "linf")[right], torch.full_like(moved[right, 0, 0, 0], 1e-4))
    assert generator.bit_generator.state == rng().bit_generator.state
    with pytest.raises(ValueError, match=r"initial must have the shape of inputs, \(5, .*; got \(3, "):
        pgd(model.target(), model.inputs, model.labels, initial[:3], **arguments)


def test_without_stopping_every_step_costs_the_same(linear: Callable[..., Any]) -> None:
    model = linear(classes=3, samples=7)
    target = CountingTarget(model.target())
    pgd(target, model.inputs, model.labels, eps=1.0, rng=rng(), steps=4, stop_at_success=False)
    assert (target.forward_evaluations, target.gradient_evaluations) == (0, 7 * 4)


def test_stopping_counts_by_hand(linear: Callable[..., Any]) -> None:
    model = linear(classes=2)
    distances = model.distances("linf")
    size = float(distances.max()) / 3.5  # the furthest sample breaks at its fourth step
    target = CountingTarget(model.target())
    pgd(target, model.inputs, model.labels, eps=1.0, rng=rng(), steps=5, step_size=size, start="none")
    # A sample broken by step k is evaluated at its start and after each of k steps.
    needed = (torch.floor(distances / size) + 1).int()
    assert int(needed.max()) == 4
    assert target.gradient_evaluations == int((needed + 1).sum())
    assert target.forward_evaluations == 0  # nobody was left after the last step


def test_the_last_step_counts(linear: Callable[..., Any]) -> None:
    model = linear(classes=2)
    target = CountingTarget(model.target())
    eps = 1.01 * float(model.distances("linf").max())
    moved = pgd(
        target, model.inputs, model.labels, eps=eps, rng=rng(), steps=1, step_size=eps, start="none", restarts=2
    )
    assert bool((model.logits(moved).argmax(1) != model.labels).all())
    # One gradient, one look at the result, and no second restart.
    assert target.gradient_evaluations == target.forward_evaluations == len(model.labels)


def test_restarts_go_on_with_those_that_stand(linear: Callable[..., Any]) -> None:
    model = linear(classes=2)
    distances = model.distances("linf").sort().values
    eps = float(distances[1] + distances[2]) / 2  # breaks two samples of five
    target = CountingTarget(model.target())
    moved = pgd(target, model.inputs, model.labels, eps=eps, rng=rng(), steps=10, start="none", restarts=3)
    assert int((model.logits(moved).argmax(1) != model.labels).sum()) == 2
    assert target.forward_evaluations == 3 * 3  # three samples at the end of three restarts


def test_stops_at_the_first_misclassified_iterate(linear: Callable[..., Any]) -> None:
    model = linear(classes=2)
    moved = pgd(model.target(), model.inputs, model.labels, eps=0.5, rng=rng(), steps=500, step_size=1e-3, start="none")
    overshoot = norms(moved - model.inputs, "linf") - model.distances("linf")
    assert 0 <= float(overshoot.min()) <= float(overshoot.max()) < 1e-3


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"steps": 0}, "steps must be an integer of at least 1; got 0"),
        ({"step_size": 0.0}, "step_size must be > 0; got 0.0"),
        ({"start": "middle"}, "start must be one of uniform, gaussian, none; got 'middle'"),
        ({"restarts": 2, "stop_at_success": False}, "restarts must be 1 where stop_at_success is False or"),
        ({"objective": "hinge"}, "objective must be one of"),
    ],
)
def test_bad_parameters_are_named(linear: Callable[..., Any], parameters: dict[str, Any], reason: str) -> None:
    model = linear(classes=2)
    with pytest.raises(ValueError, match=reason):
        pgd(model.target(), model.inputs, model.labels, eps=0.1, rng=rng(), **parameters)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("start", ["uniform", "gaussian", "none"])
def test_training_never_waits_for_the_device(convnet: Callable[..., nn.Module], norm: str, start: str) -> None:
    """On the meta device there is nothing to wait for: reading any value, or mixing devices, is an error."""
    target = TorchTarget(convnet().to("meta"), classes=10)
    inputs = torch.empty(4, 3, 8, 8, device="meta")
    labels = torch.empty(4, dtype=torch.int64, device="meta")
    moved = pgd(target, inputs, labels, eps=0.1, norm=norm, rng=rng(), steps=2, start=start, stop_at_success=False)
    assert (moved.shape, moved.device) == (inputs.shape, inputs.device)
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        pgd(target, inputs, labels, eps=0.1, norm=norm, rng=rng(), steps=2, start=start)
