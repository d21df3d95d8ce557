"""Each sanity flag is raised by a model built to deserve it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from f2at.audit import Audit, AuditRequest, run_audit
from f2at.audit.page.words import headline
from f2at.audit.reports.flags import flags
from f2at.audit.reports.statistics import proportion
from f2at.images.sets.base import in_memory
from tests.audit.grey import THRESHOLD, grey_audit, grey_images

Model = Callable[[Tensor], Tensor]


class Wrap(nn.Module):
    """A model made of another by a function of (model, inputs)."""

    def __init__(self, model: nn.Module, function: Callable[[Model, Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(self.model, inputs)


class MisleadingGradient(torch.autograd.Function):
    """The identity, whose gradient points the wrong way except at uniform levels that are multiples of ten."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        off = (255 * inputs.mean((1, 2, 3), keepdim=True)) % 10
        ctx.save_for_backward(torch.minimum(off, 10 - off) > 0.01)
        return inputs.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (misleading,) = ctx.saved_tensors
        return torch.where(misleading, -gradient, gradient)


def softmax(model: Model, inputs: Tensor) -> Tensor:
    return torch.softmax(model(inputs), dim=1)


def noisy(model: Model, inputs: Tensor) -> Tensor:
    logits = model(inputs)
    return logits + torch.randn_like(logits)


def without_gradient(model: Model, inputs: Tensor) -> Tensor:
    return model(torch.round(255 * inputs) / 255)


def misleading(model: Model, inputs: Tensor) -> Tensor:
    uniform: Tensor = MisleadingGradient.apply(inputs)
    return model(uniform)


def huge_logits(model: Model, inputs: Tensor) -> Tensor:
    """Confidence so high that the cross-entropy and its gradient are zero in float32."""
    return 1e4 * model(inputs)


def saturated(model: Model, inputs: Tensor) -> Tensor:
    """Activations so far out that none of them moves with the input."""
    return torch.tanh(100 * (model(inputs) - THRESHOLD))


def fooled_between_levels(model: Model, inputs: Tensor) -> Tensor:
    logits = model(inputs)
    off = (255 * inputs - torch.round(255 * inputs)).abs().mean((1, 2, 3))
    away = 1 - 2 * torch.nn.functional.one_hot(logits.argmax(1), 2)
    return logits + 1000 * (off > 0.05)[:, None] * away


def raised(distances: list[int], function: Callable[[Model, Tensor], Tensor], **options: Any) -> set[str]:
    torch.manual_seed(0)
    audit = grey_audit(distances, wrap=lambda model: Wrap(model, function), **{"eps": "8/255", **options})
    return {flag["name"] for flag in audit.report(run_audit(audit))["flags"] if flag["raised"]}


@pytest.mark.parametrize(
    ("name", "function", "distances", "options"),
    [
        ("softmax_outputs", softmax, [1, 20] * 8, {}),
        ("randomised_outputs", noisy, [4, 20] * 8, {}),
        ("zero_gradients", without_gradient, [4, 20] * 8, {}),
        ("zero_gradients", huge_logits, [4, 20] * 8, {}),
        ("zero_gradients", saturated, [4, 20] * 8, {}),
        ("black_box_beats_white_box", saturated, [4, 20] * 8, {}),
        ("black_box_beats_white_box", without_gradient, [4, 20] * 8, {}),
        ("accuracy_above_chance_at_any_radius", without_gradient, [20] * 16, {}),
        ("iterative_weaker_than_single_step", misleading, [11, 30] * 8, {"eps": "12/255"}),
        ("success_lost_on_grid", fooled_between_levels, [20] * 16, {"snap": False}),
    ],
)
def test_flag_is_raised(name: str, function: Any, distances: list[int], options: dict[str, Any]) -> None:
    assert name in raised(distances, function, **options)


def test_the_models_above_are_sane_without_their_fault() -> None:
    for distances, options in (([4, 20] * 8, {}), ([11, 30] * 8, {"eps": "12/255"}), ([20] * 16, {"snap": False})):
        assert raised(distances, lambda model, inputs: model(inputs), **options) == set()


def test_an_undefended_model_falls_without_a_flag() -> None:
    """Every error is near: the attacks work, and nothing is wrong with the audit."""
    assert raised([3] * 16, lambda model, inputs: model(inputs)) == set()


def test_huge_logits_mislead_only_the_cross_entropy() -> None:
    """The audit says so, and its attacks on differences of logits still find every error."""
    audit = grey_audit([4, 20] * 8, wrap=lambda model: Wrap(model, huge_logits), eps="8/255")
    report = audit.report(run_audit(audit))
    assert report["robust"]["k"] == 8
    assert report["attacks"][2]["name"] == "apgd-ce"
    assert report["attacks"][2]["robust"]["k"] == 16
    assert report["attacks"][3]["broken"] == 8


def test_a_suite_that_stops_too_soon_is_noticed() -> None:
    """Five steps of one level do not reach errors that are seven away."""
    short = [{"name": "pgd", "steps": 5, "step_size": 1 / 255, "start": "none"}]
    found = raised([7, 20] * 8, lambda model, inputs: model(inputs), suite="custom", attacks=short)
    assert found == {"more_steps_still_help"}
    enough = [{**short[0], "steps": 8}]
    assert raised([7, 20] * 8, lambda model, inputs: model(inputs), suite="custom", attacks=enough) == set()


