"""Water or mud on the lens."""

import numpy as np
from numpy.typing import NDArray

from f2at.attacks.transformations.corruptions.filters import Inputs, correlate, smooth
from f2at.images.pixels import LEVELS, Images, to_images, to_inputs

_WATER = np.array([175, 238, 238])[:, None, None] / LEVELS
_MUD = np.array([63, 42, 20])[:, None, None] / LEVELS
_LIGHT = np.array([[-2.0, -1, 0], [-1, 1, 1], [0, 1, 2]])  # from one side, so that drops have a relief
_FAR = 20  # pixels: what is further from a drop's rim is as far
_SOLID = 0.8  # mud that covers less than this is none


def spatter(
    images: Images,
    rng: np.random.Generator,
    *,
    mean: float,
    deviation: float,
    size: float,
    threshold: float,
    strength: float,
    mud: bool,
) -> Images:
    """Drops are what lies above the threshold in Gaussian noise (mean, deviation), smoothed by sigma = `size` pixels.

    Mud covers the image, its edges smoothed by sigma = `strength` pixels. Water brightens it, at most by `strength`, by
    a relief of the distance from the drops' rim, which is found in the drops themselves, where the authors let an edge
    detector look for it.
    """
    inputs = to_inputs(images, np.float64)
    noise = mean + deviation * rng.standard_normal((len(inputs), 1, *inputs.shape[2:]))
    liquid = smooth(noise, size)
    liquid = np.where(liquid < threshold, 0, liquid)
    if mud:
        cover = smooth((liquid > threshold).astype(np.float64), strength)
        cover[cover < _SOLID] = 0
        return to_images(np.clip(inputs * (1 - cover) + _MUD * cover, 0, 1))
    shine = liquid * relief(liquid)
    brightest = shine.max(axis=(1, 2, 3), keepdims=True)
    shine = shine / np.where(brightest > 0, brightest, 1)
    return to_images(np.clip(inputs + strength * shine * _WATER, 0, 1))


def relief(liquid: Inputs) -> Inputs:
    """How brightly drops (N, 1, H, W) shine, in levels: their depth, as far from the rim as it can be told, lit."""
    blur = np.full((3, 3), 1 / 9)
    depth = np.floor(correlate(distance_to(rim(liquid > 0)), blur) + 1e-9).clip(0, LEVELS).astype(np.uint8)
    lit = np.rint(correlate(equalized(depth), _LIGHT)).clip(0, LEVELS)
    return correlate(lit, blur)


def rim(wet: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels (N, 1, H, W) of drops that have a dry pixel at one of their four sides."""
    padded = np.pad(wet, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    inner = padded[..., :-2, 1:-1] & padded[..., 2:, 1:-1] & padded[..., 1:-1, :-2] & padded[..., 1:-1, 2:]
    return wet & ~inner


def distance_to(marked: NDArray[np.bool_]) -> Inputs:
    """Distance of every pixel (N, 1, H, W) from the nearest marked one, at most 20 pixels."""
    squares = np.where(marked, 0.0, _FAR**2)
    for axis in (2, 3):  # the nearest in the column, then of the row's
        ends = [(0, 0)] * 4
        ends[axis] = (_FAR, _FAR)
        padded, size = np.pad(squares, ends, constant_values=_FAR**2), squares.shape[axis]
        for offset in range(-_FAR, _FAR + 1):
            seen = np.take(padded, np.arange(size) + _FAR + offset, axis=axis)
            np.minimum(squares, seen + offset**2, out=squares)
    return np.sqrt(squares)


def equalized(levels: NDArray[np.uint8]) -> Inputs:
    """Levels (N, 1, H, W) spread so that each is as far above the lowest, 0, as there are pixels up to it."""
    spread = np.empty(levels.shape)
    for picture, target in zip(levels, spread, strict=True):
        counts = np.bincount(picture.ravel(), minlength=LEVELS + 1)
        counts[picture.min()] = 0
        table = np.rint(counts.cumsum() * (LEVELS / counts.sum())) if counts.any() else np.arange(LEVELS + 1)
        target[:] = table[picture]
    return spread
