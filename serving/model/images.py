"""Turns untrusted files into model inputs with `f2at.images.decode`; refusals become problems."""

import numpy as np
from numpy.typing import NDArray

from f2at.images import decode
from f2at.images.preparation import Preparation
from f2at.serving.problems import Problem

_PROBLEMS: dict[type[decode.ImageError], tuple[int, str]] = {
    decode.UnsupportedImageError: (415, "unsupported-image"),
    decode.TooManyPixelsError: (413, "image-too-large"),
    decode.UnreadableImageError: (422, "unreadable-image"),
}


def decode_image(data: bytes, preparation: Preparation, *, max_pixels: int) -> NDArray[np.uint8]:
    """The pixels of an image file, uint8 (H, W, 3), prepared for the model; see `f2at.images.decode`.

    Raises:
        Problem: 415 an unsupported format, 413 too many pixels, 422 truncated or otherwise unreadable.
    """
    try:
        return decode.decode_image(data, preparation, max_pixels=max_pixels)
    except decode.ImageError as error:
        status, kind = _PROBLEMS[type(error)]
        raise Problem(status, kind, str(error), **vars(error)) from error
