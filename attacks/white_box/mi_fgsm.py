"""The momentum iterative fast gradient sign method, Dong et al. 2018, https://arxiv.org/abs/1710.06081."""

from collections.abc import Callable
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from f2at.attacks.objectives import objective_weights
from f2at.attacks.survivors import Survivors, misclassified
from f2at.attacks.target import Target
from f2at.attacks.threat import check_attack, check_counts, project, step

GradientOf = Callable[[Any, Any], tuple[Any, Any]]
"""(images (n, 3, H, W), index (n,): their rows in the batch) -> their logits (n, C), the gradient to follow there."""


def mi_fgsm(
    target: Target,
    inputs: Any,
    labels: Any,
    *,
    eps: float,
    norm: str = "linf",
    rng: np.random.Generator,  # noqa: ARG001  (every attack takes one; this one draws nothing)
    steps: int = 10,
    step_size: float | None = None,
    momentum: float = 1.0,
    objective: str = "cross_entropy",
    stop_at_success: bool = True,
) -> Any:
    """Steps from the input along the accumulated gradient (Algorithm 1, Eq. 6 and 7); see `momentum_ascent`."""
    check_attack(inputs, labels, eps=eps, norm=norm)
    return momentum_ascent(
        gradient_of_objective(target, labels, objective, inputs),
        inputs,
        eps=eps,
        norm=norm,
        steps=steps,
        step_size=step_size,
        momentum=momentum,
        judge=(target, labels) if stop_at_success else None,
    )


def gradient_of_objective(target: Target, labels: Any, objective: str, inputs: Any) -> GradientOf:
    """The plain gradient: of `objective` for the batch's labels (N,), at images of the samples asked for."""
    weights = objective_weights(array_namespace(inputs), objective, inputs.shape[0], device=device(inputs))

    def gradient_of(images: Any, index: Any) -> tuple[Any, Any]:
        y = labels[index]
        logits, _, gradient = target.gradient(images, y, y, weights[index])
        return logits, gradient

    return gradient_of


def momentum_ascent(
    gradient_of: GradientOf,
    inputs: Any,
    *,
    eps: float,
    norm: str,
    steps: int,
    step_size: float | None,
    momentum: float,
    judge: tuple[Target, Any] | None = None,
) -> Any:
    """MI-FGSM along any gradient: m <- momentum m + g / |g|_1, x <- x + step_size sign(m) (linf) or m / |m| (l2).

    For l1, x moves along the signs of m's largest entries (`threat.step`).

    gradient_of: see GradientOf. State that it keeps for each sample belongs in arrays of the whole batch, read and
        written at `index`. Its logits are read only where there is a judge, and must then be those of the images
        themselves.
    step_size: in pixel units; None means eps / steps, which just reaches the ball's edge.
    judge: the model and the batch's labels (N,); each sample leaves at its first misclassified iterate and nothing
        more is spent on it. Without one, as an attack needs that is to transfer to another model, every sample takes
        every step.
    Every iterate is projected back into the ball and [0, 1].
    """
    check_counts(steps=steps)
    step_size = eps / steps if step_size is None else step_size
    if step_size <= 0:
        raise ValueError(f"step_size must be > 0; got {step_size}")
    if momentum < 0:
        raise ValueError(f"momentum must be >= 0; got {momentum}")
    xp = array_namespace(inputs)
    survivors = Survivors(inputs)
    current, clean, accumulated = inputs, inputs, xp.zeros_like(inputs)
    for _ in range(steps):
        if len(survivors) == 0:
            return survivors.images
        logits, gradient = gradient_of(current, survivors.index)
        if judge is not None:
            broken = misclassified(logits, judge[1][survivors.index])
            current, clean, accumulated, gradient = survivors.drop(broken, current, clean, accumulated, gradient)
        accumulated = momentum * accumulated + _unit_l1(xp, gradient)
        current = project(step(current, accumulated, size=step_size, norm=norm), clean, eps=eps, norm=norm)
    if judge is not None:
        survivors.judge_last(*judge, current)
        return survivors.images
    return current


def _unit_l1(xp: Any, gradient: Any) -> Any:
    """Each sample's gradient over the sum of its absolute entries; zero stays zero."""
    total = xp.sum(xp.abs(gradient), axis=(1, 2, 3), keepdims=True)
    return gradient / xp.clip(total, min=xp.finfo(gradient.dtype).smallest_normal)
