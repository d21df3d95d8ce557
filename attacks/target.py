"""What an attack may ask of a model, and the wrapper that counts what it asked."""

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, TypeVar

from array_api_compat import array_namespace

T = TypeVar("T")


class Evaluation(NamedTuple):
    """One gradient evaluation of N samples."""

    logits: Any  # (N, C)
    objectives: Any  # (N, J), in the order of f2at.attacks.objectives.OBJECTIVES
    gradient: Any  # (N, 3, H, W): d(sum_j weights_j objective_j) / d inputs


class Target(Protocol):
    """A classifier under attack.

    Inputs are float32 (N, 3, H, W) in [0, 1], arrays of the target's own library; labels and targets are int64
    (N,), weights float32 (N, J). A target that snaps moves the inputs onto the uint8 grid, round(255 x) / 255,
    before both kinds of evaluation: the attack then sees what a deployed 8-bit model sees, and the gradient is
    passed straight through the rounding.

    A target may say how many images it takes at once, as `forwards_at_once` and `gradients_at_once`.
    """

    @property
    def classes(self) -> int:
        """The number of classes, C."""

    def logits(self, inputs: Any) -> Any:
        """Logits (N, C) of inputs (N, 3, H, W)."""

    def gradient(self, inputs: Any, labels: Any, targets: Any, weights: Any) -> Evaluation:
        """Logits, objectives, and the gradient of each sample's weighted objective."""


class CountingTarget:
    """Counts evaluations per sample, and beats at each: `heartbeat(n)` before n samples are evaluated.

    A heartbeat that raises stops the attack: that is how a caller cancels it. Batches that are more than the target
    takes at once are evaluated in parts, each with a heartbeat of its own.
    """

    def __init__(self, target: Target, heartbeat: Callable[[int], None] | None = None) -> None:
        self.target = target
        self.heartbeat = heartbeat
        self.forward_evaluations = 0  # samples through logits()
        self.gradient_batches: list[int] = []  # samples of each call of gradient()
        self.seconds = 0.0  # inside the target

    @property
    def classes(self) -> int:
        """The number of classes of the target."""
        return self.target.classes

    @property
    def gradient_evaluations(self) -> int:
        """Samples through gradient()."""
        return sum(self.gradient_batches)

    def logits(self, inputs: Any) -> Any:
        """Logits of the target."""
        n = inputs.shape[0]
        self.forward_evaluations += n
        parts = self._parted(n, "forwards_at_once", lambda rows: self.target.logits(inputs[rows]))
        return parts[0] if len(parts) == 1 else array_namespace(parts[0]).concat(parts)

    def gradient(self, inputs: Any, labels: Any, targets: Any, weights: Any) -> Evaluation:
        """Evaluation by the target."""
        n = inputs.shape[0]
        self.gradient_batches.append(n)
        whole = (inputs, labels, targets, weights)
        parts = self._parted(
            n, "gradients_at_once", lambda rows: self.target.gradient(*(array[rows] for array in whole))
        )
        if len(parts) == 1:
            return parts[0]
        return Evaluation(*(array_namespace(part[0]).concat(part) for part in zip(*parts, strict=True)))

    def _parted(self, n: int, most: str, evaluate: Callable[[slice], T]) -> list[T]:
        """Evaluate n samples in as few parts, of nearly one size, as the target's attribute `most` allows."""
        count = max(1, -(-n // max(1, getattr(self.target, most, n))))
        cuts = [n * part // count for part in range(count + 1)]
        return [self._timed(stop - start, partial(evaluate, slice(start, stop))) for start, stop in pairwise(cuts)]

    def _timed(self, samples: int, evaluate: Callable[[], T]) -> T:
        if self.heartbeat is not None:
            self.heartbeat(samples)
        started = time.perf_counter()
        found = evaluate()
        self.seconds += time.perf_counter() - started
        return found


def has_scores(target: Target) -> bool:
    """Whether the target's logits are more than its labels: all are but those of targets that say `scores = False`."""
    return bool(getattr(target, "scores", True))


def has_gradients(target: Target) -> bool:
    """Whether the target can be asked for gradients: all can but those that say `gradients = False`."""
    return bool(getattr(target, "gradients", True))
