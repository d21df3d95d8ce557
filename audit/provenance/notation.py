"""Attacks and names of classes as they are written on the command line, and read from there."""

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any


def parse_attack(text: str) -> dict[str, Any]:
    """An attack as it is written on the command line, "pgd:steps=50,step_size=2/255", as an entry of a request.

    Values are JSON, fractions, or else text. Raises ValueError for what is not of this form.
    """
    found = named_values(text)
    if found is None or "name" in found[1]:
        raise ValueError(f"attack must be NAME[:parameter=value,...], each parameter once; got {text!r}")
    name, values = found
    return {"name": name, **{key: _value(value) for key, value in values.items()}}


def named_values(text: str) -> tuple[str, dict[str, str]] | None:
    """The parts of "NAME:parameter=value,...", or of a name alone; None for what is not of this form."""
    name, _, rest = text.partition(":")
    values: dict[str, str] = {}
    for part in rest.split(",") if rest else ():
        key, equals, value = part.partition("=")
        if not key or not equals or key in values:
            return None
        values[key] = value
    return name, values


def attack_text(entry: Mapping[str, Any]) -> str:
    """The same the other way round: of the text, `parse_attack` makes the entry again."""
    values = ",".join(f"{key}={_text(value)}" for key, value in entry.items() if key != "name")
    return f"{entry['name']}:{values}" if values else str(entry["name"])


def parse_names(text: str) -> list[str]:
    """Names with commas between them, or a JSON list for names that have commas."""
    if text.startswith("["):
        try:
            return list(map(str, json.loads(text)))
        except ValueError:
            pass
    return text.split(",")


def names_text(names: Sequence[str]) -> str:
    """The same the other way round."""
    text = ",".join(names)
    return text if parse_names(text) == list(names) else json.dumps(list(names))


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=str)  # NaN is text like any other word
    except ValueError:
        pass
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        return text


def _text(value: Any) -> str:
    """As JSON, but for words, which need no quotation marks."""
    return value if isinstance(value, str) and _value(value) == value else json.dumps(value)
