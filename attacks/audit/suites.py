"""Suites: what an audit runs, in which order, and with which parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from attacks.registry import ATTACKS, Attack


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A fixed list of attacks and the two that measure something else than the worst case.

    Attributes:
        attacks: run in this order on the samples still standing, cheapest break first; names are unique.
        curve: finds how far each sample is from an error, radius after radius.
        iterative: must not be weaker than `single_step`; compared on a few samples as a sanity check.
        single_step: see `iterative`.
    """

    attacks: tuple[Attack, ...]
    curve: Attack
    iterative: Attack
    single_step: Attack


_PROBE = {"steps": 10, "start": "none"}

SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        # About 150 gradients and 300 queries for a sample that stands: a minute for 200 small images on two cores.
        "quick": Suite(
            attacks=(
                ATTACKS["fgsm"],
                ATTACKS["pgd"].override(steps=20),
                ATTACKS["apgd-ce"].override(steps=30),
                ATTACKS["apgd-t"].override(steps=20, target_classes=3),
                ATTACKS["square"].override(queries=300),
            ),
            curve=ATTACKS["pgd"].override(objective="margin", **_PROBE),
            iterative=ATTACKS["pgd"].override(**_PROBE),
            single_step=ATTACKS["fgsm"],
        ),
    }
)
