"""What is wrong with an argument, said in one way everywhere: which it is, what is accepted, what came."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, ValidationError
from pydantic_core import CoreSchema, core_schema

from f2at.command_line import suggestion

# A key of the API, a bundle, an Idempotency-Key: a name that can be a file's, and never a path to another.
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_KINDS = {"integer": "an integer", "number": "a number", "array": "a list", "boolean": "on or off"}


class ArgumentError(ValueError):
    """A value that is not accepted; its text is one line with all of the attributes.

    Attributes:
        argument: its name.
        accepted: what is accepted in its place, in words, or the names to choose from.
        received: what came.
    """

    def __init__(
        self, argument: str, accepted: str | list[str], received: Any, message: str = "", *, hint: str = ""
    ) -> None:
        text = repr(received)
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        super().__init__(message or f"{argument} must be {accepted}; got {shown}{hint}")
        self.argument, self.accepted, self.received = argument, accepted, received

    @classmethod
    def about(cls, argument: str, received: Any, error: ValueError) -> Self:
        """An error that says all this already, "ARGUMENT must be ACCEPTED; got RECEIVED", as one of these."""
        message = str(error)
        accepted = message.rpartition("; got ")[0] or message
        return cls(argument, accepted.removeprefix(f"{argument} must be "), received, message)

    @classmethod
    def of(cls, error: ValidationError, model: type[BaseModel]) -> Self:
        """The first thing that a pydantic model refuses; what is accepted is read from its JSON schema."""
        first = error.errors()[0]
        cause, received = first.get("ctx", {}).get("error"), first["input"]
        if isinstance(cause, cls):
            if not first["loc"]:  # it came of looking at several arguments, and `received` has all that were given
                cause.received = received.get(cause.argument, cause.received)
            return cause
        argument = str(first["loc"][0])
        if isinstance(cause, ValueError):
            return cls.about(argument, received, cause)
        if first["type"] == "extra_forbidden":
            names = list(model.model_fields)
            message = f"unknown argument {argument!r}; accepted: {', '.join(names)}{suggestion(argument, names)}"
            return cls(argument, names, received, message)
        schema = model.model_json_schema()["properties"][argument]
        hint = suggestion(str(received), schema.get("enum", ()))
        return cls(argument, _accepted(schema), received, hint=hint)


@dataclass(frozen=True)
class OneOf:
    """Annotates text that is one of `names`, where a Literal cannot spell them out."""

    names: tuple[str, ...]

    def __get_pydantic_core_schema__(self, *_: Any) -> CoreSchema:
        return core_schema.literal_schema(list(self.names))


def _accepted(schema: Mapping[str, Any]) -> str:
    """What a JSON schema takes, in words; that it may be null goes without saying."""
    schema = next((choice for choice in schema.get("anyOf", ()) if choice["type"] != "null"), schema)
    names = schema.get("enum", ())
    if names:
        return " or ".join(names) if len(names) == 2 else f"one of {', '.join(names)}"
    kind = _KINDS.get(schema["type"], "text")
    low, high = (schema.get(f"{end}imum", schema.get(f"{end}Items")) for end in ("min", "max"))
    if high is not None:
        return f"{kind} of {low or 0} to {high}" if kind == "a list" else f"{kind} from {low} to {high}"
    return kind if low is None else f"{kind} of at least {low}"
