"""Standard adversarial training (Madry et al., ICLR 2018), Eq. 14 of the paper."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from models import Classifier
from training.methods.base import Method


@dataclass(frozen=True, kw_only=True)
class SAT(Method):
    """Cross-entropy on adversarial examples."""

    name: ClassVar[str] = "sat"

    def loss(self, model: Classifier, images: Tensor, adversarial: Tensor, labels: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """CE(h(x'), y)."""
        return {"loss": functional.cross_entropy(model(adversarial).float(), labels)}
