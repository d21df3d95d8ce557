"""What every transformation takes: 8-bit images, and the parameters of each."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from f2at.images.pixels import Images


def check_images(images: Images) -> None:
    """Raise ValueError unless these are uint8 (N, H, W, 3) with pixels."""
    shape, dtype = getattr(images, "shape", None), getattr(images, "dtype", type(images))
    if dtype != np.uint8 or shape is None or len(shape) != 4 or shape[3] != 3 or 0 in shape[1:]:
        raise ValueError(f"images must be uint8 (N, H, W, 3); got {dtype} {shape}")


def of_each(images: Images, parameters: Any, *names: str) -> NDArray[np.float64]:
    """The parameters of each image, float64 (N, P), P the number of `names`.

    parameters: an array that broadcasts to that: (N, P), or (P,) for all images alike.

    Raises:
        ValueError: the images or the parameters are of another shape, or a parameter is not finite.
    """
    check_images(images)
    given = np.asarray(parameters, np.float64)
    shape = (len(images), len(names))
    try:
        found = np.broadcast_to(given, shape)
    except ValueError:
        accepted = f"(N, {len(names)}), {', '.join(names)} of each of {len(images)} images"
        raise ValueError(f"parameters must be {accepted}; got {given.shape}") from None
    if not np.isfinite(found).all():
        raise ValueError(f"parameters must be finite; got {float(found[~np.isfinite(found)][0])}")
    return found
