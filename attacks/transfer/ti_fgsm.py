"""The translation-invariant attack with momentum, Dong et al. 2019, https://arxiv.org/abs/1904.02884."""

from typing import Any

import numpy as np

from f2at.attacks import matrices
from f2at.attacks.target import Target
from f2at.attacks.threat import as_draws, check_attack, check_counts
from f2at.attacks.white_box.mi_fgsm import gradient_of_objective, momentum_ascent


def ti_fgsm(
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
    kernel_size: int = 7,
    kernel_sigmas: float = 3.0,
    objective: str = "cross_entropy",
) -> Any:
    """MI-FGSM along gradients smoothed by a Gaussian (Eq. 6): about the mean gradient of shifted copies of the image.

    Made to transfer: every sample takes every step, whatever `target` says of it. See `momentum_ascent`.
    kernel_size: odd, in pixels; kernel_sigmas: where its edge lies, in standard deviations. The paper's best size
        for 299 pixels a side is 15; 7 is for 32.
    """
    check_attack(inputs, labels, eps=eps, norm=norm)
    check_counts(kernel_size=kernel_size)
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd; got {kernel_size}")
    if kernel_sigmas < 0:
        raise ValueError(f"kernel_sigmas must be >= 0; got {kernel_sigmas}")
    kernel = matrices.gaussian(kernel_size, kernel_sigmas)
    rows, columns = (as_draws(matrices.convolution(kernel, size, edge="zero"), inputs) for size in inputs.shape[2:])
    plain = gradient_of_objective(target, labels, objective, inputs)

    def gradient_of(images: Any, index: Any) -> tuple[Any, Any]:
        logits, gradient = plain(images, index)
        return logits, matrices.apply(rows, gradient, columns)

    return momentum_ascent(gradient_of, inputs, eps=eps, norm=norm, steps=steps, step_size=step_size, momentum=momentum)
