"""What only the owner of a model can say of its audit, and what standards ask for; docs/standards.md says which."""

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from f2at.arguments import ArgumentError

_LONGEST = 2000  # characters
# Something to be seen, and no control characters but those between lines.
_TEXT = r"^(?=[\s\S]*\S)[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$"
_DAY = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"


def _check_text(value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _LONGEST or not re.fullmatch(_TEXT, value):
        raise ValueError(f"must be text of 1 to {_LONGEST} characters")
    return value


def _check_day(value: Any) -> Any:
    """A date of TOML, or text."""
    if value is None:
        return None
    text = value.isoformat() if isinstance(value, date) else value
    if not isinstance(text, str) or not re.fullmatch(_DAY, text) or not _is_day(text):
        raise ValueError("must be a day, YYYY-MM-DD")
    return text


def _is_day(text: str) -> bool:
    """February has no 30th."""
    try:
        return bool(date.fromisoformat(text))
    except ValueError:
        return False


def _field(description: str, pattern: str = _TEXT) -> Any:
    return Field(default=None, description=f"{description} Null: not stated.", json_schema_extra={"pattern": pattern})


_Text = Annotated[Annotated[str, Field(min_length=1, max_length=_LONGEST)] | None, BeforeValidator(_check_text)]
_Day = Annotated[str | None, BeforeValidator(_check_day)]


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

    responsible_person: _Text = _field("Who answers for this audit.")
    responsible_role: _Text = _field("In which role.")
    intended_purpose: _Text = _field("What the model is for.")
    operating_domain: _Text = _field("Where and under which conditions it is to work.")
    data_provenance: _Text = _field("Where the images of the audit come from, and how they were chosen and labelled.")
    eps_rationale: _Text = _field("Why this norm and eps.")
    threshold_rationale: _Text = _field("Why this threshold.")
    previous_report: _Text = _field("The report that this one follows: its name, id or digest.")
    valid_until: _Day = _field("The last day on which the result may be relied on, YYYY-MM-DD.", _DAY)
    audit_triggers: _Text = _field("What calls for a new audit before that day.")

    if not TYPE_CHECKING:  # to whom the arguments are the fields

        def __init__(self, /, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise _refusal(error) from None


def read_context(path: str | Path) -> Context:
    """The context in a TOML file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not TOML, has a key that is not a field, or a value that is not accepted.
    """
    with Path(path).open("rb") as file:
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
