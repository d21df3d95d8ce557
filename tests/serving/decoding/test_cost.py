"""Which files are cheap for certain, ordinary, or may take anything."""

import io
import struct
import time
import zlib
from typing import Any

import pytest
from PIL import Image

from f2at.images.decode import UnreadableImageError, decode_image
from f2at.images.preparation import Preparation
from f2at.serving.decoding.cost import Cost, cost_of
from tests.slow import slow_jpeg

PREPARATION = Preparation((32, 32))
ICC = b"profile"


def encoded(size: tuple[int, int], form: str, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, form, **options)
    return buffer.getvalue()


def with_chunk(png: bytes, kind: bytes, body: bytes) -> bytes:
    """A PNG with one chunk more, before its pixels."""
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    at = png.index(b"IDAT") - 4
    return png[:at] + chunk + png[at:]


def run_lengths(bmp: bytes) -> bytes:
    return bmp[:30] + struct.pack("<I", 1) + bmp[34:]


SMALL_PNG = encoded((32, 32), "PNG")
FRAMES: dict[str, Any] = {"save_all": True, "append_images": [Image.new("RGB", (32, 32), "white")]}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (SMALL_PNG, Cost.SMALL),
        (encoded((500, 400), "PNG", "RGBA"), Cost.SMALL),
        (encoded((500, 400), "JPEG"), Cost.SMALL),
        (b"GIF89a..", Cost.SMALL),  # refused by its first bytes
        (encoded((600, 600), "PNG"), Cost.ORDINARY),
        (encoded((32, 32), "PNG", icc_profile=ICC), Cost.ORDINARY),
        (encoded((32, 32), "JPEG", icc_profile=ICC), Cost.ORDINARY),
        (encoded((32, 32), "JPEG", progressive=True), Cost.ORDINARY),
        (encoded((32, 32), "JPEG") + b"\0" * (1 << 19), Cost.ORDINARY),
        (encoded((6000, 4000), "JPEG"), Cost.ORDINARY),  # decoded at an eighth
        (encoded((32, 32), "WEBP"), Cost.ORDINARY),
        (encoded((32, 32), "WEBP", lossless=True), Cost.ORDINARY),
        (encoded((32, 32), "WEBP", "RGBA"), Cost.ORDINARY),
        (encoded((32, 32), "BMP"), Cost.ORDINARY),
        (SMALL_PNG[:20], Cost.ORDINARY),
        (encoded((6000, 8), "JPEG", progressive=True), Cost.ORDINARY),
        (encoded((3000, 2000), "PNG"), Cost.HEAVY),
        (encoded((3000, 2000), "JPEG", progressive=True), Cost.HEAVY),
        (encoded((2000, 2000), "WEBP"), Cost.HEAVY),
        (encoded((32, 32), "PNG", **FRAMES), Cost.HEAVY),
        (encoded((32, 32), "WEBP", **FRAMES), Cost.HEAVY),
        (with_chunk(SMALL_PNG, b"IHDR", SMALL_PNG[16:29]), Cost.HEAVY),
        (run_lengths(encoded((32, 32), "BMP", "P")), Cost.HEAVY),
        (slow_jpeg(64, 20), Cost.HEAVY),
        (
            slow_jpeg(64, 20).replace(b"\xff\xc2", b"\xff\xc0"),
            Cost.SMALL,
        ),  # only the first scan of a baseline JPEG counts
        (encoded((32, 32), "JPEG")[:2] + b"\xff\xfe\x00\x02" * 3000, Cost.HEAVY),
    ],
)
def test_a_file_by_its_structure(data: bytes, expected: Cost) -> None:
    assert cost_of([data], PREPARATION) == expected


def test_a_request_is_the_sum_of_its_files() -> None:
    assert cost_of([SMALL_PNG] * 32, PREPARATION) is Cost.SMALL
    assert cost_of([encoded((400, 400), "PNG")] * 2, PREPARATION) is Cost.ORDINARY
    assert cost_of([encoded((1000, 1000), "PNG")] * 5, PREPARATION) is Cost.HEAVY
    assert cost_of([SMALL_PNG, slow_jpeg(64, 20), SMALL_PNG], PREPARATION) is Cost.HEAVY


def test_a_large_model_decodes_large() -> None:
    assert cost_of([encoded((6000, 4000), "JPEG")], Preparation((1024, 1024))) is Cost.HEAVY


def test_scans_after_the_first_of_a_baseline_jpeg_are_not_read() -> None:
    """Which makes it SMALL, however many there are."""
    data = encoded((64, 64), "JPEG", "L")
    scan = data[data.index(b"\xff\xda") : -2]
    more = data[:-2] + scan * 1000 + b"\xff\xd9"
    assert cost_of([more], PREPARATION) is Cost.SMALL
    begun = time.process_time()
    with pytest.raises(UnreadableImageError):
        decode_image(more, PREPARATION, max_pixels=4096)
    assert time.process_time() - begun < 0.1
