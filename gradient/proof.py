"""The proof, made whenever a graph is differentiated, that its gradients are slopes of what it computes.

Along a straight line from image to image an objective changes by the integral of its slope. So the difference of its
values at the two ends, from the logits alone and in float64, is compared with a mean of slopes in between, from the
gradient graph (Gauss-Legendre quadrature). Where an activation has a kink the slope jumps, and both see it: a central
difference against the gradient in the middle would not tell a kink from a fault.
"""

from collections.abc import Callable
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
from f2at.gradient.trace import input_of, quiet_session, reached
from f2at.images.pixels import LEVELS

TOLERANCE = 0.03  # root mean square over lines of (difference - mean slope), relative to the gradient's norm
_NODES = (4, 16, 64)  # of the quadrature; its error at kinks falls with their number, that of a false gradient does not
_HALVES = tuple(levels / LEVELS for levels in (0.03, 0.3, 3, 30))  # half the length of a line, in each pixel
_JUMPS = {"Floor", "Ceil", "Round", "Sign", "ArgMax", "ArgMin", "QuantizeLinear", "DynamicQuantizeLinear"}
_SIGNAL = 300  # how much more than rounding errors a difference must be to tell anything
_DRAWS = 32  # of rounding errors

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
        measured on, and how many told nothing since the objective does not change there by more than rounding errors;
        JSON-able. The error is None if no line told anything, or if the classifier jumps, by rounding for example: its
        gradient passes straight through, and is no slope.

    Raises:
        GradientError: the error of an objective is above TOLERANCE.
    """
    smooth = None if _jumps(classifier) else _without_rounding(classifier)
    if smooth is None:
        return {"error": None, "lines": 0, "flat": 0}
    run = _runner(gradient_graph(smooth), smooth.batch)
    x = images.transpose(0, 3, 1, 2) / LEVELS
    logits, *_ = run(x, np.zeros(len(x), np.int64), np.zeros(len(x), np.int64), 0)
    labels = logits.argmax(axis=1)
    targets = (labels + 1) % classifier.classes
    rng = np.random.default_rng(0)
    rounding = _rounding(logits, labels, targets)
    worst, lines, flat = 0.0, 0, 0
    for index, name in enumerate(OBJECTIVES):
        direction = rng.choice([-1.0, 1.0], x.shape)

        def evaluate(points: Array, index: int = index) -> tuple[Array, Array]:
            """The objective in float64, and its gradient."""
            logits, _, gradient = run(points, labels, targets, index)
            return np.asarray(objectives(logits.astype(np.float64), labels, targets))[:, index], gradient

        for nodes in _NODES:
            errors = _errors(evaluate, x, direction, rounding[:, index], nodes)
            told = errors[~np.isnan(errors)]
            error = float(np.sqrt(np.mean(told**2))) if len(told) else 0.0
            if error <= TOLERANCE:
                break
        else:
            raise GradientError(
                f"the gradient of {name} is not its slope: it is off by {error:.2g} of its size, limit {TOLERANCE:g}"
            )
        lines, flat, worst = lines + len(told), flat + len(errors) - len(told), max(worst, error)
    return {"error": float(f"{worst:.3g}") if lines else None, "lines": lines, "flat": flat}


def _errors(
    evaluate: Callable[[Array], tuple[Array, Array]], x: Array, direction: Array, rounding: Array, nodes: int
) -> Array:
    """The error of each image (N,); NaN where rounding errors hide the objective's change along every line."""
    places, shares = np.polynomial.legendre.leggauss(nodes)
    _, middle = evaluate(x)
    size = np.linalg.norm(middle.reshape(len(x), -1).astype(np.float64), axis=1)
    found = np.full(len(x), np.nan)
    for half in _HALVES:
        open_ = np.isnan(found) & (2 * half * size > _SIGNAL * rounding)
        if not open_.any():
            continue
        ends = [(x + sign * half * direction).astype(np.float32) for sign in (1, -1)]
        (above, _), (below, _) = (evaluate(end) for end in ends)
        step = ends[0].astype(np.float64) - ends[1]
        slopes = [
            (evaluate(x + place * half * direction)[1] * step).reshape(len(x), -1).sum(axis=1) for place in places
        ]
        mean = np.tensordot(shares / 2, slopes, axes=1)
        found[open_] = np.abs(above - below - mean)[open_] / (2 * half * size[open_])
    found[~np.isfinite(middle.reshape(len(x), -1)).all(axis=1)] = np.inf
    return found


def _rounding(logits: Array, labels: Array, targets: Array) -> NDArray[np.float64]:
    """How far an objective of each image (N, J) is off, by the rounding of logits to float32 and its own to float64.

    Where logits nearly tie, an objective that divides by their differences is off by far more than they are.
    """
    exact = logits.astype(np.float64)
    value = objectives(exact, labels, targets)
    unit = np.finfo(np.float32).eps * np.abs(exact).max()
    errors = np.random.default_rng(2).normal(scale=unit, size=(_DRAWS, *exact.shape))
    changes = [objectives(exact + error, labels, targets) - value for error in errors]
    return np.asarray(np.sqrt(np.mean(np.square(changes), axis=0)) + np.finfo(np.float64).eps * np.abs(value))


def _runner(graph: Slim, batch: int | None) -> Callable[[Array, Array, Array, int], tuple[Array, ...]]:
    session = create_session(graph)  # as it will be run

    def run(x: Array, labels: Array, targets: Array, index: int) -> tuple[Array, ...]:
        weights = np.zeros((len(x), len(OBJECTIVES)), np.float32)
        weights[:, index] = 1
        feeds = {"images": x.astype(np.float32), "labels": labels, "targets": targets, "weights": weights}
        parts = zip(*(chunks(value, batch or len(x)) for value in feeds.values()), strict=True)
        answers = [session.run(None, dict(zip(feeds, part, strict=True))) for part in parts]
        return tuple(np.concatenate(found)[: len(x)] for found in zip(*answers, strict=True))

    return run


def _jumps(classifier: Classifier) -> bool:
    graph = classifier.model.graph
    varying = reached(graph.node, {input_of(classifier.model).name})
    return any(node.op_type in _JUMPS and varying.intersection(node.input) for node in graph.node)


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
