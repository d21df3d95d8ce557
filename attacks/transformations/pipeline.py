"""What happens to a picture on its way to a model: it is compressed, brightened and resized."""

import io
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from f2at.attacks.transformations.batches import of_each
from f2at.images.pixels import LEVELS, Images
from f2at.images.preparation import Preparation


def _from_one(factors: Iterable[float]) -> tuple[float, ...]:
    """By their distance from 1, where twice is as far as half; of two as far, the larger first."""
    return tuple(sorted(factors, key=lambda factor: (round(abs(math.log(factor)), 9), -factor)))


# What to try, from the weakest to the strongest. None of them is the identity.
QUALITIES: tuple[float, ...] = tuple(range(95, 5, -5))
BRIGHTNESS_FACTORS = _from_one(percent / 100 for percent in range(70, 131, 5) if percent != 100)
SIZE_FACTORS = _from_one(percent / 100 for percent in (*range(50, 100, 5), *range(110, 201, 10)))
_LARGEST = 8  # times the sides: a picture of 64 times the pixels


def jpeg(images: Images, quality: Any) -> Images:
    """JPEG compression, by Pillow with its defaults (colours at half the resolution).

    Args:
        images: uint8 (N, H, W, 3).
        quality: (N, 1), or a number for all of them; whole numbers from 1 to 100.

    Returns:
        uint8 (N, H, W, 3).

    Raises:
        ValueError: which argument is wrong, what is accepted and what came.
    """
    each = of_each(images, quality, "quality")[:, 0]
    _check_all("quality", "whole numbers from 1 to 100", each, (each >= 1) & (each <= 100) & (each == np.rint(each)))
    changed = np.empty_like(images)
    for row, image in enumerate(images):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=int(each[row]))
        changed[row] = np.asarray(Image.open(buffer, formats=["JPEG"]))
    return changed


def brightness(images: Images, factor: Any) -> Images:
    """Every value times a factor, clipped and rounded.

    Args:
        images: uint8 (N, H, W, 3).
        factor: (N, 1), or a number for all of them; at least 0.

    Returns:
        uint8 (N, H, W, 3).

    Raises:
        ValueError: which argument is wrong, what is accepted and what came.
    """
    each = of_each(images, factor, "factor")[:, 0]
    _check_all("factor", "at least 0", each, each >= 0)
    tables = np.rint((each[:, None] * np.arange(LEVELS + 1)).clip(0, LEVELS)).astype(np.uint8)
    return np.asarray(tables[np.arange(len(images))[:, None, None, None], images])


def resize(images: Images, factor: Any) -> Images:
    """To another size and back to the model's, bilinear and antialiased, by the resizing that the service uses.

    Args:
        images: uint8 (N, H, W, 3).
        factor: (N, 1), or a number for all of them; above 0, at most 8. Sides are rounded, to 1 pixel at least.

    Returns:
        uint8 (N, H, W, 3).

    Raises:
        ValueError: which argument is wrong, what is accepted and what came.
    """
    each = of_each(images, factor, "factor")[:, 0]
    _check_all("factor", f"above 0 and at most {_LARGEST}", each, (each > 0) & (each <= _LARGEST))
    height, width = images.shape[1:3]
    back = Preparation((height, width))
    changed = np.empty_like(images)
    for row, image in enumerate(images):
        there = Preparation((max(1, round(height * each[row])), max(1, round(width * each[row]))))
        changed[row] = np.asarray(back.fitted(there.fitted(Image.fromarray(image))))
    return changed


def _check_all(name: str, accepted: str, values: Any, right: Any) -> None:
    if not right.all():
        raise ValueError(f"{name} must be {accepted}; got {values[~right][0]:g}")
