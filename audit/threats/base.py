"""A threat: the images that may come in place of a clean one, and how errors are looked for among them.

A threat with its values is an object, in text "patch:area=2%". In most, a `Search` looks for one image for each clean
one, and weaker forms, whose images are among its own, show how accuracy falls with its strength. A `Scan` has so few
images that all are tried.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from f2at.attacks.attack import Knowledge
from f2at.attacks.target import Target
from f2at.command_line import suggestion
from f2at.images.pixels import Images, Labels

Shape = tuple[int, ...]  # (H, W, 3)
ToTarget = Callable[[NDArray[Any]], Any]
SHARES = tuple(Fraction(share) for share in ("1/8", "1/4", "1/2"))  # of its strength, at which a threat is tried, too


class Tier(NamedTuple):
    """How hard errors are looked for, and what the model gives.

    Attributes:
        quick: as the suite `quick` does.
        gradients: whether attacks may follow the model's.
        scores: whether its answers are more than labels.
    """

    quick: bool = False
    gradients: bool = True
    scores: bool = True


class Most(NamedTuple):
    """Evaluations of the model that attacks take at most: for each image, and besides for each shard of them."""

    image: int
    shard: int = 0


class Given(NamedTuple):
    """What a search is given.

    Attributes:
        images: uint8 (N, H, W, 3), to find a change for; labels: (N,).
        others: images of the audit that are not among them, as many as it learns from; other_labels: theirs.
    """

    images: Images
    labels: Labels
    others: Images
    other_labels: Labels


class Found(NamedTuple):
    """An image of the threat for each of N clean ones, whether or not it fools the model.

    Attributes:
        images: uint8 (N, H, W, 3).
        how: what was done, in words; empty where the change says all.
    """

    images: Images
    how: list[str]


@dataclass(frozen=True, kw_only=True)
class Search:
    """An attack bound to a threat.

    Attributes:
        name, title, paper, knowledge, parameters: as `f2at.attacks.attack.Attack` has them.
        most: evaluations of the model, forward and gradient, that it takes at most for one image.
        once: those that it takes besides for each shard, however many images it has.
        learns: from how many other images it learns, at most.
        every: it runs as a check only, on one image in so many.
        find: from the target, what moves arrays to it, what it is given and a generator.
    """

    name: str
    title: str
    paper: str
    knowledge: Knowledge
    parameters: Mapping[str, Any]
    most: int
    once: int = 0
    learns: int = 0
    every: int = 1
    find: Callable[[Target, ToTarget, Given, np.random.Generator], Found]


class Candidate(NamedTuple):
    """One image that a scan makes of each clean one.

    Attributes:
        name: what is done, in words.
        kind: of candidates that differ in strength alone; a scan of one kind has none.
        strength: in the threat's unit.
        apply: makes it.
    """

    name: str
    kind: str
    strength: float
    apply: Callable[[Images, np.random.Generator], Images]


def parameter(
    default: Any,
    description: str,
    *,
    read: Callable[[str], Any],
    write: Callable[[Any], str] = str,
    silent: bool = False,
) -> Any:
    """A field of a threat: what it is, how it is read and written, and whether its usual value is left unsaid."""
    return field(default=default, metadata={"description": description, "read": read, "write": write, "silent": silent})


@dataclass(frozen=True, kw_only=True)
class Threat(ABC):
    """One row of the registry, with its values.

    Attributes:
        name: in requests and reports.
        title: what people call it.
        met: who meets it in practice.
        formula: the set of images x' that may come in place of x.
        axis: what its strength is measured in, for a chart.
        limits: what is not claimed.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    met: ClassVar[str]
    formula: ClassVar[str]
    axis: ClassVar[str]
    limits: ClassVar[str]

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Self:
        """From texts by name; those left out are the usual ones.

        Raises:
            ValueError: a value, or a name, that the threat does not have.
        """
        known = {entry.name: entry.metadata["read"] for entry in fields(cls)}
        for key in values:
            if key not in known:
                raise ValueError(
                    f"threat {cls.name} has no parameter {key!r}; it takes {', '.join(known)}{suggestion(key, known)}"
                )
        try:
            return cls(**{key: known[key](value) for key, value in values.items()})
        except ValueError as error:
            raise ValueError(f"threat {cls.name}: {error}") from error

    @property
    def values(self) -> dict[str, str]:
        """Its parameters as text."""
        return {entry.name: entry.metadata["write"](getattr(self, entry.name)) for entry in fields(self)}

    @property
    def text(self) -> str:
        """As it is written in requests, and the same for equal threats."""
        unsaid = {e.name for e in fields(self) if e.metadata["silent"] and getattr(self, e.name) == e.default}
        said = (f"{key}={value}" for key, value in self.values.items() if key not in unsaid)
        return f"{self.name}:{','.join(said)}"

    @property
    @abstractmethod
    def definition(self) -> str:
        """What may be done to an image, in words."""

    @property
    @abstractmethod
    def strength(self) -> float:
        """On the axis of its chart."""

    @abstractmethod
    def check(self, shape: Shape) -> None:
        """Raise ValueError if images of this shape leave nothing to do."""

    @abstractmethod
    def claims(self, tier: Tier) -> tuple[bool, str]:
        """Whether what stands says something strong of the model, and what it says."""

    @abstractmethod
    def most(self, tier: Tier) -> Most:
        """Evaluations of the model that its attacks take at most."""

    def includes(self, other: "Threat") -> bool:  # noqa: ARG002
        """Whether every image of the other threat is one of this, so that its errors are errors here."""
        return False


