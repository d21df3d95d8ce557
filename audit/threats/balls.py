"""The ball of a norm, other than the one that the audit is mainly about."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from f2at.attacks import grid
from f2at.attacks.attack import Attack
from f2at.attacks.target import Target
from f2at.attacks.threat import effective_eps, parse_eps
from f2at.audit.subject import to_numpy
from f2at.audit.suites import Suite, suite_for
from f2at.audit.threats.base import SHARES, Found, Given, Search, Searched, Shape, Threat, Tier, ToTarget, parameter
from f2at.images.pixels import LEVELS, to_inputs


@dataclass(frozen=True, kw_only=True)
class Ball(Searched):
    """Images no further than eps from the clean one, in a norm."""

    norm: ClassVar[str]
    met = "Whoever may send pixels of his own choice"
    limits = "Changes beyond the ball, and such as move the picture, were not tried."

    eps: Fraction

    def __post_init__(self) -> None:
        effective_eps(parse_eps(self.eps, self.norm), self.norm)

    @property
    def definition(self) -> str:
        """See `Threat`."""
        return f"All pixels may change, by {self.eps} in {self.norm} at most"

    @property
    def strength(self) -> float:
        """In levels."""
        return float(effective_eps(self.eps, self.norm) * LEVELS)

    def check(self, shape: Shape) -> None:
        """Every shape will do."""

    def claims(self, tier: Tier) -> tuple[bool, str]:
        """Those of the suite."""
        suite = self._suite(tier)
        return suite.strong, suite.claims

    def includes(self, other: Threat) -> bool:
        """A smaller ball."""
        return isinstance(other, type(self)) and other.eps <= self.eps

    def searches(self, tier: Tier) -> tuple[Search, ...]:
        """The suite's attacks that are made for the norm."""
        suite = self._suite(tier)
        return tuple(self._bound(attack, suite.every.get(attack.name, 1)) for attack in suite.attacks)

    def weaker(self, shape: Shape) -> tuple["Ball", ...]:  # noqa: ARG002
        """Balls of a part of the radius, if a level fits into them."""
        return tuple(type(self)(eps=self.eps * part) for part in SHARES if self.eps * part * LEVELS >= 1)

    def _suite(self, tier: Tier) -> Suite:
        if tier.gradients:
            return suite_for("quick" if tier.quick else "adaptive", self.norm)
        return suite_for("black-box" if tier.scores else "labels", self.norm)

    def _bound(self, attack: Attack, every: int) -> Search:
        def find(target: Target, to_target: ToTarget, given: Given, rng: np.random.Generator) -> Found:
            inputs, y = to_target(to_inputs(given.images)), to_target(given.labels)
            found = attack.run(target, inputs, y, eps=float(self.eps), norm=self.norm, rng=rng)
            images = grid.snap(to_numpy(found), given.images, eps=self.eps, norm=self.norm)
            return Found(images, [""] * len(images))

        return Search(
            name=attack.name,
            title=attack.title,
            paper=attack.paper,
            knowledge=attack.knowledge,
            parameters=attack.parameters,
            most=attack.most_per_sample,
            every=every,
            find=find,
        )


def _radius(norm: str) -> Any:
    return lambda text: parse_eps(text, norm)


@dataclass(frozen=True, kw_only=True)
class Linf(Ball):
    """Every value a little."""

    name = norm = "linf"
    title = "Noise over the whole picture"
    formula = "max |x' - x| <= eps, x' in [0, 1]"
    axis = "radius, levels of 255"

    eps: Fraction = parameter(Fraction(8, 255), "radius, pixels in [0, 1]", read=_radius("linf"))


@dataclass(frozen=True, kw_only=True)
class L2(Ball):
    """All values together."""

    name = norm = "l2"
    title = "Little change in all"
    formula = "sqrt(sum (x' - x)^2) <= eps, x' in [0, 1]"
    axis = "radius, levels of 255 (l2)"

    eps: Fraction = parameter(Fraction(1, 2), "radius, pixels in [0, 1]", read=_radius("l2"))


@dataclass(frozen=True, kw_only=True)
class L1(Ball):
    """Few values much, or many a little."""

    name = norm = "l1"
    title = "A little change, wherever it counts"
    formula = "sum |x' - x| <= eps, x' in [0, 1]"
    axis = "radius, levels of 255 (l1)"

    eps: Fraction = parameter(Fraction(12), "radius, pixels in [0, 1]", read=_radius("l1"))
