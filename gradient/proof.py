"""The proof, made whenever a graph is differentiated, that its gradients are slopes of what it computes.

Along a straight line from image to image an objective changes by the integral of its slope. So the difference of its
values at the two ends, from the logits alone and in float64, is compared with a mean of slopes in between, from the
gradient graph. Where an activation has a kink the slope jumps, and both see it: the gradient in the middle alone would
not tell a kink from a fault, so more slopes are taken where it does not do.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from f2at.attacks.objectives import OBJECTIVES, objectives
from f2at.bundle.runtime import RUNTIME_ERRORS, create_session
from f2at.bundle.weights import Slim
from f2at.gradient.batch import chunks
from f2at.gradient.classifier import Classifier, gradient_graph
from f2at.gradient.objectives import LOGITS
from f2at.gradient.reverse import GRADIENT
from f2at.gradient.trace import input_of, needed, quiet_session, reached
from f2at.images.pixels import LEVELS

TOLERANCE = 0.03  # root mean square over lines of (difference - mean slope), relative to the gradient's norm
_MOST = 81  # slopes in a mean, if fewer do not do: its error at kinks falls with their number, a false one's stays
_HALVES = tuple(levels / LEVELS for levels in (0.03, 0.3, 3, 30))  # half the length of a line, in each pixel
_JUMPS = {"Floor", "Ceil", "Round", "Sign", "ArgMax", "ArgMin", "QuantizeLinear", "DynamicQuantizeLinear"}
_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
_RATIOS = ("dlr", "targeted_dlr")  # divide by differences of the _RANKS largest logits
_RANKS = 4
_SIGNAL = 300  # how much more than rounding errors a difference must be to tell anything
_DRAWS = 32  # of rounding errors
_JITTER = 1e-7  # of pixels, which changes logits by their rounding and little else
_REPEATS = 4

Images = NDArray[np.uint8]
Array = NDArray[Any]


class GradientError(ValueError):
    """The gradient graph does not give slopes of the classifier's objectives."""


def prove(classifier: Classifier, images: Images) -> dict[str, Any]:
    """Compare the gradient of every objective with differences of its values, along a random line through each image.

    Args:
        classifier: what is differentiated.
        images: uint8 (N, H, W, 3), N >= 1; labels are the classifier's own answers.

    Returns:
        The largest root mean square error of an objective, relative to its gradient's norm, how many lines it was
        measured on, and how many told nothing, since the objective does not change there by more than rounding errors,
        or a ratio of logits has a kink; JSON-able. The error is None if no line told anything, or if the classifier
        jumps, by rounding for example: its gradient passes straight through, and is no slope, or leaves the jumps
        out; or if it answers at random, so that no difference is one.

    Raises:
        GradientError: the error of an objective is above TOLERANCE.
    """
    smooth = None if _jumps(classifier) else _without_rounding(classifier)
    if smooth is None:
        return {"error": None, "lines": 0, "flat": 0}
    graph = gradient_graph(smooth)
    slopes = _runner(graph, smooth.batch, GRADIENT)
    scores = _runner(Slim(needed(graph.model, [LOGITS]), graph.weights), smooth.batch, LOGITS)
    x = images.transpose(0, 3, 1, 2) / LEVELS
    nobody = np.zeros(len(x), np.int64)
    logits = scores(x, nobody, nobody, 0)
    labels = logits.argmax(axis=1)
    targets = (labels + 1) % classifier.classes
    rng = np.random.default_rng(0)
    nearby = (scores(x + _JITTER * rng.choice([-1.0, 1.0], x.shape), nobody, nobody, 0) for _ in range(_REPEATS))
    changes = np.mean([np.square(other - logits, dtype=np.float64) for other in nearby], axis=(0, 2))
    noise = np.sqrt(np.median(changes))  # of the images: at one that lies at a jump, it is the jump
    rounding = _rounding(logits, labels, targets, float(noise))
    worst, lines, flat = 0.0, 0, 0
    for index, name in enumerate(OBJECTIVES):
        direction = rng.choice([-1.0, 1.0], x.shape)

        def value(points: Array, index: int = index) -> Array:
            """The objective in float64."""
            exact = scores(points, labels, targets, index).astype(np.float64)
            return np.asarray(objectives(exact, labels, targets))[:, index]

        def slope(points: Array, index: int = index) -> Array:
            """Its gradient."""
            return slopes(points, labels, targets, index)

        def order(points: Array, name: str = name) -> Array:
            """The classes whose logits a ratio of them is made of; a kink wherever it changes."""
            exact = scores(points, labels, targets, 0)
            return np.argsort(-exact, axis=1, kind="stable")[:, :_RANKS] if name in _RATIOS else exact[:, :0]

        for errors in _errors(value, slope, order, x, direction, rounding[:, index]):
            error = float(np.sqrt(np.mean(errors**2))) if len(errors) else 0.0
            if error <= TOLERANCE:
                break
        else:
            if any(jump.name for jump in classifier.jumps.values()):  # its slopes need not add up
                return {"error": None, "lines": 0, "flat": 0}
            raise GradientError(
                f"the gradient of {name} is not its slope: it is off by {error:.2g} of its size, limit {TOLERANCE:g}"
            )
        lines, flat, worst = lines + len(errors), flat + len(x) - len(errors), max(worst, error)
    return {"error": float(f"{worst:.3g}") if lines else None, "lines": lines, "flat": flat}


