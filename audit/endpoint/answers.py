"""What endpoints answer about an image, and the logits that stand for it.

An answer is a row of scores, a name for each of some scores, or only a label: its name or number. What it looks like
in JSON differs from server to server; `read_answer` knows the usual forms.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f2at.audit.endpoint.address import EndpointError

Label = str | int
Named = Mapping[Any, float]  # by Label
Answer = NDArray[np.float64] | Named | Label

SCORES = ("logits", "probabilities", "labels")
_SCORES = ("logits", "scores", "probabilities", "probs", "confidences", "predictions", "outputs", "output", "result")
_LABEL = ("label", "class", "class_name", "prediction", "index", "class_id", "class_index")
_SCORE = ("score", "probability", "confidence")
_TOLERANCE = 1e-3  # of a sum of probabilities, which may be rounded
_SMALLEST = 1e-30  # a probability below it is taken for it: its logarithm would be infinite


def read_answer(value: Any) -> Answer:
    """One image's answer from a JSON value.

    A list of numbers; {"cat": 0.9, "dog": 0.1}; [{"label": "cat", "score": 0.9}, ...]; {"label": "cat"}; "cat"; 3; or
    one of these under a key such as "probabilities", where the scores go before the label. What is null among scores is
    not a number.

    Raises:
        EndpointError: it is something else.
    """
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, float):
        return _row([value])
    if isinstance(value, list) and value:
        if _scores(value):
            return _row(value)
        if all(isinstance(item, Mapping) for item in value):
            pairs = [(_first(item, _LABEL), _first(item, _SCORE)) for item in value]
            if all(isinstance(label, str | int) and _number(score) for label, score in pairs):
                return _named(pairs)
        if len(value) == 1:
            return read_answer(value[0])
    if isinstance(value, Mapping) and value:
        label, score = _first(value, _LABEL), _first(value, _SCORE)
        if (scores := _first(value, _SCORES)) is not None and not isinstance(scores, str | int | float):
            return read_answer(scores)
        if isinstance(label, str | int) and not isinstance(label, bool):
            return _named([(label, score)]) if _number(score) else label
        if _scores(list(value.values())):
            return _named(list(value.items()))
        if len(value) == 1:
            return read_answer(next(iter(value.values())))
    raise EndpointError(f"the endpoint's answer holds neither scores nor a label that can be read: {_short(value)}")


@dataclass(frozen=True)
class Reading:
    """How answers are read as logits (C,).

    Attributes:
        scores: what they hold: logits, probabilities, or labels alone.
        classes: a name for each class.
        partly: whether answers name some classes only, those with the largest scores.
    """

    scores: str
    classes: tuple[str, ...]
    partly: bool = False

    def describe(self) -> str:
        """In words."""
        if self.scores == "labels":
            return "labels alone"
        taken = "as they are" if self.scores == "logits" else "the logarithms of probabilities"
        return f"{taken}, of the leading classes" if self.partly else taken

    def logits(self, answer: Answer) -> NDArray[np.float32]:
        """Logits (C,). Of labels, and of classes left out, only their order means something.

        Where a score is not a finite number, none is.

        Raises:
            EndpointError: the answer is of another kind than those that this reading was made for.
        """
        count = len(self.classes)
        if self.scores == "labels":
            if not isinstance(answer, str | int):
                raise EndpointError("the endpoint answered labels alone before, and scores now")
            found = np.full(count, math.log(_SMALLEST))
            found[self._place(answer)] = 0.0
            return found.astype(np.float32)
        if isinstance(answer, str | int):
            raise EndpointError("the endpoint answered scores before, and a label alone now")
        if isinstance(answer, Mapping):
            values = np.array(list(answer.values()))
            places = [self._place(label) for label in answer]
            row = np.full(count, self._below(values, count - len(values)))
            row[places] = values
        else:
            row = answer
        if len(row) == 1 and count == 2:
            row = np.array([1 - row[0], row[0]] if self.scores == "probabilities" else [0.0, row[0]])
        if len(row) != count:
            raise EndpointError(f"the endpoint must answer {count} scores, one for each class; got {len(row)}")
        if not np.isfinite(row).all():
            return np.full(count, np.nan, np.float32)
        if self.scores == "logits":
            return row.astype(np.float32)
        if row.min() < -_TOLERANCE or row.max() > 1 + _TOLERANCE:
            raise EndpointError("the endpoint answered probabilities before, and something else now")
        return np.asarray(np.log(np.clip(row, _SMALLEST, None)), np.float32)

    def _below(self, values: NDArray[np.float64], others: int) -> float:
        """A score for each class that is not named: less than any that is."""
        if self.scores == "logits":
            return float(values.min()) - 1.0
        return min(max(0.0, 1.0 - float(values.sum())) / max(1, others), 0.999 * float(values.min()))

    def _place(self, label: Label) -> int:
        place = self.classes.index(label) if label in self.classes else label
        if not isinstance(place, int) or not 0 <= place < len(self.classes):
            known = ", ".join(self.classes[:10]) + (", ..." if len(self.classes) > 10 else "")
            raise EndpointError(f"the endpoint's answer names {_short(label)}, which is not one of the classes {known}")
        return place


def find_reading(answers: Sequence[Answer], *, classes: Sequence[str] | None, scores: str | None = None) -> Reading:
    """What a few answers tell of all.

    Args:
        answers: at least one.
        classes: a name for each class; None numbers the scores of a row.
        scores: one of SCORES where the answers would be read wrongly.

    Raises:
        ValueError: the answers leave something open, or contradict the arguments.
    """
    if scores not in (None, *SCORES):
        raise ValueError(f"scores must be one of {', '.join(SCORES)}; got {scores!r}")
    first = answers[0]
    if not isinstance(first, np.ndarray) and classes is None:
        seen = [first] if isinstance(first, str | int) else list(first)
        raise ValueError(
            f"classes must be given for an endpoint that answers by name, in the order of the labels; it named "
            f"{', '.join(map(str, seen[:10]))}"
        )
    if isinstance(first, str | int):
        if scores not in (None, "labels"):
            raise ValueError(f"scores must be labels for an endpoint that answers nothing else; got {scores!r}")
        return _tried(Reading("labels", tuple(classes or ())), answers)
    if scores == "labels":
        raise ValueError("scores must be logits or probabilities for an endpoint that answers scores; got 'labels'")
    values = [np.array(list(a.values())) if isinstance(a, Mapping) else np.asarray(a) for a in answers]
    values = [row for row in values if row.dtype.kind == "f" and np.isfinite(row).all()]
    if not values:
        raise EndpointError("the endpoint must answer finite scores; all are infinite or not a number")
    count = len(first)
    if classes is None:
        classes = [str(number) for number in range(max(2, count))]
    partly = isinstance(first, Mapping) and count < len(classes)
    if scores is None:
        inside = all(bool(((row >= 0) & (row <= 1)).all()) for row in values)
        if inside and count == 1 and len(classes) == 2:
            raise ValueError(
                "scores must be given, logits or probabilities: the endpoint answers one number between 0 and 1"
            )
        sums = [float(row.sum()) for row in values]
        close = all((s <= 1 + _TOLERANCE) if partly else abs(s - 1) <= _TOLERANCE for s in sums)
        scores = "probabilities" if inside and close else "logits"
    return _tried(Reading(scores, tuple(classes), partly), answers)


def _tried(reading: Reading, answers: Sequence[Answer]) -> Reading:
    for answer in answers:
        reading.logits(answer)
    return reading


def _row(values: Sequence[Any]) -> NDArray[np.float64]:
    return np.array(values, np.float64)  # None becomes nan


def _named(pairs: Sequence[tuple[Any, Any]]) -> Named:
    found = {label: math.nan if score is None else float(score) for label, score in pairs}
    if len(found) < len(pairs):
        raise EndpointError(f"the endpoint's answer names a class twice: {_short([label for label, _ in pairs])}")
    return found


def _number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _scores(values: Sequence[Any]) -> bool:
    """Whether these are scores: numbers, or null for what JSON has no number for."""
    return all(_number(value) or (value is None and len(values) > 1) for value in values)


def _first(mapping: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """The value of the first of these keys that is there."""
    return next((mapping[key] for key in keys if key in mapping), None)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
