"""An image file from anywhere to pixels of one size, or an error that says what to send instead."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from f2at.arguments import ArgumentError
from f2at.images.colours import name_transparent_level, opaque, orientation, to_srgb, upright
from f2at.images.preparation import Preparation

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")  # from anybody
OWN_FORMATS = (*FORMATS, "TIFF", "PPM")  # from one's own disk
OWN_PIXELS = 178_956_970  # from one's own disk; Pillow opens no more
_JPEGS = ("JPEG", "MPO")  # MPO: several JPEGs in one file, as phones write them; the first counts
_STARTS = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff"}  # that are long enough to tell
_JPEG_END = b"\xff\xd9"
_LOST = 64  # one part in so many of a JPEG's pixels may be missing at its end


class ImageError(ArgumentError):
    """An image that is not taken."""

    def __init__(self, message: str, *, accepted: str | list[str], received: str) -> None:
        super().__init__("image", accepted, received, message)


class UnsupportedImageError(ImageError):
    """It is of no format that is accepted, or its pixels are floats."""


class TooManyPixelsError(ImageError):
    """It claims more pixels than are accepted."""


class UnreadableImageError(ImageError):
    """It is truncated or damaged."""


def decode_image(
    data: bytes, preparation: Preparation, *, max_pixels: int, formats: tuple[str, ...] = FORMATS
) -> NDArray[np.uint8]:
    """Decode an image file and prepare it for a model: the one way from a file to what a model is given.

    The format is read from the content, never from a declared type. EXIF orientation is applied, transparency is laid
    over white, 16-bit greyscale is scaled to 8 bits, ICC profiles are converted to sRGB, animations give their first
    frame. Colours are converted last, on few pixels. A JPEG that lacks no more than the end of its last rows is read.

    Args:
        data: the file.
        preparation: the size, and how the picture is made to fit.
        max_pixels: the largest width x height accepted; checked on the header, before any pixel is decoded. A JPEG that
            is larger than needed is decoded at a half, a quarter or an eighth of its size, and only that counts, unless
            it is progressive and has to be held as a whole.
        formats: those accepted.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        UnsupportedImageError: not one of `formats`.
        TooManyPixelsError: more than `max_pixels`.
        UnreadableImageError: truncated or damaged.
        MemoryError: the process may not have as much as it takes.
    """
    with _open(data, preparation, formats, max_pixels)[0] as image:
        try:
            loaded = _load(image, data, preparation)
            scaled = preparation.scaled(opaque(upright(loaded)))
            pixels = preparation.padded(to_srgb(scaled, image.info.get("icc_profile")))
        except MemoryError:
            raise
        except Exception as error:
            raise _unreadable(image.format or "image", str(error), data) from error
    return np.asarray(pixels, dtype=np.uint8)


def decode_own(name: str, data: bytes, preparation: Preparation) -> NDArray[np.uint8]:
    """The pixels of a picture file from one's own disk, which messages call by its name; see `decode_image`.

    Raises:
        ValueError: it cannot be read as an image, and why.
    """
    try:
        return decode_image(data, preparation, max_pixels=OWN_PIXELS, formats=OWN_FORMATS)
    except ImageError as error:
        raise ValueError(f"{name} cannot be read as an image: {error}") from None


def decode_images(
    files: Sequence[bytes],
    preparation: Preparation,
    *,
    max_pixels: int,
    max_total: int,
    formats: tuple[str, ...] = FORMATS,
) -> NDArray[np.uint8]:
    """Decode the image files of one request, uint8 (N, H, W, 3); see `decode_image`.

    `max_total` bounds the pixels of all of them together, which are added up from the headers before any is decoded.
    """
    if len(files) > 1:
        total = 0
        for data in files:
            image, pixels = _open(data, preparation, formats, max_pixels)
            image.close()  # at once: an open WebP holds memory for all of its pixels
            total += pixels
            if total > max_total:
                raise TooManyPixelsError(
                    f"The images have too many pixels together; send fewer or smaller ones, at most {max_total:,}.",
                    accepted=f"at most {max_total} pixels in all",
                    received=f"{len(files)} images of more",
                )
    return np.stack(
        [decode_image(data, preparation, max_pixels=min(max_pixels, max_total), formats=formats) for data in files]
    )


def _open(data: bytes, preparation: Preparation, formats: tuple[str, ...], max_pixels: int) -> tuple[Image.Image, int]:
    """The file with its header read, and how many pixels of it will be decoded."""
    image = _identify(data, formats, max_pixels)
    whole = image.size
    _draft(image, preparation)
    width, height = whole if "progressive" in image.info else image.size
    if width * height > max_pixels:
        image.close()
        raise _too_many_pixels(max_pixels, whole)
    return image, width * height


def _identify(data: bytes, formats: tuple[str, ...], max_pixels: int) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many_pixels(max_pixels, None) from None
    except MemoryError:
        raise
    except Exception as error:  # hostile bytes make Pillow raise almost anything
        for form in formats:
            if form in _STARTS and data.startswith(_STARTS[form]):
                raise _unreadable(form, "its header cannot be read", data) from error
        raise UnsupportedImageError(
            f"The image is not a file that is read here; send {', '.join(formats)}.",
            accepted=list(formats),
            received=f"{len(data)} bytes that begin with {data[:8].hex() or 'nothing'}",
        ) from error
    if image.mode == "F":
        raise UnsupportedImageError(
            "The image has floating-point pixels, which have no range of their own; send 8 or 16 bits.",
            accepted="pixels of 8 or 16 bits",
            received="floating-point pixels",
        )
    return image


def _draft(image: Image.Image, preparation: Preparation) -> None:
    """Let a JPEG be decoded no larger than needed."""
    if image.format not in _JPEGS:  # others cannot, and to ask a PNG for its EXIF is to decode it
        return
    width, height = image.size
    if orientation(image) < 5:
        image.draft(None, preparation.enough((width, height)))
    else:  # its sides change places
        image.draft(None, preparation.enough((height, width))[::-1])


def _load(image: Image.Image, data: bytes, preparation: Preparation) -> Image.Image:
    """The picture with its pixels, also if it is a JPEG that lacks no more than its end."""
    name_transparent_level(image)
    try:
        image.load()
    except OSError:
        if image.format not in _JPEGS:
            raise
        # Noise after the last byte spoils what was still to come, and nothing else.
        data = data.rstrip(_JPEG_END[:1])
        noise = np.random.default_rng(0).integers(0, 255, len(data), dtype=np.uint8).tobytes()
        ended, spoilt = (Image.open(io.BytesIO(data + rest + _JPEG_END), formats=_JPEGS[:1]) for rest in (b"", noise))
        for candidate in (ended, spoilt):
            _draft(candidate, preparation)
        difference = np.asarray(ImageChops.difference(ended, spoilt)).reshape(ended.height * ended.width, -1)
        if np.count_nonzero(difference.max(axis=1)) * _LOST > len(difference):
            raise
        return ended
    return image


def _unreadable(form: str, reason: str, data: bytes) -> UnreadableImageError:
    return UnreadableImageError(
        f"The {form} file is truncated or damaged ({reason}); send it again, whole.",
        accepted="a whole file",
        received=f"{len(data)} bytes",
    )


def _too_many_pixels(max_pixels: int, received: tuple[int, int] | None) -> TooManyPixelsError:
    return TooManyPixelsError(
        f"The image has too many pixels; send one of at most {max_pixels:,} (width x height).",
        accepted=f"at most {max_pixels} pixels",
        received=f"{received[0]} x {received[1]}" if received else "far more",
    )
