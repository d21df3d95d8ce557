"""The diverse-inputs attack with momentum (M-DI2-FGSM), Xie et al. 2019, https://arxiv.org/abs/1803.06978."""

from typing import Any

import numpy as np

from f2at.attacks import matrices
from f2at.attacks.target import Target
from f2at.attacks.threat import as_draws, check_attack
from f2at.attacks.white_box.mi_fgsm import gradient_of_objective, momentum_ascent


def di_fgsm(
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
    probability: float = 0.5,
    resize_rate: float = 0.9,
    objective: str = "cross_entropy",
) -> Any:
    """MI-FGSM along the gradient at a randomly shrunk image, zero-padded back to its size at a random place.

    Made to transfer: every sample takes every step, whatever `target` says of it. See `momentum_ascent`.
    probability: of a change, drawn for each sample and step; otherwise the image as it is.
    resize_rate: the smallest size, as a share of the image's; the largest is one pixel less than the image's.
    """
    check_attack(inputs, labels, eps=eps, norm=norm)
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must lie in [0, 1]; got {probability}")
    if not 0 < resize_rate <= 1:
        raise ValueError(f"resize_rate must lie in (0, 1]; got {resize_rate}")
    plain = gradient_of_objective(target, labels, objective, inputs)

    def gradient_of(images: Any, index: Any) -> tuple[Any, Any]:
        rows, columns = (as_draws(side, images) for side in _draw(rng, images.shape, probability, resize_rate))
        logits, gradient = plain(matrices.apply(rows, images, columns), index)
        return logits, matrices.adjoint(rows, gradient, columns)

    return momentum_ascent(gradient_of, inputs, eps=eps, norm=norm, steps=steps, step_size=step_size, momentum=momentum)


def _draw(
    rng: np.random.Generator, shape: tuple[int, ...], probability: float, resize_rate: float
) -> tuple[matrices.Matrix, matrices.Matrix]:
    """For each of n images the matrices of its change, (n, 1, H, H) and (n, 1, W, W); shape (n, 3, H, W)."""
    n, _, height, width = shape
    rows, columns = (np.tile(np.eye(size), (n, 1, 1, 1)) for size in (height, width))
    smallest = max(int(resize_rate * height), 1)
    for sample in np.flatnonzero(rng.random(n) < probability):
        resized = int(rng.integers(smallest, max(height, smallest + 1)))
        for matrix, size in ((rows, height), (columns, width)):
            length = max(round(resized * size / height), 1)
            matrix[sample, 0] = matrices.resize_and_pad(size, length, int(rng.integers(0, size - length + 1)))
    return rows, columns
