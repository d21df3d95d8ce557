"""8-bit images (N, H, W, 3), and the float inputs (N, 3, H, W) in [0, 1] that stand for them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 255  # steps of the uint8 grid
Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


def to_inputs(images: Images, dtype: type[np.floating[Any]] = np.float32) -> NDArray[Any]:
    """Model inputs (N, 3, H, W) in [0, 1] of 8-bit images (N, H, W, 3)."""
    inputs = images.transpose(0, 3, 1, 2).astype(dtype) / dtype(LEVELS)
    return np.asarray(inputs, order="C")


def to_images(inputs: NDArray[Any]) -> Images:
    """The nearest 8-bit images (N, H, W, 3) of inputs (N, 3, H, W) in [0, 1]."""
    pixels = np.rint(inputs * LEVELS).astype(np.uint8)
    return np.asarray(pixels.transpose(0, 2, 3, 1), order="C")
