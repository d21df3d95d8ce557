"""Attacks whose examples are made on one model to fool another."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from f2at.attacks import CountingTarget, Evaluation
from f2at.attacks.matrices import resize_and_pad
from f2at.attacks.target import Target
from f2at.attacks.targets.torch_target import TorchTarget
from f2at.attacks.threat import project
from f2at.attacks.transfer.di_fgsm import _draw, di_fgsm
from f2at.attacks.transfer.ti_fgsm import ti_fgsm
from f2at.attacks.transfer.vmi_fgsm import vmi_fgsm
from f2at.attacks.white_box.mi_fgsm import mi_fgsm

TRANSFER = (ti_fgsm, di_fgsm, vmi_fgsm)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def batch(convnet: Callable[..., nn.Module]) -> tuple[Target, torch.Tensor, torch.Tensor]:
    target = TorchTarget(convnet(), classes=10)
    inputs = torch.from_numpy(rng().integers(0, 256, (6, 3, 8, 8)) / 255).float()
    return target, inputs, target.logits(inputs).argmax(1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    ("attack", "nothing"),
    [
        (ti_fgsm, {"kernel_size": 1}),
        (ti_fgsm, {"kernel_size": 3, "kernel_sigmas": 40.0}),  # all of its weight in the middle
        (di_fgsm, {"probability": 0.0}),
        (di_fgsm, {"probability": 1.0, "resize_rate": 1.0}),
        (vmi_fgsm, {"neighbours": 0}),
    ],
)
def test_without_its_own_idea_it_is_mi_fgsm(batch: Any, attack: Any, nothing: dict[str, Any], norm: str) -> None:
    known: dict[str, Any] = {"eps": 0.1, "norm": norm}
    expected = mi_fgsm(*batch, **known, rng=rng(), stop_at_success=False)
    torch.testing.assert_close(attack(*batch, **known, rng=rng(), **nothing), expected)
    assert not torch.equal(attack(*batch, **known, rng=rng()), expected)


def test_neighbours_at_the_point_itself_tune_nothing(batch: Any) -> None:
    """beta = 0: the variance is that of the arithmetic, and l2 steps are no larger than that."""
    expected = mi_fgsm(*batch, eps=0.5, norm="l2", rng=rng(), stop_at_success=False)
    torch.testing.assert_close(vmi_fgsm(*batch, eps=0.5, norm="l2", rng=rng(), beta=0.0), expected)


@pytest.mark.parametrize(("attack", "gradients"), [(ti_fgsm, 1), (di_fgsm, 1), (vmi_fgsm, 6)])
def test_takes_every_step_whatever_the_surrogate_says(batch: Any, attack: Any, gradients: int) -> None:
    target, inputs, labels = batch
    counting = CountingTarget(target)
    attack(counting, inputs, (labels + 1) % 10, eps=0.1, rng=rng(), steps=4)
    assert (counting.forward_evaluations, counting.gradient_batches) == (0, [6] * gradients * 4)


class Sloped:
    """A target with a gradient given as a function of the input."""

    classes = 2

    def __init__(self, slope: Callable[[np.ndarray], np.ndarray]) -> None:
        self.slope = slope
        self.seen: list[np.ndarray] = []

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        raise AssertionError("a transfer attack asked for a verdict")

    def gradient(self, inputs: np.ndarray, labels: Any, targets: Any, weights: Any) -> Evaluation:
        self.seen.append(inputs)
        return Evaluation(np.zeros((len(inputs), 2)), np.zeros((len(inputs), 5)), self.slope(inputs))


def test_translation_invariance_by_hand() -> None:
    """The gradient is -2 in the middle and 1 around; the mean of a 3 x 3 window is -2 + 8 > 0 there."""
    slope = np.ones((1, 1, 3, 3))
    slope[..., 1, 1] = -2
    image, label = np.full((1, 1, 3, 3), 0.5), np.zeros(1, int)
    found = ti_fgsm(
        Sloped(lambda _: slope), image, label, eps=0.1, rng=rng(), steps=1, kernel_size=3, kernel_sigmas=0.0
    )
    np.testing.assert_allclose(found, 0.6)


def test_gradients_come_back_from_where_the_image_went() -> None:
    """Shrunk from 4 to 3 pixels a side and put into the lower right corner: row 0 of the target sees nothing."""

    class Last(np.random.Generator):
        def integers(self, low: int, high: int) -> int:  # type: ignore[override]
            return high - 1

    image, label = rng().uniform(0.2, 0.8, (1, 3, 4, 4)), np.zeros(1, int)
    corner = np.zeros((1, 3, 4, 4))
    corner[..., 0, :] = 1.0
    target = Sloped(lambda _: corner)
    draws = Last(np.random.PCG64(0))
    found = di_fgsm(target, image, label, eps=0.1, norm="l2", rng=draws, steps=1, probability=1.0, resize_rate=0.75)
    matrix = resize_and_pad(4, 3, 1)
    np.testing.assert_allclose(target.seen[0], matrix @ image @ matrix.T)
    assert (target.seen[0][..., 0, :] == 0).all()
    np.testing.assert_array_equal(found, image)


def test_changes_are_drawn_for_each_sample() -> None:
    rows, columns = _draw(rng(), (400, 3, 20, 10), probability=0.5, resize_rate=0.8)
    heights = (rows[:, 0].sum(2) > 0).sum(1)
    widths = (columns[:, 0].sum(2) > 0).sum(1)
    assert set(heights) == {16, 17, 18, 19, 20}
    np.testing.assert_array_equal(widths, np.round(heights / 2))
    assert 150 < (heights < 20).sum() < 250
    for size, offsets in ((19, {0, 1}), (16, {0, 1, 2, 3, 4})):
        assert set(np.argmax(rows[heights == size, 0].sum(2) > 0, axis=1)) == offsets


def test_the_variance_of_the_last_iterate_is_added() -> None:
    """The gradient is 1 on the path and -3 around it: v = -3 - 1, so that the second step follows 1 - 4 < 0."""
    image, label = np.full((1, 1, 1, 1), 0.5), np.zeros(1, int)

    def slope(inputs: np.ndarray) -> np.ndarray:
        on_path = np.isclose(inputs, 0.5) | np.isclose(inputs, 0.55)
        return np.where(on_path, 1.0, -3.0)

    target = Sloped(slope)
    found = vmi_fgsm(target, image, label, eps=0.1, rng=rng(), steps=2, momentum=0.5, neighbours=3)
    around = [float(x.item()) for x in target.seen[1:4]]
    assert all(0.35 <= x <= 0.65 for x in around)
    assert len(set(around)) == 3
    np.testing.assert_allclose(found, 0.5)  # up by 0.05, then down: 0.5 x 1 - 1 < 0


@pytest.mark.parametrize("attack", TRANSFER)
def test_numpy_and_torch_agree(linear: Callable[..., Any], attack: Any) -> None:
    """The same draws move the same pixels, whatever library the arrays are of."""
    model = linear(classes=3, samples=4)
    slope = rng().standard_normal((1, 3, 4, 4))
    images, labels = model.inputs.numpy(), model.labels.numpy()
    in_numpy = attack(Sloped(lambda x: slope * x), images, labels, eps=0.1, rng=rng())

    class InTorch(Sloped):
        def gradient(self, inputs: Any, labels: Any, targets: Any, weights: Any) -> Evaluation:
            found = super().gradient(inputs.numpy(), labels, targets, weights)
            return Evaluation(*(torch.from_numpy(values) for values in found))

    in_torch = attack(InTorch(lambda x: slope * x), model.inputs, model.labels, eps=0.1, rng=rng())
    np.testing.assert_allclose(in_torch.numpy(), in_numpy)


@pytest.mark.parametrize(
    ("attack", "parameters", "reason"),
    [
        (ti_fgsm, {"kernel_size": 4}, "kernel_size must be odd; got 4"),
        (ti_fgsm, {"kernel_size": 0}, "kernel_size must be an integer of at least 1"),
        (ti_fgsm, {"kernel_sigmas": -1.0}, "kernel_sigmas must be >= 0; got -1.0"),
        (di_fgsm, {"probability": 1.1}, r"probability must lie in \[0, 1\]; got 1.1"),
        (di_fgsm, {"resize_rate": 0.0}, r"resize_rate must lie in \(0, 1\]; got 0.0"),
        (vmi_fgsm, {"neighbours": -1}, "neighbours must be an integer of at least 0; got -1"),
        (vmi_fgsm, {"beta": -0.5}, "beta must be >= 0; got -0.5"),
        (vmi_fgsm, {"steps": 0}, "steps must be an integer of at least 1"),
    ],
)
def test_bad_parameters_are_named(batch: Any, attack: Any, parameters: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        attack(*batch, eps=0.1, rng=rng(), **parameters)


@pytest.fixture(scope="module")
def digits() -> tuple[Target, Target, torch.Tensor, torch.Tensor]:
    """Two models of different kinds trained on handwritten digits; images that both get right, and their labels."""
    data = load_digits()
    inputs = torch.from_numpy(data.images / 16).float()[:, None].expand(-1, 3, -1, -1).contiguous()
    labels = torch.from_numpy(data.target).long()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        convolutional = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10)
        )
        dense = nn.Sequential(nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 10))
        for model in (convolutional, dense):
            optimizer = torch.optim.Adam(model.parameters(), 0.01)
            for _ in range(40):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(inputs[:600]), labels[:600]).backward()
                optimizer.step()
    surrogate, victim = (TorchTarget(model.eval(), classes=10) for model in (convolutional, dense))
    inputs, labels = inputs[600:800], labels[600:800]
    right = (surrogate.logits(inputs).argmax(1) == labels) & (victim.logits(inputs).argmax(1) == labels)
    assert int(right.sum()) > 150
    return surrogate, victim, inputs[right], labels[right]


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("attack", TRANSFER)
def test_examples_transfer(digits: Any, attack: Any, norm: str) -> None:
    """They fool a model that they were not made for, far more often than noise of the same size."""
    surrogate, victim, inputs, labels = digits
    eps = 0.2 if norm == "linf" else 1.5

    def fooled(found: torch.Tensor) -> float:
        return float((victim.logits(found).argmax(1) != labels).float().mean())

    draws = torch.from_numpy(rng().choice([-1.0, 1.0], inputs.shape)).float()
    noise = inputs + eps * draws / (1 if norm == "linf" else 192**0.5)
    found = attack(surrogate, inputs, labels, eps=eps, norm=norm, rng=rng())
    assert fooled(found) > 0.3
    assert fooled(project(noise, inputs, eps=eps, norm=norm)) < 0.15
