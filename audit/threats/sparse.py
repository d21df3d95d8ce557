"""A few pixels of any colours, scattered or in one square."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f2at.attacks.attack import Knowledge, usual_parameters
from f2at.attacks.sparse import sets
from f2at.attacks.sparse.patch_ascent import most_of_patch_ascent, patch_ascent
from f2at.attacks.sparse.patch_rs import patch_rs
from f2at.attacks.sparse.sparse_pgd import most_of_sparse_pgd, sparse_pgd
from f2at.attacks.sparse.sparse_rs import sparse_rs
from f2at.attacks.target import Target
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
    percent,
    share,
    whole,
)
from f2at.images.pixels import Images, to_inputs


@dataclass(frozen=True, kw_only=True)
class Pixels(Searched):
    """The "norm" l0, counted in pixels."""

    name = "l0"
    title = "A few pixels"
    met = "Dead or flickering sensor pixels, dust, dots painted onto an object"
    formula = "#{pixels p : x'_p != x_p} <= pixels, x' in [0, 1]"
    axis = "pixels that may change"
    limits = "Which pixels are the worst is a search: others may do more. The camera is taken to record them exactly."

    pixels: int = parameter(24, "how many pixels may change", read=whole("pixels", 1, 1_000_000))

    @property
    def definition(self) -> str:
        """See `Threat`."""
        return f"{self.pixels} pixels may take any colours, wherever they are"

    @property
    def strength(self) -> float:
        """Pixels."""
        return float(self.pixels)

    def check(self, shape: Shape) -> None:
        """No more pixels than there are."""
        if self.pixels > shape[0] * shape[1]:
            raise ValueError(
                f"threat l0: pixels must be at most {shape[0] * shape[1]}, all of an image; got {self.pixels}"
            )

    def claims(self, tier: Tier) -> tuple[bool, str]:
        """See `Threat`."""
        return _claims(tier, "sparse PGD", "Sparse-RS")

    def includes(self, other: Threat) -> bool:
        """Fewer pixels."""
        return isinstance(other, Pixels) and other.pixels <= self.pixels

    def weaker(self, shape: Shape) -> tuple["Pixels", ...]:  # noqa: ARG002
        """Parts of the pixels."""
        return tuple(Pixels(pixels=n) for n in sorted({int(self.pixels * part) for part in SHARES}) if n)

    def searches(self, tier: Tier) -> tuple[Search, ...]:
        """With gradients, then by scores."""

        def keep(found: NDArray[Any], clean: Images) -> Found:
            images = sets.keep_pixels(found, clean, pixels=self.pixels)
            return Found(images, [f"{n} pixels" for n in sets.changed_pixels(images, clean)])

        return _by_tier(tier, _SPARSE_PGD, _SPARSE_RS, lambda _: {"pixels": self.pixels}, keep)


@dataclass(frozen=True, kw_only=True)
class Patch(Searched):
    """A square of any colours at any place."""

    name = "patch"
    title = "A sticker"
    met = "Stickers and signs on or beside an object, watermarks, a spot on the lens"
    formula = "x'_p = x_p outside one square of at most this share of the image, x' in [0, 1]"
    axis = "area of the square, % of the image"
    limits = (
        "The best place and colours are a search: others may do more. A real sticker is also seen at angles and in "
        "light that nobody chose, which makes it weaker; it may have any outline, which makes it stronger."
    )

    area: Fraction = parameter(
        Fraction(1, 50), "share of the image, as 2%", read=share("area", 0.0001, 1), write=percent
    )

    @property
    def definition(self) -> str:
        """See `Threat`."""
        return f"One square of at most {percent(self.area)} of the image may take any colours, wherever it is"

    @property
    def strength(self) -> float:
        """Percent of the image."""
        return 100 * float(self.area)

    def check(self, shape: Shape) -> None:
        """At least one pixel."""
        sets.patch_side(self.area, *shape[:2])

    def claims(self, tier: Tier) -> tuple[bool, str]:
        """See `Threat`."""
        return _claims(tier, "gradient ascent at the most promising places", "a random search")

    def includes(self, other: Threat) -> bool:
        """A smaller one."""
        return isinstance(other, Patch) and other.area <= self.area

    def weaker(self, shape: Shape) -> tuple["Patch", ...]:
        """Smaller sides."""
        side = sets.patch_side(self.area, *shape[:2])
        sides = sorted({side // 4, side // 2, 3 * side // 4} - {0, side})
        return tuple(Patch(area=Fraction(n * n, shape[0] * shape[1])) for n in sides)

    def searches(self, tier: Tier) -> tuple[Search, ...]:
        """With gradients, then by scores."""

        def side(images: Images) -> int:
            return sets.patch_side(self.area, *images.shape[1:3])

        def keep(found: NDArray[Any], clean: Images) -> Found:
            size = side(clean)
            images = sets.keep_patch(found, clean, side=size)
            places = sets.patch_places(images, clean, side=size)
            return Found(images, [f"{size} x {size} pixels, from row {top} and column {left}" for top, left in places])

        return _by_tier(tier, _PATCH_ASCENT, _PATCH_RS, lambda images: {"side": side(images)}, keep)


@dataclass(frozen=True, kw_only=True)
class _Attack:
    """An attack on one of these sets, with its usual parameters and those of a first look."""

    name: str
    title: str
    paper: str
    knowledge: Knowledge
    function: Callable[..., Any]
    most: Callable[[Mapping[str, Any]], int]
    usual: Mapping[str, Any] = field(default_factory=dict)
    quick: Mapping[str, Any]

    def bound(
        self, tier: Tier, sized: Callable[[Images], Mapping[str, int]], keep: Callable[[NDArray[Any], Images], Found]
    ) -> Search:
        """For a size of the set, given by keyword, which `keep` enforces whatever the attack returns."""
        parameters = {**usual_parameters(self.function), **(self.quick if tier.quick else self.usual)}

        def find(target: Target, to_target: ToTarget, given: Given, rng: np.random.Generator) -> Found:
            inputs, y = to_target(to_inputs(given.images)), to_target(given.labels)
            size = sized(given.images)
            return keep(to_numpy(self.function(target, inputs, y, rng=rng, **size, **parameters)), given.images)

        return Search(
            name=self.name,
            title=self.title,
            paper=self.paper,
            knowledge=self.knowledge,
            parameters=parameters,
            most=self.most(parameters),
            find=find,
        )


_SPARSE_PGD = _Attack(
    name="sparse-pgd",
    title="Sparse PGD (Zhong et al. 2024)",
    paper="https://arxiv.org/abs/2405.05075",
    knowledge="white-box",
    function=sparse_pgd,
    most=most_of_sparse_pgd,
    quick={"steps": 10, "restarts": 2},
)
_SPARSE_RS = _Attack(
    name="sparse-rs",
    title="Sparse-RS (Croce et al. 2022)",
    paper="https://arxiv.org/abs/2006.12834",
    knowledge="black-box",
    function=sparse_rs,
    most=lambda p: int(p["queries"]),
    usual={"queries": 1000},
    quick={"queries": 100},
)
_PATCH_ASCENT = _Attack(
    name="patch-ascent",
    title="Gradient ascent inside a square (after Brown et al. 2017)",
    paper="https://arxiv.org/abs/1712.09665",
    knowledge="white-box",
    function=patch_ascent,
    most=most_of_patch_ascent,
    quick={"steps": 8, "places": 2, "trials": 16},
)
_PATCH_RS = _Attack(
    name="patch-rs",
    title="Sparse-RS for patches (Croce et al. 2022)",
    paper="https://arxiv.org/abs/2006.12834",
    knowledge="black-box",
    function=patch_rs,
    most=lambda p: int(p["queries"]),
    usual={"queries": 500},
    quick={"queries": 100},
)


def _by_tier(
    tier: Tier,
    ascent: _Attack,
    random: _Attack,
    sized: Callable[[Images], Mapping[str, int]],
    keep: Callable[[NDArray[Any], Images], Found],
) -> tuple[Search, ...]:
    return tuple(
        attack.bound(tier, sized, keep)
        for attack, possible in ((ascent, tier.gradients), (random, tier.scores))
        if possible
    )


def _claims(tier: Tier, ascent: str, random: str) -> tuple[bool, str]:
    if not tier.gradients:
        return False, f"What {random} leaves standing, by the model's answers alone"
    return not tier.quick, f"What {'short runs of ' if tier.quick else ''}{ascent} and {random} leave standing"
