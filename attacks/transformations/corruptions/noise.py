"""Noise of sensors and transmission."""

import numpy as np

from f2at.images.pixels import Images, to_images, to_inputs


def gaussian_noise(images: Images, rng: np.random.Generator, *, sigma: float) -> Images:
    """Independent noise in every value, sigma in pixel units: of a sensor in low light."""
    inputs = to_inputs(images, np.float64)
    return to_images(np.clip(inputs + sigma * rng.standard_normal(inputs.shape), 0, 1))


def shot_noise(images: Images, rng: np.random.Generator, *, photons: float) -> Images:
    """Poisson noise: every value is counted in photons, of which white has this many on average."""
    return to_images(np.clip(rng.poisson(to_inputs(images, np.float64) * photons) / photons, 0, 1))


def impulse_noise(images: Images, rng: np.random.Generator, *, share: float) -> Images:
    """Salt and pepper: this share of the values becomes 0 or 255, half of it each, in every channel by itself."""
    inputs = to_inputs(images, np.float64)
    drawn = rng.random(inputs.shape)
    return to_images(np.where(drawn < share / 2, 0.0, np.where(drawn < share, 1.0, inputs)))


def speckle_noise(images: Images, rng: np.random.Generator, *, sigma: float) -> Images:
    """Noise in proportion to every value, sigma its share."""
    inputs = to_inputs(images, np.float64)
    return to_images(np.clip(inputs * (1 + sigma * rng.standard_normal(inputs.shape)), 0, 1))
