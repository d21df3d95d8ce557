"""An image file from anywhere to pixels of one size, or an error that says what to send instead."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from f2at.arguments import ArgumentError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")


class ImageError(ArgumentError):
    """An image that is not taken."""

    def __init__(self, message: str, *, accepted: str | list[str], received: str) -> None:
        super().__init__("image", accepted, received, message)


class UnsupportedImageError(ImageError):
    """It is none of FORMATS."""


class TooManyPixelsError(ImageError):
    """It claims more pixels than are accepted."""


class UnreadableImageError(ImageError):
    """It is truncated or damaged."""


def decode_image(data: bytes, *, size: tuple[int, int], max_pixels: int) -> NDArray[np.uint8]:
    """Decode an image file and bring it to `size`.

    The format is read from the content, never from a declared type. EXIF orientation is applied, transparency is laid
    over white, 16-bit greyscale is scaled to 8 bits, animations give their first frame. An image of another size is
    resized with an antialiased bilinear filter, without keeping its aspect ratio.

    Args:
        data: the file.
        size: (height, width) in pixels.
        max_pixels: the largest width x height accepted; checked on the header, before any pixel is decoded.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        UnsupportedImageError: not one of FORMATS.
        TooManyPixelsError: more than `max_pixels`.
        UnreadableImageError: truncated or damaged.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many_pixels(max_pixels, None) from None
    except Exception as error:  # hostile bytes make Pillow raise almost anything
        raise UnsupportedImageError(
            f"The image is not a file that is read here; send {', '.join(FORMATS)}.",
            accepted=list(FORMATS),
            received=f"{len(data)} bytes that begin with {data[:8].hex() or 'nothing'}",
        ) from error
    with image:
        if image.width * image.height > max_pixels:
            raise _too_many_pixels(max_pixels, image.size)
        try:
            pixels = _rgb(ImageOps.exif_transpose(image))
            if pixels.size != size[::-1]:
                pixels = pixels.resize(size[::-1], Image.Resampling.BILINEAR)
        except Exception as error:
            raise UnreadableImageError(
                f"The {image.format or 'image'} file is truncated or damaged ({error}); send it again, whole.",
                accepted="a whole file",
                received=f"{len(data)} bytes",
            ) from error
    return np.asarray(pixels, dtype=np.uint8)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit greyscale, which Pillow would clip at 255
        levels = np.asarray(image).astype(np.float64) / 257
        image = Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _too_many_pixels(max_pixels: int, received: tuple[int, int] | None) -> TooManyPixelsError:
    return TooManyPixelsError(
        f"The image has too many pixels; send one of at most {max_pixels:,} (width x height).",
        accepted=f"at most {max_pixels} pixels",
        received=f"{received[0]} x {received[1]}" if received else "far more",
    )
