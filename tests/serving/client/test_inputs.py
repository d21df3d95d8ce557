"""Every kind of image that is taken becomes a file with its pixels; what is not is named."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from f2at.images.decode import decode_image
from f2at.images.preparation import Preparation
from f2at.serving.client.inputs import content, contents

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
GREY = RGB[..., 0]


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        return np.asarray(image)


def test_files_are_sent_as_they_are(tmp_path: Path) -> None:
    data = b"whatever is in it"
    path = tmp_path / "image.jpg"
    path.write_bytes(data)
    assert content(path) == content(data) == data
    with os.scandir(tmp_path) as entries:
        assert [content(entry) for entry in entries] == [data]
    assert content(bytearray(data)) == content(memoryview(data)) == content(io.BytesIO(data)) == data
    with path.open("rb") as file:
        assert content(file) == data


@pytest.mark.parametrize("array", [RGB, GREY, RGB[::-1, ::2], RGB[..., ::-1], RGB[:1, :1], np.asfortranarray(RGB)])
def test_arrays_keep_every_pixel(array: np.ndarray) -> None:
    assert np.array_equal(pixels(content(array)), array)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_pillow_images_keep_every_pixel(mode: str) -> None:
    image = Image.new("I;16", (7, 5), 40_000) if mode == "I;16" else Image.fromarray(RGB).convert(mode)
    with Image.open(io.BytesIO(content(image))) as sent:
        assert (sent.mode, sent.size) == (mode, image.size)
        assert np.array_equal(np.asarray(sent), np.asarray(image))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_opened_image_is_read_as_its_file_is(tmp_path: Path, orientation: int) -> None:
    path, exif = tmp_path / "photo.png", Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(path, exif=exif)
    with Image.open(path) as image:
        sent = content(image)
    whole = Preparation((5, 5))
    expected, got = (decode_image(data, whole, max_pixels=100) for data in (path.read_bytes(), sent))
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_what_is_seen_through_stays_so(mode: str) -> None:
    file, picture = io.BytesIO(), Image.fromarray(RGB).convert(mode)
    picture.save(file, "PNG", transparency=picture.getpixel((0, 0)))
    with Image.open(file) as image:
        sent = content(image)
    expected, got = (decode_image(data, Preparation((5, 7)), max_pixels=100) for data in (file.getvalue(), sent))
    assert np.array_equal(got, expected)


def test_colour_profiles_are_sent() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "JPEG", icc_profile=profile)
    with Image.open(file) as image, Image.open(io.BytesIO(content(image))) as sent:
        assert sent.info["icc_profile"] == profile


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ("digit.png", TypeError, r"image must be a Path, .* got the text 'digit.png': a file is Path\(...\)"),
        ("http://" + 100 * "x", TypeError, r"got the text 'http://x{49}\.\.\.: .*URLs are never fetched"),
        (None, TypeError, "image must be a Path, bytes, .*; got NoneType"),
        ([[0]], TypeError, "got list"),
        (io.StringIO("text"), TypeError, "image must be a file opened as binary, 'rb'; got one that reads str"),
        (RGB / np.float32(255), TypeError, r"an array of uint8, \(H, W, 3\) or grey \(H, W\); got float32 \(5, 7, 3\)"),
        (GREY > 0, TypeError, r"got bool \(5, 7\)"),
        (RGB.astype(np.uint16), TypeError, "got uint16"),
        (RGB.transpose(2, 0, 1), ValueError, r"uint8, .*; got uint8 \(3, 5, 7\)"),
        (RGB[..., :1], ValueError, r"got uint8 \(5, 7, 1\)"),
        (RGB[None], ValueError, r"got uint8 \(1, 5, 7, 3\)"),
        (RGB[0, 0], ValueError, r"got uint8 \(3,\)"),
        (RGB[:0], ValueError, r"not empty; got uint8 \(0, 7, 3\)"),
        (Image.new("CMYK", (3, 2)), ValueError, r"mode 1, L, .*; got mode CMYK, 3 x 2: send its file, or .*'RGB'"),
        (Image.new("F", (3, 2)), ValueError, "got mode F"),
        (Image.new("RGB", (0, 2)), ValueError, "not empty; got mode RGB, 0 x 2$"),
    ],
)
def test_what_is_not_taken_is_named(image: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        content(image)


def test_several_of_any_kind() -> None:
    sent = contents([content(RGB), Image.fromarray(RGB), RGB, *np.stack([RGB, RGB])])
    assert all(np.array_equal(pixels(data), RGB) for data in sent)
    assert len(sent) == 5
    assert contents(np.stack([RGB, RGB])) == contents(image for image in (RGB, RGB)) == [content(RGB)] * 2


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ([RGB, "x.png"], TypeError, r"images\[1\] must be a Path"),
        ([RGB, RGB / 2], TypeError, r"images\[1\] must be an array"),
        (Path("x.png"), TypeError, "images must be several images, such as a list of them; got one PosixPath"),
        (b"PNG", TypeError, "got one bytes"),
        ("x.png", TypeError, "got one str"),
        (io.BytesIO(b"PNG"), TypeError, "got one BytesIO"),
        (Image.new("L", (1, 1)), TypeError, "got one Image"),
        (RGB, ValueError, r"images must be \(N, H, W, 3\) if they are one array, or a list; got uint8 \(5, 7, 3\)"),
        ([], ValueError, "images must be at least one image; got none"),
    ],
)
def test_what_is_not_several_images_is_named(images: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        contents(images)
