"""A small network with every kind of layer the exporter has a rule for, and its bundle."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from f2at.attacks.objectives import OBJECTIVES
from f2at.bundle.format import Bundle, write_bundle
from f2at.export.graphs import export_graphs


def _randomise_norms(model: nn.Module) -> nn.Module:
    """Give every BatchNorm statistics and weights that folding cannot get right by luck."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return model.eval()


@pytest.fixture(scope="session", name="randomise_norms")
def _randomise() -> Callable[[nn.Module], nn.Module]:
    return _randomise_norms


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.down = nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False)
        self.skip = nn.Conv2d(8, 16, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.tail = nn.Sequential(
            nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem((x - 0.5) / 0.25)
        logits: Tensor = self.tail(self.norm(self.down(x) + self.skip(x)))
        return logits


class Exported(NamedTuple):
    model: nn.Module
    classifier: bytes
    gradient: bytes
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@pytest.fixture(scope="session")
def exported() -> Exported:
    torch.manual_seed(0)
    model = _randomise_norms(Small())
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 9, 8, 3), dtype=np.uint8)
    return Exported(model, *export_graphs(model, (9, 8)), images, rng.integers(0, 4, 20))


@pytest.fixture(scope="session")
def parts(exported: Exported) -> dict[str, Any]:
    """The arguments of write_bundle."""
    manifest = {"classes": ["cat", "dog", "owl", "fox"], "input_size": [9, 8], "objectives": list(OBJECTIVES)}
    return {"manifest": manifest, **{name: value for name, value in exported._asdict().items() if name != "model"}}


@pytest.fixture
def bundle(parts: dict[str, Any], tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "bundle", **parts)