class Searched(Threat):
    """A threat with more images than can be tried."""

    @abstractmethod
    def searches(self, tier: Tier) -> tuple[Search, ...]:
        """The attacks, in order: each takes on what stood before it."""

    def most(self, tier: Tier) -> Most:
        """See `Threat`."""
        searches = self.searches(tier)
        return Most(sum(search.most for search in searches), sum(search.once for search in searches))

    @abstractmethod
    def weaker(self, shape: Shape) -> tuple["Searched", ...]:
        """Weaker forms of it, each included in the next and the last in this."""


class Scan(Threat):
    """A threat with so few images that all are tried."""

    @abstractmethod
    def candidates(self, shape: Shape) -> tuple[Candidate, ...]:
        """All of them, the weakest first."""

    def most(self, tier: Tier) -> Most:  # noqa: ARG002
        """See `Threat`."""
        return Most(len(self.candidates((1, 1, 3))))

    def check(self, shape: Shape) -> None:
        """Every shape will do."""

    def claims(self, tier: Tier) -> tuple[bool, str]:  # noqa: ARG002
        """All were tried, so the figure is exact."""
        return True, "Exact: every strength named was tried on every image, strengths between them were not"


def whole(name: str, low: int, high: int) -> Callable[[str], int]:
    """A reader of integers."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise ValueError(f"{name} must be an integer from {low} to {high}; got {text!r:.40}")
        return int(text)

    return read


def number(name: str, low: float, high: float) -> Callable[[str], Fraction]:
    """A reader of exact numbers: "0.5", "1/3"."""

    def read(text: str) -> Fraction:
        try:
            value = Fraction(text) if len(text) < 40 else None
        except (ValueError, ZeroDivisionError):
            value = None
        if value is None or not low <= value <= high:
            raise ValueError(f"{name} must be a number from {low:g} to {high:g}; got {text!r:.40}")
        return value

    return read


def share(name: str, low: float, high: float) -> Callable[[str], Fraction]:
    """A reader of shares: "2%", "0.02"."""
    plain = number(name, low, high)

    def read(text: str) -> Fraction:
        if not text.endswith("%"):
            return plain(text)
        try:
            return plain(str(Fraction(text[:-1]) / 100))
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"{name} must be from {100 * low:g}% to {100 * high:g}%; got {text!r:.40}") from None

    return read


def choice(name: str, *accepted: str) -> Callable[[str], str]:
    """A reader of words."""

    def read(text: str) -> str:
        if text not in accepted:
            raise ValueError(f"{name} must be {' or '.join(accepted)}; got {text!r:.40}")
        return text

    return read


def decimal(value: Fraction) -> str:
    """An exact number as short as it goes: "30", "0.5", "1/3"."""
    return f"{float(value):g}" if Fraction(f"{float(value):g}") == value else str(value)


def percent(value: Fraction) -> str:
    """A share in percent."""
    return f"{decimal(100 * value)}%" if "/" not in decimal(100 * value) else str(value)
