"""Rotations and shifts, Engstrom et al. 2019, https://arxiv.org/abs/1712.02779.

Parameters are (degrees, right, down): degrees counter-clockwise, and shifts as shares of the width and the height.
"""

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f2at.attacks.transformations.batches import of_each
from f2at.images.pixels import Images

FILLS = ("black", "edge")
_PIXELS = 1 << 15  # rendered at a time, so that what lies between stays in the processor's cache
_CORNERS = np.array(list(product((-1, 1), repeat=3)))

Parameters = NDArray[np.float64]


def rotate_translate(images: Images, parameters: Any, *, fill: str = "black") -> Images:
    """Each image rotated about its centre, then shifted, by one bilinear interpolation.

    Args:
        images: uint8 (N, H, W, 3).
        parameters: (N, 3) or (3,) for all of them: degrees counter-clockwise, right, down; the shifts in widths and
            heights, so that 0.1 is a tenth of the image.
        fill: what lies outside the image: "black", or "edge", the nearest pixel of its edge.

    Returns:
        uint8 (N, H, W, 3).

    Raises:
        ValueError: which argument is wrong, what is accepted and what came.
    """
    if fill not in FILLS:
        raise ValueError(f"fill must be one of {', '.join(FILLS)}; got {fill!r}")
    each = of_each(images, parameters, "degrees", "right", "down")
    rendered = np.empty_like(images)
    rows = max(1, _PIXELS // (images.shape[1] * images.shape[2]))
    for start in range(0, len(images), rows):
        part = slice(start, start + rows)
        rendered[part] = _rendered(images[part], each[part], fill)
    return rendered


def grid(degrees: float, shift: float, *, angles: int = 31, shifts: int = 5) -> Parameters:
    """Every combination of evenly spaced angles and shifts in both directions, weakest first: the paper's grid search.

    Args:
        degrees: the largest angle to either side.
        shift: the largest shift to either side, in widths and heights.
        angles: how many angles, odd, so that the zero is among them; 31 in the paper.
        shifts: how many shifts in each direction, odd; 5 in the paper.

    Returns:
        float64 (angles * shifts * shifts, 3), (775, 3) as in the paper, less what a range of 0 makes equal. The first
        leaves the image as it is; `strength` rises.

    Raises:
        ValueError: which argument is wrong, what is accepted and what came.
    """
    _check_range(degrees, shift)
    sides = _spaced("shifts", shifts, shift)
    every = np.array(list(product(_spaced("angles", angles, degrees), sides, sides)))
    return every[np.argsort(strength(every, degrees, shift), kind="stable")]


def strength(parameters: Parameters, degrees: float, shift: float) -> NDArray[np.float64]:
    """How far parameters (..., 3) lie from the identity, each measured in its range: from 0 to the root of 3, (...)."""
    spans = np.array([degrees, shift, shift])
    shares = np.divide(parameters, spans, out=np.zeros(np.shape(parameters)), where=spans > 0)
    return np.asarray(np.linalg.norm(shares, axis=-1))


def random_candidates(rng: np.random.Generator, degrees: float, shift: float, count: int) -> Parameters:
    """(count, 3), drawn evenly from the range, as the paper's worst-of-k attack draws its k = 10."""
    _check_range(degrees, shift)
    return np.asarray(rng.uniform(-1, 1, (count, 3)) * (degrees, shift, shift))


def spacing(degrees: float, shift: float, *, angles: int = 31, shifts: int = 5) -> Parameters:
    """(3,): how far neighbours in `grid` lie apart; half of it is the first step of `around`."""
    return np.array([2 * degrees / max(angles - 1, 1), *2 * [2 * shift / max(shifts - 1, 1)]])


def around(best: Any, step: Any, *, degrees: float, shift: float) -> Parameters:
    """The eight corners of a box about the best parameters so far, clipped to the range.

    A search that goes to the best corner and halves its step each time can come within its last step of every point of
    the first box. Half of `spacing` is the first step about the best of a grid: the boxes of all its points fill it.

    Args:
        best: (..., 3).
        step: (3,), from the centre to the sides.
        degrees: the largest angle to either side.
        shift: the largest shift to either side, in widths and heights.

    Returns:
        float64 (..., 8, 3).

    Raises:
        ValueError: degrees or shift is not a range.
    """
    _check_range(degrees, shift)
    limits = np.array([degrees, shift, shift])
    corners = np.asarray(best, np.float64)[..., None, :] + _CORNERS * np.asarray(step, np.float64)
    return np.asarray(np.clip(corners, -limits, limits))


def _rendered(images: Images, parameters: Parameters, fill: str) -> Images:
    """The images that the parameters (N, 3) make: each pixel is looked up where it came from."""
    count, height, width = images.shape[:3]
    beyond = ((0, 0), (0, 0), (1, 1), (1, 1))
    planes = np.pad(images.transpose(3, 0, 1, 2), beyond, mode="edge" if fill == "edge" else "constant")

    turn, right, down = parameters.T[:, :, None, None]
    cosine, sine = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    x = np.arange(width) - (width - 1) / 2 - right * width
    y = np.arange(height)[:, None] - (height - 1) / 2 - down * height
    columns, across = _between(cosine * x - sine * y + (width - 1) / 2, width)
    rows, along = _between(sine * x + cosine * y + (height - 1) / 2, height)

    first = (np.arange(count)[:, None, None] * (height + 2) + rows) * (width + 2) + columns
    corners = [first + offset for offset in (0, 1, width + 2, width + 3)]
    rendered = np.empty_like(images)
    for channel, plane in enumerate(planes.reshape(3, -1).astype(np.float32)):
        left, right_, low_left, low_right = (plane[corner] for corner in corners)
        top, bottom = left + (right_ - left) * across, low_left + (low_right - low_left) * across
        rendered[..., channel] = np.rint(top + (bottom - top) * along)
    return rendered


def _between(points: NDArray[np.float64], size: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The pixels before these points, counted with one pixel added before the first, and the way to the next pixel."""
    points = points.clip(-1, size) + 1
    before = points.astype(np.int64).clip(max=size)
    return before, (points - before).astype(np.float32)


def _spaced(name: str, count: int, limit: float) -> NDArray[np.float64]:
    if type(count) is not int or count < 1 or count % 2 == 0:
        raise ValueError(f"{name} must be an odd number, so that the zero is among them; got {count!r}")
    half = count // 2
    return np.unique(np.arange(-half, half + 1) / max(half, 1) * limit)


def _check_range(degrees: float, shift: float) -> None:
    if not 0 <= degrees <= 180:
        raise ValueError(f"degrees must lie in [0, 180]; got {degrees}")
    if not 0 <= shift <= 1:
        raise ValueError(f"shift must lie in [0, 1], in widths and heights; got {shift}")
