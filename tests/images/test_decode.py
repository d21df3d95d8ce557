import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from f2at.images.decode import (
    FORMATS,
    ImageError,
    TooManyPixelsError,
    UnreadableImageError,
    UnsupportedImageError,
    decode_image,
)

SIZE = (16, 16)
LIMIT = 1_000_000


def decode(data: bytes, size: tuple[int, int] = SIZE) -> np.ndarray:
    return decode_image(data, size=size, max_pixels=LIMIT)


def encode(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def noise(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 256, (*size, channels), dtype=np.uint8)
    return Image.fromarray(pixels.squeeze(), mode=None)


@pytest.mark.parametrize("form", ["PNG", "BMP", "WEBP"])
def test_lossless_formats_give_their_pixels(form: str) -> None:
    image = noise()
    options = {"lossless": True} if form == "WEBP" else {}
    np.testing.assert_array_equal(decode(encode(image, form, **options)), np.asarray(image))


def test_jpeg_gives_nearly_its_pixels() -> None:
    image = Image.new("RGB", SIZE, (200, 40, 90))
    assert np.abs(decode(encode(image, "JPEG", quality=95)).astype(int) - np.asarray(image)).max() < 4


def test_grey_and_palette_become_rgb() -> None:
    grey = noise("L")
    np.testing.assert_array_equal(decode(encode(grey)), np.asarray(grey)[..., None].repeat(3, axis=2))
    palette = noise().quantize(16)
    np.testing.assert_array_equal(decode(encode(palette)), np.asarray(palette.convert("RGB")))
    assert decode(encode(Image.new("1", SIZE, 1))).min() == 255


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    levels = np.linspace(0, 65535, 256).astype(np.uint16).reshape(SIZE)
    found = decode(encode(Image.fromarray(levels)))
    np.testing.assert_array_equal(found[..., 0], np.rint(levels / 257).astype(np.uint8))


def test_transparency_lies_over_white() -> None:
    assert decode(encode(Image.new("RGBA", SIZE, (0, 0, 0, 0)))).min() == 255
    half = decode(encode(Image.new("RGBA", SIZE, (0, 0, 0, 128))))
    assert abs(int(half[0, 0, 0]) - 127) <= 1
    palette = Image.new("P", SIZE, 0)
    assert decode(encode(palette, transparency=0)).min() == 255


def test_exif_orientation_is_applied() -> None:
    pixels = np.zeros((*SIZE, 3), np.uint8)
    pixels[0] = 255  # a white top row
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise: the top row is then the right column
    turned = decode(encode(Image.fromarray(pixels), exif=exif))
    assert turned[:, -1].min() == 255
    assert turned[:, :-1].max() == 0


def test_other_sizes_are_resized() -> None:
    image = Image.fromarray(np.asarray(noise(size=(4, 4))).repeat(8, axis=0).repeat(8, axis=1))
    found = decode(encode(image), size=(4, 4)).astype(int)
    assert found.shape == (4, 4, 3)
    assert decode(encode(Image.new("RGB", (1, 300), "red"))).shape == (*SIZE, 3)


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PPM", "ICO"])
def test_other_formats_are_refused_whatever_they_could_hold(form: str) -> None:
    with pytest.raises(UnsupportedImageError, match="PNG, JPEG") as caught:
        decode(encode(noise(), form))
    assert caught.value.argument == "image"
    assert caught.value.accepted == list(FORMATS)
    assert "bytes that begin with" in caught.value.received


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("size", [(1001, 1000), (10_000, 10_000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_before_decoding(size: tuple[int, int]) -> None:
    with pytest.raises(TooManyPixelsError, match="at most 1,000,000") as caught:
        decode(bomb(*size))
    assert caught.value.accepted == "at most 1000000 pixels"
    assert caught.value.received in (f"{size[0]} x {size[1]}", "far more")


@pytest.mark.parametrize("form", FORMATS)
def test_truncated_files_are_refused(form: str) -> None:
    data = encode(noise(size=(64, 64)), form)
    for length in range(0, len(data) - 64, max(1, len(data) // 40)):
        with pytest.raises(ImageError):
            decode(data[:length])


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP"])
def test_half_a_file_is_called_that(form: str) -> None:
    data = encode(noise(size=(64, 64)), form)
    with pytest.raises(UnreadableImageError, match=f"{form} file is truncated") as caught:
        decode(data[: len(data) // 2])
    assert caught.value.received == f"{len(data) // 2} bytes"
    assert caught.value.accepted == "a whole file"


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_the_errors_of_images(data: bytes) -> None:
    _pixels_or_an_error(data)


@settings(max_examples=300)
@given(st.sampled_from(FORMATS), st.data())
def test_damaged_files_raise_nothing_but_the_errors_of_images(form: str, data: st.DataObject) -> None:
    file = bytearray(encode(noise(size=(24, 24)), form))
    for _ in range(data.draw(st.integers(1, 6))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    _pixels_or_an_error(bytes(file))


def _pixels_or_an_error(data: bytes) -> None:
    try:
        image = decode(data)
    except (UnsupportedImageError, TooManyPixelsError, UnreadableImageError):
        return
    assert image.shape == (*SIZE, 3)
    assert image.dtype == np.uint8
