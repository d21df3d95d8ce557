"""Training without any defence: the undefended reference."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from models import Classifier
from training.methods.base import Method


@dataclass(frozen=True, kw_only=True)
class PlainTraining(Method):
    """Cross-entropy on clean images."""

    name: ClassVar[str] = "plain"
    adversarial: ClassVar[bool] = False

    def loss(self, model: Classifier, images: Tensor, adversarial: Tensor, labels: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """CE(h(x), y)."""
        return {"loss": functional.cross_entropy(model(images).float(), labels)}
