"""Expectation over a model's own randomness (Athalye et al. 2018, https://arxiv.org/abs/1707.07397)."""

from typing import Any

from f2at.attacks.target import Evaluation, Target


class ExpectedTarget:
    """A target whose answers and gradients are means over several of another's, for models that answer at random.

    Args:
        target: the model.
        samples: how many evaluations stand for one.
    """

    def __init__(self, target: Target, samples: int) -> None:
        self.target = target
        self.samples = samples

    @property
    def classes(self) -> int:
        """The number of classes of the target."""
        return self.target.classes

    def logits(self, inputs: Any) -> Any:
        """Mean logits."""
        total = self.target.logits(inputs)
        for _ in range(self.samples - 1):
            total = total + self.target.logits(inputs)
        return total / self.samples

    def gradient(self, inputs: Any, labels: Any, targets: Any, weights: Any) -> Evaluation:
        """Mean logits, objectives and gradients."""
        totals = self.target.gradient(inputs, labels, targets, weights)
        for _ in range(self.samples - 1):
            found = self.target.gradient(inputs, labels, targets, weights)
            totals = Evaluation(*(total + more for total, more in zip(totals, found, strict=True)))
        return Evaluation(*(total / self.samples for total in totals))
