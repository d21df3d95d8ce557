"""The fast gradient sign method, Goodfellow, Shlens and Szegedy 2015, https://arxiv.org/abs/1412.6572."""

from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from f2at.attacks import l1
from f2at.attacks.objectives import objective_weights
from f2at.attacks.target import Target
from f2at.attacks.threat import check_attack, project, steepest


def fgsm(
    target: Target,
    inputs: Any,
    labels: Any,
    *,
    eps: float,
    norm: str = "linf",
    rng: np.random.Generator,  # noqa: ARG001  (every attack takes one; this one draws nothing)
    objective: str = "cross_entropy",
) -> Any:
    """One step of length eps along the gradient: x + eps sign(g) for linf, x + eps g / |g| for l2.

    For l1, the largest entries of the gradient go to the edge of [0, 1] until eps is spent. One gradient evaluation
    per sample. Exact where the margin is linear in the input; for l2, unless [0, 1] cuts in.
    """
    check_attack(inputs, labels, eps=eps, norm=norm)
    weights = objective_weights(array_namespace(inputs), objective, inputs.shape[0], device=device(inputs))
    gradient = target.gradient(inputs, labels, labels, weights).gradient
    if norm == "l1":
        return l1.furthest(inputs, gradient, eps=eps)
    return project(inputs + eps * steepest(gradient, norm), inputs, eps=eps, norm=norm)
