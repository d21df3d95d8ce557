import dataclasses
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from f2at.attacks import CountingTarget
from f2at.attacks.grid import snap
from f2at.attacks.objectives import OBJECTIVES
from f2at.attacks.registry import ATTACKS
from f2at.attacks.survivors import misclassified
from f2at.attacks.target import Evaluation
from f2at.attacks.targets.torch_target import TorchTarget
from f2at.attacks.threat import NORMS, to_grid
from f2at.attacks.white_box.multi_targeted import multi_targeted
from f2at.images.pixels import to_images, to_inputs


class Recording(CountingTarget):
    """Notes the targets and the logits of every call."""

    def __init__(self, target: Any) -> None:
        super().__init__(target)
        self.targets: list[list[int]] = []
        self.logits_seen: list[Any] = []

    def gradient(self, inputs: Any, labels: Any, targets: Any, weights: Any) -> Evaluation:
        found = super().gradient(inputs, labels, targets, weights)
        self.targets.append(targets.tolist())
        self.logits_seen.append(found.logits)
        return found


def run(target: Any, inputs: Any, labels: Any, eps: float, **options: Any) -> Any:
    return multi_targeted(target, inputs, labels, eps=eps, rng=np.random.default_rng(0), **options)


@pytest.mark.parametrize("norm", NORMS)
def test_no_error_within_reach_is_missed_on_a_linear_model(linear: Callable[..., Any], norm: str) -> None:
    """Ten classes: each sample falls just when eps passes its distance to the nearest of nine boundaries."""
    model = linear(classes=10, samples=40)
    distances = model.distances(norm)
    for eps in distances.quantile(torch.tensor([0.2, 0.5, 0.8], dtype=distances.dtype)).tolist():
        found = run(model.target(), model.inputs, model.labels, eps, norm=norm)
        broken = model.logits(found).argmax(1) != model.labels
        assert torch.equal(broken, distances < eps)


def test_evaluations_of_samples_that_stand(linear: Callable[..., Any]) -> None:
    """13 each for the cross-entropy and nine classes, and at last 2 runs of 6, where everything is within reach."""
    model = linear(classes=10, samples=10)
    target = CountingTarget(model.target())
    eps = 0.5 * float(model.distances("linf").min())
    everything = {"first_excess": 1e9, "last_excess": 1e9, "final_excess": 1e9, "least_excess": 1e9}
    run(target, model.inputs, model.labels, eps, final_runs=2, final_steps=5, **everything)
    assert target.gradient_evaluations == 10 * (10 * 13 + 2 * 6)
    assert target.forward_evaluations == 0
    target = CountingTarget(model.target())
    run(target, model.inputs, model.labels, eps, first_excess=1e-9, last_excess=1e-9, final_excess=0)
    assert target.gradient_evaluations == 10 * 3 * 13  # two classes are free


def test_a_sample_leaves_at_its_first_error(linear: Callable[..., Any]) -> None:
    model = linear(classes=10, samples=10)
    target = CountingTarget(model.target())
    run(target, model.inputs, model.labels, 3 * float(model.distances("linf").max()))
    assert target.gradient_evaluations <= 3 * 10  # the input, one step, perhaps another


def test_every_wrong_class_is_tried_once_the_nearest_first(linear: Callable[..., Any]) -> None:
    model = linear(classes=5, samples=6)
    target = Recording(model.target())
    eps = 0.5 * float(model.distances("linf")[0])
    run(target, model.inputs[:1], model.labels[:1], eps, steps=2, first_excess=1e9, last_excess=1e9, final_excess=0.0)
    towards = [calls[0] for calls in target.targets[3::3]]  # three evaluations a run; the first is cross-entropy's
    label = int(model.labels[0])
    assert sorted(towards) == sorted(set(range(5)) - {label})
    for place, chosen in enumerate(towards):
        seen = torch.cat(target.logits_seen[: 3 * (place + 1)])
        gaps = (seen - seen[:, [label]]).amax(0)
        assert chosen == max(towards[place:], key=lambda i: float(gaps[i]))


