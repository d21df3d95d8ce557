"""Pictures as PNG files."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8] | Image.Image  # an 8-bit array, (H, W, 3) or grey (H, W), or Pillow's


def png(picture: Picture, *, compress_level: int = -1) -> bytes:
    """A picture as a PNG file; compress_level from 0, fast, to 9, small; -1 leaves it to zlib."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=compress_level)
    return buffer.getvalue()


def base64_png(picture: Picture, *, compress_level: int = -1) -> str:
    """The same in base64, for JSON and data URLs."""
    return base64.b64encode(png(picture, compress_level=compress_level)).decode("ascii")


def data_url(picture: Picture) -> str:
    """The same as a data: URL."""
    return f"data:image/png;base64,{base64_png(picture)}"


def read_base64_png(text: str) -> NDArray[np.uint8]:
    """The pixels (H, W, 3) of a PNG file in base64."""
    with Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"]) as image:
        return np.asarray(image.convert("RGB"))
