"""Training without any defence: the undefended reference."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from f2at.models import Classifier
from f2at.training.methods.base import CrossEntropyMethod


@dataclass(frozen=True, kw_only=True)
class PlainTraining(CrossEntropyMethod):
    """Cross-entropy on clean images."""

    name: ClassVar[str] = "plain"
    adversarial: ClassVar[bool] = False

    def loss(self, model: Classifier, images: Tensor, adversarial: Tensor, labels: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """CE(h(x), y)."""
        return {"loss": self.cross_entropy(model(images), labels)}
