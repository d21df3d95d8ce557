"""MI-FGSM with variance tuning, Wang and He 2021, https://arxiv.org/abs/2103.15571."""

from typing import Any

import numpy as np
from array_api_compat import array_namespace

from f2at.attacks.target import Target
from f2at.attacks.threat import check_attack, uniform_start
from f2at.attacks.white_box.mi_fgsm import gradient_of_objective, momentum_ascent


def vmi_fgsm(
    target: Target,
    inputs: Any,
    labels: Any,
    *,
    eps: float,
    norm: str = "linf",
    rng: np.random.Generator,
    steps: int = 10,
    step_size: float | None = None,
    momentum: float = 1.0,
    neighbours: int = 5,
    beta: float = 1.5,
    objective: str = "cross_entropy",
) -> Any:
    """MI-FGSM along g + v, v the mean gradient around the last iterate less the gradient there (Algorithm 1, Eq. 7).

    Made to transfer: every sample takes every step, whatever `target` says of it. See `momentum_ascent`.
    neighbours: random points around each iterate, uniform in a ball of radius beta eps; unlike the authors', they
        are clipped to [0, 1]. Each costs a gradient evaluation: (neighbours + 1) steps of them per sample.
    """
    check_attack(inputs, labels, eps=eps, norm=norm)
    if not isinstance(neighbours, int) or neighbours < 0:
        raise ValueError(f"neighbours must be an integer of at least 0; got {neighbours!r}")
    if beta < 0:
        raise ValueError(f"beta must be >= 0; got {beta}")
    xp = array_namespace(inputs)
    plain = gradient_of_objective(target, labels, objective, inputs)
    variance = xp.zeros_like(inputs)

    def gradient_of(images: Any, index: Any) -> tuple[Any, Any]:
        logits, gradient = plain(images, index)
        tuned = gradient + variance[index]
        around = xp.zeros_like(gradient)
        for _ in range(neighbours):
            neighbour = uniform_start(images, rng, eps=beta * eps, norm=norm)
            around = around + plain(neighbour, index)[1]
        if neighbours:
            variance[index] = around / neighbours - gradient
        return logits, tuned

    return momentum_ascent(gradient_of, inputs, eps=eps, norm=norm, steps=steps, step_size=step_size, momentum=momentum)
