"""What to audit: the request, validated where it is built, and its threat model on the 8-bit grid."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from functools import cached_property
from typing import Any, Self

from f2at.attacks.registry import ATTACKS, Attack
from f2at.attacks.threat import NORMS, effective_eps, parse_eps
from f2at.audit.stages import STAGES
from f2at.audit.suites import CUSTOM, SUITES, Suite, suite_for
from f2at.command_line import suggestion

_MOST_ATTACKS = 32
_LARGEST_PARAMETER = 100_000  # steps, queries: more would be a typing error


@dataclass(frozen=True, kw_only=True)
class AuditRequest:
    """One audit, in words that survive JSON; the same request on the same model gives the same report.

    Attributes:
        suite: name of the list of attacks, a key of `f2at.audit.suites.SUITES`, or "custom".
        eps: radius of the ball in pixel units ([0, 1] scale), as text so that it stays exact: "8/255", "0.03".
        norm: "linf" or "l2".
        samples: how many images to draw from the audit set; None takes all of them.
        seed: seed of every random number, from the choice of samples to the attacks' starts.
        min_robust_accuracy: threshold stated before the run, from 0 to 1; None asks for no verdict.
        examples: how many adversarial images the report may show.
        attacks: for the suite "custom", its attacks in order: mappings of a "name" in `attacks.ATTACKS` and of any of
            its parameters; "as" gives it another name in the report, so that one attack can run twice.

    Raises:
        ValueError: naming the argument, what is accepted and what came.
    """

    suite: str = "quick"
    eps: str = "8/255"
    norm: str = "linf"
    samples: int | None = None
    seed: int = 0
    min_robust_accuracy: float | None = None
    examples: int = 8
    attacks: Sequence[Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.suite, str) or self.suite not in (*SUITES, CUSTOM):
            raise _refusal("suite", f"one of {', '.join((*SUITES, CUSTOM))}", self.suite, (*SUITES, CUSTOM))
        if not isinstance(self.norm, str) or self.norm not in NORMS:
            raise _refusal("norm", f"one of {', '.join(NORMS)}", self.norm)
        if not isinstance(self.eps, str):
            raise _refusal("eps", 'text such as "8/255"', self.eps)
        effective_eps(parse_eps(self.eps, self.norm), self.norm)
        if self.samples is not None:
            _check_integer("samples", self.samples, 1, 1_000_000)
        _check_integer("seed", self.seed, 0, 2**32 - 1)
        _check_integer("examples", self.examples, 0, 64)
        threshold = self.min_robust_accuracy
        if threshold is not None and (
            isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1
        ):
            raise _refusal("min_robust_accuracy", "a number from 0 to 1", threshold)
        if (self.attacks is None) is (self.suite == CUSTOM):
            raise _refusal("attacks", f'a list of attacks if suite is "{CUSTOM}", and only then', self.attacks)
        for attack in self.plan.attacks:
            if self.norm not in attack.norms:
                raise ValueError(f"norm must be one of {', '.join(attack.norms)} for {attack.name}; got {self.norm!r}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a request from JSON values; an unknown key is an error."""
        accepted = [field.name for field in fields(cls)]
        for key in values:
            if key not in accepted:
                raise ValueError(f"unknown argument {key!r}; accepted: {', '.join(accepted)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The request as JSON values; `from_dict` gives an equal one back."""
        return {**asdict(self), "attacks": None if self.attacks is None else [dict(entry) for entry in self.attacks]}

    @cached_property
    def plan(self) -> Suite:
        """The suite that was asked for, with the attacks that are made for the norm."""
        if self.suite != CUSTOM:
            return suite_for(self.suite, self.norm)
        assert self.attacks is not None
        if not isinstance(self.attacks, list | tuple) or not 1 <= len(self.attacks) <= _MOST_ATTACKS:
            raise _refusal("attacks", f"a list of 1 to {_MOST_ATTACKS}", self.attacks)
        attacks = tuple(_attack(entry) for entry in self.attacks)
        names = [attack.name for attack in attacks]
        if len(set(names)) < len(names):
            raise _refusal("attacks", 'of different names; give a second one a name with "as"', names)
        return Suite(title="The attacks that the request lists", attacks=attacks)

    @property
    def exact_eps(self) -> Fraction:
        """The radius asked for, in pixel units."""
        return parse_eps(self.eps, self.norm)

    @property
    def effective_eps(self) -> Fraction:
        """The radius that 8-bit images can use: whole levels for linf, the radius itself for l2."""
        return effective_eps(self.exact_eps, self.norm)


def _attack(entry: Any) -> Attack:
    """One entry of a custom suite."""
    if not isinstance(entry, Mapping) or entry.get("name") not in ATTACKS:
        wanted = f'mappings whose "name" is one of {", ".join(ATTACKS)}'
        raise ValueError(f"{_refusal('attacks', wanted, entry)}{_nearest(entry)}")
    parameters = {key: value for key, value in entry.items() if key not in ("name", "as")}
    for key, value in parameters.items():
        if isinstance(value, int | float) and not abs(value) <= _LARGEST_PARAMETER:  # refuses nan, too
            raise _refusal(f"{key} of {entry['name']}", f"at most {_LARGEST_PARAMETER}", value)
    attack = ATTACKS[entry["name"]].override(**parameters).named(entry.get("as", entry["name"]))
    if attack.name in STAGES:
        raise _refusal("attacks", f"named otherwise than {', '.join(STAGES)}", attack.name)
    attack.check()
    return attack


def _check_integer(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _refusal(name, f"an integer from {low} to {high}", value)


def _nearest(entry: Any) -> str:
    return suggestion(str(entry.get("name")), ATTACKS) if isinstance(entry, Mapping) else ""


def _refusal(name: str, accepted: str, value: Any, names: Iterable[str] = ()) -> ValueError:
    text = repr(value)
    got = text if len(text) <= 60 else text[:57] + "..."
    return ValueError(f"{name} must be {accepted}; got {got}{suggestion(str(value), names)}")
