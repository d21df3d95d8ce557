"""Every equation against numbers worked by hand, and against a formula written another way."""

import math
from collections.abc import Callable

import pytest
import torch
from torch.autograd import gradcheck

from f2at.training.methods.losses import (
    boosted_cross_entropy,
    cosine_dependence,
    donsker_varadhan,
    mart_regulariser,
    natural_margin_loss,
    pattern_dependent_loss,
    trades_regulariser,
)


def test_cosine_dependence_of_known_angles() -> None:
    patterns = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    features = torch.tensor([[5.0, 0.0], [-1.0, 1.0]])
    half = math.sqrt(0.5)
    expected = torch.tensor([[1.0, -half], [0.0, half], [half, 0.0]])
    torch.testing.assert_close(cosine_dependence(patterns, features), expected)


def test_pattern_dependent_loss_by_hand() -> None:
    # Two samples. I(nat_i; F_i) = 1 and 0; I(pert_j; F_i) = [[0, 1], [1, 0]]; tau = 0.5.
    natural = torch.tensor([[1.0, 9.0], [9.0, 0.0]])  # off the diagonal nothing is read
    perturbed = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    repulsion = math.log(math.exp(0.0) + math.exp(2.0))  # the same for both samples
    expected = ((-2.0 + repulsion) + (-0.0 + repulsion)) / 2
    loss = pattern_dependent_loss(natural, perturbed, tau=0.5)
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
    loss = pattern_dependent_loss(cosine_dependence(natural, features), cosine_dependence(perturbed, features), tau=tau)
    assert loss.item() == pytest.approx(total / 5, rel=1e-5)


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
    assert gradcheck(
        lambda n, p, f: pattern_dependent_loss(cosine_dependence(n, f), cosine_dependence(p, f), tau=0.3), tensors
    )


def test_unknown_scope() -> None:
    with pytest.raises(ValueError, match="scope must be one of all, others, hard; got 'some'"):
        natural_margin_loss(LOGITS, LABELS, scope="some")


def probabilities(*rows: tuple[float, ...], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Logits whose softmax is these rows."""
    return torch.tensor(rows, dtype=dtype).log()


CLEAN = probabilities((0.7, 0.2, 0.1), (0.25, 0.5, 0.25))
ADVERSARIAL = probabilities((0.4, 0.5, 0.1), (0.25, 0.25, 0.5))


def test_kl_of_trades_by_hand() -> None:
    first = 0.7 * math.log(0.7 / 0.4) + 0.2 * math.log(0.2 / 0.5)
    second = 0.5 * math.log(0.5 / 0.25) + 0.25 * math.log(0.25 / 0.5)
    assert trades_regulariser(CLEAN, ADVERSARIAL).item() == pytest.approx((first + second) / 2)
    assert trades_regulariser(CLEAN, CLEAN).item() == pytest.approx(0.0)


def test_boosted_cross_entropy_of_mart_by_hand() -> None:
    # Labels 0 and 2: the first sample's rival is ahead with 0.5, the second's, of two that tie, is behind with 0.25.
    first = -math.log(0.4) - math.log(1 - 0.5)
    second = -math.log(0.5) - math.log(1 - 0.25)
    loss = boosted_cross_entropy(ADVERSARIAL, torch.tensor([0, 2]))
    assert loss.item() == pytest.approx((first + second) / 2, abs=2e-4)  # the authors' guard is 1e-4


def test_regulariser_of_mart_weighs_by_the_doubt_of_the_clean_image() -> None:
    first = (0.7 * math.log(0.7 / 0.4) + 0.2 * math.log(0.2 / 0.5)) * (1 - 0.7)
    second = (0.5 * math.log(0.5 / 0.25) + 0.25 * math.log(0.25 / 0.5)) * (1 - 0.25)
    loss = mart_regulariser(CLEAN, ADVERSARIAL, torch.tensor([0, 2]))
    assert loss.item() == pytest.approx((first + second) / 2, abs=1e-6)


def test_guards_keep_certain_samples_finite() -> None:
    """A rival with probability 1, and a class with probability 0, in float32."""
    sure, label = torch.tensor([[0.0, 200.0, 0.0]], requires_grad=True), torch.tensor([0])
    for loss in (boosted_cross_entropy(sure, label), mart_regulariser(-sure.detach(), sure, label)):
        (gradient,) = torch.autograd.grad(loss, sure)
        assert bool(loss.isfinite())
        assert bool(gradient.isfinite().all())


@pytest.mark.parametrize(
    "loss",
    [
        lambda clean, adversarial: trades_regulariser(clean, adversarial),
        lambda clean, adversarial: boosted_cross_entropy(adversarial, torch.tensor([0, 1, 4])) + 0 * clean.sum(),
        lambda clean, adversarial: mart_regulariser(clean, adversarial, torch.tensor([0, 1, 4])),
    ],
    ids=["trades", "boosted", "mart"],
)
def test_gradients_of_the_baselines_match_finite_differences(loss: Callable[..., torch.Tensor]) -> None:
    """On both sides: the divergence pulls on the clean distribution too."""
    generator = torch.Generator().manual_seed(0)
    tensors = tuple(torch.randn(3, 5, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(2))
    assert gradcheck(loss, tensors)


def test_donsker_varadhan_by_hand() -> None:
    # Two samples, one place: T = [[2, 0], [1, 3]]; pairs apart score 0 and 1.
    scores = torch.tensor([[2.0, 0.0], [1.0, 3.0]])[:, :, None]
    shift = math.log((1 + math.e) / 2)
    torch.testing.assert_close(donsker_varadhan(scores), scores[:, :, 0] - shift)
    # Another place with T = 0 everywhere knows nothing, and halves the mean.
    both = torch.cat([scores, torch.zeros_like(scores)], dim=2)
    torch.testing.assert_close(donsker_varadhan(both), (scores[:, :, 0] - shift) / 2)


def test_donsker_varadhan_is_tight_for_the_best_critic() -> None:
    """Two correlated normal variables, whose I is -log(1 - r^2) / 2 and whose best critic is the log density ratio."""
    r, count = 0.8, 2000
    x, noise = torch.randn(2, count, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z = r * x + math.sqrt(1 - r * r) * noise
    left, right = x[:, None], z[None, :]
    ratio = -((right - r * left) ** 2) / (2 * (1 - r * r)) + right**2 / 2 - math.log(1 - r * r) / 2
    information = -math.log(1 - r * r) / 2
    assert donsker_varadhan(ratio[:, :, None]).diagonal().mean().item() == pytest.approx(information, abs=0.04)
    worse = donsker_varadhan((ratio * 0.5)[:, :, None]).diagonal().mean().item()
    assert worse < information - 0.04
