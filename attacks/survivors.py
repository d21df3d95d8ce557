"""Bookkeeping of attacks that stop at the first success, sample by sample."""

from typing import Any

from array_api_compat import array_namespace, device

from f2at.attacks.target import Target


class Survivors:
    """Which samples of a batch are not broken yet, and the images found so far.

    `images` (N, 3, H, W) starts as the clean batch; `index` (n,) says which of its rows still stand.
    """

    def __init__(self, inputs: Any) -> None:
        xp = array_namespace(inputs)
        self.images = xp.asarray(inputs, copy=True)
        self.index = xp.arange(inputs.shape[0], device=device(inputs))

    def __len__(self) -> int:
        return int(self.index.shape[0])

    def drop(self, broken: Any, current: Any, *state: Any) -> tuple[Any, ...]:
        """Record `current` where `broken` (n,) is true, and return (current, *state) of the others."""
        if not bool(array_namespace(broken).any(broken)):
            return (current, *state)
        standing = ~broken
        self.images[self.index[broken]] = current[broken]
        self.index = self.index[standing]
        return tuple(rows[standing] for rows in (current, *state))

    def keep(self, current: Any) -> None:
        """Record the last images of the samples that still stand."""
        self.images[self.index] = current

    def judge_last(self, target: Target, labels: Any, current: Any) -> None:
        """Keep the last images, which were not evaluated yet, and drop the samples that they break.

        `labels` are the whole batch's. One forward evaluation per standing sample.
        """
        if len(self) == 0:
            return
        self.keep(current)
        self.index = self.index[~misclassified(target.logits(current), labels[self.index])]


def misclassified(logits: Any, labels: Any) -> Any:
    """Whether the largest logit is not the label's, or one is not finite: (N, C), (N,) -> bool (N,)."""
    xp = array_namespace(logits)
    return (xp.argmax(logits, axis=1) != labels) | ~xp.all(xp.isfinite(logits), axis=1)


def wrong_classes(logits: Any, labels: Any) -> Any:
    """All classes but the label's, those with the largest logits first: (N, C), (N,) -> int (N, C - 1)."""
    xp = array_namespace(logits)
    is_label = xp.arange(logits.shape[1], device=device(logits)) == labels[:, None]
    return xp.argsort(xp.where(is_label, -xp.inf, logits), axis=1, descending=True)[:, :-1]
