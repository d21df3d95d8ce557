import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from f2at.images.decode import (
    FORMATS,
    OWN_FORMATS,
    ImageError,
    TooManyPixelsError,
    UnreadableImageError,
    UnsupportedImageError,
    decode_image,
)
from f2at.images.preparation import Preparation

SIZE = (16, 16)
LIMIT = 1_000_000
_TURN = (0x0112, 3, 1, struct.pack("<HH", 6, 0))  # orientation 6, as an entry of EXIF


def decode(data: bytes, size: tuple[int, int] = SIZE) -> np.ndarray:
    return decode_image(data, Preparation(size), max_pixels=LIMIT)


def encode(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


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


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_level_of_a_grey_png_is_white(depth: int) -> None:
    """Written by hand: Pillow writes neither 2 nor 4 bits."""
    top = (1 << depth) - 1
    levels = np.arange(256).reshape(SIZE) * top // 255
    bits = (levels[..., None] >> np.arange(depth)[::-1] & 1).reshape(16, -1).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=1))
    for transparent in {0, int(levels[9, 9]), top}:
        header = struct.pack(">IIBBBBB", *SIZE, depth, 0, 0, 0, 0)
        parts = [(b"IHDR", header), (b"tRNS", struct.pack(">H", transparent)), (b"IDAT", zlib.compress(rows))]
        data = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in [*parts, (b"IEND", b"")])
        expected = np.where(levels == transparent, 255, np.rint(levels * 255 / top))
        np.testing.assert_array_equal(decode(data)[..., 0], expected)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_exif_orientation_is_applied(form: str, turn: int) -> None:
    """Pillow's own way is the reference; both are told of a picture that is larger than needed, and not square."""
    image = noise(size=(4, 6)).resize((96, 64), Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = turn
    options: dict[str, dict[str, Any]] = {"PNG": {}, "JPEG": {"quality": 95}, "WEBP": {"lossless": True}}
    data = encode(image, form, exif=exif, **options[form])
    with Image.open(io.BytesIO(data)) as opened:
        expected = ImageOps.exif_transpose(opened).convert("RGB").resize(SIZE, Image.Resampling.BILINEAR)
    assert np.abs(decode(data).astype(int) - np.asarray(expected)).mean() < 4


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged EXIF
@pytest.mark.parametrize(
    ("entries", "turned"),
    [
        ([_TURN, (0x9204, 10, 1, struct.pack("<I", 60000))], True),  # a value beyond the end
        ([_TURN, (0x9999, 77, 4, b"abcd")], True),  # of no type that there is
        ([(0x0112, 3, 1, struct.pack("<HH", 9, 0))], False),  # no orientation that there is
        ([(0x0112, 2, 2, b"6\0\0\0")], False),  # text
    ],
)
def test_damaged_exif_does_no_harm(entries: list[tuple[int, int, int, bytes]], turned: bool) -> None:
    directory = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + bytes(4)
    pixels = np.zeros((*SIZE, 3), np.uint8)
    pixels[:8] = 255  # the upper half is white, or, after a quarter turn clockwise, the right one
    data = encode(Image.fromarray(pixels), "JPEG")
    found = decode(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    assert (found[:, 8:].min() > 250) == turned
    assert (found[:8].min() > 250) != turned


def profile(red: tuple[float, float, float] | None = None) -> bytes:
    """sRGB, or sRGB with another red primary."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for entry in range(132, 132 + 12 * struct.unpack(">I", data[128:132])[0], 12):
        name, start = struct.unpack(">4sI", data[entry : entry + 8])
        if red and name == b"rXYZ":
            data[start + 8 : start + 20] = struct.pack(">3i", *(round(value * 65536) for value in red))
    return bytes(data)


def test_colour_profiles_are_converted_to_srgb() -> None:
    image = Image.new("RGB", SIZE, (200, 100, 50))
    np.testing.assert_array_equal(decode(encode(image, icc_profile=profile())), np.asarray(image))
    wide = encode(image, icc_profile=profile(red=(0.6, 0.3, 0.01)))  # the same numbers mean a stronger red
    assert decode(wide)[0, 0, 0] > 210
    transparent = Image.new("RGBA", SIZE, (200, 100, 50, 255))
    np.testing.assert_array_equal(decode(encode(transparent, icc_profile=profile(red=(0.6, 0.3, 0.01)))), decode(wide))


def test_profiles_that_do_not_fit_are_ignored() -> None:
    grey = noise("L")
    for icc in (b"no profile", b"", profile()[:200], profile()):  # the last is one of colours
        np.testing.assert_array_equal(decode(encode(grey, icc_profile=icc)), decode(encode(grey)))


def test_cmyk_becomes_rgb() -> None:
    found = decode(encode(Image.new("CMYK", SIZE, (0, 255, 255, 0)), "JPEG", quality=95))
    assert np.abs(found.astype(int) - (255, 0, 0)).max() < 4


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(UnsupportedImageError, match="floating-point pixels"):
        decode_image(encode(Image.new("F", SIZE), "TIFF"), Preparation(SIZE), max_pixels=LIMIT, formats=OWN_FORMATS)


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
    for length in range(0, len(data) * 31 // 32, max(1, len(data) // 40)):
        with pytest.raises(ImageError):
            decode(data[:length])


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_only_its_end_is_read(progressive: bool) -> None:
    image = noise(size=(64, 64)).resize((320, 320))
    data = encode(image, "JPEG", progressive=progressive)
    whole = decode(data, size=(64, 64)).astype(int)
    for missing in (1, 2):  # of the marker at the end
        np.testing.assert_array_equal(decode(data[:-missing], size=(64, 64)), whole)
    nearly = decode(data[:-30], size=(64, 64)).astype(int)
    assert (np.abs(nearly - whole).max(axis=2) > 8).mean() < 1 / 32
    for part in (2, 3, 8, 16):
        with pytest.raises(UnreadableImageError, match="truncated"):
            decode(data[: len(data) - len(data) // part], size=(64, 64))


def test_a_large_jpeg_counts_as_what_it_is_decoded_to() -> None:
    photograph = Image.new("RGB", (4000, 3000), (200, 40, 90))
    found = decode(encode(photograph, "JPEG"))
    assert np.abs(found.astype(int) - (200, 40, 90)).max() < 4
    for data in (encode(photograph, "JPEG", progressive=True), encode(photograph)):  # held whole while decoded
        with pytest.raises(TooManyPixelsError, match="at most 1,000,000") as caught:
            decode(data)
        assert caught.value.received == "4000 x 3000"
    with pytest.raises(TooManyPixelsError):  # nothing may be left out of a picture that is needed as large
        decode(encode(photograph, "JPEG"), size=(1500, 2000))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP"])
def test_half_a_file_is_called_that(form: str) -> None:
    data = encode(noise(size=(64, 64)), form)
    with pytest.raises(UnreadableImageError, match=f"{form} file is truncated") as caught:
        decode(data[: len(data) // 2])
    assert caught.value.received == f"{len(data) // 2} bytes"
    assert caught.value.accepted == "a whole file"


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_file_that_ends_in_its_header_is_called_that(form: str) -> None:
    data = encode(noise(), form)
    for length in (20, 30, 200 if form == "JPEG" else 31):
        with pytest.raises(UnreadableImageError, match=f"{form} file is truncated"):
            decode(data[:length])


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
