"""Projected gradient descent, Madry et al. 2018, https://arxiv.org/abs/1706.06083."""

from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from f2at.attacks.objectives import objective_weights
from f2at.attacks.survivors import Survivors, misclassified
from f2at.attacks.target import Target
from f2at.attacks.threat import as_draws, check_attack, check_counts, project, step, uniform_start

STARTS = ("uniform", "gaussian", "none")
GAUSSIAN_SCALE = 0.001  # of the "gaussian" start, in pixel units (TRADES' official code)


def pgd(
    target: Target,
    inputs: Any,
    labels: Any,
    initial: Any | None = None,
    *,
    eps: float,
    norm: str = "linf",
    rng: np.random.Generator,
    steps: int = 20,
    step_size: float | None = None,
    start: str = "uniform",
    restarts: int = 1,
    objective: str = "cross_entropy",
    stop_at_success: bool = True,
) -> Any:
    """Steps of `step_size` along sign(g) (linf), g / |g| (l2) or the signs of g's largest entries (l1), then projected.

    Projected is back into the ball and [0, 1]; the sparse steps are those of SLIDE, https://arxiv.org/abs/1904.13000.

    initial: points in the ball to start from, in place of `start`: a caller on a GPU draws them there.
    step_size: in pixel units; None means 2.5 eps / steps, which can cross the ball whatever the number of steps.
    start: "uniform" in the ball, "gaussian" (the input + 0.001 N(0, 1)), or "none" (the input itself).
    stop_at_success: leave each sample at its first misclassified iterate and spend no more on it. Where False,
        as in training, every sample takes every step and nothing waits for the device: equal cost, last iterate.
    """
    check_attack(inputs, labels, eps=eps, norm=norm)
    check_counts(steps=steps, restarts=restarts)
    if start not in STARTS:
        raise ValueError(f"start must be one of {', '.join(STARTS)}; got {start!r}")
    if restarts > 1 and not (stop_at_success and initial is None):
        raise ValueError(f"restarts must be 1 where stop_at_success is False or initial is given; got {restarts}")
    if initial is not None and initial.shape != inputs.shape:
        raise ValueError(f"initial must have the shape of inputs, {tuple(inputs.shape)}; got {tuple(initial.shape)}")
    step_size = 2.5 * eps / steps if step_size is None else step_size
    if step_size <= 0:
        raise ValueError(f"step_size must be > 0; got {step_size}")
    xp = array_namespace(inputs)

    def begin(clean: Any) -> Any:
        if initial is not None:
            return initial
        if start == "uniform":
            return uniform_start(clean, rng, eps=eps, norm=norm)
        if start == "gaussian":
            draws = as_draws(GAUSSIAN_SCALE * rng.standard_normal(clean.shape, np.float32), clean)
            return project(clean + draws, clean, eps=eps, norm=norm)
        return clean

    def ascend(current: Any, gradient: Any, clean: Any) -> Any:
        return project(step(current, gradient, size=step_size, norm=norm), clean, eps=eps, norm=norm)

    def weights(rows: int) -> Any:
        return objective_weights(xp, objective, rows, device=device(inputs))

    if not stop_at_success:
        current, picked = begin(inputs), weights(inputs.shape[0])
        for _ in range(steps):
            current = ascend(current, target.gradient(current, labels, labels, picked).gradient, inputs)
        return current

    survivors = Survivors(inputs)
    for _ in range(restarts):
        clean, y = inputs[survivors.index], labels[survivors.index]
        current = begin(clean)
        for _ in range(steps):
            if len(survivors) == 0:
                return survivors.images
            logits, _, gradient = target.gradient(current, y, y, weights(len(survivors)))
            current, gradient, clean, y = survivors.drop(misclassified(logits, y), current, gradient, clean, y)
            current = ascend(current, gradient, clean)
        survivors.judge_last(target, labels, current)
    return survivors.images
