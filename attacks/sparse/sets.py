"""Sparse threat models on 8-bit images: few pixels (l0), or one square (a patch). The harness's side of them.

l0 counts positions: a pixel that changes in one channel costs as much as one that changes in three, and its new colour
is free. A patch is an axis-aligned square inside the image, at any place, of any colours.

As in `grid`, what an attack found comes first and the clean images second; a found value that is not finite counts as
the clean one, and what lies outside [0, 1] as the nearer end.
"""

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f2at.attacks.threat import check_counts
from f2at.images.pixels import Images, to_images, to_inputs

_LARGEST_DENOMINATOR = 100_000


def keep_pixels(found: NDArray[Any], clean: Images, *, pixels: int) -> Images:
    """Images (N, H, W, 3) that differ from `clean` in at most `pixels` pixels, nearest to `found` (N, 3, H, W).

    Rounded to levels, then reverted in all but the pixels whose channels change most in sum; of equals, the first in
    reading order stay. Raises ValueError for `pixels` below 1.
    """
    check_counts(pixels=pixels)
    images = _rounded(found, clean)
    n, height, width = clean.shape[:3]
    change = _change(images, clean).reshape(n, height * width)
    order = np.argsort(-change, axis=1, kind="stable")
    kept = np.zeros(change.shape, bool)
    np.put_along_axis(kept, order[:, :pixels], True, axis=1)
    return np.where(kept.reshape(n, height, width, 1), images, clean)


def changed_pixels(images: Images, clean: Images) -> NDArray[np.int64]:
    """How many pixels of each image differ from the clean one in any channel: (N,)."""
    return np.asarray((_change(images, clean) > 0).sum(axis=(1, 2)), np.int64)


def keep_patch(found: NDArray[Any], clean: Images, *, side: int) -> Images:
    """Images (N, H, W, 3) that differ from `clean` inside one square of `side` pixels, taken from `found`.

    Rounded to levels, then reverted outside the square that holds the most change (summed over its channels); of
    equals, the first in reading order. Raises ValueError for a square that does not fit into the image.
    """
    images = _rounded(found, clean)
    top, left = patch_places(images, clean, side=side).T[:, :, None, None, None]
    row, column = np.ogrid[: clean.shape[1], : clean.shape[2]]
    row, column = row[None, :, :, None], column[None, :, :, None]
    inside = (row >= top) & (row < top + side) & (column >= left) & (column < left + side)
    return np.where(inside, images, clean)


def patch_places(images: Images, clean: Images, *, side: int) -> NDArray[np.int64]:
    """The squares of `side` pixels that hold the most change: (N, 2), the row and column of their upper left corners.

    Where one square holds all of it, that is where the patch is; (0, 0) for an image that is the clean one.
    """
    n, height, width = clean.shape[:3]
    check_side(side, height, width)
    sums = np.zeros((n, height + 1, width + 1), np.int64)
    sums[:, 1:, 1:] = _change(images, clean).cumsum(axis=1).cumsum(axis=2)
    held = sums[:, side:, side:] - sums[:, :-side, side:] - sums[:, side:, :-side] + sums[:, :-side, :-side]
    if n == 0:
        return np.zeros((0, 2), np.int64)
    best = held.reshape(n, -1).argmax(axis=1)
    return np.stack(np.unravel_index(best, held.shape[1:]), axis=1).astype(np.int64)


def smallest_square(images: Images, clean: Images) -> NDArray[np.int64]:
    """The side of the smallest square that holds all that differs from the clean image: (N,), 0 where nothing does."""
    changed = _change(images, clean) > 0
    return np.maximum(*(_extent(np.asarray(changed.any(axis=axis))) for axis in (2, 1)))


def patch_side(area: float | Fraction, height: int, width: int) -> int:
    """The side of the largest square, in pixels, that covers no more than the share `area` of an image and fits in it.

    A float is taken for the fraction that it was rounded from. Raises ValueError for a share outside (0, 1], and for
    one that is less than a pixel.
    """
    if not 0 < area <= 1:
        raise ValueError(f"area must lie in (0, 1], a share of the image; got {area}")
    exact = area if isinstance(area, Fraction) else Fraction(area).limit_denominator(_LARGEST_DENOMINATOR)
    side = min(math.isqrt(math.floor(exact * height * width)), height, width)
    if side < 1:
        raise ValueError(f"area must be at least 1/{height * width}, a pixel of {height} x {width}; got {area}")
    return side


def check_side(side: int, height: int, width: int) -> None:
    """Raise ValueError unless `side` is an integer from 1 to the smaller of height and width."""
    check_counts(side=side)
    if side > min(height, width):
        raise ValueError(f"side must be at most {min(height, width)}, for images of {height} x {width}; got {side}")


def _rounded(found: NDArray[Any], clean: Images) -> Images:
    """The nearest 8-bit images, rounded as a target that snaps does."""
    return to_images(np.clip(np.where(np.isfinite(found), found, to_inputs(clean)), 0, 1))


def _change(images: Images, clean: Images) -> NDArray[np.int64]:
    """The levels by which each pixel changes, summed over its channels: (N, H, W)."""
    return np.asarray(np.abs(images.astype(np.int64) - clean.astype(np.int64)).sum(axis=3), np.int64)


def _extent(marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """From the first true entry of each row to the last, both counted: (N, L) -> (N,)."""
    first, last = marked.argmax(axis=1), marked.shape[1] - marked[:, ::-1].argmax(axis=1)
    return np.where(marked.any(axis=1), last - first, 0)
