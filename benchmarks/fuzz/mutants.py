"""Image files that no client should send: odd modes and formats, damaged, or with false headers."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import Image

MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB"),
    "GIF": ("L", "P"),
    "TIFF": ("L", "RGB", "CMYK"),
}
_ORIENTATION = 0x0112  # EXIF
_MAGIC = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0",
    b"RIFF\xff\xff\xff\xffWEBP",
    b"BM",
    b"GIF89a",
    b"<svg ",
    b"%PDF-1.7",
)


def mutant(rng: Generator) -> bytes:
    """A file of up to a few kilobytes: an image of some kind, with or without something done to it."""
    form = str(rng.choice(list(MODES)))
    return _MUTATIONS[rng.integers(len(_MUTATIONS))](_encode(form, rng), rng)


def _encode(form: str, rng: Generator) -> bytes:
    size = (int(rng.integers(1, 65)), int(rng.integers(1, 65)))
    image = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    mode = str(rng.choice(MODES[form]))
    deep = mode == "I;16"
    image = Image.fromarray(rng.integers(0, 65536, size, dtype=np.uint16)) if deep else image.convert(mode)
    exif = Image.Exif()
    if rng.random() < 0.5:
        exif[_ORIENTATION] = int(rng.integers(0, 10))  # 1 to 8 mean something
    animated = form in ("PNG", "WEBP", "GIF") and not deep and rng.random() < 0.3
    frames = {"save_all": True, "append_images": [image.rotate(90), image.rotate(180)]} if animated else {}
    buffer = io.BytesIO()
    extra = {"exif": exif} if form in ("PNG", "JPEG", "WEBP") else {}
    image.save(buffer, form, **frames, **extra)
    return buffer.getvalue()


def _whole(data: bytes, _: Generator) -> bytes:
    return data


def _truncated(data: bytes, rng: Generator) -> bytes:
    return data[: rng.integers(0, len(data))]


def _flipped(data: bytes, rng: Generator) -> bytes:
    changed = np.frombuffer(data, np.uint8).copy()
    places = rng.integers(0, len(changed), rng.integers(1, 20))
    changed[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
    return changed.tobytes()


def _flipped_head(data: bytes, rng: Generator) -> bytes:
    return _flipped(data[:64], rng) + data[64:]


def _blanked(data: bytes, rng: Generator) -> bytes:
    start = int(rng.integers(0, len(data)))
    length = int(rng.integers(1, 64))
    return data[:start] + b"\0" * len(data[start : start + length]) + data[start + length :]


def _extended(data: bytes, rng: Generator) -> bytes:
    return data + rng.bytes(int(rng.integers(1, 4096)))


def _renamed(data: bytes, rng: Generator) -> bytes:
    magic = _MAGIC[rng.integers(len(_MAGIC))]
    return magic + data[len(magic) :]


def _noise(_: bytes, rng: Generator) -> bytes:
    return _MAGIC[rng.integers(len(_MAGIC))] + rng.bytes(int(rng.integers(0, 2048)))


def _huge(_: bytes, rng: Generator) -> bytes:
    """A PNG of few bytes that claims up to 2**31 pixels per side, with valid checksums."""
    width, height = (int(2 ** rng.uniform(0, 31)) for _ in range(2))
    header = struct.pack(">IIBBBBB", width, height, int(rng.choice([1, 8, 16])), int(rng.choice([0, 2, 6])), 0, 0, 0)
    rows = zlib.compress(bytes(int(rng.integers(0, 100_000))))
    return _MAGIC[0] + b"".join(map(_chunk, (b"IHDR", b"IDAT", b"IEND"), (header, rows, b"")))


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


_MUTATIONS: tuple[Callable[[bytes, Generator], bytes], ...] = (
    _whole,
    _truncated,
    _flipped,
    _flipped_head,
    _blanked,
    _extended,
    _renamed,
    _noise,
    _huge,
)
