import base64

import numpy as np
from PIL import Image

from f2at.images.png import base64_png, png, read_base64_png

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)


def test_every_pixel_survives() -> None:
    for level in (-1, 0, 9):
        np.testing.assert_array_equal(read_base64_png(base64_png(PIXELS, compress_level=level)), PIXELS)
    grey = read_base64_png(base64_png(PIXELS[..., 0]))
    np.testing.assert_array_equal(grey, np.broadcast_to(PIXELS[..., :1], grey.shape))


def test_arrays_and_images_give_the_same_file() -> None:
    assert png(PIXELS) == png(Image.fromarray(PIXELS)) == base64.b64decode(base64_png(PIXELS))
    assert png(PIXELS).startswith(b"\x89PNG\r\n\x1a\n")
