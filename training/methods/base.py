"""What a training method is: a loss on clean and adversarial images."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from models import Classifier


def option(default: Any, description: str) -> Any:
    """A dataclass field with the text that `--help` shows for it."""
    return field(default=default, metadata={"help": description})


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A training objective and its hyperparameters.

    Attributes:
        name: as in `method.name` of a configuration.
        adversarial: whether the loss is taken on adversarial examples. If so, the best checkpoint is the one with the
            highest accuracy under PGD; if not, the one with the highest accuracy on clean images.
    """

    name: ClassVar[str]
    adversarial: ClassVar[bool] = True

    @abstractmethod
    def loss(self, model: Classifier, images: Tensor, adversarial: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The objective of one batch, in the model's present (train) mode.

        Args:
            model: the classifier.
            images: clean images (N, 3, H, W) in [0, 1].
            adversarial: x', of the same shape, detached; the clean images where `self.adversarial` is false.
            labels: (N,).

        Returns:
            Scalars: "loss", which is minimised, and the terms that it is made of, which are logged.
        """
