"""What to audit: the request, validated where it is built, and its threat model on the 8-bit grid."""

from collections.abc import Mapping
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, WithJsonSchema, model_validator

from f2at.arguments import ArgumentError, OneOf
from f2at.attacks.attack import Attack
from f2at.attacks.registry import ATTACKS
from f2at.attacks.threat import NORMS, effective_eps, parse_eps
from f2at.audit.reports.statistics import CONFIDENCE
from f2at.audit.stages import STAGES
from f2at.audit.suites import CUSTOM, FOR_THRESHOLDS, SUITES, Suite, suite_for
from f2at.audit.threats.base import Threat
from f2at.audit.threats.registry import parse_threat
from f2at.command_line import suggestion

_LARGEST_PARAMETER = 100_000  # steps, queries: more would be a typing error
_ENTRY = {
    "type": "object",
    "description": "An attack and those of its parameters that are not the usual ones.",
    "properties": {
        "name": {"description": "Name in the registry of attacks.", "enum": list(ATTACKS)},
        "as": {"description": "Its name in this report, if another one.", "type": "string", "minLength": 1},
    },
    "required": ["name"],
}


def _eps_text(value: Any) -> str:
    """A number as the command line would give it."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Fraction):
        raise ArgumentError("eps", 'a number or text such as "8/255"', value)
    return str(value)


def _check_entry(entry: Any) -> Any:
    """One entry of a custom suite, as it came."""
    name = entry.get("name") if isinstance(entry, Mapping) else entry
    if not isinstance(entry, Mapping) or name not in list(ATTACKS):
        accepted = f'mappings whose "name" is one of {", ".join(ATTACKS)}'
        raise ArgumentError("attacks", accepted, entry, hint=suggestion(str(name), ATTACKS))
    for key, value in entry.items():
        if isinstance(value, int | float) and not abs(value) <= _LARGEST_PARAMETER:  # refuses nan, too
            raise ValueError(f"{key} of {entry['name']} must be at most {_LARGEST_PARAMETER}; got {value!r}")
    attack = _attack(entry)
    if attack.name in STAGES:
        raise ArgumentError("attacks", f"named otherwise than {', '.join(STAGES)}", attack.name)
    attack.check()
    return entry


def _attack(entry: Mapping[str, Any]) -> Attack:
    parameters = {key: value for key, value in entry.items() if key not in ("name", "as")}
    return ATTACKS[entry["name"]].override(**parameters).named(entry.get("as", entry["name"]))


def _threat_text(value: Any) -> str:
    """A threat with all of its parameters."""
    if not isinstance(value, str):
        raise ArgumentError("threats", 'texts such as "patch:area=2%"', value)
    try:
        return parse_threat(value).text
    except ValueError as error:
        raise ArgumentError.about("threats", value, error) from error


_Suite = Annotated[str, OneOf((*SUITES, CUSTOM))]
_Eps = Annotated[str, BeforeValidator(_eps_text, json_schema_input_type=str | float)]
_Norm = Annotated[str, OneOf(NORMS)]
_Integer = Annotated[int, Field(strict=True)]  # no 9.0, no true
_Number = Annotated[float, Field(strict=True)]
_Threat = Annotated[str, BeforeValidator(_threat_text)]
_Entry = Annotated[dict[str, Any], BeforeValidator(_check_entry), WithJsonSchema(_ENTRY)]


class AuditRequest(
    BaseModel,
    frozen=True,
    extra="forbid",
    json_schema_serialization_defaults_required=True,
    json_schema_extra={"description": "What was asked for; on the same model and data it gives the same report."},
):
    """One audit, in words that survive JSON; the same request on the same model gives the same report.

    `model_dump` gives JSON values, of which `AuditRequest(**values)` makes an equal request.

    Raises:
        ArgumentError: a ValueError that names the argument, what is accepted and what came.
    """

    suite: _Suite = Field(
        default="quick",
        description="Name of the list of attacks; custom: the request's own. Left out, it is adaptive if there is a "
        "threshold.",
    )
    eps: _Eps = Field(default="8/255", description="Radius in pixels of [0, 1], a fraction or decimal number, as text.")
    norm: _Norm = Field(default="linf", description="Norm of the ball.")
    samples: _Integer | None = Field(default=None, ge=1, le=1_000_000, description="Images to draw; null: all.")
    seed: _Integer = Field(default=0, ge=0, le=2**32 - 1, description="Of every random number, the draw's included.")
    min_robust_accuracy: _Number | None = Field(
        default=None, ge=0, le=1, description="Threshold stated before the run; null: none, and no verdict."
    )
    accept_weak: bool = Field(
        default=False,
        strict=True,
        description="Whether the threshold may be passed by a suite that claims no strength, custom ones among them.",
    )
    confidence: _Number = Field(
        default=CONFIDENCE, ge=0.5, le=0.9999, description="Level of the intervals, by which the verdict goes."
    )
    examples: _Integer = Field(default=8, ge=0, le=64, description="How many adversarial images the report may show.")
    curve: bool = Field(
        default=True, strict=True, description="Whether to search for the nearest error of each image, beyond eps, too."
    )
    attacks: list[_Entry] | None = Field(
        default=None, min_length=1, max_length=32, description="Those of suite custom, in order; otherwise null."
    )
    samples_per_gradient: _Integer = Field(
        default=1,
        ge=1,
        le=1000,
        description="Evaluations whose mean attacks follow, for a model that answers at random.",
    )
    draws: _Integer = Field(
        default=1, ge=1, le=1001, description="Answers by which an image is judged: right if more than half are."
    )
    threats: list[_Threat] = Field(
        default_factory=list, max_length=16, description="What else may be done to an image, beside the ball."
    )
    gate: list[_Threat] = Field(
        default_factory=list,
        max_length=16,
        description="Those of the threats that count for the threshold, besides the ball.",
    )

    if not TYPE_CHECKING:  # to whom the arguments are the fields

        def __init__(self, /, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise ArgumentError.of(error, AuditRequest) from None

    @model_validator(mode="before")
    @classmethod
    def _usual_suite(cls, values: dict[str, Any]) -> dict[str, Any]:
        stated = values.get("min_robust_accuracy") is not None
        return {"suite": FOR_THRESHOLDS, **values} if stated else values

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        try:
            assert self.effective_eps > 0
        except ValueError as error:
            raise ArgumentError.about("eps", self.eps, error) from error
        if (self.attacks is None) is (self.suite == CUSTOM):
            accepted = f'a list of attacks if suite is "{CUSTOM}", and only then'
            raise ArgumentError("attacks", accepted, self.attacks)
        if not self.chosen_suite.attacks:
            made = sorted({norm for attack in SUITES[self.suite].attacks for norm in attack.norms}, reverse=True)
            message = f"norm must be one of {', '.join(made)} for the suite {self.suite}; got {self.norm!r}"
            raise ArgumentError("norm", made, self.norm, message)
        names = [attack.name for attack in self.chosen_suite.attacks]
        if len(set(names)) < len(names):
            raise ArgumentError("attacks", 'of different names; give a second one a name with "as"', names)
        for attack in self.chosen_suite.attacks:
            if self.norm not in attack.norms:
                message = f"norm must be one of {', '.join(attack.norms)} for {attack.name}; got {self.norm!r}"
                raise ArgumentError("norm", list(attack.norms), self.norm, message)
        self._check_threats()
        return self

    def _check_threats(self) -> None:
        if len(set(self.threats)) < len(self.threats):
            raise ArgumentError("threats", "each given once", self.threats)
        for threat in self.chosen_threats:
            if threat.name == self.norm:
                accepted = (
                    f"others than the ball in {self.norm}, which eps and norm are about (its curve has all radii)"
                )
                raise ArgumentError("threats", accepted, threat.text)
        for text in self.gate:
            if text not in self.threats:
                raise ArgumentError("gate", f"among the threats ({', '.join(self.threats) or 'none'})", text)

    @cached_property
    def chosen_suite(self) -> Suite:
        """The suite that was asked for, with the attacks that are made for the norm."""
        if self.attacks is None:
            return suite_for(self.suite, self.norm)
        return Suite(
            title="The attacks that the request lists",
            claims="What withstands these attacks; what they miss was not measured",
            attacks=tuple(map(_attack, self.attacks)),
        )

    @property
    def random(self) -> bool:
        """Whether the model is taken to answer at random."""
        return self.samples_per_gradient > 1 or self.draws > 1

    @cached_property
    def chosen_threats(self) -> tuple[Threat, ...]:
        """What is audited beside the ball."""
        return tuple(map(parse_threat, self.threats))

    @property
    def exact_eps(self) -> Fraction:
        """The radius asked for, in pixel units."""
        return parse_eps(self.eps, self.norm)

    @property
    def effective_eps(self) -> Fraction:
        """The radius that 8-bit images can use: whole levels for linf, the radius itself for l2 and l1."""
        return effective_eps(self.exact_eps, self.norm)
