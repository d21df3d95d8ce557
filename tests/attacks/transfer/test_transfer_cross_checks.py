"""Transfer attacks against torchattacks', another implementation of the same papers, where that is installed:

    pip install --no-deps torchattacks==3.5.1

Both add up float32 gradients in different orders, and a sign may differ where momentum is almost zero: images agree
in all but a few pixels.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from f2at.attacks.targets.torch_target import TorchTarget
from f2at.attacks.transfer.di_fgsm import di_fgsm
from f2at.attacks.transfer.ti_fgsm import ti_fgsm
from f2at.attacks.transfer.vmi_fgsm import vmi_fgsm
from f2at.attacks.white_box.pgd import pgd

torchattacks = pytest.importorskip("torchattacks")

EPS, STEPS = 8 / 255, 10
KNOWN = {"eps": EPS, "alpha": EPS / STEPS, "steps": STEPS, "decay": 1.0}


class First(np.random.Generator):
    """Takes the smallest of the whole numbers asked for."""

    def integers(self, low: int, high: int) -> int:  # type: ignore[override]
        return low


class AsTorch(np.random.Generator):
    """Draws what torch draws, in the order in which torchattacks asks it."""

    def uniform(self, low: float, high: float, shape: Any) -> np.ndarray:  # type: ignore[override]
        return torch.randn(shape).uniform_(low, high).numpy()


def of_kind(kind: type[np.random.Generator]) -> np.random.Generator:
    return kind(np.random.PCG64(0))


@pytest.mark.parametrize(
    ("ours", "parameters", "theirs", "known"),
    [
        (
            pgd,
            {"steps": 20, "step_size": 0.007, "start": "none", "stop_at_success": False},
            "PGD",
            {"eps": EPS, "alpha": 0.007, "steps": 20, "random_start": False},
        ),
        (ti_fgsm, {"kernel_size": 7}, "TIFGSM", {**KNOWN, "len_kernel": 7, "diversity_prob": 0.0}),
        (ti_fgsm, {"kernel_size": 15, "momentum": 0.0}, "TIFGSM", {**KNOWN, "decay": 0.0, "diversity_prob": 0.0}),
        # int(0.97 x 32) = 31 is the only size that theirs then draws, and the upper left the only corner.
        (
            di_fgsm,
            {"probability": 1.0, "resize_rate": 0.97},
            "DIFGSM",
            {**KNOWN, "diversity_prob": 1.0, "resize_rate": 0.97},
        ),
        (vmi_fgsm, {}, "VMIFGSM", KNOWN),
    ],
)
def test_images_agree(
    convnet: Callable[..., nn.Module], ours: Any, parameters: dict[str, Any], theirs: str, known: dict[str, Any]
) -> None:
    body = convnet()
    model = nn.Sequential(*list(body.children())[:-1], nn.Linear(8 * 16 * 16, 10)).eval()
    inputs = torch.from_numpy(np.random.default_rng(0).uniform(0.2, 0.8, (8, 3, 32, 32))).float()
    labels = model(inputs).argmax(1)
    torch.manual_seed(0)
    expected = getattr(torchattacks, theirs)(model, **known)(inputs, labels)
    torch.manual_seed(0)
    draws = of_kind(AsTorch if ours is vmi_fgsm else First)
    found = ours(
        TorchTarget(model, classes=10, snap=False), inputs, labels, eps=EPS, norm="linf", rng=draws, **parameters
    )
    assert float((found - inputs).abs().mean()) > 0.3 * EPS
    close = (found - expected).abs() < 1e-5
    assert float(close.float().mean()) > 0.995
