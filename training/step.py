"""The forward pass of a training step, whatever the method."""

from torch import Tensor, nn

from f2at.models import Classifier
from f2at.training.methods import Method


class TrainingStep(nn.Module):
    """The objective as a module, so that one forward of it is one step, whatever the method does inside.

    Distributed data parallel counts on that.
    """

    def __init__(self, model: Classifier, method: Method) -> None:
        super().__init__()
        self.model = model
        self.method = method

    def forward(self, images: Tensor, adversarial: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The terms of `Method.loss`."""
        return self.method.loss(self.model, images, adversarial, labels)
