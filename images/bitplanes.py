"""Bit-plane slicing of 8-bit images: natural and perturbed patterns (F2AT, Section IV-B).

Plane 7 is the most significant bit of a pixel, plane 0 the least. Every function takes a uint8 array of
any shape from any library whose arrays support ``&`` and ``>>`` (numpy, torch) and returns the same kind.
"""

from typing import Any, TypeVar

BITS = 8
Array = TypeVar("Array")


def natural_pattern(images: Array, *, planes: int) -> Array:
    """Keep the top ``planes`` bit-planes (K in the paper) and zero the rest; K = 8 is the image itself.

    Args:
        images: uint8 pixels, any shape.
        planes: K, from 0 to 8.

    Returns:
        uint8 pixels; ``natural_pattern(q, planes=k) + perturbed_pattern(q, planes=k) == q`` in integers.

    Raises:
        ValueError: the pixels are not uint8, or K is out of range.
    """
    pixels: Array = _checked(images) & (0xFF ^ _lower_mask(planes))
    return pixels


def perturbed_pattern(images: Array, *, planes: int) -> Array:
    """Keep the lower ``8 - planes`` bit-planes and zero the rest; the other half of `natural_pattern`."""
    pixels: Array = _checked(images) & _lower_mask(planes)
    return pixels


def bit_planes(images: Array) -> tuple[Array, ...]:
    """The 8 planes as arrays of 0 and 1; plane ``i`` weighs ``2**i``: ``sum(plane << i) == images``."""
    pixels = _checked(images)
    return tuple((pixels >> bit) & 1 for bit in range(BITS))


def _checked(images: Any) -> Any:
    if str(getattr(images, "dtype", None)) not in ("uint8", "torch.uint8"):
        raise ValueError(f"images must be uint8 pixels; got {getattr(images, 'dtype', type(images))}")
    return images


def _lower_mask(planes: int) -> int:
    if not 0 <= planes <= BITS:
        raise ValueError(f"planes must be from 0 to {BITS}; got {planes}")
    return (1 << (BITS - planes)) - 1
