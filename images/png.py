"""Pictures as PNG files."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def png(image: NDArray[np.uint8]) -> bytes:
    """An 8-bit image, (H, W, 3) or grey (H, W), as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def base64_png(image: NDArray[np.uint8]) -> str:
    """The same in base64, for JSON and data URLs."""
    return base64.b64encode(png(image)).decode("ascii")
