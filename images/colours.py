"""What the numbers of a picture's pixels mean: every mode, transparency and colour profile becomes plain sRGB."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PROFILES = 16  # of cameras and editors in use at one time; to make a transform takes longer than to apply it


def orientation(image: Image.Image) -> int:
    """How the picture must be turned to stand upright, 1 to 8, as EXIF numbers it; damaged EXIF says nothing: 1."""
    try:
        found = image.getexif().get(_ORIENTATION)
        return found if found in _TURNS else 1
    except Exception:  # hostile bytes make Pillow raise almost anything
        return 1


def upright(image: Image.Image) -> Image.Image:
    """A picture whose pixels are read, turned as its EXIF says."""
    turn = orientation(image)
    return image.transpose(_TURNS[turn]) if turn in _TURNS else image


def opaque(image: Image.Image) -> Image.Image:
    """The picture in mode L, RGB or CMYK: white shows through it, 16 bits are scaled to 8, palettes looked up."""
    if image.mode.startswith("I"):  # 16-bit greyscale, which Pillow would clip at 255
        levels = np.asarray(image).astype(np.float64) / 257
        return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
    if image.mode in ("LA", "RGBA", "La", "RGBa", "PA") or "transparency" in image.info:
        layers = image.convert("LA" if image.mode in ("LA", "La") else "RGBA")
        *_, alpha = layers.split()
        colours = layers.convert("L" if layers.mode == "LA" else "RGB")
        return Image.composite(colours, Image.new(colours.mode, colours.size, "white"), alpha)
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An opaque picture as RGB, by its ICC profile; without one, or with one that does not fit it, it is sRGB."""
    if profile:
        try:
            return _transform(profile, image.mode).apply(image)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):  # damaged, or of another kind of picture
            pass
    return image.convert("RGB")


@lru_cache(_PROFILES)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    # Without the cache of the last pixel, threads can share it.
    return ImageCms.buildTransform(
        io.BytesIO(profile), ImageCms.createProfile("sRGB"), mode, "RGB", flags=ImageCms.Flags.NOCACHE
    )
