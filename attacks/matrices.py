"""Linear operations on images as matrices A and B, one for each side: x -> A x B^T. The adjoint is g -> A^T g B."""

from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def apply(left: Any, images: Any, right: Any) -> Any:
    """A x B^T of images (N, 3, H, W), A (H', H) and B (W', W), or one of each for every image (N, 1, H', H)."""
    return left @ images @ array_namespace(right).matrix_transpose(right)


def adjoint(left: Any, gradients: Any, right: Any) -> Any:
    """A^T g B, of gradients (N, 3, H', W'): <apply(A, x, B), g> = <x, adjoint(A, g, B)>."""
    return array_namespace(left).matrix_transpose(left) @ gradients @ right


def gaussian(length: int, sigmas: float) -> Matrix:
    """A Gaussian kernel (length,) of sum 1, whose outermost values lie `sigmas` standard deviations out."""
    values = np.exp(-(np.linspace(-sigmas, sigmas, length) ** 2) / 2)
    return np.asarray(values / values.sum(), np.float64)


def convolution(kernel: Matrix, size: int, *, edge: str) -> Matrix:
    """(size, size): correlation of `size` values with an odd, centred kernel.

    edge: what lies beyond the ends, "zero", "nearest", the end's own value, or "symmetric", the values backwards.
    """
    matrix = np.zeros((size, size))
    row = np.arange(size)
    for offset, value in enumerate(kernel, start=-(len(kernel) // 2)):
        column = row + offset
        if edge == "symmetric":
            column = np.minimum(column % (2 * size), -1 - column % (-2 * size))
        inside = (column >= 0) & (column < size) if edge == "zero" else np.ones(size, bool)
        np.add.at(matrix, (row[inside], column.clip(0, size - 1)[inside]), value)
    return matrix


def resize_and_pad(size: int, resized: int, offset: int) -> Matrix:
    """(size, size): linear interpolation of `size` values at `resized` <= size points, `offset` zeros before them.

    Pixels are areas: the point i lies at (i + 1/2) size / resized - 1/2, clipped to the image.
    """
    points = ((np.arange(resized) + 0.5) * size / resized - 0.5).clip(0, size - 1)
    below = np.floor(points).astype(int).clip(0, max(size - 2, 0))
    row = offset + np.arange(resized)
    matrix = np.zeros((size, size))
    matrix[row, below] = 1 - (points - below)
    if size > 1:
        matrix[row, below + 1] = points - below
    return matrix
