"""What pipelines and weather do by themselves: all of it is tried, at every strength named."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from f2at.attacks.transformations import pipeline
from f2at.attacks.transformations.corruptions import CORRUPTIONS, apply
from f2at.audit.threats.base import Candidate, Scan, Shape, Threat, decimal, number, parameter, percent, share, whole
from f2at.images.pixels import Images


@dataclass(frozen=True, kw_only=True)
class Jpeg(Scan):
    """JPEG compression."""

    name = "jpeg"
    title = "JPEG compression"
    met = "Cameras, browsers and messengers, which compress what they send"
    formula = "x' = decode(encode(x, q)), q in {95, 90, ..., quality}"
    axis = "100 less the quality"
    limits = "One encoder (Pillow's, 4:2:0) and one pass; real pictures may be compressed several times."

    quality: int = parameter(10, "the lowest quality", read=whole("quality", 1, 95))

    @property
    def definition(self) -> str:
        """See `Threat`."""
        return f"The picture may be compressed as JPEG, of quality {self.quality} to 95"

    @property
    def strength(self) -> float:
        """See `axis`."""
        return 100.0 - self.quality

    def includes(self, other: Threat) -> bool:
        """Better qualities."""
        return isinstance(other, Jpeg) and set(other._qualities()) <= set(self._qualities())

    def candidates(self, shape: Shape) -> tuple[Candidate, ...]:  # noqa: ARG002
        """Every fifth quality."""
        return tuple(
            Candidate(f"quality {quality}", "", 100.0 - quality, _plain(pipeline.jpeg, quality))
            for quality in self._qualities()
        )

    def _qualities(self) -> list[int]:
        return sorted({*range(95, self.quality, -5), self.quality}, reverse=True)


@dataclass(frozen=True, kw_only=True)
class Brightness(Scan):
    """More and less light."""

    name = "brightness"
    title = "More or less light"
    met = "Clouds, evening, exposure, the gain of a sensor"
    formula = "x' = clip(f x), 1 - range <= f <= 1 + range"
    axis = "change of the light, %"
    limits = "All of the picture gets lighter or darker alike: no shadows, no coloured light."

    range: Fraction = parameter(
        Fraction(3, 10), "largest change of the light", read=share("range", 0.01, 1), write=percent
    )

    @property
    def definition(self) -> str:
        """See `Threat`."""
        return f"All values may be multiplied by {decimal(1 - self.range)} to {decimal(1 + self.range)}"

    @property
    def strength(self) -> float:
        """In percent."""
        return 100 * float(self.range)

    def candidates(self, shape: Shape) -> tuple[Candidate, ...]:  # noqa: ARG002
        """Six steps, each both ways."""
        return tuple(
            Candidate(
                f"{'lighter' if sign > 0 else 'darker'} by {percent(self.range * step / 6)}",
                "lighter" if sign > 0 else "darker",
                float(100 * self.range * step / 6),
                _plain(pipeline.brightness, float(1 + sign * self.range * step / 6)),
            )
            for step in range(1, 7)
            for sign in (-1, 1)
        )


@dataclass(frozen=True, kw_only=True)
class Resize(Scan):
    """To another size and back."""

    name = "resize"
    title = "Another resolution"
    met = "Thumbnails, uploads that are made smaller, cameras of other resolutions"
    formula = "x' = resize(resize(x, f), 1/f), 1/factor <= f <= factor; bilinear, 8-bit"
    axis = "factor, either way"
    limits = "One way of resizing (bilinear); a service that resizes by another way makes other errors."

    factor: Fraction = parameter(
        Fraction(2), "largest factor, either way", read=number("factor", 1.1, 8), write=decimal
    )

    @property
    def definition(self) -> str:
        """See `Threat`."""
        return f"The picture may be made {decimal(self.factor)} times smaller or larger, and brought back to its size"

    @property
    def strength(self) -> float:
        """The factor."""
        return float(self.factor)

    def candidates(self, shape: Shape) -> tuple[Candidate, ...]:  # noqa: ARG002
        """Six steps, each both ways."""
        factors = [float(self.factor) ** (step / 6) for step in range(1, 7)]
        return tuple(
            Candidate(f"{factor:.3g} times {word}", word, factor, _plain(pipeline.resize, factor**power))
            for factor in factors
            for word, power in (("smaller", -1), ("larger", 1))
        )


@dataclass(frozen=True, kw_only=True)
class Corruptions(Scan):
    """The nineteen of Hendrycks and Dietterich."""

    name = "corruptions"
    title = "Natural corruptions"
    met = "Noise of a sensor, blur, weather, digital artefacts"
    formula = "x' = c(x, s), c one of nineteen corruptions, s = 1, ..., severity"
    axis = "severity"
    limits = (
        "Each is drawn once at each severity, by its definition and published strength; the ice of frost is made, not "
        "photographed, so that figures are near published ones, not equal to them."
    )

    severity: int = parameter(5, "the highest, 1 to 5", read=whole("severity", 1, 5))

    @property
    def definition(self) -> str:
        """See `Threat`."""
        return f"One of nineteen natural corruptions (ImageNet-C's), up to severity {self.severity} of 5"

    @property
    def strength(self) -> float:
        """The severity."""
        return float(self.severity)

    def candidates(self, shape: Shape) -> tuple[Candidate, ...]:  # noqa: ARG002
        """All, at every severity."""
        return tuple(
            Candidate(
                f"{corruption.title}, severity {severity}",
                corruption.title,
                float(severity),
                partial(_corrupted, corruption.name, severity),
            )
            for severity in range(1, self.severity + 1)
            for corruption in CORRUPTIONS.values()
        )


def _corrupted(name: str, severity: int, images: Images, rng: np.random.Generator) -> Images:
    return apply(name, images, severity, rng)


def _plain(function: Callable[..., Images], value: Any) -> Callable[[Images, np.random.Generator], Images]:
    return lambda images, rng: function(images, value)  # noqa: ARG005
