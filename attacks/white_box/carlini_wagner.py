"""The l2 attack of Carlini and Wagner 2017, https://arxiv.org/abs/1608.04644."""

import math
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device

from f2at.attacks.objectives import OBJECTIVES, objective_weights
from f2at.attacks.survivors import misclassified
from f2at.attacks.target import Target
from f2at.attacks.threat import check_attack, check_counts
from f2at.attacks.white_box.nearest import Nearest

_INSIDE = 1 - 1e-6  # of the range of tanh: keeps its inverse finite at black and white
_MEAN, _SQUARE, _TINY = 0.9, 0.999, 1e-8  # Adam's constants


class _Descent(NamedTuple):
    """What the descent remembers of each sample: images (n, 3, H, W) and numbers (n,)."""

    index: Any
    variable: Any  # image = (tanh(variable) + 1) / 2
    mean: Any  # of Adam, of the gradient
    square: Any  # of Adam, of the squared gradient
    clean: Any
    labels: Any
    constants: Any
    checkpoint_loss: Any


def carlini_wagner(
    target: Target,
    inputs: Any,
    labels: Any,
    *,
    eps: float,
    norm: str = "l2",
    rng: np.random.Generator,  # noqa: ARG001  (every attack takes one; this one draws nothing)
    steps: int = 1000,
    searches: int = 9,
    learning_rate: float = 0.01,
    initial_constant: float = 1e-3,
    confidence: float = 0.0,
    abort_early: bool = True,
    stop_at_success: bool = True,
) -> Any:
    """Adam on |x - input|^2 + c max(confidence - margin, 0), over x in tanh space, and a binary search over c.

    The search is for the smallest c that gives an error: tenfold while there is none, then halving the interval.
    The parameters are those of the authors' code, but for its 10,000 steps.
    confidence: kappa; an error counts only with a margin of at least that.
    abort_early: end a sample's descent when a tenth of the steps brought its loss no lower. (The code ends the whole
        batch's, and asks for 0.01 %: too much where pixels are black or white, which start with hardly any slope.)
    stop_at_success: leave a sample at its first error within eps and spend no more on it. Where False, every sample
        takes every search: with a large eps, this is the minimum-norm attack.
    Returns the nearest error found, moved into the ball if it lies beyond eps; the input if there is none. At most
    searches * steps gradient evaluations per sample.
    """
    if norm != "l2":
        raise ValueError(f"norm must be l2; got {norm!r}")
    check_attack(inputs, labels, eps=eps, norm=norm)
    check_counts(steps=steps, searches=searches)
    for name, value in (("learning_rate", learning_rate), ("initial_constant", initial_constant)):
        if value <= 0:
            raise ValueError(f"{name} must be > 0; got {value}")
    if confidence < 0:
        raise ValueError(f"confidence must be >= 0; got {confidence}")
    xp = array_namespace(inputs)
    nearest = Nearest(inputs, norm=norm, enough=eps if stop_at_success else 0.0)
    constants = xp.full_like(nearest.distances, initial_constant)
    low, high = xp.zeros_like(constants), xp.full_like(constants, math.inf)
    for _ in range(searches):
        succeeded = _descend(target, nearest, labels, constants, steps, learning_rate, confidence, abort_early)
        low, high = xp.where(succeeded, low, constants), xp.where(succeeded, constants, high)
        constants = xp.where(xp.isinf(high), 10 * constants, (low + high) / 2)
    return nearest.within(eps)


def _descend(
    target: Target,
    nearest: Nearest,
    labels: Any,
    constants: Any,
    steps: int,
    learning_rate: float,
    confidence: float,
    abort_early: bool,
) -> Any:
    """Minimise at these constants (N,) for the samples that need a nearer image; which succeeded: bool (N,)."""
    xp = array_namespace(constants)
    succeeded = xp.zeros_like(labels, dtype=xp.bool)
    index = nearest.index
    clean = nearest.inputs[index]
    variable, zeros = xp.atanh((2 * clean - 1) * _INSIDE), xp.zeros_like(clean)
    loss = xp.full_like(constants[index], math.inf)
    state = _Descent(index, variable, zeros, zeros, clean, labels[index], constants[index], loss)
    for step in range(1, steps + 1):
        if len(state.index) == 0:
            break
        squashed = xp.tanh(state.variable)
        images = (squashed + 1) / 2
        weights = objective_weights(xp, "margin", len(state.index), device=device(images))
        logits, objectives, gradient = target.gradient(images, state.labels, state.labels, weights)
        margin = objectives[:, OBJECTIVES.index("margin")]
        adversarial = misclassified(logits, state.labels) & (margin >= confidence)
        succeeded[state.index] = succeeded[state.index] | adversarial
        going = nearest.record(state.index, images, adversarial)

        change = images - state.clean
        missing = xp.clip(confidence - margin, min=0.0)
        pull = xp.where(missing > 0, state.constants, 0.0)[:, None, None, None]
        slope = (2 * change - pull * gradient) * (1 - squashed**2) / 2
        mean = _MEAN * state.mean + (1 - _MEAN) * slope
        square = _SQUARE * state.square + (1 - _SQUARE) * slope**2
        scale = xp.sqrt(square / (1 - _SQUARE**step)) + _TINY
        variable = state.variable - learning_rate * mean / (1 - _MEAN**step) / scale
        state = state._replace(variable=variable, mean=mean, square=square)
        if abort_early and (step - 1) % max(steps // 10, 1) == 0:
            loss = xp.sum(change**2, axis=(1, 2, 3)) + state.constants * missing
            going = going & (loss < state.checkpoint_loss)
            state = state._replace(checkpoint_loss=loss)
        if not bool(xp.all(going)):
            state = _Descent(*(rows[going] for rows in state))
    return succeeded
