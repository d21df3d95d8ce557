"""The one place that reads JSON from a request: limited in size and depth, and only values that can be sent back."""

import json
from typing import Any, Never

from starlette.requests import Request

from f2at.serving.problems import Problem

_MOST_BYTES = 64 << 10
_DEEPEST = 8  # an audit request has three levels


async def read_json_object(request: Request) -> dict[str, Any]:
    """The object in the body; {} for an empty one.

    Raises:
        Problem: 400 not JSON (which has no NaN, infinities or lone surrogates), 413 too long, 415 another content type,
            422 nested too deeply, or not an object.
    """
    # Requiring this type also makes browsers send a CORS preflight before another site's page can start an audit.
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(
            415,
            "unsupported-media-type",
            "Send the body as application/json.",
            argument="Content-Type",
            accepted=["application/json"],
            received=kind or None,
        )
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise Problem(
                413,
                "body-too-large",
                f"The body must have at most {_MOST_BYTES} bytes.",
                argument="body",
                accepted=f"at most {_MOST_BYTES} bytes",
                received="more than that",
            )
    return parse_json_object(bytes(body))


def parse_json_object(body: bytes) -> dict[str, Any]:
    """The object in `body`; see `read_json_object`."""
    try:
        values = json.loads(body or b"{}", parse_constant=_refuse)
        json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise Problem(
            400,
            "malformed-json",
            f"The body is not JSON: {error}.",
            argument="body",
            accepted="JSON",
            received=f"{len(body)} bytes",
        ) from error
    if not isinstance(values, dict):
        raise Problem(
            422,
            "invalid-argument",
            "The body must be a JSON object.",
            argument="body",
            accepted="an object",
            received="a list" if isinstance(values, list) else values,
        )
    if (depth := _depth(values)) > _DEEPEST:
        raise Problem(
            422,
            "invalid-argument",
            f"The body must not be nested deeper than {_DEEPEST} levels.",
            argument="body",
            accepted=f"at most {_DEEPEST} levels",
            received=f"{depth} levels",
        )
    return values


def _refuse(word: str) -> Never:
    raise ValueError(f"{word} is not a JSON number")


def _depth(value: Any) -> int:
    """Levels of nested lists and objects. Not recursive: Python's recursion limit has already bounded the parser."""
    level, depth = [value], 0
    while level := [inner for inner in level if isinstance(inner, dict | list)]:
        depth += 1
        level = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)]
    return depth
