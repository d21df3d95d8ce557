"""Suites: which attacks an audit runs, in which order and with which parameters, and what it measures besides."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from f2at.attacks.attack import Attack
from f2at.attacks.registry import ATTACKS

QUICK = "quick"
CUSTOM = "custom"  # the suite whose attacks the request lists
FOR_THRESHOLDS = "adaptive"  # the cheapest that claims strength
_MOST_STEPS = 200  # of a probe
_GROUP = 5


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A list of attacks, run in this order; names are unique.

    Attributes:
        title: what it is for, in a line.
        claims: what its figure says of the model, in a line.
        strong: whether that is enough for a threshold to be passed by it.
        attacks: each takes on the samples that still stand, unless it is named in `alone`.
        alone: attacks that take on every sample classified correctly, so that each has an accuracy of its own.
        every: attacks that run only as a check, on one sample in n, because they cost much and find little; on which,
            `chosen` says.
        followed: on how many samples, about, more steps and nearer errors are looked for.
    """

    title: str
    claims: str
    strong: bool = False
    attacks: tuple[Attack, ...]
    alone: frozenset[str] = frozenset()
    every: Mapping[str, int] = field(default_factory=dict)
    followed: int = 100

    @property
    def strength(self) -> str:
        """In a word."""
        return "strong" if self.strong else "weak"

    @property
    def needs_gradients(self) -> bool:
        """Whether an attack follows the gradients of the audited model."""
        return any(attack.knowledge == "white-box" for attack in self.attacks)

    @property
    def needs_scores(self) -> tuple[str, ...]:
        """The attacks for which the labels that the audited model answers are not enough."""
        return tuple(attack.name for attack in self.attacks if attack.needs_scores)

    @property
    def longest_run(self) -> int:
        """The most steps in a row that a white-box attack may take on any sample; 20 if there is none."""
        everywhere = (a for a in self.attacks if a.knowledge == "white-box" and self.every.get(a.name, 1) == 1)
        steps = (int(v) for a in everywhere for key, v in a.parameters.items() if key.endswith("steps"))
        return max(steps, default=20)

    @property
    def needs_surrogate(self) -> bool:
        """Whether an attack follows the gradients of another model."""
        return any(attack.knowledge == "transfer" for attack in self.attacks)


def accuracy_name(knowledge: Iterable[str]) -> str:
    """What the accuracy under attacks that know so much is called: robust, if they follow the model's own gradients.

    Args:
        knowledge: "white-box", "black-box", "transfer", of every attack.
    """
    known = sorted(set(knowledge))
    return "robust accuracy" if "white-box" in known else f"accuracy under {' and '.join(known)} attacks"


def checked(position: int, every: int) -> bool:
    """Whether a check on one sample in `every` counts the one at this place: groups of five, so as to share batches."""
    return position // _GROUP % every == 0


def chosen(standing: Sequence[int], every: int, leads: Mapping[int, float]) -> list[int]:
    """Which of a shard's samples a check on one sample in `every` takes on: as many as `checked` counts of them.

    These are the ones nearest to an error: where gradients mislead, what attacks without them find is there first.

    Args:
        standing: their places, ascending.
        every: one in how many.
        leads: how far the label's logit was ahead under the attacks so far, at most, by place; of any others nothing
            is known.
    """
    count = sum(checked(position, every) for position in standing)
    return sorted(sorted(standing, key=lambda position: leads.get(position, math.inf))[:count])


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


def probes(suite: Suite, *, norm: str, gradients: bool, scores: bool = True) -> Probes:
    """The probes that go with a suite, for a model with or without gradients, or with labels alone.

    Raises ValueError for a model that answers labels alone and l1: no attack is made for them.
    """
    if not gradients:
        if norm == "l1" and not scores:
            raise ValueError("norm must be linf or l2 for a model that answers labels alone; got 'l1'")
        name = "square" if scores else "rays" if norm == "linf" else "hopskipjump"
        return Probes(curve=ATTACKS[name].override(queries=200))
    longest = ATTACKS["apgd-ce"]
    if norm == "l1":
        longest = ATTACKS["apgd-ce-l1"].override(restarts=1, larger_first=False)
    return Probes(
        curve=ATTACKS["pgd"].override(objective="margin", steps=10, start="none"),
        iterations=longest.override(objective="margin", steps=min(2 * suite.longest_run, _MOST_STEPS)),
        confidences=ATTACKS["pgd"].override(stop_at_success=False),
        iterative=ATTACKS["pgd"].override(steps=10, start="none"),
        single_step=ATTACKS["fgsm"],
    )


