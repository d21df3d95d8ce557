from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from f2at.attacks import CountingTarget, Evaluation
from f2at.attacks.white_box.apgd import _review, _State, apgd, apgd_targeted, checkpoints
from f2at.attacks.white_box.pgd import pgd


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_checkpoints_by_hand() -> None:
    # Periods of 22, 19, 16, 13, 10, 7, then 6 percent of the steps.
    assert checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)
    # floor(11), one less each time (floor(1.5)), down to floor(3); the paper's own rounding would give 21, 29, 35.
    assert checkpoints(50) == (11, 21, 30, 38, 45)
    # floor(4.4), then one less each time, down to one.
    assert checkpoints(20) == (4, 7, 9, *range(10, 21))
    assert checkpoints(3) == (1, 2, 3)
    assert checkpoints(1) == (1,)


def test_review_by_hand() -> None:
    """Four samples after a window of 20 steps with rho = 0.75, so that 15 rises are not enough."""
    image = np.arange(4.0).reshape(4, 1, 1, 1)
    state = _State(
        current=image,
        previous=image,
        gradient=image + 10,
        loss=np.zeros(4),
        best=image + 100,
        best_gradient=image + 200,
        best_loss=np.array([2.0, 2.0, 1.0, 1.0]),
        clean=image,
        labels=np.zeros(4, int),
        targets=np.zeros(4, int),
        step_size=np.full(4, 0.5),
        rises=np.array([15.0, 16.0, 16.0, 16.0]),
        halved=np.array([False, False, False, True]),
        checkpoint_loss=np.ones(4),
    )
    after = _review(np, state, 0.75 * 20)
    # 0: too few rises. 1: fine. 2: neither step size nor best loss changed. 3: step size changed last time.
    np.testing.assert_array_equal(after.halved, [True, False, True, False])
    np.testing.assert_array_equal(after.step_size, [0.25, 0.5, 0.25, 0.5])
    np.testing.assert_array_equal(after.current.ravel(), [100, 1, 102, 3])
    np.testing.assert_array_equal(after.gradient.ravel(), [200, 11, 202, 13])
    np.testing.assert_array_equal(after.rises, 0)
    np.testing.assert_array_equal(after.checkpoint_loss, state.best_loss)


class Bowl:
    """A target that no attack breaks, whose every objective is -|x - peak|^2."""

    classes = 2
    peak = 0.63

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        return np.tile([1.0, 0.0], (len(inputs), 1))

    def gradient(self, inputs: np.ndarray, labels: Any, targets: Any, weights: np.ndarray) -> Evaluation:
        self.seen.append(inputs)
        value = -((inputs - self.peak) ** 2).sum((1, 2, 3))
        return Evaluation(self.logits(inputs), np.tile(value[:, None], (1, 5)), 2 * (self.peak - inputs))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_step_halving_homes_in_where_fixed_steps_oscillate(norm: str) -> None:
    inputs, labels = np.full((2, 3, 2, 2), 0.5), np.zeros(2, int)
    arguments: Any = {"eps": 0.2 if norm == "linf" else 0.6, "norm": norm, "rng": rng()}
    target = Bowl()
    best = apgd(target, inputs, labels, steps=100, **arguments)
    fixed = pgd(Bowl(), inputs, labels, steps=100, step_size=arguments["eps"] / 4, **arguments)
    error, fixed_error = abs(best - Bowl.peak).max(), abs(fixed - Bowl.peak).max()
    assert error < 0.01
    assert error < fixed_error / 2
    assert len(target.seen) == 101
    values = [float(-((x[0] - Bowl.peak) ** 2).sum()) for x in target.seen]
    assert max(values) == pytest.approx(float(-((best[0] - Bowl.peak) ** 2).sum())), "the best point is returned"


def test_first_steps_by_hand() -> None:
    """One pixel in [0.3, 0.7], peak at 0.63, started at 0.7: full steps of 0.4, cut at the ball's edge."""
    target = Bowl()
    apgd(target, np.full((1, 1, 1, 1), 0.5), np.zeros(1, int), eps=0.2, rng=rng(), steps=100)
    expected = [
        0.7,
        0.3,  # the first step is not damped
        0.3 + 0.75 * 0.4 + 0.25 * (0.3 - 0.7),  # 0.5
        0.5 + 0.75 * 0.2 + 0.25 * (0.5 - 0.3),  # 0.7
        0.7 - 0.75 * 0.4 + 0.25 * (0.7 - 0.5),  # 0.45
    ]
    np.testing.assert_allclose([x.item() for x in target.seen[:5]], expected)


