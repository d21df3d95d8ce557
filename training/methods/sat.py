"""Standard adversarial training (Madry et al., ICLR 2018, https://arxiv.org/abs/1706.06083), Eq. 14 of the paper."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from f2at.models import Classifier
from f2at.training.methods.base import CrossEntropyMethod


@dataclass(frozen=True, kw_only=True)
class SAT(CrossEntropyMethod):
    """Cross-entropy on adversarial examples."""

    name: ClassVar[str] = "sat"

    def loss(self, model: Classifier, images: Tensor, adversarial: Tensor, labels: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """CE(h(x'), y)."""
        return {"loss": self.cross_entropy(model(adversarial), labels)}
