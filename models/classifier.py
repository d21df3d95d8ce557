"""The shape that every architecture has: normalise, extract features, classify."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Shift and scale each channel, so that everything outside the model speaks in pixels of [0, 1].

    The statistics are buffers: they travel with the weights and cannot be forgotten at deployment.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != 3 or len(std) != 3:
            raise ValueError(f"mean and std must have 3 values, one per channel; got {mean} and {std}")
        if min(std) <= 0:
            raise ValueError(f"std must be positive; got {std}")
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] to (N, 3, H, W) with about zero mean and unit variance."""
        return (images - self.mean) / self.std


class Classifier(nn.Module):
    """h = T o E (paper, Section IV-B): `features` is E_psi, `head` is T_w.

    Args:
        body: maps normalised images (N, 3, H, W) to features (N, D).
        width: D, the number of features.
        classes: C, the number of classes.
        mean, std: of each channel of the training images, in [0, 1].
    """

    def __init__(
        self, body: nn.Module, *, width: int, classes: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.body = body
        self.head = nn.Linear(width, classes)

    def features(self, images: Tensor) -> Tensor:
        """E(x): images (N, 3, H, W) in [0, 1] to pooled penultimate features (N, D)."""
        features: Tensor = self.body(self.normalize(images))
        return features

    def forward(self, images: Tensor) -> Tensor:
        """h(x): images (N, 3, H, W) in [0, 1] to logits (N, C)."""
        logits: Tensor = self.head(self.features(images))
        return logits
