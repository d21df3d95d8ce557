"""A model that answers one question, "misclassified?", a fixed number of times for each sample."""

from typing import Any

from array_api_compat import array_namespace, device

from f2at.attacks.survivors import Survivors, misclassified
from f2at.attacks.target import Target


class HardLabel:
    """Answers about the samples of a batch that still stand; each answer costs its sample one query.

    queries: how many each sample has. What is asked beyond them is never evaluated; the answer is no.
    """

    def __init__(self, target: Target, labels: Any, survivors: Survivors, *, queries: int) -> None:
        xp = array_namespace(labels)
        self.target, self.labels, self.survivors = target, labels, survivors
        self._left = xp.full(labels.shape, queries, dtype=xp.int64, device=device(labels))

    @property
    def left(self) -> Any:
        """Queries left to each standing sample, (n,)."""
        return self._left[self.survivors.index]

    def __call__(self, images: Any, asked: Any) -> Any:
        """Which `images` (n, 3, H, W) are misclassified, of those that `asked` (n,) marks: bool (n,)."""
        xp = array_namespace(images)
        asked = asked & (self.left > 0)
        answers = xp.zeros_like(asked)
        if bool(xp.any(asked)):
            rows = self.survivors.index[asked]
            self._left[rows] -= 1
            answers[asked] = misclassified(self.target.logits(images[asked]), self.labels[rows])
        return answers
