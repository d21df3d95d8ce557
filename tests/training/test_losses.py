"""Every equation against numbers worked by hand, and against a formula written another way."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from training.losses import cosine_dependence, natural_margin_loss, pattern_dependent_loss


def test_cosine_dependence_of_known_angles() -> None:
    patterns = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    features = torch.tensor([[5.0, 0.0], [-1.0, 1.0]])
    half = math.sqrt(0.5)
    expected = torch.tensor([[1.0, -half], [0.0, half], [half, 0.0]])
    torch.testing.assert_close(cosine_dependence(patterns, features), expected)


def test_pattern_dependent_loss_by_hand() -> None:
    # Two samples. I(nat_i; F_i) = 1 and 0; I(pert_j; F_i) = [[0, 1], [1, 0]]; tau = 0.5.
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    natural = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    perturbed = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    repulsion = math.log(math.exp(0.0) + math.exp(2.0))  # the same for both samples
    expected = ((-2.0 + repulsion) + (-0.0 + repulsion)) / 2
    loss = pattern_dependent_loss(natural, perturbed, features, tau=0.5)
    assert loss.item() == pytest.approx(expected)


def test_pattern_dependent_loss_sums_over_the_perturbed_patterns() -> None:
    """Eq. 16 sums over X_pert with F' fixed; summing over F' instead gives another number on this batch."""
    generator = torch.Generator().manual_seed(0)
    natural, perturbed, features = torch.randn(3, 5, 4, generator=generator)
    tau = 0.07
    total = 0.0
    for i in range(5):
        own = torch.cosine_similarity(natural[i], features[i], dim=0) / tau
        others = [torch.cosine_similarity(perturbed[j], features[i], dim=0) / tau for j in range(5)]
        total += float(-own + torch.stack(others).exp().sum().log())
    assert pattern_dependent_loss(natural, perturbed, features, tau=tau).item() == pytest.approx(total / 5, rel=1e-5)


LOGITS = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
LABELS = torch.tensor([0, 2])


def test_soft_margin_over_all_classes_by_hand() -> None:
    upsilon = 0.995
    first = -(2 - (1 / upsilon) * math.log(sum(upsilon * math.exp(z) for z in (2, 1, 0))))
    second = -(1 - (1 / upsilon) * math.log(sum(upsilon * math.exp(z) for z in (0, 3, 1))))
    loss = natural_margin_loss(LOGITS, LABELS, upsilon=upsilon, scope="all")
    assert loss.item() == pytest.approx((first + second) / 2)


def test_soft_margin_as_printed_by_hand() -> None:
    upsilon = 0.995
    first = -(2 - (1 / upsilon) * math.log(sum(upsilon * math.exp(z) for z in (1, 0))))
    second = -(1 - (1 / upsilon) * math.log(sum(upsilon * math.exp(z) for z in (0, 3))))
    loss = natural_margin_loss(LOGITS, LABELS, upsilon=upsilon, scope="others")
    assert loss.item() == pytest.approx((first + second) / 2)


def test_hard_margin_by_hand() -> None:
    # Eq. 18: the first sample is right (margin 0), the second loses by 2.
    assert natural_margin_loss(LOGITS, LABELS, scope="hard").item() == pytest.approx(1.0)


def test_margin_over_all_classes_is_bounded_below_and_the_printed_one_is_not() -> None:
    confident = torch.tensor([[1e4, 0.0, 0.0]])
    label = torch.tensor([0])
    assert natural_margin_loss(confident, label, upsilon=1.0, scope="all").item() == pytest.approx(0.0)
    assert natural_margin_loss(confident, label, upsilon=1.0, scope="others").item() < -9000


@pytest.mark.parametrize("scope", ["all", "others", "hard"])
def test_margin_gradients_match_finite_differences(scope: str) -> None:
    logits = torch.randn(4, 5, dtype=torch.float64, requires_grad=True, generator=None)
    labels = torch.tensor([0, 1, 2, 4])
    assert gradcheck(lambda z: natural_margin_loss(z, labels, scope=scope), (logits,))


def test_pattern_dependent_gradients_match_finite_differences() -> None:
    tensors = tuple(torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    assert gradcheck(lambda n, p, f: pattern_dependent_loss(n, p, f, tau=0.3), tensors)


def test_unknown_scope() -> None:
    with pytest.raises(ValueError, match="scope must be one of all, others, hard; got 'some'"):
        natural_margin_loss(LOGITS, LABELS, scope="some")
