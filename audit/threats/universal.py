"""One perturbation for all images, tested on images that it was not learnt from."""

from dataclasses import dataclass
from fractions import Fraction
from math import floor

import numpy as np
from numpy.typing import NDArray

from f2at.attacks.attack import usual_parameters
from f2at.attacks.target import Target
from f2at.attacks.threat import effective_eps, parse_eps
from f2at.attacks.white_box.universal import most_of_universal, universal
from f2at.audit.subject import to_numpy
from f2at.audit.threats.base import (
    SHARES,
    Found,
    Given,
    Search,
    Searched,
    Shape,
    Threat,
    Tier,
    ToTarget,
    parameter,
    whole,
)
from f2at.images.pixels import LEVELS, Images, to_inputs

_QUICK = {"restarts": 1, "passes": 5}


@dataclass(frozen=True, kw_only=True)
class Universal(Searched):
    """A universal perturbation in linf."""

    name = "universal"
    title = "One perturbation for all pictures"
    met = "A dirty or printed-over lens, an overlay in a video stream, whoever has other pictures but not this one"
    formula = "x' = clip(x + d), one d for all x, max |d| <= eps"
    axis = "radius, levels of 255"
    limits = (
        "Images come in groups of 25, and the perturbation of each is learnt from other images of the audit, without a "
        "look at the group. More images to learn from, and more time, find better ones."
    )

    eps: Fraction = parameter(
        Fraction(8, 255), "largest change of a value, pixels in [0, 1]", read=lambda text: parse_eps(text, "linf")
    )
    images: int = parameter(
        100, "how many other images it is learnt from, at most", read=whole("images", 1, 100_000), silent=True
    )

    def __post_init__(self) -> None:
        effective_eps(parse_eps(self.eps, "linf"), "linf")

    @property
    def definition(self) -> str:
        """See `Threat`."""
        return f"One and the same change of all values, by {self.eps} at most, learnt from other images"

    @property
    def strength(self) -> float:
        """In levels."""
        return float(floor(self.eps * LEVELS))

    def check(self, shape: Shape) -> None:
        """Every shape will do."""

    def claims(self, tier: Tier) -> tuple[bool, str]:
        """See `Threat`."""
        short = "short runs of " if tier.quick else ""
        return not tier.quick, f"What {short}gradient ascent over up to {self.images} other images leaves standing"

    def includes(self, other: Threat) -> bool:
        """A smaller change, learnt from as many images."""
        return isinstance(other, Universal) and other.eps <= self.eps and other.images == self.images

    def weaker(self, shape: Shape) -> tuple["Universal", ...]:  # noqa: ARG002
        """Parts of the change, if a level fits into them."""
        parts = (self.eps * part for part in SHARES)
        return tuple(Universal(eps=eps, images=self.images) for eps in parts if eps * LEVELS >= 1)

    def searches(self, tier: Tier) -> tuple[Search, ...]:
        """One, where there are gradients."""
        if not tier.gradients:
            return ()
        parameters = {**usual_parameters(universal), **(_QUICK if tier.quick else {})}

        def find(target: Target, to_target: ToTarget, given: Given, rng: np.random.Generator) -> Found:
            change = universal(
                target,
                to_target(to_inputs(given.others)),
                to_target(given.other_labels),
                eps=float(effective_eps(self.eps, "linf")),
                rng=rng,
                **parameters,
            )
            images = apply_to_all(to_numpy(change), given.images, eps=self.eps)
            return Found(images, [f"learnt from {len(given.others)} other images"] * len(images))

        return (
            Search(
                name="universal-ascent",
                title="A universal perturbation by gradient ascent (after Moosavi-Dezfooli et al. 2017)",
                paper="https://arxiv.org/abs/1610.08401",
                knowledge="white-box",
                parameters=parameters,
                most=0,
                once=most_of_universal(parameters, self.images),
                learns=self.images,
                find=find,
            ),
        )


def apply_to_all(change: NDArray[np.floating], clean: Images, *, eps: Fraction) -> Images:
    """Images (N, H, W, 3) plus one change (3, H, W), in whole levels of `eps` at most, clipped to those that there are.

    A value of the change that is not finite counts as none.
    """
    most = floor(eps * LEVELS)
    levels = np.rint(np.nan_to_num(change.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0) * LEVELS)
    levels = np.clip(levels, -most, most).transpose(1, 2, 0)
    return np.clip(clean + levels, 0, LEVELS).astype(np.uint8)
