"""The inner attacks, on models whose answer is known and on a real network."""

from contextlib import nullcontext
from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.nn import functional

from f2at.attacks.objectives import objective_weights
from f2at.attacks.targets.torch_target import TorchTarget
from f2at.models import Classifier, create_model
from f2at.training.configuration.options import AttackConfig
from f2at.training.inner_attack import KLTarget, begin, draw_noise, find_adversarial, n_fgsm

EPS = Fraction(8, 255)


@pytest.fixture
def model() -> Classifier:
    torch.manual_seed(0)
    return create_model("resnet18", classes=4, width=4).train()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(1))


LABELS = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])


def find(
    model: Classifier, images: torch.Tensor, inner: str = "cross_entropy", seed: int = 0, **options: object
) -> torch.Tensor:
    attack = AttackConfig(eps=EPS, step_size=Fraction(2, 255), steps=3, **options)  # type: ignore[arg-type]
    noise = draw_noise(attack, images.shape, torch.Generator().manual_seed(seed))
    return find_adversarial(model, images, LABELS, attack, noise, nullcontext(), inner=inner)


def test_gradient_of_the_divergence_matches_finite_differences(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    model = create_model("resnet18", classes=4, width=2).double().eval()
    clean = images.double()[:2, :, :8, :8]
    point = clean + 0.01 * torch.randn_like(clean)
    found = KLTarget(model, clean).gradient(point, LABELS[:2], LABELS[:2], torch.empty(0))
    p, q = model(clean).softmax(1).float(), model(point).softmax(1).float()
    torch.testing.assert_close(found.objectives[:, 0], (p * (p.log() - q.log())).sum(1), atol=1e-6, rtol=1e-3)
    direction = torch.randn_like(clean)

    def divergence(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            q = functional.log_softmax(model(x), dim=1)
            p = functional.softmax(model(clean), dim=1)
            return (p * (p.log() - q)).sum(dtype=torch.float64)

    h = 1e-6
    slope = (divergence(point + h * direction) - divergence(point - h * direction)) / (2 * h)
    torch.testing.assert_close((found.gradient * direction).sum(), slope, rtol=1e-3, atol=1e-9)


def test_trades_inner_attack_as_its_authors_wrote_it(model: Classifier, images: torch.Tensor) -> None:
    """Their loop in plain operations, from the same start: every step along the sign of the KL's gradient."""
    draws = 0.001 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    eps, step = float(EPS), 2 / 255
    model.eval()
    p = model(images).softmax(1).detach()
    adversarial = (images + draws).clamp(0, 1)
    for _ in range(3):
        adversarial.requires_grad_()
        divergence = functional.kl_div(model(adversarial).log_softmax(1), p, reduction="sum")
        (gradient,) = torch.autograd.grad(divergence, adversarial)
        adversarial = adversarial.detach() + step * gradient.sign()
        adversarial = adversarial.clamp(images - eps, images + eps).clamp(0, 1)
    model.train()
    torch.testing.assert_close(find(model, images, inner="kl"), adversarial, rtol=0, atol=1e-6)


@pytest.mark.parametrize("objective", ["cross_entropy", "kl", "margin"])
def test_an_objective_asked_for_goes_before_the_methods(
    model: Classifier, images: torch.Tensor, objective: str
) -> None:
    """Each attack raises its own objective at least as much as the others do."""
    found = {name: find(model, images, objective=name) for name in ("cross_entropy", "kl", "margin")}
    assert not torch.equal(found["kl"], found["cross_entropy"])
    assert not torch.equal(found["margin"], found["cross_entropy"])
    model.eval()
    with torch.no_grad():
        p = model(images).softmax(1)

        def value(x: torch.Tensor) -> float:
            z = model(x)
            own, rival = z.gather(1, LABELS[:, None])[:, 0], z.scatter(1, LABELS[:, None], -torch.inf).amax(1)
            values = {
                "cross_entropy": functional.cross_entropy(z, LABELS),
                "kl": functional.kl_div(z.log_softmax(1), p, reduction="batchmean"),
                "margin": (rival - own).mean(),
            }
            return float(values[objective])

        assert value(found[objective]) > value(images)
        assert all(value(found[objective]) >= value(other) - 1e-6 for other in found.values())


def test_the_methods_objective_is_the_default(model: Classifier, images: torch.Tensor) -> None:
    assert torch.equal(find(model, images, inner="kl"), find(model, images, objective="kl"))
    assert torch.equal(find(model, images), find(model, images, objective="cross_entropy"))


@pytest.mark.parametrize("kind", ["pgd", "n-fgsm", "none"])
@pytest.mark.parametrize("inner", ["cross_entropy", "kl"])
def test_an_attack_leaves_the_model_as_it_was(model: Classifier, images: torch.Tensor, kind: str, inner: str) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    adversarial = find(model, images, inner=inner, kind=kind)
    assert model.training
    assert not adversarial.requires_grad
    assert bool(((adversarial >= 0) & (adversarial <= 1)).all())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())
    assert torch.equal(adversarial, find(model, images, inner=inner, kind=kind))
    assert torch.equal(adversarial, images) is (kind == "none")
    assert torch.equal(adversarial, find(model, images, inner=inner, kind=kind, seed=1)) is (kind == "none")
    bound = {"pgd": 1, "n-fgsm": 3, "none": 0}[kind] * float(EPS)
    assert float((adversarial - images).abs().max()) <= bound + 1e-6


def test_n_fgsm_on_a_linear_model() -> None:
    """Its gradient does not depend on the noise, so the step away from the noisy image is known: the weights' sign."""
    torch.manual_seed(0)
    head = nn.Linear(12, 2)
    linear = nn.Sequential(nn.Flatten(), head)
    images, labels = torch.full((1000, 3, 2, 2), 0.5), torch.zeros(1000, dtype=torch.int64)
    noise = draw_noise(AttackConfig(kind="n-fgsm", eps=Fraction("0.03")), images.shape, torch.Generator())
    adversarial = n_fgsm(TorchTarget(linear, classes=2, snap=False), images + noise, labels, step_size=0.03)
    weight = head.weight.detach()
    torch.testing.assert_close(adversarial - images - 0.03 * (weight[1] - weight[0]).sign().view(3, 2, 2), noise)
    assert float((adversarial - images).abs().max()) > 0.08  # not brought back to the ball of radius 0.03


@pytest.mark.parametrize(
    ("options", "deviation", "largest"),
    [
        ({"start": "gaussian"}, 0.001, 0.006),
        ({"start": "uniform"}, float(EPS) / 3**0.5, float(EPS)),
        ({"kind": "n-fgsm"}, 2 * float(EPS) / 3**0.5, 2 * float(EPS)),
    ],
)
def test_noise(options: dict[str, str], deviation: float, largest: float) -> None:
    attack = AttackConfig(eps=EPS, **options)  # type: ignore[arg-type]
    noise, same = (draw_noise(attack, (100, 3, 16, 16), torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(noise, same)
    assert float(noise.std()) == pytest.approx(deviation, rel=0.02)
    assert abs(float(noise.mean())) < 5 * deviation / noise.numel() ** 0.5
    assert float(noise.abs().max()) <= largest


def test_pgd_starts_from_the_noise(model: Classifier) -> None:
    inside = torch.full((8, 3, 16, 16), 0.5)
    attack = AttackConfig(eps=EPS, step_size=Fraction(1, 10**9), steps=1, start="uniform")
    noise = draw_noise(attack, inside.shape, torch.Generator())
    found = find_adversarial(model, inside, LABELS, attack, noise, nullcontext())
    torch.testing.assert_close(found - inside, noise, rtol=0, atol=1e-6)


def test_an_attack_never_waits_for_the_device(images: torch.Tensor) -> None:
    """On the meta device there is nothing to wait for: reading any value, or mixing devices, is an error."""
    model = create_model("resnet18", classes=4, width=2).to("meta")
    images, labels = images.to("meta"), LABELS.to("meta")
    for kind, objective in (("pgd", "cross_entropy"), ("pgd", "kl"), ("pgd", "margin"), ("n-fgsm", "kl")):
        attack = AttackConfig(eps=EPS, steps=2, kind=kind, objective=objective)
        found = find_adversarial(model, images, labels, attack, torch.empty_like(images), nullcontext())
        assert (found.shape, found.device) == (images.shape, images.device)


@pytest.mark.parametrize(("kind", "steps"), [("n-fgsm", 1), ("pgd", 1), ("pgd", 3)])
def test_a_first_gradient_that_is_known_is_the_first_step(
    model: Classifier, images: torch.Tensor, kind: str, steps: int
) -> None:
    """Given the gradient that the attack would take itself, the result is the same, and one gradient cheaper."""
    attack = AttackConfig(eps=EPS, step_size=Fraction(2, 255), steps=steps, kind=kind, start="uniform")
    noise = draw_noise(attack, images.shape, torch.Generator())
    start = begin(images, noise, attack)
    weights = objective_weights(torch, "cross_entropy", len(images))
    model.eval()
    first = TorchTarget(model, snap=False).gradient(start, LABELS, LABELS, weights).gradient
    model.train()
    found = find_adversarial(model, images, LABELS, attack, noise, nullcontext(), first=first)
    assert model.training
    torch.testing.assert_close(found, find_adversarial(model, images, LABELS, attack, noise, nullcontext()))
    opposite = find_adversarial(model, images, LABELS, attack, noise, nullcontext(), first=-first)
    assert not torch.equal(found, opposite)


class Linear(nn.Module):
    """Two classes, told apart by the sign of a weighted sum."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = weight
        self.head = nn.Linear(1, 2)  # says how many classes there are

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        level = ((inputs - 0.5) * self.weight).sum((1, 2, 3))
        return torch.stack([level, torch.zeros_like(level)], dim=1)


@pytest.mark.parametrize("start", ["gaussian", "uniform"])
@pytest.mark.parametrize(("norm", "eps"), [("l2", Fraction(1, 2)), ("l1", Fraction(4))])
def test_other_balls_are_filled_as_far_as_a_linear_model_can_tell(norm: str, eps: Fraction, start: str) -> None:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(3, 8, 8, generator=generator)
    images, labels = torch.full((4, 3, 8, 8), 0.5), torch.zeros(4, dtype=torch.int64)
    attack = AttackConfig(norm=norm, eps=eps, steps=30, step_size=eps / 5, start=start)
    noise = draw_noise(attack, images.shape, generator)
    found = find_adversarial(Linear(weight), images, labels, attack, noise, nullcontext())
    change = found - images
    size = change.flatten(1).norm(dim=1, p=2 if norm == "l2" else 1)
    assert (size <= float(eps) * (1 + 1e-5)).all()
    if norm == "l2":
        best = -float(eps) * weight.norm()
    else:  # each of the largest weights by a half, to the edge of the box, until eps is spent
        best = -0.5 * weight.abs().flatten().sort(descending=True).values[: int(2 * eps)].sum()
    lowered = (change * weight).sum((1, 2, 3))
    assert (lowered <= 0.97 * best).all()
    assert (lowered >= best - 1e-4).all()


@pytest.mark.parametrize(("norm", "power"), [("l2", 2), ("l1", 1)])
def test_a_uniform_start_fills_other_balls_evenly(norm: str, power: int) -> None:
    """Half of a ball in three dimensions lies within 2^(-1/3) of its radius, and no direction is preferred."""
    attack = AttackConfig(norm=norm, eps=Fraction(2), start="uniform", step_size=Fraction(1, 2))
    noise = draw_noise(attack, (20_000, 3, 1, 1), torch.Generator().manual_seed(0)).flatten(1)
    size = noise.norm(dim=1, p=power)
    assert size.max() <= 2
    assert abs(float((size <= 2 * 0.5 ** (1 / 3)).float().mean()) - 0.5) < 0.02
    assert noise.mean(0).abs().max() < 0.03
    assert abs(float((noise > 0).float().mean()) - 0.5) < 0.02
