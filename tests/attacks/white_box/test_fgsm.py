from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from f2at.attacks import CountingTarget
from f2at.attacks.white_box.fgsm import fgsm

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_exact_optimum_on_a_binary_linear_model(linear: Callable[..., Any], norm: str) -> None:
    model, eps = linear(classes=2), 0.01
    target = CountingTarget(model.target())
    adversarial = fgsm(target, model.inputs, model.labels, eps=eps, norm=norm, rng=RNG)
    z, moved = model.logits(model.inputs), model.logits(adversarial)
    sign = 1 - 2 * model.labels  # z_1 - z_0 rises for label 0, falls for label 1
    normal = torch.linalg.vector_norm(model.weight[1] - model.weight[0], ord=1 if norm == "linf" else 2)
    torch.testing.assert_close(sign * (moved[:, 1] - moved[:, 0]), sign * (z[:, 1] - z[:, 0]) + eps * normal)
    assert (target.forward_evaluations, target.gradient_evaluations) == (0, len(model.labels))


def test_stays_in_the_box(linear: Callable[..., Any]) -> None:
    model = linear(classes=3)
    adversarial = fgsm(model.target(), model.inputs, model.labels, eps=0.9, rng=RNG)
    assert torch.equal(adversarial, adversarial.round()), "every pixel reached 0 or 1"


def test_objective_is_a_parameter(linear: Callable[..., Any]) -> None:
    model = linear(classes=10)
    arguments: Any = {"eps": 0.01, "norm": "l2", "rng": RNG}
    margin = fgsm(model.target(), model.inputs, model.labels, objective="margin", **arguments)
    z = model.logits(model.inputs).scatter(1, model.labels[:, None], -torch.inf)
    normal = model.weight[z.argmax(1)] - model.weight[model.labels]
    expected = model.inputs.flatten(1) + 0.01 * normal / normal.norm(dim=1, keepdim=True)
    torch.testing.assert_close(margin.flatten(1), expected)
