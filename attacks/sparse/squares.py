"""Squares inside images, one for each, as array operations: where they are, what they hold, what is painted in them.

A place is the row and column of a square's upper left corner, an integer array (n, 2).
"""

from typing import Any

from array_api_compat import array_namespace, device


def inside(places: Any, images: Any, side: int) -> Any:
    """Which pixels lie in the squares of `side` pixels at places (n, 2): bool (n, 1, H, W), for images (n, 3, H, W)."""
    xp = array_namespace(images)
    row, column = (xp.arange(length, device=device(images)) for length in images.shape[2:])
    row, column = row[None, :, None] - places[:, :1, None], column[None, None, :] - places[:, 1:, None]
    return ((row >= 0) & (row < side) & (column >= 0) & (column < side))[:, None, :, :]


def paste(images: Any, patches: Any, places: Any) -> Any:
    """Images (n, 3, H, W) with patches (n, 3, side, side) laid on at places (n, 2)."""
    xp = array_namespace(images)
    side = patches.shape[2]
    row, column = (xp.arange(length, device=device(images)) for length in images.shape[2:])
    row = xp.clip(row[None, :] - places[:, :1], min=0, max=side - 1)[:, None, :, None]
    column = xp.clip(column[None, :] - places[:, 1:], min=0, max=side - 1)[:, None, None, :]
    sample, channel = (xp.arange(length, device=device(images)) for length in images.shape[:2])
    laid = patches[sample[:, None, None, None], channel[None, :, None, None], row, column]
    return xp.where(inside(places, images, side), laid, images)


def sums(values: Any, side: int) -> Any:
    """What each square of `side` pixels holds in sum: (n, H, W) -> (n, H - side + 1, W - side + 1), one for each place.

    Summed shift by shift, first down and then across: a difference of running sums would round away small values.
    """
    height, width = (length - side + 1 for length in values.shape[1:])
    down = sum(values[:, shift : shift + height, :] for shift in range(side))
    return sum(down[:, :, shift : shift + width] for shift in range(side))


def fitted(places: Any, images: Any, side: int) -> Any:
    """The places (n, 2) nearest to the given ones at which squares of `side` pixels lie inside images (n, 3, H, W)."""
    xp = array_namespace(images)
    height, width = images.shape[2:]
    row = xp.clip(places[:, :1], min=0, max=height - side)
    return xp.concat([row, xp.clip(places[:, 1:], min=0, max=width - side)], axis=1)
