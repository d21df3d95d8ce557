"""Natural corruptions: what no attacker chose, as a floor under the attacks.

Four of CIFAR-10-C's at its authors' strengths, Hendrycks and Dietterich 2019, https://arxiv.org/abs/1903.12261 (they
cut pixels down to whole levels where these are rounded), and noise of the attacks' own size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from types import MappingProxyType

import numpy as np

from f2at.attacks.grid import snap
from f2at.attacks.threat import sphere_start
from f2at.attacks.transformations.corruptions.blur import gaussian_blur
from f2at.attacks.transformations.corruptions.digital import contrast, jpeg_compression
from f2at.attacks.transformations.corruptions.noise import gaussian_noise
from f2at.images.pixels import Images, to_inputs

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """A change of uint8 images (N, H, W, 3) that nobody aimed at the model."""

    name: str
    title: str
    function: Callable[..., Images]
    strengths: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Each keyword of `function` at every severity of CIFAR-10-C."""
    severity: int | None = 3
    """1 to 5; None: not one of CIFAR-10-C's."""
    in_ball: bool = False
    """Whether the result lies in the ball of the threat model."""

    @property
    def parameters(self) -> dict[str, float]:
        """The keywords of `function` at this severity."""
        return {} if self.severity is None else {k: v[self.severity - 1] for k, v in self.strengths.items()}

    def at(self, severity: int) -> "Corruption":
        """The same corruption at another severity. Raises ValueError for one that it does not have."""
        if self.severity is None or severity not in SEVERITIES:
            accepted = "None" if self.severity is None else f"from {SEVERITIES[0]} to {SEVERITIES[-1]}"
            raise ValueError(f"severity must be {accepted} for {self.name}; got {severity!r}")
        return replace(self, severity=severity)

    def apply(self, images: Images, rng: np.random.Generator, *, eps: Fraction, norm: str) -> Images:
        """The corrupted images; eps and norm are the audit's ball."""
        if self.in_ball:
            return self.function(images, rng, eps=eps, norm=norm)
        return self.function(images, rng, **self.parameters)


def noise_in_ball(images: Images, rng: np.random.Generator, *, eps: Fraction, norm: str) -> Images:
    """What the attacks' budget does when nobody aims it: +-eps in every value for linf, else a random direction."""
    inputs = to_inputs(images, np.float64)
    if norm == "linf":
        moved = np.clip(inputs + float(eps) * rng.choice([-1.0, 1.0], inputs.shape), 0, 1)
    else:
        moved = sphere_start(inputs, rng, eps=float(eps), norm=norm)
    return snap(moved, images, eps=eps, norm=norm)


CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType(
    {
        corruption.name: corruption
        for corruption in (
            Corruption(
                name="noise-in-ball",
                title="Random noise of the attacks' size",
                function=noise_in_ball,
                severity=None,
                in_ball=True,
            ),
            Corruption(
                name="gaussian-noise",
                title="Gaussian noise",
                function=gaussian_noise,
                strengths={"sigma": (0.04, 0.06, 0.08, 0.09, 0.10)},
            ),
            Corruption(
                name="gaussian-blur",
                title="Gaussian blur",
                function=gaussian_blur,
                strengths={"sigma": (0.4, 0.6, 0.7, 0.8, 1.0)},
            ),
            Corruption(
                name="contrast",
                title="Low contrast",
                function=contrast,
                strengths={"factor": (0.75, 0.5, 0.4, 0.3, 0.15)},
            ),
            Corruption(
                name="jpeg",
                title="JPEG compression",
                function=jpeg_compression,
                strengths={"quality": (80, 65, 58, 50, 40)},
            ),
        )
    }
)
