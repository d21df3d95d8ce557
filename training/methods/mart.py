"""MART: misclassification-aware adversarial training (Wang et al., ICLR 2020).

https://openreview.net/forum?id=rklOg6EFwS
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from f2at.models import Classifier
from f2at.training.methods.base import Method, option
from f2at.training.methods.losses import boosted_cross_entropy, mart_regulariser


@dataclass(frozen=True, kw_only=True)
class MART(Method):
    """BCE(x') + lambda mean_i KL(p(x_i) || p(x'_i)) (1 - p_y(x_i)), where x' maximises the cross-entropy.

    It has no label smoothing: its boosted cross-entropy is defined by a hard label and its strongest rival.
    """

    name: ClassVar[str] = "mart"

    lam: float = option(5.0, "lambda: weight of the KL divergence, which counts more for misclassified samples")

    def __post_init__(self) -> None:
        if self.lam < 0:
            raise ValueError(f"lam must be 0 or more; got {self.lam}")

    @property
    def passes(self) -> int:
        """Clean and adversarial images."""
        return 6

    def loss(self, model: Classifier, images: Tensor, adversarial: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The gradient reaches the weight 1 - p_y(x) too, as in the authors' code."""
        clean, attacked = model(images).float(), model(adversarial).float()
        boosted, divergence = boosted_cross_entropy(attacked, labels), mart_regulariser(clean, attacked, labels)
        return {"loss": boosted + self.lam * divergence, "boosted_cross_entropy": boosted, "weighted_kl": divergence}
