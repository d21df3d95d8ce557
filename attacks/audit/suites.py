"""Suites: which attacks an audit runs, in which order and with which parameters, and what it measures besides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from attacks.registry import ATTACKS, Attack

CUSTOM = "custom"  # the suite whose attacks the request lists
TRANSFER = "transfer"  # the suite that needs a surrogate


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A list of attacks, run in this order; names are unique.

    Attributes:
        title: what it is for, in a line.
        attacks: each takes on the samples that still stand, unless it is named in `alone`.
        alone: attacks that take on every sample classified correctly, so that each has an accuracy of its own.
        every: attacks that run as a check on one sample in so many, because they cost much and find little.
    """

    title: str
    attacks: tuple[Attack, ...]
    alone: frozenset[str] = frozenset()
    every: Mapping[str, int] = field(default_factory=dict)

    @property
    def needs_gradients(self) -> bool:
        """Whether an attack follows the gradients of the audited model."""
        return any(attack.knowledge == "white-box" for attack in self.attacks)

    @property
    def needs_surrogate(self) -> bool:
        """Whether an attack follows the gradients of another model."""
        return any(attack.knowledge == "transfer" for attack in self.attacks)


@dataclass(frozen=True, kw_only=True)
class Probes:
    """What an audit runs besides its suite, on a few samples, to measure and to check. None: needs gradients.

    Attributes:
        curve: finds how far each sample is from an error, radius after radius.
        iterations: twice the steps of the suite's longest run: does accuracy still fall?
        confidences: the usual PGD, to its last step, for the probability it leaves to the true class.
        iterative: must not be weaker than `single_step`.
        single_step: see `iterative`.
    """

    curve: Attack
    iterations: Attack | None = None
    confidences: Attack | None = None
    iterative: Attack | None = None
    single_step: Attack | None = None


def probes(suite: Suite, *, gradients: bool) -> Probes:
    """The probes that go with a suite, for a model with or without gradients."""
    if not gradients:
        return Probes(curve=ATTACKS["square"].override(queries=200))
    longest = max((int(a.parameters.get("steps", 1)) for a in suite.attacks if a.knowledge == "white-box"), default=20)
    return Probes(
        curve=ATTACKS["pgd"].override(objective="margin", steps=10, start="none"),
        iterations=ATTACKS["apgd-ce"].override(objective="margin", steps=min(2 * longest, 200)),
        confidences=ATTACKS["pgd"].override(stop_at_success=False),
        iterative=ATTACKS["pgd"].override(steps=10, start="none"),
        single_step=ATTACKS["fgsm"],
    )


SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        # About 150 gradients and 300 queries for a sample that stands: a minute for 200 small images on two cores.
        "quick": Suite(
            title="A first look, in seconds: short runs of five attacks",
            attacks=(
                ATTACKS["fgsm"],
                ATTACKS["pgd"].override(steps=20),
                ATTACKS["apgd-ce"].override(steps=30),
                ATTACKS["apgd-t"].override(steps=20, target_classes=3),
                ATTACKS["square"].override(queries=300),
            ),
        ),
    }
)
