"""Files that are small and take long to decode."""

import struct


def slow_jpeg(side: int = 4000, scans: int = 3000) -> bytes:
    """A progressive JPEG of many empty scans: 33 bytes each, and 2.5 ms at 16 megapixels."""
    blocks = (-(-side // 8)) ** 2
    tables = _segment(0xDB, b"\0" + b"\x01" * 64)
    tables += _segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\x01\x11\x00")
    # Huffman codes of one bit: "no difference" for the blocks' means, "the next 16,384 blocks or more are empty" below.
    for kind, symbol in ((0x00, 0x00), (0x10, 0xE0)):
        tables += _segment(0xC4, bytes([kind, 1, *[0] * 15, symbol]))
    means = _segment(0xDA, b"\x01\x01\x00\x00\x00\x00") + _bits("0" * blocks)
    empty = _segment(0xDA, b"\x01\x01\x00\x01\x3f\x00") + _bits(("0" + "1" * 14) * -(-blocks // ((2 << 14) - 1)))
    return b"\xff\xd8" + tables + means + empty * scans + b"\xff\xd9"


def _segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def _bits(bits: str) -> bytes:
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
