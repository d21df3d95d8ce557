"""What the numbers of a picture's pixels mean: every mode, transparency and colour profile becomes plain sRGB."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms, ImageFile

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
_EIGHT_BITS = np.rint(np.arange(1 << 16) / 257).astype(np.uint8)  # of each 16-bit level
_STEPS = {"L;2": 85, "L;4": 17}  # between the levels of greyscale of few bits, which Pillow reads as 8
_STRIP = 1 << 18  # pixels
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


def name_transparent_level(image: Image.Image) -> None:
    """Before its pixels are read: count the transparent level of a PNG of 2 or 4 bits in 8, as the pixels will be."""
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    step = _STEPS.get(str(tiles[0].args)) if image.format == "PNG" and tiles else None
    if step and isinstance(image.info.get("transparency"), int):
        image.info["transparency"] *= step


def opaque(image: Image.Image) -> Image.Image:
    """The picture in mode L, RGB or CMYK: white shows through it, 16 bits are scaled to 8, palettes looked up."""
    if image.mode.startswith("I"):  # 16-bit greyscale, which Pillow would clip at 255
        levels = np.asarray(image)
        grey = _EIGHT_BITS[levels if levels.dtype.itemsize == 2 else levels.clip(0, 65535)]
        if (seen_through := image.info.get("transparency")) is not None:
            grey[levels == seen_through] = 255
        return Image.fromarray(grey)
    if image.mode in ("LA", "RGBA", "La", "RGBa", "PA") or "transparency" in image.info:
        return _over_white(image)
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    """A picture with transparency on a white ground, in mode L or RGB; in strips, which take a third of the memory."""
    mode = "L" if image.mode in ("LA", "La") else "RGB"
    ground = Image.new(mode, image.size, "white")
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        layers = image.crop(box).convert("LA" if mode == "L" else "RGBA")
        ground.paste(layers.convert(mode), box, layers.getchannel("A"))
    return ground


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
