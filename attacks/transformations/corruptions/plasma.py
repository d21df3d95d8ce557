"""Clouds."""

import numpy as np

from f2at.attacks.transformations.corruptions.filters import Inputs


def plasma(rng: np.random.Generator, count: int, side: int, decay: float) -> Inputs:
    """Plasma fractals by the diamond-square algorithm on a torus, (N, 1, S, S) from 0 to 1, S a power of 2 >= side.

    decay: the root of what the random part is divided by, each time that the step is halved.
    """
    size = max(2, 1 << (side - 1).bit_length())
    heights = np.zeros((count, size, size))
    step, amplitude = size, 1.0
    while step > 1:
        half = step // 2
        corners, centres = heights[:, ::step, ::step], heights[:, half::step, half::step]

        def near(*four: Inputs, amplitude: float = amplitude) -> Inputs:
            total = sum(four[1:], start=four[0])
            return total / 4 + rng.uniform(-amplitude, amplitude, total.shape)

        below, right = np.roll(corners, -1, axis=1), np.roll(corners, -1, axis=2)
        centres[:] = near(corners, below, right, np.roll(below, -1, axis=2))
        heights[:, ::step, half::step] = near(corners, right, centres, np.roll(centres, 1, axis=1))
        heights[:, half::step, ::step] = near(corners, below, centres, np.roll(centres, 1, axis=2))
        step, amplitude = half, amplitude / decay**2
    heights -= heights.min(axis=(1, 2), keepdims=True)
    return np.asarray(heights / heights.max(axis=(1, 2), keepdims=True))[:, None]