def _errors(
    value: Callable[[Array], Array],
    slope: Callable[[Array], Array],
    order: Callable[[Array], Array],
    x: Array,
    direction: Array,
    rounding: Array,
) -> Iterator[Array]:
    """The error along each line, from more and more slopes.

    Lines along which rounding errors hide the change, however long they are, are left out, and so are those whose ends
    differ in `order`: where many classes nearly tie, no number of slopes is enough for all the kinks in between.
    """
    middle = slope(x)
    size = np.linalg.norm(middle.reshape(len(x), -1).astype(np.float64), axis=1)
    tells = np.array([2 * half * size > _SIGNAL * rounding for half in _HALVES])
    flat = np.isfinite(size) & ~tells.any(axis=0)
    half = np.take(_HALVES, tells.argmax(axis=0))  # the shortest that tells
    line = half.reshape(-1, 1, 1, 1) * direction
    ends = [(x + sign * line).astype(np.float32) for sign in (1, -1)]
    flat |= (order(ends[0]) != order(ends[1])).any(axis=1)
    change = value(ends[0]) - value(ends[1])
    step = ends[0].astype(np.float64) - ends[1]
    total, count = _along(middle, step), 1
    while count <= _MOST:
        with np.errstate(divide="ignore", invalid="ignore"):
            errors = np.abs(change - total / count) / (2 * half * size)
        yield np.where(np.isnan(errors), np.inf, errors)[~flat]
        count *= 3
        places = (2 * np.arange(count) + 1) / count - 1  # the middles of as many parts
        for place in places[np.arange(count) % 3 != 1]:  # but those of a third as many, which are in the sum
            total = total + _along(slope(x + place * line), step)


def _along(gradient: Array, step: Array) -> Array:
    """The slope along a line, times its length."""
    return np.asarray((gradient * step).reshape(len(step), -1).sum(axis=1))


def _rounding(logits: Array, labels: Array, targets: Array, noise: float) -> NDArray[np.float64]:
    """How far an objective of each image (N, J) is off, by the rounding of logits to float32 and its own to float64.

    `noise` is what was seen of the former: a deep graph rounds by more than the last digit of its small logits.
    Where logits nearly tie, an objective that divides by their differences is off by far more than they are.
    """
    exact = logits.astype(np.float64)
    value = objectives(exact, labels, targets)
    unit = max(np.finfo(np.float32).eps * np.abs(exact).max(), noise)
    errors = np.random.default_rng(2).normal(scale=unit, size=(_DRAWS, *exact.shape))
    changes = [objectives(exact + error, labels, targets) - value for error in errors]
    return np.asarray(np.sqrt(np.mean(np.square(changes), axis=0)) + np.finfo(np.float64).eps * np.abs(value))


def _runner(graph: Slim, batch: int | None, output: str) -> Callable[[Array, Array, Array, int], Array]:
    session = create_session(graph, plan_memory=False, prepack=False)  # optimised as it will be run

    def run(x: Array, labels: Array, targets: Array, index: int) -> Array:
        weights = np.zeros((len(x), len(OBJECTIVES)), np.float32)
        weights[:, index] = 1
        feeds = {"images": x.astype(np.float32), "labels": labels, "targets": targets, "weights": weights}
        parts = zip(*(chunks(value, batch or len(x)) for value in feeds.values()), strict=True)
        answers = [session.run([output], dict(zip(feeds, part, strict=True)))[0] for part in parts]
        return np.concatenate(answers)[: len(x)]

    return run


def _jumps(classifier: Classifier) -> bool:
    graph = classifier.model.graph
    varying = reached(graph.node, {input_of(classifier.model).name})
    return any(
        node.op_type in _RANDOM or (node.op_type in _JUMPS and varying.intersection(node.input)) for node in graph.node
    )


def _without_rounding(classifier: Classifier) -> Classifier | None:
    """The classifier with floats in place of 8-bit pixels, between which it has slopes; None if it cannot take them."""
    entry = classifier.entry
    if entry.dtype != "uint8":
        return classifier
    model = onnx.ModelProto()
    model.CopyFrom(classifier.model)
    input_of(model).type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    try:
        quiet_session(Slim(model, classifier.weights))
    except RUNTIME_ERRORS:
        return None
    return replace(classifier, model=model, entry=replace(entry, dtype="float32", scale=float(LEVELS)))
