"""Gradients of PyTorch models passed straight through what jumps, by hand-worked values."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from f2at.attacks.objectives import objective_weights
from f2at.attacks.targets.torch_straight import StraightTarget
from f2at.attacks.targets.torch_target import TorchTarget

VALUES = torch.tensor([0.0, 51.0, 102.0, 204.0]) / 255  # 0, 0.2, 0.4, 0.8


class Jumps(nn.Module):
    """The two logits are the sum of a function of the pixels, and 0; of each image, one pixel counts."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        value = self.function(inputs[:, 0, 0, 0])
        return torch.stack([torch.zeros_like(value), value], dim=1)


def slopes(function: Callable[[Tensor], Tensor]) -> tuple[Tensor, list[str]]:
    """Of the function at VALUES, as they are passed on, and what was passed."""
    target = StraightTarget(nn.Sequential(nn.Identity(), Jumps(function)).eval(), classes=2)
    inputs = VALUES.reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    labels = torch.zeros(len(VALUES), dtype=torch.int64)
    weights = torch.from_numpy(objective_weights(np, "margin", len(VALUES)))
    found = target.gradient(inputs, labels, labels + 1, weights)
    assert torch.equal(found.logits, TorchTarget(target.model, classes=2).logits(inputs))  # as it answers
    return found.gradient[:, 0, 0, 0], list(target.passed)


@pytest.mark.parametrize(
    ("function", "expected", "passed"),
    [
        (lambda x: torch.round(4 * x) / 4, [1, 1, 1, 1], ["1: round"]),
        (lambda x: (4 * x).round_() / 4, [1, 1, 1, 1], ["1: round_"]),
        (lambda x: torch.round(input=4 * x, decimals=1), [4, 4, 4, 4], ["1: round"]),
        (lambda x: (3 * x).floor() + torch.ceil(2 * x) + x.trunc(), [6, 6, 6, 6], ["1: floor", "1: ceil", "1: trunc"]),
        (lambda x: (255 * x).to(torch.uint8).float() / 255, [1, 1, 1, 1], ["1: cast to integers"]),
        (lambda x: (255 * x).byte() / 255, [1, 1, 1, 1], ["1: cast to integers"]),
        (lambda x: (5 * x - 1.5).sign(), [0, 5, 5, 0], ["1: sign"]),  # -1.5, -0.5, 0.5 and 2.5 from the jump
        (lambda x: (5 * x > 1.5).float(), [0, 5, 5, 0], ["1: gt"]),
        (lambda x: (5 * x <= 1.5).to(x.dtype), [0, -5, -5, 0], ["1: le"]),
        (lambda x: (5 * x < torch.tensor(1.5)).long() * 2.0, [0, -10, -10, 0], ["1: lt"]),
        (lambda x: torch.where(x > 0.3, x, 0.0), [0, 0, 1, 1], []),
        (lambda x: (x > 0.3) * x, [0, 0, 1, 1], []),
        (lambda x: x.double().float() * 2, [2, 2, 2, 2], []),
        (lambda x: x.detach().round() + x, [1, 1, 1, 1], []),
    ],
)
def test_the_slope_is_the_identity_s(
    function: Callable[[Tensor], Tensor], expected: list[float], passed: list[str]
) -> None:
    gradient, names = slopes(function)
    assert gradient.tolist() == pytest.approx(expected)
    assert names == [name.removesuffix("_") for name in passed]


def test_the_module_is_left_as_it_was() -> None:
    model = nn.Sequential(Jumps(torch.round)).eval()
    target = StraightTarget(model, classes=2)
    inputs, labels = torch.rand(2, 3, 2, 2), torch.tensor([0, 1])
    weights = torch.from_numpy(objective_weights(np, "margin", 2))
    assert target.gradient(inputs, labels, 1 - labels, weights).gradient.abs().sum() > 0
    assert not TorchTarget(model, classes=2).gradient(inputs, labels, 1 - labels, weights).gradient.any()
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_an_error_of_the_module_leaves_nothing_behind() -> None:
    def fails(_: Tensor) -> Tensor:
        raise RuntimeError("as it does")

    model = nn.Sequential(Jumps(fails)).eval()
    target = StraightTarget(model, classes=2)
    labels = torch.tensor([0])
    with pytest.raises(RuntimeError, match="as it does"):
        target.gradient(torch.rand(1, 3, 2, 2), labels, 1 - labels, torch.ones(1, 8))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    assert torch.round(torch.tensor([0.6], requires_grad=True)).grad_fn is not None  # PyTorch's own again
