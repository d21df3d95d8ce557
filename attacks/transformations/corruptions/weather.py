"""Snow, fog and bright light."""

import numpy as np

from f2at.attacks.transformations.corruptions.colour import add_value, luma
from f2at.attacks.transformations.corruptions.filters import streak, zoom
from f2at.attacks.transformations.corruptions.plasma import plasma
from f2at.images.pixels import Images, to_images, to_inputs


def brightness(images: Images, rng: np.random.Generator, *, added: float) -> Images:  # noqa: ARG001
    """More value in HSV, in pixel units."""
    return to_images(np.clip(add_value(to_inputs(images, np.float64), added), 0, 1))


def fog(images: Images, rng: np.random.Generator, *, density: float, decay: float) -> Images:
    """A plasma fractal added; then the whole is darkened to what the image's brightest value leaves room for."""
    inputs = to_inputs(images, np.float64)
    count, _, height, width = inputs.shape
    brightest = inputs.max(axis=(1, 2, 3), keepdims=True)
    misty = inputs + density * plasma(rng, count, max(height, width), decay)[:, :, :height, :width]
    return to_images(np.clip(misty * brightest / (brightest + density), 0, 1))


def snow(
    images: Images,
    rng: np.random.Generator,
    *,
    mean: float,
    deviation: float,
    size: float,
    threshold: float,
    radius: int,
    sigma: float,
    kept: float,
) -> Images:
    """Flakes that fall, on a paler image.

    Flakes are Gaussian noise (mean, deviation), enlarged `size` times, of which what lies above the threshold falls
    within 45 degrees of straight down (radius and sigma of the motion, in pixels), once more turned upside down.
    kept: the weight of the image against its paler self.
    """
    inputs = to_inputs(images, np.float64)
    count, _, height, width = inputs.shape
    flakes = zoom(mean + deviation * rng.standard_normal((count, 1, height, width)), size)
    flakes = np.where(flakes < threshold, 0, flakes).clip(0, 1)
    flakes = streak(flakes, np.asarray(rng.uniform(-135, -45, count)), radius=radius, sigma=sigma)
    pale = np.maximum(inputs, luma(inputs) * 1.5 + 0.5)
    whole = kept * inputs + (1 - kept) * pale + flakes + flakes[:, :, ::-1, ::-1]
    return to_images(np.clip(whole, 0, 1))
