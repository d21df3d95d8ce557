"""TRADES: trade-off between accuracy and robustness (Zhang et al., ICML 2019, https://arxiv.org/abs/1901.08573)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from f2at.models import Classifier
from f2at.training.methods.base import CrossEntropyMethod, option
from f2at.training.methods.losses import trades_regulariser


@dataclass(frozen=True, kw_only=True)
class TRADES(CrossEntropyMethod):
    """CE(h(x), y) + beta KL(p(x) || p(x')), where x' maximises the KL divergence (as the authors coded it)."""

    name: ClassVar[str] = "trades"
    inner: ClassVar[str] = "kl"

    beta: float = option(6.0, "weight of the KL divergence (1 / lambda in the paper)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta < 0:
            raise ValueError(f"beta must be 0 or more; got {self.beta}")

    @property
    def passes(self) -> int:
        """Clean and adversarial images, and the clean ones once more for BatchNorm."""
        return 7

    def loss(self, model: Classifier, images: Tensor, adversarial: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The gradient reaches both sides of the divergence."""
        clean, attacked = model(images).float(), model(adversarial).float()
        with torch.no_grad():
            # The authors compute the clean logits twice. The values are the same, but BatchNorm's running statistics
            # then see two clean batches for each adversarial one, which is part of what they evaluate.
            model(images)
        cross_entropy, divergence = self.cross_entropy(clean, labels), trades_regulariser(clean, attacked)
        return {"loss": cross_entropy + self.beta * divergence, "cross_entropy": cross_entropy, "kl": divergence}
