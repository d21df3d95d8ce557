"""Filters and geometry of the corruptions: of inputs (N, C, H, W), float64."""

import numpy as np
from numpy.typing import NDArray

from f2at.attacks import matrices

Inputs = NDArray[np.float64]
_REACH = 4  # standard deviations that a blur looks away


def smooth(inputs: Inputs, sigma: float, *, edge: str = "nearest", reach: float = _REACH) -> Inputs:
    """A Gaussian filter, sigma in pixels, cut off `reach` standard deviations away."""
    radius = round(reach * sigma)
    if radius == 0:
        return inputs
    kernel = matrices.gaussian(2 * radius + 1, radius / sigma)
    rows, columns = (matrices.convolution(kernel, size, edge=edge) for size in inputs.shape[2:])
    return np.asarray(matrices.apply(rows, inputs, columns))


def correlate(inputs: Inputs, kernel: NDArray[np.float64]) -> Inputs:
    """Correlation with a kernel (K, K), K odd; beyond its edges the image is mirrored in its outermost pixels."""
    reach = len(kernel) // 2
    padded = np.pad(inputs, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="reflect")
    size = padded.shape[2:]
    product = np.fft.rfft2(padded) * np.conj(np.fft.rfft2(kernel, size))
    height, width = inputs.shape[2:]
    return np.asarray(np.fft.irfft2(product, size)[:, :, :height, :width])


def streak(inputs: Inputs, degrees: NDArray[np.float64], *, radius: int, sigma: float) -> Inputs:
    """Motion to one side, `degrees` (N,) clockwise from the right: the weighted mean of 2 radius + 1 pixels on the way.

    The weights are half of a Gaussian. Pixels are the nearest to the way; beyond its edges the image repeats them.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-((steps / sigma) ** 2) / 2)
    weights /= weights.sum()
    height, width = inputs.shape[2:]
    blurred = np.zeros_like(inputs)
    for image, angle, total in zip(inputs, np.deg2rad(degrees), blurred, strict=True):
        ways = (np.ceil(steps * np.sin(angle) - 0.5), np.ceil(steps * np.cos(angle) - 0.5))
        downs, rights = (way.astype(int) for way in ways)
        for down, right, weight in zip(downs, rights, weights, strict=True):
            rows = np.arange(down, down + height).clip(0, height - 1)
            columns = np.arange(right, right + width).clip(0, width - 1)
            total += weight * image[:, rows[:, None], columns]
    return blurred


def zoom(inputs: Inputs, factor: float) -> Inputs:
    """The middle of the image, enlarged by a factor of at least 1 to its size, by bilinear interpolation."""
    rows, columns = (_zoom_matrix(size, factor) for size in inputs.shape[2:])
    return np.asarray(matrices.apply(rows, inputs, columns))


def _zoom_matrix(size: int, factor: float) -> NDArray[np.float64]:
    """(size, size): `seen` values in the middle, stretched to `stretched` with end on end, and their middle again."""
    seen = int(np.ceil(size / factor))
    stretched = round(seen * factor)
    points = (np.arange(size) + (stretched - size) // 2) * (seen - 1) / max(stretched - 1, 1) + (size - seen) // 2
    return np.asarray(np.maximum(0, 1 - np.abs(points[:, None] - np.arange(size))))


def sample(inputs: Inputs, rows: NDArray[np.float64], columns: NDArray[np.float64], *, edge: str) -> Inputs:
    """Bilinear interpolation at points (N, H', W') of each image: (N, C, H', W').

    edge: what lies beyond the image, itself mirrored: "reflect" in its outermost pixels, "symmetric" in its rim.
    """
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = (rows - top)[:, None], (columns - left)[:, None]
    height, width = inputs.shape[2:]
    each = np.arange(len(inputs))[:, None, None]

    def at(row: NDArray[np.int64], column: NDArray[np.int64]) -> Inputs:
        found = inputs[each, :, mirrored(row, height, edge), mirrored(column, width, edge)]
        return np.moveaxis(found, -1, 1)

    above = at(top, left) * (1 - right) + at(top, left + 1) * right
    below = at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right
    return np.asarray(above * (1 - down) + below * down)


def mirrored(index: NDArray[np.int64], size: int, edge: str) -> NDArray[np.int64]:
    """Where in 0 ... size - 1 a mirror at the ends shows what lies beyond; `edge` as in `sample`."""
    if edge == "symmetric":
        folded = index % (2 * size)
        return np.minimum(folded, 2 * size - 1 - folded)
    if size == 1:
        return np.zeros_like(index)
    folded = index % (2 * size - 2)
    return np.minimum(folded, 2 * size - 2 - folded)
