"""Untrusted bytes to a model input, or an error that says what to send instead."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from f2at.serving.problems import Problem

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")


def decode_image(data: bytes, *, size: tuple[int, int], max_pixels: int) -> NDArray[np.uint8]:
    """Decode an image file and bring it to the model's input size.

    The format is read from the content, never from a declared type. EXIF orientation is applied, transparency is laid
    over white, 16-bit greyscale is scaled to 8 bits, animations give their first frame. An image of another size is
    resized with an antialiased bilinear filter, without keeping its aspect ratio.

    Args:
        data: the file.
        size: (height, width) of the model's input in pixels.
        max_pixels: the largest width x height accepted; checked on the header, before any pixel is decoded.

    Returns:
        uint8 (H,W,3), RGB.

    Raises:
        Problem: 415 not one of FORMATS, 413 too many pixels, 422 truncated or otherwise unreadable.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many_pixels(max_pixels, None) from None
    except Exception as error:  # hostile bytes make Pillow raise almost anything
        raise Problem(
            415,
            "unsupported-image",
            f"The image is not a file this service reads; send {', '.join(FORMATS)}.",
            argument="image",
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
            raise Problem(
                422,
                "unreadable-image",
                f"The {image.format or 'image'} file is truncated or damaged ({error}); send it again, whole.",
                argument="image",
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


def _too_many_pixels(max_pixels: int, received: tuple[int, int] | None) -> Problem:
    came = f"{received[0]} x {received[1]}" if received else "far more"
    return Problem(
        413,
        "image-too-large",
        f"The image has too many pixels; send one of at most {max_pixels:,} (width x height).",
        argument="image",
        accepted=f"at most {max_pixels} pixels",
        received=came,
    )
