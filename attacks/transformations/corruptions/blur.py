"""Blur of lenses, windows and movement."""

import numpy as np
from numpy.typing import NDArray

from f2at.attacks import matrices
from f2at.attacks.transformations.corruptions.filters import correlate, smooth, streak, zoom
from f2at.images.pixels import Images, to_images, to_inputs


def gaussian_blur(images: Images, rng: np.random.Generator, *, sigma: float) -> Images:  # noqa: ARG001
    """A Gaussian filter, sigma in pixels; beyond its edges the image repeats its outermost pixels."""
    return to_images(np.clip(smooth(to_inputs(images, np.float64), sigma), 0, 1))


def defocus_blur(images: Images, rng: np.random.Generator, *, radius: float, softness: float) -> Images:  # noqa: ARG001
    """The disk that a lens out of focus makes of a point, radius in pixels; softness: sigma of the disk's own blur."""
    return to_images(np.clip(correlate(to_inputs(images, np.float64), disk(radius, softness)), 0, 1))


def disk(radius: float, softness: float) -> NDArray[np.float64]:
    """A disk (K, K) of sum 1, its edge blurred by a Gaussian of 3 x 3 pixels, or of 5 x 5 above radius 8."""
    reach = 2 if radius > 8 else 1
    side = np.arange(-int(radius) - reach, int(radius) + reach + 1)
    hard = (side**2 + side[:, None] ** 2 <= radius**2).astype(np.float64)
    soft = matrices.convolution(matrices.gaussian(2 * reach + 1, reach / softness), len(side), edge="zero")
    found: NDArray[np.float64] = soft @ hard @ soft.T
    return np.asarray(found / found.sum())


def glass_blur(images: Images, rng: np.random.Generator, *, sigma: float, reach: int, rounds: int) -> Images:
    """Frosted glass: blurred, every pixel replaced by one at most `reach` away, `rounds` times, and blurred again.

    The authors write that pixels are swapped; what their code does, and made CIFAR-10-C and ImageNet-C by, is to copy
    one over the other. So does this.
    """
    inputs = smooth(to_inputs(images, np.float64), sigma)
    count, channels, height, width = inputs.shape
    pixels = inputs.reshape(count, channels, height * width)
    for _ in range(rounds):
        source = displaced(rng.integers(-reach, reach, (count, 2, height, width)), reach)
        pixels = np.take_along_axis(pixels, source[:, None], axis=2)
    return to_images(np.clip(smooth(pixels.reshape(inputs.shape), sigma), 0, 1))


def displaced(moves: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
    """Which pixel each one shows once all have been copied in turn: (N, H * W), indices of pixels.

    From the last to the first, each takes what the one `moves` (N, 2, H, W), down and right, away from it shows at that
    time; the first `reach` + 1 rows and columns and the last `reach` - 1 stay as they are.
    """
    count, _, height, width = moves.shape
    size = height * width
    rows, columns = np.mgrid[:height, :width]
    inner = (rows > reach) & (rows <= height - reach) & (columns > reach) & (columns <= width - reach)
    taken = np.where(inner, (rows + moves[:, 0]) * width + columns + moves[:, 1], rows * width + columns)
    taken = taken.reshape(count, size)
    # A pixel that was copied over before shows what that one has taken: one follows until a pixel still untouched.
    changed = taken > np.arange(size)
    following = np.concatenate(
        [np.where(changed, taken, taken + size), np.tile(np.arange(size, 2 * size), (count, 1))], 1
    )
    while (following[:, :size] < size).any():
        following = np.take_along_axis(following, following, axis=1)
    return np.asarray(following[:, :size] - size)


def motion_blur(images: Images, rng: np.random.Generator, *, radius: int, sigma: float) -> Images:
    """A camera that moves, to within 45 degrees of the horizontal; radius and sigma in pixels."""
    inputs = to_inputs(images, np.float64)
    return to_images(np.clip(streak(inputs, rng.uniform(-45, 45, len(inputs)), radius=radius, sigma=sigma), 0, 1))


def zoom_blur(images: Images, rng: np.random.Generator, *, stop: float, step: float) -> Images:  # noqa: ARG001
    """A camera that moves towards the scene: the mean of the image and its enlargements by 1, 1 + step, ... < stop."""
    inputs = to_inputs(images, np.float64)
    factors = np.arange(1, stop, step)
    total = inputs.copy()
    for factor in factors:
        total += zoom(inputs, float(factor))
    return to_images(np.clip(total / (len(factors) + 1), 0, 1))
