"""The picture gallery: a clean image, the change, the adversarial image, its patterns, and both images' bit-planes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from f2at.images.bitplanes import BITS, bit_planes, natural_pattern, perturbed_pattern
from f2at.images.pixels import Images
from f2at.images.png import base64_png, read_base64_png

PLANES = 2  # K of the patterns shown, the paper's
_SHOWN_SIDE = 128  # small images are enlarged to at least this many pixels, so that no viewer blurs them
_PLANE_SIDE = 96  # bit-planes of larger images show every second pixel, every third, ...
NOTHING = "nothing (no finite answer)"
# What a pixel's three bits, red first, look like.
_BIT_COLOURS = [255 * (code >> shift & 1) for code in range(8) for shift in (2, 1, 0)]


def gallery(examples: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> list[dict[str, Any]]:
    """For each example of a report its numbers, the names of its classes and its pictures as data URIs."""
    return [_pictures(example, classes) for example in examples]


def _pictures(example: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    clean, adversarial = read_base64_png(example["clean"]), read_base64_png(example["adversarial"])
    change = adversarial.astype(int) - clean.astype(int)
    gain = max(1, 127 // max(1, int(np.abs(change).max())))
    lift = 255 // (2 ** (BITS - PLANES) - 1)
    views = [
        ("Clean", clean),
        (f"Perturbation, \u00d7{gain}" if gain > 1 else "Perturbation", np.clip(128 + gain * change, 0, 255)),
        ("Adversarial", adversarial),
        ("Natural pattern", natural_pattern(adversarial, planes=PLANES)),
        (f"Perturbed pattern, \u00d7{lift}", lift * perturbed_pattern(adversarial, planes=PLANES)),
    ]
    name, prediction = classes[example["label"]], example["adversarial_prediction"]
    mistaken_for = NOTHING if prediction is None else classes[prediction]
    return {
        **example,
        "name": name,
        "mistaken_for": mistaken_for,
        "views": [{"title": title, "src": enlarged(pixels.astype(np.uint8))} for title, pixels in views],
        "planes": [
            {"title": title, "pictures": [_plane(plane) for plane in bit_planes(image)[::-1]]}
            for title, image in (("Clean", clean), ("Adversarial", adversarial))
        ],
    }


def enlarged(pixels: Images) -> str:
    """A data URI of a picture, large enough that no viewer blurs it."""
    image = Image.fromarray(pixels)
    factor = max(1, -(-_SHOWN_SIDE // min(image.size)))
    return _data_uri(image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST))


def _plane(bits: Images) -> str:
    """Zeros and ones (H, W, 3) as a picture of eight colours, one for every way to set three bits."""
    stride = -(-max(bits.shape[:2]) // _PLANE_SIDE)
    bits = bits[::stride, ::stride]
    image = Image.fromarray(bits[..., 0] << 2 | bits[..., 1] << 1 | bits[..., 2])
    image.putpalette(_BIT_COLOURS)
    return _data_uri(image)


def _data_uri(image: Image.Image) -> str:
    # Level 3: of noise nearly as small as at 9, and much faster.
    return f"data:image/png;base64,{base64_png(image, compress_level=3)}"
