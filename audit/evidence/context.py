"""What only the owner of a model can say of its audit, and what standards ask for; docs/standards.md says which."""

import tomllib
import unicodedata
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from f2at.arguments import ArgumentError

_LONGEST = 2000  # characters
_ACCEPTED = f"text of 1 to {_LONGEST} characters"


def _check_text(value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST or any(map(_is_control, value)):
        raise ValueError(f"must be {_ACCEPTED}")
    return value


def _is_control(character: str) -> bool:
    """Half of a surrogate pair among them, which UTF-8 cannot write."""
    return unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\r\t"


def _check_day(value: Any) -> Any:
    """A date of TOML, or text."""
    if value is None:
        return None
    try:
        found = value if isinstance(value, date) else date.fromisoformat(value)
    except (TypeError, ValueError):
        found = None
    if found is None or isinstance(found, datetime):
        raise ValueError("must be a day, YYYY-MM-DD")
    return found.isoformat()


def _text(description: str) -> Any:
    return Field(default=None, min_length=1, max_length=_LONGEST, description=f"{description} Null: not stated.")


_Text = Annotated[str | None, BeforeValidator(_check_text)]


class Context(
    BaseModel,
    frozen=True,
    extra="forbid",
    json_schema_serialization_defaults_required=True,
    json_schema_extra={"description": "What the owner of the model says of the audit; it shapes no figure."},
):
    """Who answers for an audit, for what use of the model, and why it was done as it was.

    Raises:
        ArgumentError: a ValueError that names the field, what is accepted and what came.
    """

    responsible_person: _Text = _text("Who answers for this audit.")
    responsible_role: _Text = _text("In which role.")
    intended_purpose: _Text = _text("What the model is for.")
    operating_domain: _Text = _text("Where and under which conditions it is to work.")
    data_provenance: _Text = _text("Where the images of the audit come from, and how they were chosen and labelled.")
    eps_rationale: _Text = _text("Why this norm and eps.")
    threshold_rationale: _Text = _text("Why this threshold.")
    previous_report: _Text = _text("The report that this one follows: its name, id or digest.")
    valid_until: Annotated[str | None, BeforeValidator(_check_day)] = Field(
        default=None, description="The last day on which the result may be relied on, YYYY-MM-DD. Null: not stated."
    )
    audit_triggers: _Text = _text("What calls for a new audit before that day.")

    if not TYPE_CHECKING:  # to whom the arguments are the fields

        def __init__(self, /, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise _refusal(error) from None


def read_context(path: Path) -> Context:
    """The context in a TOML file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not TOML, has a key that is not a field, or a value that is not accepted.
    """
    with path.open("rb") as file:
        try:
            values = tomllib.load(file)
        except ValueError as error:
            raise ValueError(f"context must be a TOML file; {path}: {error}") from error
    try:
        return Context(**values)
    except ArgumentError as error:
        raise ValueError(f"{path}: {error}") from error


def _refusal(error: ValidationError) -> ArgumentError:
    first = error.errors()[0]
    cause, field = first.get("ctx", {}).get("error"), str(first["loc"][0])
    if isinstance(cause, ValueError):
        return ArgumentError(field, str(cause).removeprefix("must be "), first["input"])
    return ArgumentError.of(error, Context)
