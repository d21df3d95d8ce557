"""The corruptions by name, with the strengths their authors published.

Hendrycks and Dietterich 2019, https://arxiv.org/abs/1903.12261. Written anew from their definitions: images up to 64
pixels wide and high get the strengths of CIFAR-10-C, larger ones those of ImageNet-C. Pixels are rounded where the
authors cut them down to whole levels, and draws differ, so the images are not theirs bit for bit; `frost`, `glass_blur`
and `spatter` say what else is different.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from f2at.attacks.transformations.batches import check_images
from f2at.attacks.transformations.corruptions.blur import (
    defocus_blur,
    gaussian_blur,
    glass_blur,
    motion_blur,
    zoom_blur,
)
from f2at.attacks.transformations.corruptions.digital import (
    contrast,
    elastic_transform,
    jpeg_compression,
    pixelate,
    saturate,
)
from f2at.attacks.transformations.corruptions.frost import frost
from f2at.attacks.transformations.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from f2at.attacks.transformations.corruptions.spatter import spatter
from f2at.attacks.transformations.corruptions.weather import brightness, fog, snow
from f2at.images.pixels import Images

Family = Literal["noise", "blur", "weather", "digital"]
Strengths = Mapping[str, tuple[Any, ...]]

SEVERITIES = (1, 2, 3, 4, 5)
SMALL = 64  # pixels: the longest side that gets the strengths of CIFAR-10-C
_SLIP = 244 / 224  # elastic_transform of ImageNet-C counts in sides of 244 pixels, by a slip that its authors kept


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """A change of images that nobody aimed at the model.

    name: as the files of CIFAR-10-C are called.
    function: of uint8 images (N, H, W, 3) and a generator, and the keywords of `small` and `large`.
    small: each keyword at every severity, for images up to 64 pixels: CIFAR-10-C's.
    large: the same for larger ones: ImageNet-C's.
    extra: whether it is one of the four that the authors keep for validation, which mCE leaves out.
    """

    name: str
    title: str
    family: Family
    function: Callable[..., Images]
    small: Strengths
    large: Strengths
    extra: bool = False

    def parameters(self, severity: int, height: int, width: int) -> dict[str, Any]:
        """The keywords of `function` at a severity, for images of this size. Raises ValueError for no severity."""
        if severity not in SEVERITIES:
            raise ValueError(f"severity must be from {SEVERITIES[0]} to {SEVERITIES[-1]}; got {severity!r}")
        strengths = self.small if max(height, width) <= SMALL else self.large
        return {name: values[severity - 1] for name, values in strengths.items()}


def apply(name: str, images: Images, severity: int, rng: np.random.Generator) -> Images:
    """Images under a corruption.

    Args:
        name: one of CORRUPTIONS.
        images: uint8 (N, H, W, 3).
        severity: from 1 to 5.
        rng: what is random is drawn from it, for each image by itself.

    Returns:
        uint8 (N, H, W, 3); the same generator makes the same images.

    Raises:
        ValueError: which argument is wrong, what is accepted and what came.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"name must be one of {', '.join(CORRUPTIONS)}; got {name!r}")
    check_images(images)
    corruption = CORRUPTIONS[name]
    return corruption.function(images, rng, **corruption.parameters(severity, *images.shape[1:3]))


def _strengths(*names: str, of: tuple[tuple[Any, ...], ...]) -> Strengths:
    """Each keyword's values at the severities, of all the keywords' values at each severity."""
    return MappingProxyType(dict(zip(names, zip(*of, strict=True), strict=True)))


_SNOW = ("mean", "deviation", "size", "threshold", "radius", "sigma", "kept")
_SPATTER = ("mean", "deviation", "size", "threshold", "strength", "mud")
_ELASTIC = ("distance", "smoothness", "affine")

CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType(
    {
        corruption.name: corruption
        for corruption in (
            Corruption(
                name="gaussian_noise",
                title="Gaussian noise",
                family="noise",
                function=gaussian_noise,
                small={"sigma": (0.04, 0.06, 0.08, 0.09, 0.10)},
                large={"sigma": (0.08, 0.12, 0.18, 0.26, 0.38)},
            ),
            Corruption(
                name="shot_noise",
                title="Shot noise",
                family="noise",
                function=shot_noise,
                small={"photons": (500, 250, 100, 75, 50)},
                large={"photons": (60, 25, 12, 5, 3)},
            ),
            Corruption(
                name="impulse_noise",
                title="Impulse noise",
                family="noise",
                function=impulse_noise,
                small={"share": (0.01, 0.02, 0.03, 0.05, 0.07)},
                large={"share": (0.03, 0.06, 0.09, 0.17, 0.27)},
            ),
            Corruption(
                name="defocus_blur",
                title="Defocus blur",
                family="blur",
                function=defocus_blur,
                small={"radius": (0.3, 0.4, 0.5, 1, 1.5), "softness": (0.4, 0.5, 0.6, 0.2, 0.1)},
                large={"radius": (3, 4, 6, 8, 10), "softness": (0.1, 0.5, 0.5, 0.5, 0.5)},
            ),
            Corruption(
                name="glass_blur",
                title="Frosted glass",
                family="blur",
                function=glass_blur,
                small={"sigma": (0.05, 0.25, 0.4, 0.25, 0.4), "reach": (1, 1, 1, 1, 1), "rounds": (1, 1, 1, 2, 2)},
                large={"sigma": (0.7, 0.9, 1, 1.1, 1.5), "reach": (1, 2, 2, 3, 4), "rounds": (2, 1, 3, 2, 2)},
            ),
            Corruption(
                name="motion_blur",
                title="Motion blur",
                family="blur",
                function=motion_blur,
                small={"radius": (6, 6, 6, 8, 9), "sigma": (1, 1.5, 2, 2, 2.5)},
                large={"radius": (10, 15, 15, 15, 20), "sigma": (3, 5, 8, 12, 15)},
            ),
            Corruption(
                name="zoom_blur",
                title="Zoom blur",
                family="blur",
                function=zoom_blur,
                small={"stop": (1.06, 1.11, 1.16, 1.21, 1.26), "step": (0.01,) * 5},
                large={"stop": (1.11, 1.16, 1.21, 1.26, 1.31), "step": (0.01, 0.01, 0.02, 0.02, 0.03)},
            ),
            Corruption(
                name="snow",
                title="Snow",
                family="weather",
                function=snow,
                small=_strengths(
                    *_SNOW,
                    of=(
                        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
                        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
                        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
                        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
                        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
                    ),
                ),
                large=_strengths(
                    *_SNOW,
                    of=(
                        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
                        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
                        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
                        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
                        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
                    ),
                ),
            ),
            Corruption(
                name="frost",
                title="Frost",
                family="weather",
                function=frost,
                # The crystals' length is ours, after the pictures', which are a fifth as large for CIFAR-10-C.
                small={"kept": (1, 1, 0.9, 0.85, 0.75), "ice": (0.2, 0.3, 0.4, 0.4, 0.45), "length": (8,) * 5},
                large={"kept": (1, 0.8, 0.7, 0.65, 0.6), "ice": (0.4, 0.6, 0.7, 0.7, 0.75), "length": (40,) * 5},
            ),
            Corruption(
                name="fog",
                title="Fog",
                family="weather",
                function=fog,
                small={"density": (0.2, 0.5, 0.75, 1, 1.5), "decay": (3, 3, 2.5, 2, 1.75)},
                large={"density": (1.5, 2, 2.5, 2.5, 3), "decay": (2, 2, 1.7, 1.5, 1.4)},
            ),
            Corruption(
                name="brightness",
                title="Bright light",
                family="weather",
                function=brightness,
                small={"added": (0.05, 0.1, 0.15, 0.2, 0.3)},
                large={"added": (0.1, 0.2, 0.3, 0.4, 0.5)},
            ),
            Corruption(
                name="contrast",
                title="Low contrast",
                family="digital",
                function=contrast,
                small={"factor": (0.75, 0.5, 0.4, 0.3, 0.15)},
                large={"factor": (0.4, 0.3, 0.2, 0.1, 0.05)},
            ),
            Corruption(
                name="elastic_transform",
                title="Elastic transformation",
                family="digital",
                function=elastic_transform,
                small=_strengths(
                    *_ELASTIC,
                    of=((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
                ),
                large=_strengths(
                    *_ELASTIC,
                    of=tuple(
                        tuple(_SLIP * sides for sides in row)
                        for row in (
                            (2, 0.7, 0.1),
                            (2, 0.08, 0.2),
                            (0.05, 0.01, 0.02),
                            (0.07, 0.01, 0.02),
                            (0.12, 0.01, 0.02),
                        )
                    ),
                ),
            ),
            Corruption(
                name="pixelate",
                title="Pixelation",
                family="digital",
                function=pixelate,
                small={"factor": (0.95, 0.9, 0.85, 0.75, 0.65)},
                large={"factor": (0.6, 0.5, 0.4, 0.3, 0.25)},
            ),
            Corruption(
                name="jpeg_compression",
                title="JPEG compression",
                family="digital",
                function=jpeg_compression,
                small={"quality": (80, 65, 58, 50, 40)},
                large={"quality": (25, 18, 15, 10, 7)},
            ),
            Corruption(
                name="speckle_noise",
                title="Speckle noise",
                family="noise",
                function=speckle_noise,
                small={"sigma": (0.06, 0.1, 0.12, 0.16, 0.2)},
                large={"sigma": (0.15, 0.2, 0.35, 0.45, 0.6)},
                extra=True,
            ),
            Corruption(
                name="gaussian_blur",
                title="Gaussian blur",
                family="blur",
                function=gaussian_blur,
                small={"sigma": (0.4, 0.6, 0.7, 0.8, 1)},
                large={"sigma": (1, 2, 3, 4, 6)},
                extra=True,
            ),
            Corruption(
                name="spatter",
                title="Spatter",
                family="weather",
                function=spatter,
                small=_strengths(
                    *_SPATTER,
                    of=(
                        (0.62, 0.1, 0.7, 0.7, 0.5, False),
                        (0.65, 0.1, 0.8, 0.7, 0.5, False),
                        (0.65, 0.3, 1, 0.69, 0.5, False),
                        (0.65, 0.1, 0.7, 0.69, 0.6, True),
                        (0.65, 0.1, 0.5, 0.68, 0.6, True),
                    ),
                ),
                large=_strengths(
                    *_SPATTER,
                    of=(
                        (0.65, 0.3, 4, 0.69, 0.6, False),
                        (0.65, 0.3, 3, 0.68, 0.6, False),
                        (0.65, 0.3, 2, 0.68, 0.5, False),
                        (0.65, 0.3, 1, 0.65, 1.5, True),
                        (0.67, 0.4, 1, 0.65, 1.5, True),
                    ),
                ),
                extra=True,
            ),
            Corruption(
                name="saturate",
                title="Saturation",
                family="digital",
                function=saturate,
                small={"factor": (0.3, 0.1, 1.5, 2, 2.5), "added": (0, 0, 0, 0.1, 0.2)},
                large={"factor": (0.3, 0.1, 2, 5, 20), "added": (0, 0, 0, 0.1, 0.2)},
                extra=True,
            ),
        )
    }
)
