"""Counts what any attack spends on each sample."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]
from torch import Tensor

from f2at.attacks.target import Evaluation, Target
from f2at.attacks.threat import norms

_ROOM = 1e-5  # tolerance for iterates that rounding moves out of the ball, relative to radii above 1


class Clock:
    """Wall clock and processor seconds inside its `with` blocks, added up."""

    def __init__(self) -> None:
        self.wall = self.processor = 0.0

    def __enter__(self) -> None:
        self.wall -= time.perf_counter()
        self.processor -= time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter()
        self.processor += time.process_time()


class Passes:
    """Forward and backward passes of each of N samples, and the pass at which each fell.

    Attacks evaluate parts of their batch and do not say which: a part is recognised by its pixels, each image being
    in some sample's ball or at least nearest to it.

    Args:
        inputs: the clean images, float32 (N, 3, H, W).
        labels: (N,).
        eps, norm: a misclassification counts inside this ball only (FAB's iterates leave it).
        shrinking: whether the attacks only ever drop samples, so that a part as large as the last one is the same.
            It saves time where it holds.

    Attributes:
        forward, backward: passes of each sample so far, int64 (N,).
        fell: forward + backward passes when an evaluation first was misclassified, int64 (N,); -1 while standing.
        margins: the largest that any evaluation inside the ball had: other logit minus label's, float64 (N,).
        clock: the time that the counting took.
    """

    def __init__(
        self, inputs: NDArray[Any], labels: NDArray[Any], *, eps: float, norm: str, shrinking: bool = False
    ) -> None:
        self._inputs, self._labels, self._eps, self._norm = inputs, labels, eps, norm
        self._shrinking = shrinking
        self.forward, self.backward = np.zeros((2, len(labels)), dtype=np.int64)
        self.fell = np.full(len(labels), -1)
        self.margins = np.full(len(labels), -np.inf)
        self.clock = Clock()
        self._attacked = self._rows = np.arange(len(labels))

    def begin(self, rows: NDArray[np.int64]) -> None:
        """An attack on these samples starts."""
        self._attacked = self._rows = rows

    def count_forward(self, inputs: NDArray[Any], logits: NDArray[Any]) -> NDArray[np.int64]:
        """Count a forward pass and return the places of its samples."""
        with self.clock:
            if not self._same(inputs):
                self._rows = self._recognise(inputs)
            rows = self._rows
            self.forward[rows] += 1
            margins = _margins(logits, self._labels[rows])
            higher = np.flatnonzero(margins > self.margins[rows])
            higher = higher[self._inside(inputs[higher], rows[higher])]
            self.margins[rows[higher]] = margins[higher]
            fallen = rows[higher[(margins[higher] > 0) & (self.fell[rows[higher]] < 0)]]
            self.fell[fallen] = self.forward[fallen] + self.backward[fallen]
            return rows

    def count_backward(self, rows: NDArray[np.int64]) -> None:
        """Count a backward pass of the samples at these places."""
        self.backward[rows] += 1

    def apply_verdict(self, rows: NDArray[np.int64], broken: NDArray[np.bool_]) -> None:
        """Make `fell` agree with the verdict on what the attack returned for these samples."""
        late = rows[broken & (self.fell[rows] < 0)]
        self.fell[late] = self.forward[late] + self.backward[late]
        self.fell[rows[~broken]] = -1

    def _same(self, inputs: NDArray[Any]) -> bool:
        """Whether these are images of the samples evaluated last."""
        if len(inputs) != len(self._rows):
            return False
        return self._shrinking or bool(self._inside(inputs, self._rows).all())

    def _inside(self, inputs: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(norms(inputs - self._inputs[rows], self._norm) <= self._eps + _ROOM * max(self._eps, 1.0))

    def _recognise(self, inputs: NDArray[Any]) -> NDArray[np.int64]:
        """The samples under attack that are nearest, one for each image and each for one."""
        if len(inputs) > len(self._attacked):
            raise ValueError(f"images must be of the {len(self._attacked)} samples under attack; got {len(inputs)}")
        clean = self._inputs[self._attacked]
        distances = np.stack([norms(clean - image, self._norm) for image in inputs])
        return np.asarray(self._attacked[linear_sum_assignment(distances)[1]])


def _margins(logits: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.float64]:
    """Largest logit of another class minus the label's."""
    others = logits.astype(np.float64)
    rows = np.arange(len(labels))
    own = others[rows, labels]
    others[rows, labels] = -np.inf
    return np.asarray(others.max(axis=1) - own)


class PassesOfModel:
    """A PyTorch model as the official AutoAttack takes it, every pass through it counted."""

    def __init__(self, model: Callable[[Tensor], Tensor], passes: Passes) -> None:
        self.model = model
        self.passes = passes

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits; the hook on them runs once for each backward pass."""
        logits = self.model(inputs.contiguous(memory_format=torch.channels_last))
        rows = self.passes.count_forward(inputs.detach().numpy(), logits.detach().numpy())
        if logits.requires_grad:
            logits.register_hook(lambda _: self.passes.count_backward(rows))
        return logits


class PassesOfTarget:
    """One of our targets on the CPU, every pass through it counted; a gradient takes a forward and a backward one."""

    def __init__(self, target: Target, passes: Passes) -> None:
        self.target = target
        self.classes = target.classes
        self.passes = passes

    def logits(self, inputs: Any) -> Any:
        """Logits of the target."""
        logits = self.target.logits(inputs)
        self.passes.count_forward(np.asarray(inputs), np.asarray(logits))
        return logits

    def gradient(self, inputs: Any, labels: Any, targets: Any, weights: Any) -> Evaluation:
        """Evaluation by the target."""
        evaluation = self.target.gradient(inputs, labels, targets, weights)
        rows = self.passes.count_forward(np.asarray(inputs), np.asarray(evaluation.logits))
        self.passes.count_backward(rows)
        return evaluation
