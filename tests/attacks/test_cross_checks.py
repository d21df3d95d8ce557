"""White-box attacks against other implementations of the same papers, where those are installed.

    pip install --no-deps torchattacks==3.5.1 adv-lib==0.2.8

Without --no-deps they would bring old releases of packages that this project uses.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from f2at.attacks.targets.torch_target import TorchTarget
from f2at.attacks.threat import norms
from f2at.attacks.white_box.apgd import apgd
from f2at.attacks.white_box.carlini_wagner import carlini_wagner
from f2at.attacks.white_box.fab import fab_targeted
from f2at.attacks.white_box.fgsm import fgsm
from f2at.attacks.white_box.mi_fgsm import mi_fgsm

Make = Callable[..., nn.Module]


class AsTorch(np.random.Generator):
    """Draws what torch draws, as the libraries do."""

    def uniform(self, low: float, high: float, shape: Any) -> np.ndarray:  # type: ignore[override]
        return (low + (high - low) * torch.rand(shape)).numpy()

    def standard_normal(self, shape: Any) -> np.ndarray:  # type: ignore[override]
        return torch.randn(shape).numpy()


def rng() -> np.random.Generator:
    return AsTorch(np.random.PCG64(0))


@pytest.fixture
def torchattacks() -> Any:
    return pytest.importorskip("torchattacks")


@pytest.fixture
def adv_lib(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(sys.modules, "visdom", ModuleType("visdom"))  # for plots, which nothing here draws
    return pytest.importorskip("adv_lib.attacks")


def batch(model: nn.Module, n: int = 24) -> tuple[Tensor, Tensor]:
    """Images with many pixels at the box's edge, and what the model says of them."""
    pixels = np.random.default_rng(0).integers(-100, 356, (n, 3, 8, 8)).clip(0, 255)
    inputs = torch.from_numpy(pixels / 255).float()
    return inputs, model(inputs).argmax(1)


def broken(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    predictions: Tensor = model(images).argmax(1)
    return predictions != labels


def test_fgsm_and_mi_fgsm(convnet: Make, torchattacks: Any) -> None:
    model = convnet()
    inputs, labels = batch(model)
    target = TorchTarget(model, classes=10, snap=False)
    found = fgsm(target, inputs, labels, eps=8 / 255, rng=rng())
    torch.testing.assert_close(found, torchattacks.FGSM(model, eps=8 / 255)(inputs, labels), atol=1e-6, rtol=0)
    found = mi_fgsm(target, inputs, labels, eps=8 / 255, rng=rng(), steps=5, stop_at_success=False)
    expected = torchattacks.MIFGSM(model, eps=8 / 255, alpha=8 / 255 / 5, steps=5)(inputs, labels)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("objective", "loss"), [("cross_entropy", "ce"), ("dlr", "dlr")])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_apgd(convnet: Make, torchattacks: Any, norm: str, objective: str, loss: str) -> None:
    """From the same starts. Their first loss is compared with zero, so a sample at the brink may differ."""
    model = convnet()
    inputs, labels = batch(model)
    eps = {"linf": 6 / 255, "l2": 0.22}[norm]
    theirs = torchattacks.APGD(model, norm={"linf": "Linf", "l2": "L2"}[norm], eps=eps, steps=30, seed=0, loss=loss)(
        inputs, labels
    )
    torch.manual_seed(0)
    target = TorchTarget(model, classes=10, snap=False)
    ours = apgd(target, inputs, labels, eps=eps, norm=norm, rng=rng(), steps=30, objective=objective)
    fell, expected = broken(model, ours, labels), broken(model, theirs, labels)
    assert 4 < int(expected.sum()) < 20
    assert int((fell != expected).sum()) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fab_finds_the_same_distances(convnet: Make, adv_lib: Any, norm: str) -> None:
    model = convnet()
    inputs, labels = batch(model)
    known: Any = {"norm": {"linf": float("inf"), "l2": 2}[norm], "targeted_restarts": True, "restarts": 9}
    theirs = norms(adv_lib.fab(model, inputs, labels, n_iter=20, **known) - inputs, norm)
    ours = fab_targeted(
        TorchTarget(model, classes=10, snap=False),
        inputs,
        labels,
        eps=1.0 if norm == "linf" else 10.0,
        norm=norm,
        rng=rng(),
        steps=20,
        stop_at_success=False,
    )
    assert bool(broken(model, ours, labels).all())
    torch.testing.assert_close(norms(ours - inputs, norm), theirs, rtol=1e-3, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("confidence", [0.0, 0.01])
def test_carlini_wagner_finds_the_same_distances(convnet: Make, adv_lib: Any, confidence: float) -> None:
    model = convnet()
    inputs, labels = batch(model, 6)
    known: Any = {"learning_rate": 0.02, "confidence": confidence, "abort_early": False}
    theirs = adv_lib.carlini_wagner_l2(model, inputs, labels, max_iterations=40, binary_search_steps=6, **known)
    target = TorchTarget(model, classes=10, snap=False)
    ours = carlini_wagner(
        target, inputs, labels, eps=10.0, rng=rng(), steps=40, searches=6, stop_at_success=False, **known
    )
    assert bool(broken(model, ours, labels).all())
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