@pytest.mark.parametrize("excess", [0.0, 1.05, 3.05, 100])
def test_the_last_runs_are_for_errors_within_reach(excess: float) -> None:
    """At distances of 1 to 10 levels, of which 0.5 can be gone: 2 d - 1 times as much as was narrowed remains."""

    class Plane(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            level = inputs.mean((1, 2, 3))
            return torch.stack([torch.zeros_like(level), level - 0.5], dim=1)

    distances = torch.arange(10, 0, -1)
    inputs = (0.5 + distances / 100)[:, None, None, None].expand(10, 3, 4, 4)
    rows: list[int] = []

    class Watching(CountingTarget):
        def gradient(self, inputs: Any, labels: Any, targets: Any, weights: Any) -> Evaluation:
            rows.append(len(inputs))
            return super().gradient(inputs, labels, targets, weights)

    found = run(
        Watching(TorchTarget(Plane(), classes=2, snap=False)),
        inputs,
        torch.ones(10, dtype=torch.int64),
        0.005,
        steps=2,
        final_excess=excess,
        final_runs=1,
        final_steps=2,
    )
    reached = int((2 * distances - 1 <= excess).sum())
    assert rows == [10] * 6 + [reached] * 3 * bool(reached)
    assert float((found - inputs).abs().max()) <= 0.005 + 1e-7


def test_after_two_classes_those_within_reach_go_on(linear: Callable[..., Any]) -> None:
    """On a linear model, d / eps - 1 is the excess of a sample at distance d."""
    model = linear(classes=10, samples=8)
    distances = model.distances("linf")
    eps = 0.5 * float(distances.min())
    excess = float((distances / eps - 1).sort().values[4:6].mean())  # between the fifth and the sixth
    sizes: list[int] = []

    class Watching(CountingTarget):
        def gradient(self, inputs: Any, labels: Any, targets: Any, weights: Any) -> Evaluation:
            sizes.append(len(inputs))
            return super().gradient(inputs, labels, targets, weights)

    reach = {"first_excess": excess, "last_excess": excess, "final_excess": 0.0}
    run(Watching(model.target()), model.inputs, model.labels, eps, steps=2, target_classes=4, **reach)
    assert sizes == [8] * 3 * 3 + [5] * 3 * 2


def test_as_strong_as_auto_pgd_at_a_fraction_of_its_gradients(convnet: Callable[..., nn.Module]) -> None:
    network = convnet(10)
    inputs = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (60, 3, 8, 8)) / 255).float()
    labels = TorchTarget(network, classes=10).logits(inputs).argmax(1)
    broken, spent = {}, {}
    for name in ("apgd-t", "multi-targeted"):
        target = CountingTarget(TorchTarget(network, classes=10))
        rng = np.random.default_rng(0)
        found = ATTACKS[name].run(target, inputs, labels, eps=2 / 255, norm="linf", rng=rng)
        broken[name] = int(misclassified(target.logits(found), labels).sum())
        spent[name] = target.gradient_evaluations
    assert 5 < broken["apgd-t"] < 55
    assert broken["multi-targeted"] >= broken["apgd-t"]
    assert spent["multi-targeted"] < spent["apgd-t"] / 5