def test_evaluations_when_nothing_breaks(linear: Callable[..., Any]) -> None:
    model = linear(classes=4, samples=6)
    eps = 0.5 * float(model.distances("linf").min())
    target = CountingTarget(model.target())
    apgd(target, model.inputs, model.labels, eps=eps, rng=rng(), steps=10, restarts=2)
    assert (target.forward_evaluations, target.gradient_evaluations) == (0, 6 * 2 * 11)
    target = CountingTarget(model.target())
    apgd_targeted(target, model.inputs, model.labels, eps=eps, rng=rng(), steps=10)
    assert (target.forward_evaluations, target.gradient_evaluations) == (6, 6 * 3 * 11)  # 3 wrong classes
    target = CountingTarget(model.target())
    apgd_targeted(target, model.inputs, model.labels, eps=eps, rng=rng(), steps=10, target_classes=2)
    assert (target.forward_evaluations, target.gradient_evaluations) == (6, 6 * 2 * 11)


def test_broken_samples_cost_nothing_more(linear: Callable[..., Any]) -> None:
    model = linear(classes=10, samples=6)
    labels = model.labels.clone()
    labels[:4] = (labels[:4] + 1) % 10  # misclassified before the attack
    eps = 0.5 * float(model.distances("linf").min())
    target = CountingTarget(model.target())
    found = apgd_targeted(target, model.inputs, labels, eps=eps, rng=rng(), steps=5)
    assert torch.equal(found[:4], model.inputs[:4])
    assert (target.forward_evaluations, target.gradient_evaluations) == (6, 2 * 9 * 6)


def test_targets_come_by_clean_logit(linear: Callable[..., Any]) -> None:
    model = linear(classes=4, samples=5)

    class Recorder(CountingTarget):
        def gradient(self, inputs: Any, labels: Any, targets: Any, weights: Any) -> Evaluation:
            seen.append(targets)
            return super().gradient(inputs, labels, targets, weights)

    seen: list[torch.Tensor] = []
    eps = 0.1 * float(model.distances("linf").min())
    apgd_targeted(Recorder(model.target()), model.inputs, model.labels, eps=eps, rng=rng(), steps=1)
    ranking = model.logits(model.inputs).argsort(1, descending=True)
    assert torch.equal(torch.stack(seen[::2], 1), ranking[:, 1:])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_targeted_is_exact_on_a_linear_model_of_many_classes(linear: Callable[..., Any], norm: str) -> None:
    """The nearest boundary need not be the runner-up's: only trying every class finds it."""
    model = linear(classes=8, samples=40)
    distances = model.distances(norm)
    for scale, broken in ((1.02, True), (0.99, False)):
        for i in range(0, 40, 10):  # one at a time: each has a radius of its own
            found = apgd_targeted(
                model.target(),
                model.inputs[i : i + 1],
                model.labels[i : i + 1],
                eps=scale * float(distances[i]),
                norm=norm,
                rng=rng(),
                steps=30,
            )
            assert bool(model.logits(found).argmax(1) != model.labels[i]) is broken


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"steps": 0}, "steps must be an integer of at least 1"),
        ({"restarts": 0}, "restarts must be an integer of at least 1"),
        ({"target_classes": 0}, "target_classes must be an integer of at least 1"),
        ({"momentum": 1.5}, r"momentum must lie in \[0, 1\]; got 1.5"),
        ({"rho": -0.1}, r"rho must lie in \[0, 1\]; got -0.1"),
    ],
)
def test_bad_parameters_are_named(linear: Callable[..., Any], parameters: dict[str, Any], reason: str) -> None:
    model = linear(classes=3)
    with pytest.raises(ValueError, match=reason):
        apgd_targeted(model.target(), model.inputs, model.labels, eps=0.1, rng=rng(), **parameters)
