"""Natural corruptions: what no attacker chose, as a floor under the attacks.

Strengths are CIFAR-10-C's third of five, Hendrycks and Dietterich 2019, https://arxiv.org/abs/1903.12261.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from attacks.grid import Images, snap, to_images, to_inputs
from attacks.threat import sphere_start


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """A change of uint8 images (N, H, W, 3) -> the same, drawn from `rng`; eps and norm are the audit's."""

    name: str
    title: str
    severity: int | None  # of CIFAR-10-C, 1 to 5; None: not one of its corruptions
    parameters: Mapping[str, float]
    in_ball: bool  # whether the result lies in the ball of the threat model
    function: Callable[..., Images]

    def apply(self, images: Images, rng: np.random.Generator, *, eps: Fraction, norm: str) -> Images:
        """The corrupted images."""
        if self.in_ball:
            return self.function(images, rng, eps=eps, norm=norm)
        return self.function(images, rng, **self.parameters)


def noise_in_ball(images: Images, rng: np.random.Generator, *, eps: Fraction, norm: str) -> Images:
    """A random point on the sphere of radius eps: what the attacks' budget does when nobody aims it."""
    inputs = to_inputs(images, np.float64)
    moved = inputs + float(eps) * np.sign(rng.uniform(-1, 1, inputs.shape))
    if norm != "linf":
        moved = sphere_start(inputs, rng, eps=float(eps), norm=norm)
    return snap(images, np.clip(moved, 0, 1), eps, norm)


def gaussian_noise(images: Images, rng: np.random.Generator, *, sigma: float) -> Images:
    """Independent noise in every pixel, sigma in pixel units."""
    inputs = to_inputs(images, np.float64)
    return to_images(np.clip(inputs + sigma * rng.standard_normal(inputs.shape), 0, 1))


def gaussian_blur(images: Images, rng: np.random.Generator, *, sigma: float) -> Images:  # noqa: ARG001
    """A Gaussian filter, sigma in pixels."""
    return _each(images, lambda image: image.filter(ImageFilter.GaussianBlur(sigma)))


def contrast(images: Images, rng: np.random.Generator, *, factor: float) -> Images:  # noqa: ARG001
    """Every channel drawn towards its mean."""
    inputs = to_inputs(images, np.float64)
    mean = inputs.mean(axis=(2, 3), keepdims=True)
    return to_images(np.clip(mean + factor * (inputs - mean), 0, 1))


def jpeg(images: Images, rng: np.random.Generator, *, quality: float) -> Images:  # noqa: ARG001
    """Compression and back."""

    def compressed(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(quality))
        return Image.open(buffer, formats=["JPEG"])

    return _each(images, compressed)


def _each(images: Images, change: Callable[[Image.Image], Image.Image]) -> Images:
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])


def _natural(name: str, title: str, function: Callable[..., Any], **parameters: float) -> Corruption:
    return Corruption(
        name=name, title=title, severity=3, parameters=MappingProxyType(parameters), in_ball=False, function=function
    )


CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType(
    {
        corruption.name: corruption
        for corruption in (
            Corruption(
                name="noise-in-ball",
                title="Random noise of the attacks' size",
                severity=None,
                parameters=MappingProxyType({}),
                in_ball=True,
                function=noise_in_ball,
            ),
            _natural("gaussian-noise", "Gaussian noise", gaussian_noise, sigma=0.08),
            _natural("gaussian-blur", "Gaussian blur", gaussian_blur, sigma=0.7),
            _natural("contrast", "Low contrast", contrast, factor=0.4),
            _natural("jpeg", "JPEG compression", jpeg, quality=58),
        )
    }
)
