"""The cheap form of F2AT: one pass over the natural pattern serves the attack and the margin term."""

import pytest
import torch

from f2at.models import Classifier, create_model
from f2at.training.methods import SAT, FastF2AT
from f2at.training.methods.f2at_fast import centred_pattern
from f2at.training.methods.losses import natural_margin_loss

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.fixture
def model() -> Classifier:
    torch.manual_seed(0)
    return create_model("resnet18", classes=3, width=4).train()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def gradients(model: Classifier, loss: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("gamma", [0.0, 0.7])
def test_loss_and_gradients_are_those_of_the_sum(model: Classifier, images: torch.Tensor, gamma: float) -> None:
    """CE(h(x')) + gamma L_mg(X_nat), written out on one graph."""
    method = FastF2AT(gamma=gamma, planes=3)
    adversarial = (images + 0.03).clamp(0, 1)
    shared = method.share(model, images, LABELS)
    loss = method.loss(model, images, adversarial, LABELS)["loss"] + shared.term

    pattern = ((images * 255).round() // 32 * 32 + 15.5).div(255).requires_grad_()
    margin = natural_margin_loss(model(pattern), LABELS)
    expected = SAT().loss(model, images, adversarial, LABELS)["loss"] + gamma * margin
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(shared.terms["natural_margin"], margin.detach())
    (direction,) = torch.autograd.grad(margin, pattern, retain_graph=True)
    assert torch.equal(shared.direction.sign(), direction.sign())
    for found, wanted in zip(gradients(model, loss), gradients(model, expected), strict=True):
        torch.testing.assert_close(found, wanted)


def test_the_shared_pass_leaves_running_statistics_and_gradients_alone(model: Classifier, images: torch.Tensor) -> None:
    before = [buffer.clone() for name, buffer in model.named_buffers() if "running" in name]
    FastF2AT().share(model, images, LABELS)
    after = [buffer for name, buffer in model.named_buffers() if "running" in name]
    assert all(map(torch.equal, before, after))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_weight_of_the_loss_scales_the_known_gradient(model: Classifier, images: torch.Tensor) -> None:
    """As when gradients are accumulated over several batches."""
    term = FastF2AT().share(model, images, LABELS).term
    for whole, half in zip(gradients(model, term), gradients(model, 0.5 * term), strict=True):
        torch.testing.assert_close(half, 0.5 * whole)


def test_patterns_are_as_bright_as_the_image_on_average() -> None:
    every = (torch.arange(256) / 255).view(1, 1, 16, 16)
    for planes in range(1, 9):
        pattern = centred_pattern(every, planes)
        assert float(pattern.mean()) == pytest.approx(float(every.mean()), abs=1e-6)
        assert len(pattern.unique()) == 1 << planes
    torch.testing.assert_close(
        centred_pattern(torch.tensor([0.0, 20 / 255, 1.0]), 4) * 255, torch.tensor([7.5, 23.5, 247.5])
    )
