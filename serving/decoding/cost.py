"""What it may take to decode a file, told from its header in at most a millisecond.

Only where a file is cheap or ordinary for certain is it called so: the structure is walked by allow-lists. A file that
lies about its structure gets a better place in the queue, and nothing else: deadline and memory hold for all.
"""

import struct
from collections.abc import Sequence
from enum import IntEnum

from f2at.images.preparation import Preparation


class Cost(IntEnum):
    """What a request's files take together."""

    SMALL = 0  # milliseconds for certain: decoded in the server process, which costs nothing extra
    ORDINARY = 1  # fractions of a second, tens of MB
    HEAVY = 2  # anything


_SMALL_BYTES, _SMALL_PIXELS = 1 << 19, 1 << 18
_ORDINARY_PIXELS = 1 << 22
_MOST_PARTS = 2048  # chunks and segments of a request's files that are looked at
_MOST_SCANS = 16  # of a progressive JPEG; encoders write about ten
WEBP_BYTES = 16  # a pixel, in memory: two canvases, a copy and the picture; others take 4 to 8
_DRAFTS = (8, 4, 2, 1)  # how many times smaller a baseline JPEG can be decoded

# Without text, profiles and EXIF, which may be compressed, or cost more than their bytes.
_PLAIN_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"bKGD", b"sBIT", b"IDAT", b"IEND"}
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}
_APP0, _COM, _DQT, _DHT, _DRI, _SOF0, _SOF1, _SOF2, _SOS = 0xE0, 0xFE, 0xDB, 0xC4, 0xDD, 0xC0, 0xC1, 0xC2, 0xDA
_PLAIN_SEGMENTS = {_APP0, _COM, _DQT, _DHT, _DRI, _SOF0}
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)}


def cost_of(files: Sequence[bytes], preparation: Preparation) -> Cost:
    """The cost of the files of one request, decoded for a model of this preparation."""
    cost = Cost.SMALL if sum(map(len, files)) <= _SMALL_BYTES else Cost.ORDINARY
    pixels, parts = 0, _MOST_PARTS // len(files)
    for data in files:
        own, claimed = _look(data, preparation, parts)
        cost, pixels = max(cost, own), pixels + claimed
        if cost is Cost.HEAVY or pixels > _ORDINARY_PIXELS:
            return Cost.HEAVY
    return max(cost, Cost.ORDINARY) if pixels > _SMALL_PIXELS else cost


def _look(data: bytes, preparation: Preparation, parts: int) -> tuple[Cost, int]:
    """The cost of one file by its structure, and the pixels that it claims."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(data, parts)
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data, preparation, parts)
        if is_webp(data):
            return _webp(data)
        if data.startswith(b"BM"):
            return _bmp(data)
    except (struct.error, IndexError):  # it ends early
        return Cost.ORDINARY, 0
    return Cost.SMALL, 0  # of no format that is read: refused by its first bytes


def _png(data: bytes, parts: int) -> tuple[Cost, int]:
    chunks, begin = [], 8
    while begin + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, begin)
        chunks.append(kind)
        if len(chunks) > parts:
            return Cost.HEAVY, 0
        begin += 12 + length
    if not chunks or chunks[0] != b"IHDR" or chunks.count(b"IHDR") > 1 or not _ANIMATION.isdisjoint(chunks):
        return Cost.HEAVY, 0
    width, height = struct.unpack_from(">II", data, 16)
    return Cost.SMALL if _PLAIN_CHUNKS.issuperset(chunks) else Cost.ORDINARY, width * height


def _jpeg(data: bytes, preparation: Preparation, parts: int) -> tuple[Cost, int]:
    segments, begin, frame, scanned = [], 2, 0, 0
    width = height = components = 0
    for _ in range(parts):
        marker, kind, length = struct.unpack_from(">BBH", data, begin)
        if marker != 0xFF or kind == 0xFF:
            return Cost.HEAVY, 0
        segments.append(kind)
        if kind in _FRAMES:
            if frame:
                return Cost.HEAVY, 0
            frame = kind
            height, width, components = struct.unpack_from(">HHB", data, begin + 5)
        if kind == _SOS:
            scanned = data[begin + 4]
            break
        begin += 2 + length
    if frame == _SOF2 and data.count(b"\xff\xda", begin) <= _MOST_SCANS:
        return Cost.ORDINARY, width * height
    if frame not in (_SOF0, _SOF1) or scanned != components:  # what comes in several scans is held as a whole
        return Cost.HEAVY, 0
    small = _PLAIN_SEGMENTS.issuperset(segments[:-1])
    return Cost.SMALL if small else Cost.ORDINARY, _drafted(width, height, preparation)


def _drafted(width: int, height: int, preparation: Preparation) -> int:
    """The pixels of a baseline JPEG as it is decoded, which may be turned; see `Preparation.enough`."""
    if not width or not height:
        return 0
    enough = max(preparation.enough((width, height)) + preparation.enough((height, width)))
    smaller = next(scale for scale in _DRAFTS if scale == 1 or min(width, height) // scale >= enough)
    return width * height // smaller**2


def _webp(data: bytes) -> tuple[Cost, int]:
    size = webp_size(data)
    if size is None or (data[12:16] == b"VP8X" and data[20] & 0x02):  # an animation
        return Cost.HEAVY, 0
    return Cost.ORDINARY, WEBP_BYTES // 8 * size[0] * size[1]


def is_webp(data: bytes) -> bool:
    """Whether a file begins as WebP."""
    return data.startswith(b"RIFF") and data[8:12] == b"WEBP"


def webp_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels of a WebP file by its header, or None if that is damaged."""
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None


def _bmp(data: bytes) -> tuple[Cost, int]:
    size, width, height, _, _, compression = struct.unpack_from("<IiiHHI", data, 14)
    if size < 40 or compression not in (0, 3):  # run lengths are decoded in Python
        return Cost.HEAVY, 0
    return Cost.ORDINARY, abs(width * height)
