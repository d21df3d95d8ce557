"""What an attack spends on each sample, counted sample by sample whoever wrote the attack."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.target import Evaluation, Target
from attacks.threat import norms

_ROOM = 1e-5  # an iterate may leave the ball by rounding


class Passes:
    """Forward and backward passes of each of N samples, and the pass at which each fell.

    Attacks evaluate ever smaller parts of their batch and do not say which. A part of another size than the last
    one is recognised by its pixels, each image being some sample's clean one or near it; a part of the same size
    is taken to be the same part, for attacks only ever drop samples.

    Args:
        inputs: the clean images, float32 (N, 3, H, W).
        labels: (N,).
        eps, norm: a misclassification counts inside this ball only (FAB's iterates leave it).

    Attributes:
        forward, backward: passes of each sample so far, int64 (N,).
        fell: forward + backward passes when an evaluation first was misclassified, int64 (N,); -1 while standing.
        margins: the largest that any evaluation inside the ball had: other logit minus label's, float64 (N,).
    """

    def __init__(self, inputs: NDArray[Any], labels: NDArray[Any], *, eps: float, norm: str) -> None:
        self._inputs, self._labels, self._eps, self._norm = inputs, labels, eps, norm
        self.forward, self.backward = np.zeros((2, len(labels)), dtype=np.int64)
        self.fell = np.full(len(labels), -1)
        self.margins = np.full(len(labels), -np.inf)
        self._attacked = self._rows = np.arange(len(labels))

    def begin(self, rows: NDArray[np.int64]) -> None:
        """An attack on these samples starts."""
        self._attacked = self._rows = rows

    def count_forward(self, inputs: NDArray[Any], logits: NDArray[Any]) -> NDArray[np.int64]:
        """Count a forward pass and return the places of its samples."""
        if len(inputs) != len(self._rows):
            self._rows = self._recognise(inputs)
        rows = self._rows
        self.forward[rows] += 1
        margins = _margins(logits, self._labels[rows])
        higher = np.flatnonzero(margins > self.margins[rows])
        inside = norms(inputs[higher] - self._inputs[rows[higher]], self._norm) <= self._eps + _ROOM
        higher = higher[inside]
        self.margins[rows[higher]] = margins[higher]
        fallen = rows[higher[(margins[higher] > 0) & (self.fell[rows[higher]] < 0)]]
        self.fell[fallen] = self.forward[fallen] + self.backward[fallen]
        return rows

    def count_backward(self, rows: NDArray[np.int64]) -> None:
        """Count a backward pass of the samples at these places."""
        self.backward[rows] += 1

    def settle(self, rows: NDArray[np.int64], broken: NDArray[np.bool_]) -> None:
        """Bring `fell` into line with the verdict on what the attack returned for these samples."""
        late = rows[broken & (self.fell[rows] < 0)]
        self.fell[late] = self.forward[late] + self.backward[late]
        self.fell[rows[~broken]] = -1

    def _recognise(self, inputs: NDArray[Any]) -> NDArray[np.int64]:
        clean = self._inputs[self._attacked]
        rows = self._attacked[[int(norms(clean - image, self._norm).argmin()) for image in inputs]]
        if len(np.unique(rows)) != len(rows):
            raise ValueError(f"{len(rows)} images must be of different samples; got those of {rows.tolist()}")
        return rows


def _margins(logits: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.float64]:
    """Largest logit of another class minus the label's."""
    others = logits.astype(np.float64)
    rows = np.arange(len(labels))
    own = others[rows, labels]
    others[rows, labels] = -np.inf
    return np.asarray(others.max(axis=1) - own)


class PassesOfModel:
    """A PyTorch model as the official AutoAttack wants it, every pass through it counted."""

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