def test_bounds_fall_by_ratios(linear: Callable[..., Any]) -> None:
    """Over four classes behind the two that are free, then over three last runs."""
    model = linear(classes=10, samples=200)
    distances = model.distances("linf")
    eps = 0.6 * float(distances.min())
    excesses = distances / eps - 1
    least, most = excesses.quantile(torch.tensor([0.2, 0.8], dtype=excesses.dtype)).tolist()
    sizes: list[int] = []

    class Watching(CountingTarget):
        def gradient(self, inputs: Any, labels: Any, targets: Any, weights: Any) -> Evaluation:
            sizes.append(len(inputs))
            return super().gradient(inputs, labels, targets, weights)

    reach = {"first_excess": most, "last_excess": least, "final_excess": most, "least_excess": least}
    short = {"steps": 1, "target_classes": 6, "final_runs": 3, "final_steps": 1}
    run(Watching(model.target()), model.inputs, model.labels, eps, **reach, **short)
    bounds = [most * (least / most) ** share for share in (0, 1 / 3, 2 / 3, 1, 0, 1 / 2, 1)]
    within = [int((excesses <= bound).sum()) for bound in bounds]
    assert 160 == within[0] > within[1] > within[2] > within[3] == 40
    expected = [200] * 2 * 3 + [size for size in within for _ in range(2)]
    np.testing.assert_allclose(sizes, expected, atol=2)  # the box costs a few a little of their reach


def test_the_last_runs_are_of_two_kinds_by_turns(linear: Callable[..., Any]) -> None:
    """On the cross-entropy from anywhere, and towards a class from half way to the best image, here a corner."""
    model = linear(classes=2, samples=6)
    eps = 0.5 * float(model.distances("linf").min())
    corner = (model.weight[1 - model.labels] - model.weight[model.labels]).sign().reshape(model.inputs.shape)
    calls: list[tuple[str, float]] = []  # objective; share of the pixels that are moved towards the corner

    class Watching(CountingTarget):
        def gradient(self, inputs: Any, labels: Any, targets: Any, weights: Any) -> Evaluation:
            towards = ((inputs - model.inputs) * corner > 0).double().mean()
            calls.append((OBJECTIVES[int(weights[0].argmax())], float(towards)))
            return super().gradient(inputs, labels, targets, weights)

    all_of_them = {"final_excess": 1e9, "least_excess": 1e9, "final_runs": 4, "final_steps": 1}
    run(Watching(model.target()), model.inputs, model.labels, eps, **all_of_them)
    starts = calls[2 * 13 :: 2]
    assert [objective for objective, _ in starts] == ["cross_entropy", "logit_difference"] * 2
    np.testing.assert_allclose([towards for _, towards in starts], [0.5, 1.0] * 2, atol=0.1)


def test_bad_parameters_are_named(linear: Callable[..., Any]) -> None:
    model = linear()
    for options, reason in (
        ({"steps": 0}, "steps must be an integer of at least 1; got 0"),
        ({"first_excess": 0}, "first_excess must be a positive number; got 0"),
        ({"final_excess": -0.5}, "final_excess must be a positive number; got -0.5"),
        ({"least_excess": float("nan")}, "least_excess must be a positive number; got nan"),
        ({"final_runs": -1}, "final_runs must be an integer of at least 1; got -1"),
    ):
        with pytest.raises(ValueError, match=reason):
            run(model.target(), model.inputs, model.labels, 0.1, **options)


def test_an_error_counts_once_its_8_bit_image_is_one(
    linear: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Radii of 1.4 times the distance of an error, a few levels: whoever stops at the first loses many to rounding."""
    model = linear(classes=10, samples=40)
    inputs = to_grid(model.inputs)
    labels = model.logits(inputs).argmax(1)
    reach = dataclasses.replace(model, inputs=inputs, labels=labels).distances("l2")
    images = to_images(inputs.numpy())

    def fallen() -> int:
        count = 0
        for row, distance in enumerate(reach.tolist()):
            one, eps = slice(row, row + 1), 1.4 * distance
            short = {"target_classes": 2, "final_excess": 0}
            found = run(model.target(snap=True), inputs[one], labels[one], eps, norm="l2", **short)
            rounded = to_inputs(snap(found.numpy(), images[one], eps=Fraction(eps), norm="l2"), np.float64)
            count += int(misclassified(model.logits(torch.from_numpy(rounded)), labels[one]).sum())
        return count

    searched_on = fallen()
    believing = "f2at.attacks.white_box.multi_targeted.held"
    monkeypatch.setattr(believing, lambda target, images, clean, labels, broken, **_: broken)
    assert searched_on >= fallen() + 5
