"""Targets whose nearest adversarial example is known in closed form."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from f2at.attacks.targets.torch_target import TorchTarget

SHAPE = (3, 4, 4)


@dataclass(frozen=True)
class Linear:
    """The classifier z = W x + b, and a batch that it classifies as labelled, well inside [0, 1]."""

    weight: Tensor  # (C, 48), float64
    bias: Tensor  # (C,)
    inputs: Tensor  # (N, 3, 4, 4), float64, in [0.4, 0.6]
    labels: Tensor  # (N,)

    def target(self, *, snap: bool = False) -> TorchTarget:
        classes, pixels = self.weight.shape
        layer = nn.Linear(pixels, classes, dtype=self.weight.dtype)
        layer.load_state_dict({"weight": self.weight, "bias": self.bias})
        return TorchTarget(nn.Sequential(nn.Flatten(), layer), classes=len(self.bias), snap=snap)

    def logits(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1) @ self.weight.T + self.bias

    def distances(self, norm: str) -> Tensor:
        """To the nearest decision boundary: min_j (z_y - z_j) / |w_j - w_y|, by Hoelder in the dual norm."""
        logits = self.logits(self.inputs)
        gaps: Tensor = logits.gather(1, self.labels[:, None]) - logits
        normals = self.weight[None, :, :] - self.weight[self.labels][:, None, :]
        gaps = gaps / torch.linalg.vector_norm(normals, ord={"linf": 1, "l2": 2, "l1": float("inf")}[norm], dim=2)
        return gaps.scatter(1, self.labels[:, None], torch.inf).amin(1)


@pytest.fixture
def linear() -> Callable[..., Linear]:
    """Makes one: linear(classes=2, samples=5, seed=0)."""

    def make(classes: int = 2, samples: int = 5, seed: int = 0) -> Linear:
        rng = np.random.default_rng(seed)
        weight = torch.from_numpy(rng.standard_normal((classes, 48)))
        inputs = torch.from_numpy(rng.uniform(0.4, 0.6, (samples, *SHAPE)))
        bias = -(inputs.flatten(1) @ weight.T).mean(0)  # so that every class gets its share
        return Linear(weight, bias, inputs, (inputs.flatten(1) @ weight.T + bias).argmax(1))

    return make
