"""The audited model in the harness's terms: 8-bit images in, verdicts out, every evaluation counted."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import to_device
from numpy.typing import NDArray

from attacks.grid import Images, to_inputs
from attacks.objectives import objective_weights
from attacks.registry import Attack
from attacks.target import CountingTarget, Target

Labels = NDArray[np.int64]
ToTarget = Callable[[NDArray[Any]], Any]


class Scores(NamedTuple):
    """What the deployed classifier says of N labelled images."""

    predictions: Labels
    confidences: NDArray[np.float64]  # softmax probability of the prediction
    margins: NDArray[np.float64]  # largest logit of another class minus the label's; positive when wrong


class Subject:
    """A target behind two counters: what attacks spend is counted apart from what the harness itself asks.

    Args:
        target: the model.
        to_target: moves a numpy array to the target's library and device.
        heartbeat: called before every evaluation with the number of images; may raise.
    """

    def __init__(self, target: Target, to_target: ToTarget, heartbeat: Callable[[int], None] | None) -> None:
        self.spent = CountingTarget(target, heartbeat)
        self._own = CountingTarget(target, heartbeat)
        self._to_target = to_target

    def attack(
        self, attack: Attack, images: Images, labels: Labels, *, eps: Fraction, norm: str, rng: np.random.Generator
    ) -> NDArray[Any]:
        """What the attack returns for these images, unchecked: floats (N, 3, H, W)."""
        inputs = self._to_target(to_inputs(images))
        found = attack.run(self.spent, inputs, self._to_target(labels), eps=float(eps), norm=norm, rng=rng)
        return _to_numpy(found)

    def logits(self, inputs: NDArray[Any]) -> NDArray[np.float64]:
        """Logits (N, C) of inputs (N, 3, H, W)."""
        return _to_numpy(self._own.logits(self._to_target(inputs.astype(np.float32)))).astype(np.float64)

    def gradients(self, images: Images, labels: Labels, objective: str) -> NDArray[Any]:
        """Gradient (N, 3, H, W) of an objective at clean images."""
        weights = objective_weights(np, objective, len(labels))
        y = self._to_target(labels)
        return _to_numpy(
            self._own.gradient(self._to_target(to_inputs(images)), y, y, self._to_target(weights)).gradient
        )

    def scores(self, images: Images, labels: Labels) -> Scores:
        """The verdict of the deployed classifier on 8-bit images."""
        return score(self.logits(to_inputs(images)), labels)


def score(logits: NDArray[np.float64], labels: Labels) -> Scores:
    """Prediction, confidence and margin from logits (N, C).

    Raises:
        ValueError: a logit is not a finite number; there is no verdict to give then.
    """
    if not np.isfinite(logits).all():
        raise ValueError("the model must return finite logits; some are infinite or not a number")
    rows = np.arange(len(labels))
    predictions = logits.argmax(axis=1)
    leads = logits - logits.max(axis=1, keepdims=True)
    others = logits.copy()
    others[rows, labels] = -np.inf
    return Scores(
        predictions=predictions,
        confidences=np.exp(leads[rows, predictions]) / np.exp(leads).sum(axis=1),
        margins=others.max(axis=1) - logits[rows, labels],
    )


def _to_numpy(array: Any) -> NDArray[Any]:
    return np.asarray(to_device(array, "cpu"))
