"""The audited model in the harness's terms: 8-bit images in, verdicts out, every evaluation counted."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import to_device
from numpy.typing import NDArray

from f2at.attacks.attack import Attack
from f2at.attacks.objectives import objective_weights
from f2at.attacks.target import CountingTarget, Target, has_gradients
from f2at.attacks.targets.expectation import ExpectedTarget
from f2at.audit.threats.base import Found, Given, Search
from f2at.images.pixels import Images, Labels, to_inputs

ToTarget = Callable[[NDArray[Any]], Any]


NO_ANSWER = -1


class Scores(NamedTuple):
    """What the deployed classifier says of N labelled images; of one with logits that are not finite, nothing."""

    predictions: Labels  # NO_ANSWER where there is none, which is wrong whatever the label is
    confidences: NDArray[np.float64]  # softmax probability of the prediction; nan without one
    margins: NDArray[np.float64]  # largest logit of another class minus the label's; positive when wrong, nan without
    label_confidences: NDArray[np.float64]  # softmax probability of the label; 0 without an answer


class Subject:
    """A target behind counters: what attacks spend is counted apart from what the harness itself asks.

    Args:
        target: the model.
        to_target: moves a numpy array to the target's library and device.
        heartbeat: called before every evaluation with the number of images; may raise.
        surrogate: the model whose gradients transfer attacks follow, of the same library and device.
        samples: evaluations of the model whose mean attacks get, for one.
        draws: answers of the model by which an image is judged: it is right if more than half of them are.
    """

    def __init__(
        self,
        target: Target,
        to_target: ToTarget,
        heartbeat: Callable[[int], None] | None,
        surrogate: Target | None = None,
        *,
        samples: int = 1,
        draws: int = 1,
    ) -> None:
        self.spent = CountingTarget(target, heartbeat)
        self._attacked: Target = ExpectedTarget(self.spent, samples) if samples > 1 else self.spent
        self.samples, self._draws = samples, draws
        self.spent_on_surrogate = None if surrogate is None else CountingTarget(surrogate, heartbeat)
        self.differentiable = has_gradients(target)
        self._own = CountingTarget(target, heartbeat)
        self._to_target = to_target
        self._unanswered = 0

    @property
    def costs(self) -> dict[str, Any]:
        """What attacks spent, on the model and its surrogate, the seconds inside them for whatever reason, and how
        often the model had no answer when the harness asked.
        """
        counters = [self.spent] if self.spent_on_surrogate is None else [self.spent, self.spent_on_surrogate]
        return {
            "forward_evaluations": sum(counter.forward_evaluations for counter in counters),
            "gradient_evaluations": sum(counter.gradient_evaluations for counter in counters),
            "unanswered": self._unanswered,
            "model_seconds": round(sum(counter.seconds for counter in (*counters, self._own)), 3),
        }

    def attack(
        self, attack: Attack, images: Images, labels: Labels, *, eps: Fraction, norm: str, rng: np.random.Generator
    ) -> NDArray[Any]:
        """What the attack returns for these images, unchecked: floats (N, 3, H, W). For no image nothing is asked."""
        if not len(images):
            return to_inputs(images)
        inputs = self._to_target(to_inputs(images))
        target = self.spent_on_surrogate if attack.knowledge == "transfer" else self._attacked
        assert target is not None
        found = attack.run(target, inputs, self._to_target(labels), eps=float(eps), norm=norm, rng=rng)
        return to_numpy(found)

    def search(self, search: Search, given: Given, *, rng: np.random.Generator) -> Found:
        """What an attack on a threat finds for the images that it is given; for no image nothing is asked."""
        if not len(given.images):
            return Found(given.images, [])
        return search.find(self._attacked, self._to_target, given, rng)

    def logits(self, inputs: NDArray[Any]) -> NDArray[np.float64]:
        """Logits (N, C) of inputs (N, 3, H, W); of none without the model, since not every graph takes no image."""
        if not len(inputs):
            return np.zeros((0, self._own.classes))
        return to_numpy(self._own.logits(self._to_target(inputs.astype(np.float32)))).astype(np.float64)

    def gradients(self, images: Images, labels: Labels, objective: str) -> NDArray[Any]:
        """Gradient (N, 3, H, W) of an objective at clean images."""
        weights = objective_weights(np, objective, len(labels))
        y = self._to_target(labels)
        return to_numpy(self._own.gradient(self._to_target(to_inputs(images)), y, y, self._to_target(weights)).gradient)

    def scores(self, images: Images, labels: Labels) -> Scores:
        """The verdict of the deployed classifier on 8-bit images."""
        return self.judge(to_inputs(images), labels)

    def judge(self, inputs: NDArray[Any], labels: Labels) -> Scores:
        """The verdict of the deployed classifier on inputs (N, 3, H, W)."""
        scores = majority([score(self.logits(inputs), labels) for _ in range(self._draws)], labels)
        self._unanswered += int((scores.predictions == NO_ANSWER).sum())
        return scores


def score(logits: NDArray[np.float64], labels: Labels) -> Scores:
    """Prediction, confidence and margin from logits (N, C)."""
    answered = np.asarray(np.isfinite(logits).all(axis=1))
    logits = np.where(answered[:, None], logits, 0.0)
    rows = np.arange(len(labels))
    predictions = logits.argmax(axis=1)
    leads = logits - logits.max(axis=1, keepdims=True)
    others = logits.copy()
    others[rows, labels] = -np.inf
    probabilities = np.exp(leads) / np.exp(leads).sum(axis=1, keepdims=True)
    return Scores(
        predictions=np.where(answered, predictions, NO_ANSWER),
        confidences=np.where(answered, probabilities[rows, predictions], np.nan),
        margins=np.where(answered, others.max(axis=1) - logits[rows, labels], np.nan),
        label_confidences=np.where(answered, probabilities[rows, labels], 0.0),
    )


def majority(draws: Sequence[Scores], labels: Labels) -> Scores:
    """One verdict of several: the label where more than half of the draws predict it, otherwise the commonest error.

    Confidences and margins are means.
    """
    if len(draws) == 1:
        return draws[0]
    predictions, *rest = (np.stack(values) for values in zip(*draws, strict=True))
    right = 2 * (predictions == labels).sum(axis=0) > len(draws)
    errors = [column[column != label] for column, label in zip(predictions.T, labels, strict=True)]
    common = [np.bincount(e - NO_ANSWER).argmax() + NO_ANSWER if len(e) else NO_ANSWER for e in errors]
    confidences, margins, label_confidences = (values.mean(axis=0) for values in rest)
    return Scores(
        np.where(right, labels, np.array(common, np.int64)),
        confidences,
        np.where(right, np.minimum(margins, 0), np.maximum(margins, 0)),
        label_confidences,
    )


def to_numpy(array: Any) -> NDArray[Any]:
    """An array of a target's library, wherever it is."""
    return np.asarray(to_device(array, "cpu"))