# The official parameters: of the two pairs of Auto-PGD, `suite_for` leaves the one for the norm.
_AUTOATTACK = tuple(ATTACKS[n] for n in ("apgd-ce", "apgd-t", "apgd-ce-l1", "apgd-t-l1", "fab-t", "square"))

# The paper's columns (Section V-A): its step of 0.007 is meant for linf and 8/255.
_PAPER = (
    ATTACKS["fgsm"],
    replace(ATTACKS["pgd"].override(step_size=0.007).named("pgd-20"), norms=("linf",)),
    replace(ATTACKS["pgd"].named("pgd-20"), norms=("l2", "l1")),
    replace(ATTACKS["pgd"].override(steps=100, step_size=0.007).named("pgd-100"), norms=("linf",)),
    replace(ATTACKS["pgd"].override(steps=100).named("pgd-100"), norms=("l2", "l1")),
    ATTACKS["mi-fgsm"],
    ATTACKS["cw"],
    ATTACKS["cw-l2"],
)
_TRANSFER = tuple(attack for attack in ATTACKS.values() if attack.knowledge == "transfer")

SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        # At most 19 gradients for a sample that stands: a quarter of the time of `adaptive`, checks and curve included.
        "quick": Suite(
            title="A first look, in seconds: one step, then short runs; Square checks some of the images",
            claims="A first look: longer attacks find more errors",
            attacks=(
                ATTACKS["fgsm"],
                replace(
                    ATTACKS["multi-targeted"].override(steps=5, target_classes=2, final_excess=0.0, final_steps=5),
                    norms=("linf", "l2"),
                ),
                replace(
                    ATTACKS["multi-targeted"].override(steps=20, target_classes=1, final_excess=0.0, final_steps=5),
                    norms=("l1",),
                ),
                ATTACKS["square"].override(queries=100),
            ),
            every={"square": 10},
            followed=25,
        ),
        "adaptive": Suite(
            title="AutoAttack's verdict at about a twentieth of its cost; FAB-T and Square check images near an error",
            claims="What AutoAttack leaves standing; where both were run, a point more at most, or a flag was raised",
            strong=True,
            attacks=(
                replace(ATTACKS["multi-targeted"], norms=("linf", "l2")),
                # Sparse steps take longer to find which values to move.
                replace(
                    ATTACKS["multi-targeted"].override(
                        steps=50, target_classes=5, final_runs=12, final_steps=60, final_excess=0.3
                    ),
                    norms=("l1",),
                ),
                ATTACKS["fab-t"].override(target_classes=3),
                ATTACKS["square"].override(queries=1000),
            ),
            every={"fab-t": 25, "square": 10},
        ),
        "standard": Suite(
            title="AutoAttack as its authors published it (arXiv 2003.01690; for l1, 2103.01208)",
            claims="What AutoAttack leaves standing, by which published figures are compared",
            strong=True,
            attacks=_AUTOATTACK,
        ),
        "paper": Suite(
            title="F2AT's white-box columns, each attack on all images by itself, then AutoAttack on what is left",
            claims="What AutoAttack leaves standing, by which published figures are compared",
            strong=True,
            attacks=(*_PAPER, *_AUTOATTACK),
            alone=frozenset(attack.name for attack in _PAPER),
        ),
        "transfer": Suite(
            title="F2AT's black-box columns: attacks on a surrogate, each on all images by itself",
            claims="What withstands an attacker who has another model and cannot ask this one",
            attacks=_TRANSFER,
            alone=frozenset(attack.name for attack in _TRANSFER),
        ),
        "black-box": Suite(
            title="For a model of which only the answers are known: scores, then labels alone",
            claims="What withstands an attacker who sees the model's answers alone, and may ask for so many",
            attacks=(ATTACKS["square"], ATTACKS["rays"], ATTACKS["hopskipjump"]),
        ),
        "labels": Suite(
            title="For a model that answers labels alone, without scores",
            claims="What withstands an attacker who sees the model's labels alone, and may ask for so many",
            attacks=(ATTACKS["rays"], ATTACKS["hopskipjump"]),
        ),
    }
)


def suite_for(name: str, norm: str) -> Suite:
    """The attacks of a suite that are made for `norm`."""
    suite = SUITES[name]
    return replace(suite, attacks=tuple(attack for attack in suite.attacks if norm in attack.norms))
