"""A classifier of grey images whose nearest error is known by hand: is the mean level above 100?"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from f2at.attacks.targets.torch_target import TorchTarget
from f2at.audit import Audit, AuditRequest
from f2at.images.sets.base import in_memory

SIDE = 4
# What the harness is tried with: gradients, restarts and queries, all samples followed.
FIVE = [
    {"name": "fgsm"},
    {"name": "pgd", "steps": 20},
    {"name": "apgd-ce", "steps": 30},
    {"name": "apgd-t", "steps": 20, "target_classes": 3},
    {"name": "square", "queries": 300},
]
THRESHOLD = 100.5


class Grey(nn.Module):
    """Logits (threshold, mean level): class 1, "light", where the mean over pixels and channels exceeds 100.5."""

    def forward(self, inputs: Tensor) -> Tensor:
        level = 255 * inputs.mean((1, 2, 3))
        return torch.stack([torch.full_like(level, THRESHOLD), level], dim=1)


def grey_images(distances: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Uniform images, dark and light in turn, at these linf distances from the other class, in levels."""
    labels = np.arange(len(distances)) % 2
    # One level less than 101 is dark, one more than 100 is light.
    levels = np.where(labels == 1, 100 + np.array(distances), 101 - np.array(distances))
    images = np.broadcast_to(levels[:, None, None, None], (len(levels), SIDE, SIDE, 3)).astype(np.uint8)
    return images, labels.astype(np.int64)


def grey_audit(
    distances: list[int],
    *,
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
    snap: bool = True,
    **request: Any,
) -> Audit:
    images, labels = grey_images(distances)
    if not {"suite", "attacks"} & request.keys():
        request |= {"suite": "custom", "attacks": FIVE}
    return Audit(
        TorchTarget(wrap(Grey()), classes=2, snap=snap),
        in_memory(images, labels),
        AuditRequest(**request),
        classes=["dark", "light"],
        to_target=torch.from_numpy,
    )


class Shifted(nn.Module):
    """The grey classifier with its threshold so many levels higher: dark images move away from it, light ones to it."""

    def __init__(self, model: nn.Module, levels: float) -> None:
        super().__init__()
        self.model, self.levels = model, levels

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(inputs)
        return logits + logits.new_tensor([self.levels, 0.0])
