"""Small models on which the best few pixels, and the best patch, are known: in closed form, or by trying all."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from f2at.attacks.survivors import misclassified
from f2at.attacks.target import Evaluation
from f2at.attacks.targets.torch_target import TorchTarget

SIDE = 6


class NumpyTarget:
    """A torch target for numpy arrays."""

    def __init__(self, target: TorchTarget) -> None:
        self.target, self.classes = target, target.classes

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        return self.target.logits(torch.from_numpy(inputs)).numpy()

    def gradient(self, *arrays: np.ndarray) -> Evaluation:
        return Evaluation(*(found.numpy() for found in self.target.gradient(*map(torch.from_numpy, arrays))))


@dataclass(frozen=True, kw_only=True)
class Small:
    """A classifier of float64 images (N, 3, 6, 6), and a batch that it classifies as labelled."""

    module: nn.Module
    classes: int
    inputs: Tensor
    labels: Tensor

    def target(self) -> TorchTarget:
        return TorchTarget(self.module, classes=self.classes, snap=False)

    def broken(self, images: Any) -> np.ndarray:
        images = torch.as_tensor(images)
        return np.asarray(misclassified(self.target().logits(images), self.labels))

    def gains(self) -> Tensor:
        """Of a linear model: the most that each pixel can add to z_i - z_y, (N, C, 6, 6)."""
        weight = self.module[1].weight.detach()  # type: ignore[index]
        normals = (weight[None] - weight[self.labels][:, None]).reshape(len(self.labels), -1, 3, SIDE, SIDE)
        x = self.inputs[:, None]
        found: Tensor = torch.maximum(normals * (1 - x), -normals * x).sum(2)
        return found

    def differences(self) -> Tensor:
        """z_i - z_y of the clean images, -inf for y: (N, C)."""
        logits = self.module(self.inputs).detach()
        found: Tensor = logits - logits.gather(1, self.labels[:, None])
        return found.scatter(1, self.labels[:, None], -torch.inf)

    def falls_to_pixels(self, pixels: int) -> np.ndarray:
        """Whether some image with at most `pixels` pixels in a corner of the colour cube is an error: every one."""
        return self._falls(combinations(range(SIDE * SIDE), pixels), pixels)

    def _falls(self, sets: Any, pixels: int) -> np.ndarray:
        corners = torch.tensor(list(product([0.0, 1.0], repeat=3 * pixels)), dtype=torch.float64)
        corners = corners.reshape(-1, 3, pixels)
        places = [list(one) for one in sets]
        found = np.zeros(len(self.labels), bool)
        for sample in range(len(self.labels)):
            images = self.inputs[sample].flatten(1).expand(len(places), len(corners), 3, -1).clone()
            for index, chosen in enumerate(places):
                images[index][:, :, chosen] = corners
            logits = self.target().logits(images.reshape(-1, 3, SIDE, SIDE))
            found[sample] = bool((logits.argmax(1) != self.labels[sample]).any())
        return found


@pytest.fixture
def small() -> Callable[..., Small]:
    """Makes one: small("linear" or "network", classes=3, samples=20, seed=0, confidence=0.1)."""

    def make(
        kind: str = "linear", classes: int = 3, samples: int = 20, seed: int = 0, confidence: float = 0.1
    ) -> Small:
        generator = torch.Generator().manual_seed(seed)
        if kind == "linear":
            module = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, classes))
        else:
            module = nn.Sequential(
                nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Conv2d(6, 6, 2), nn.Tanh(), nn.Flatten(), nn.Linear(54, classes)
            )
        module = module.double()
        for weights in module.parameters():
            scale = weights[0].numel() ** -0.5
            weights.data = scale * torch.randn(weights.shape, generator=generator, dtype=torch.float64)
        inputs = torch.rand((samples, 3, SIDE, SIDE), generator=generator, dtype=torch.float64)
        module[-1].bias.data -= module(inputs).detach().mean(0)  # so that every class gets its share
        inputs.requires_grad_()
        logits = module(inputs)
        label = logits.argmax(1, keepdim=True)
        # Moved away from the boundary, by nothing to `confidence`, so that some fall and some stand.
        (away,) = torch.autograd.grad((logits.gather(1, label).sum() * classes - logits.sum()), inputs)
        share = torch.linspace(0, confidence, samples, dtype=torch.float64)[:, None, None, None]
        inputs = (inputs + share * away.sign()).detach().clamp(0, 1)
        labels = module(inputs).argmax(1)
        return Small(module=module, classes=classes, inputs=inputs, labels=labels)

    return make


@pytest.fixture
def numpy_target() -> type[NumpyTarget]:
    return NumpyTarget