def test_a_constant_answer_is_no_better_than_chance() -> None:
    def constant(_: Model, inputs: Tensor) -> Tensor:
        return torch.tensor([1.0, 0.0]).expand(len(inputs), 2) + 0 * inputs.mean((1, 2, 3))[:, None]

    assert "accuracy_above_chance_at_any_radius" not in raised([5] * 16, constant)


PROBE = {
    "n": 100,
    "drift": 0.0,
    "probabilities": 0,
    "unusable_gradients": {"cross_entropy": 0, "margin": 0},
    "compared": 10,
    "only_single_step": 0,
    "only_iterative": 0,
}


@pytest.mark.parametrize(
    ("name", "probe", "others", "expected"),
    [
        ("softmax_outputs", {"probabilities": 99}, {}, False),
        ("softmax_outputs", {"probabilities": 100}, {}, True),
        ("randomised_outputs", {"drift": 1e-6}, {}, False),
        ("randomised_outputs", {"drift": 1e-3}, {}, True),
        ("zero_gradients", {"unusable_gradients": {"cross_entropy": 10, "margin": 0}}, {}, False),
        ("zero_gradients", {"unusable_gradients": {"cross_entropy": 0, "margin": 11}}, {}, True),
        ("iterative_weaker_than_single_step", {"only_single_step": 2, "only_iterative": 2}, {}, False),
        ("iterative_weaker_than_single_step", {"only_single_step": 3, "only_iterative": 2}, {}, True),
        ("black_box_beats_white_box", {}, {"broken": 1}, False),
        ("black_box_beats_white_box", {}, {"broken": 2}, True),
        ("success_lost_on_grid", {}, {"lost": 1}, False),
        ("success_lost_on_grid", {}, {"lost": 2}, True),
        ("more_steps_still_help", {}, {"beyond": 1}, False),
        ("more_steps_still_help", {}, {"beyond": 2}, True),
        ("accuracy_above_chance_at_any_radius", {}, {"last": 17}, False),  # Wilson's lower end is 10.9 %
        ("accuracy_above_chance_at_any_radius", {}, {"last": 20}, True),  # 13.3 %
        ("clean_accuracy_at_chance", {}, {"right": 17}, True),
        ("clean_accuracy_at_chance", {}, {"right": 20}, False),
        ("clean_accuracy_at_chance", {}, {"right": 17, "present": 1}, False),  # of ten classes: chance is 10 %
        ("clean_accuracy_at_chance", {}, {"right": 15, "present": 1}, True),
        ("one_class_only", {}, {"present": 2}, False),
        ("one_class_only", {}, {"present": 1}, True),
        ("preprocessing_forgotten", {}, {"gained": 9}, False),
        ("preprocessing_forgotten", {}, {"gained": 10}, True),
        ("preprocessing_forgotten", {}, {"gained": 10, "lost_again": 10}, False),  # a coin falls so, too
    ],
)
def test_where_flags_begin(name: str, probe: dict[str, Any], others: dict[str, int], expected: bool) -> None:
    gained, again = others.get("gained", 0), others.get("lost_again", 0)
    best = {
        "name": "levels",
        "options": "--scale 255",
        "correct": 50 + gained,
        "only_given": again,
        "only_best": again + gained,
    }
    judged = flags(
        [PROBE | probe],
        attacks=[
            {"name": "pgd", "knowledge": "white-box", "broken": 30},
            {"name": "square", "knowledge": "black-box", "broken": others.get("broken", 0)},
        ],
        lost=others.get("lost", 0),
        iterations={"samples": 100, "broken_beyond_suite": others.get("beyond", 0)},
        curve=[{"eps": "128/255", **proportion(others.get("last", 0), 100)}],
        chance=0.11,
        clean=proportion(others.get("right", 90), 100),
        present=others.get("present", 10),
        outputs=10,
        preprocessings={"samples": 100, "given": {"name": "pixels", "correct": 50}, "best": best},
    )
    assert {flag["name"]: flag["raised"] for flag in judged}[name] is expected
    raised = {flag["name"] for flag in judged if flag["raised"]}
    assert raised - ({"one_class_only"} if others.get("present") == 1 else set()) <= {name}
    assert all(flag["title"] and flag["meaning"] and flag["evidence"] for flag in judged)


def test_images_that_tell_nothing_pass_no_threshold() -> None:
    """All wrong, or all of one class: 0 % reaches a threshold of 0, and one answer to everything one of 90 %."""

    def audited(labels: np.ndarray, threshold: float) -> dict[str, Any]:
        images, _ = grey_images([20, 20] * 20)
        audit = Audit(
            grey_audit([1])._target,
            in_memory(images[: len(labels)], labels),
            AuditRequest(
                suite="custom",
                attacks=[{"name": "fgsm"}],
                eps="8/255",
                curve=False,
                min_robust_accuracy=threshold,
                accept_weak=True,
            ),
            classes=["dark", "light"],
            to_target=torch.from_numpy,
        )
        return audit.report(run_audit(audit))

    right = np.arange(40) % 2
    for labels, threshold, outcome, wanted in (
        (right, 0.9, "pass", set()),
        (1 - right, 0.0, "inconclusive", {"clean_accuracy_at_chance"}),
        (1 - right, 0.5, "fail", {"clean_accuracy_at_chance"}),
        (right[:1], 0.0, "inconclusive", {"clean_accuracy_at_chance", "one_class_only"}),
    ):
        report = audited(labels, threshold)
        found = {flag["name"] for flag in report["flags"] if flag["raised"]}
        assert (report["verdict"]["outcome"], found) == (outcome, wanted)
        assert ("better than chance" in headline(report)["text"]) is (outcome == "inconclusive")
