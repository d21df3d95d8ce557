"""A universal perturbation: one change of pixels that fools the model on as many images as it can.

Moosavi-Dezfooli et al. 2017, https://arxiv.org/abs/1610.08401; found by stochastic gradient ascent, as in Shafahi et
al. 2020, https://arxiv.org/abs/1811.11304, who clip each image's loss for the reason that a sigmoid is taken here.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from f2at.attacks.objectives import OBJECTIVES, margins, objective_weights
from f2at.attacks.survivors import misclassified
from f2at.attacks.target import Target
from f2at.attacks.threat import as_draws, check_attack, check_counts

_MARGIN = OBJECTIVES.index("margin")
_TINY = 1e-12
_LEAST = 0.05  # of the step: the last ones are no shorter


def universal(
    target: Target,
    inputs: Any,
    labels: Any,
    *,
    eps: float,
    rng: np.random.Generator,
    restarts: int = 2,
    passes: int = 10,
    batch: int = 25,
    step_size: float = 0.5,
    softness: float = 0.5,
) -> Any:
    """One perturbation (3, H, W), within eps in linf, under which the target is wrong on many of these images.

    Each run starts from a corner of the ball drawn at random and goes through the images, in batches and in another
    order each time. A step follows the sign of the summed gradients of a sigmoid of the margin, the smooth count of
    errors: images near the boundary count most, those that are wrong by far or out of reach count little. The sigmoid
    is `softness` mean margins wide; the step falls from `step_size`, in eps, along a cosine. What is returned is the
    end of the run with the most images wrong, of the larger mean margin where as many are.

    inputs: float (N, 3, H, W) in [0, 1], N at least 1; labels: integers (N,). See `most_of_universal` for its cost.
    """
    check_attack(inputs, labels, eps=eps, norm="linf")
    check_counts(restarts=restarts, passes=passes, batch=batch)
    if not 0 < step_size <= 2:
        raise ValueError(f"step_size must lie in (0, 2]; got {step_size}")
    if softness <= 0:
        raise ValueError(f"softness must be > 0; got {softness}")
    if not inputs.shape[0]:
        raise ValueError("inputs must be at least 1 image; got none")
    xp = array_namespace(inputs)
    found = []
    for _ in range(restarts):
        change = as_draws(eps * (rng.integers(0, 2, inputs.shape[1:]) * 2.0 - 1.0), inputs)
        orders = [rows for _ in range(passes) for rows in _batches(rng, inputs.shape[0], batch)]
        for number, rows in enumerate(orders):
            at = xp.asarray(rows, device=device(inputs))
            images, y = xp.clip(inputs[at] + change, min=0.0, max=1.0), labels[at]
            weights = objective_weights(xp, "margin", len(rows), device=device(inputs))
            _, values, gradient = target.gradient(images, y, y, weights)
            weight = _slope(values[:, _MARGIN], softness)
            total = xp.sum(weight[:, None, None, None] * gradient, axis=0)
            size = eps * step_size * max((1 + math.cos(math.pi * number / len(orders))) / 2, _LEAST)
            change = xp.clip(change + size * xp.sign(total), min=-eps, max=eps)
        logits = target.logits(xp.clip(inputs + change, min=0.0, max=1.0))
        wrong = int(xp.sum(xp.astype(misclassified(logits, labels), xp.int64)))
        score = wrong, float(xp.mean(margins(logits, labels)))
        found.append((score, change))
    return max(found, key=lambda entry: entry[0])[1]


def most_of_universal(parameters: Mapping[str, Any], images: int) -> int:
    """The evaluations that it takes on so many images in all, forward and gradient, never fewer."""
    return int(parameters["restarts"]) * (int(parameters["passes"]) + 1) * images


def _slope(values: Any, softness: float) -> Any:
    """Of a sigmoid of margins (N,), so many times their mean size wide."""
    xp = array_namespace(values)
    scaled = xp.abs(values) / (softness * xp.mean(xp.abs(values)) + _TINY)
    falling = xp.exp(-scaled)
    return falling / (1 + falling) ** 2


def _batches(rng: np.random.Generator, count: int, size: int) -> list[NDArray[np.int64]]:
    """All of so many, in random order, in batches of at most `size`."""
    return np.array_split(rng.permutation(count), math.ceil(count / size))
