"""What a training method is: a loss on clean and adversarial images."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from torch import Tensor
from torch.nn import functional

from f2at.models import Classifier


def option(default: Any, description: str) -> Any:
    """A dataclass field with the text that `--help` shows for it."""
    return field(default=default, metadata={"help": description})


class SharedPass(NamedTuple):
    """What one forward and backward pass gives to the attack's first step and to the loss.

    direction: a gradient with respect to the images, (N, 3, H, W), for the attack to step along.
    term: a scalar to add to the loss, a function of the parameters.
    terms: scalars to log.
    """

    direction: Tensor
    term: Tensor
    terms: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A training objective and its hyperparameters.

    Attributes:
        name: as in `method.name` of a configuration.
        adversarial: whether the loss is taken on adversarial examples. If so, the best checkpoint is the one with the
            highest accuracy under PGD; if not, the one with the highest accuracy on clean images.
        inner: what the inner attack maximises, unless `attack.objective` says otherwise: "cross_entropy" or "kl".
        passes: what the loss and its gradient cost, in forward passes over the batch: 3 for each batch of images that
            is learnt from.
    """

    name: ClassVar[str]
    adversarial: ClassVar[bool] = True
    inner: ClassVar[str] = "cross_entropy"

    @property
    def passes(self) -> int:
        """See the class."""
        return 3

    @property
    def shared_passes(self) -> int:
        """What `share` costs beyond a step of the attack, in forward passes."""
        return 0

    @property
    def averaging(self) -> float:
        """The largest decay of the average of the weights that the method is defined with; 0 where it has none."""
        return 0.0

    def at(self, epoch: int) -> "Method":  # noqa: ARG002
        """The objective of an epoch, counted from 0; most methods keep to one."""
        return self

    def check(self, model: Classifier) -> None:  # noqa: B027  (most methods need nothing)
        """Check, before training, that the method has what it needs besides its options.

        Raises:
            ValueError: something is missing or does not fit the model.
        """

    def share(self, model: Classifier, start: Tensor, labels: Tensor) -> SharedPass | None:  # noqa: ARG002
        """A pass over the images where the attack starts, (N, 3, H, W), if the method shares one with the attack.

        Args:
            model: in train mode, within the precision of the step.
            start: of `f2at.training.inner_attack.begin`.
            labels: (N,).
        """
        return None

    @abstractmethod
    def loss(self, model: Classifier, images: Tensor, adversarial: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The objective of one batch, in the model's present (train) mode.

        Args:
            model: the classifier.
            images: clean images (N, 3, H, W) in [0, 1].
            adversarial: x', of the same shape, detached; the clean images where there is no inner attack.
            labels: (N,).

        Returns:
            Scalars: "loss", which is minimised, and the terms that it is made of, which are logged.
        """


@dataclass(frozen=True, kw_only=True)
class CrossEntropyMethod(Method):
    """A method with a cross-entropy, whose labels can be smoothed."""

    label_smoothing: float = option(0.0, "share of each label that the cross-entropy spreads evenly over all classes")

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1); got {self.label_smoothing}")

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean of (N, C) against (N,), in float32 whatever the precision of the model."""
        return functional.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing)
