"""What to audit: the request, validated where it is built, and its threat model on the 8-bit grid."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any, Self

from attacks.audit.suites import SUITES
from attacks.threat import NORMS, effective_eps, parse_eps


@dataclass(frozen=True, kw_only=True)
class AuditRequest:
    """One audit, in words that survive JSON; the same request on the same model gives the same report.

    Attributes:
        suite: name of the list of attacks, a key of `attacks.audit.suites.SUITES`.
        eps: radius of the ball in pixel units ([0, 1] scale), as text so that it stays exact: "8/255", "0.03".
        norm: "linf" or "l2".
        samples: how many images to draw from the audit set; None takes all of them.
        seed: seed of every random number, from the choice of samples to the attacks' starts.
        min_robust_accuracy: threshold stated before the run, from 0 to 1; None asks for no verdict.
        examples: how many adversarial images the report may show.

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

    def __post_init__(self) -> None:
        if not isinstance(self.suite, str) or self.suite not in SUITES:
            raise _refusal("suite", f"one of {', '.join(SUITES)}", self.suite)
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
        return asdict(self)

    @property
    def exact_eps(self) -> Fraction:
        """The radius asked for, in pixel units."""
        return parse_eps(self.eps, self.norm)

    @property
    def effective_eps(self) -> Fraction:
        """The radius that 8-bit images can use: whole levels for linf, the radius itself for l2."""
        return effective_eps(self.exact_eps, self.norm)


def _check_integer(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _refusal(name, f"an integer from {low} to {high}", value)


def _refusal(name: str, accepted: str, value: Any) -> ValueError:
    text = repr(value)
    return ValueError(f"{name} must be {accepted}; got {text if len(text) <= 60 else text[:57] + '...'}")
