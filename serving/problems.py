"""Errors as RFC 9457 problem details: what was wrong, what is accepted, what was received."""

from http import HTTPStatus
from typing import Any, Self

from starlette.responses import JSONResponse

from f2at.serving.process.logs import request_id

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818 (the RFC's own word)
    """A request that cannot be fulfilled.

    Args:
        status: HTTP status, 400 to 599.
        kind: short name of the kind of problem, the same for every occurrence; the tail of `type`.
        detail: one or two sentences for a person, saying what to do.
        argument: the part of the request at fault; None, like the next two, if the server is at fault.
        accepted: what would be accepted in its place.
        received: what was received, or a description of it.
        headers: extra response headers, such as Retry-After.
        extensions: further members of the answer.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        argument: str | None = None,
        accepted: Any = None,
        received: Any = None,
        headers: dict[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers or {}
        self.body = {
            "type": f"urn:problem-type:f2at:{kind}",
            "title": kind.replace("-", " ").capitalize(),
            "status": status,
            "detail": detail,
            "argument": argument,
            "accepted": accepted,
            "received": received,
            **extensions,
        }

    def about(self, argument: str) -> Self:
        """The same problem, with the argument at fault, if one is, as this request names it."""
        if self.body["argument"] is not None:
            self.body["argument"] = argument
        return self

    def response(self) -> JSONResponse:
        """The problem as a response, with the request id that is in the log."""
        identifier = request_id.get()
        body = self.body if identifier is None else {**self.body, "request_id": identifier}
        return JSONResponse(body, status_code=self.status, headers=self.headers, media_type=MEDIA_TYPE)


def invalid(argument: str, accepted: Any, received: Any, *, status: int = 422, shown: str | None = None) -> Problem:
    """The refusal of an argument, in the words that all of them have.

    Args:
        argument: at fault.
        accepted: in its place; the message says that the argument must be that.
        received: in JSON values, short enough to be sent back.
        status: of the answer.
        shown: how the message calls what was received, if not as Python writes it.
    """
    got = repr(received) if shown is None else shown
    return Problem(
        status,
        "invalid-argument",
        f"{argument} must be {accepted}; got {got}.",
        argument=argument,
        accepted=accepted,
        received=received,
    )


def from_status(status: int, method: str, path: str) -> Problem:
    """The problem behind a bare HTTP error status, as frameworks answer for `method` on `path`."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Error"
    about: dict[str, Any] = {}
    match status:
        case 404:
            detail = f"There is nothing at {path}."
            about = {"argument": "path", "accepted": "a path in /docs.json", "received": path}
        case 405:
            detail = f"{path} does not take {method}; the Allow header names what it takes."
            about = {"argument": "method", "accepted": "what the Allow header names", "received": method}
        case 504:
            detail = "The server did not get to an answer in time; try again."
        case 500:
            detail = "The server failed; its log says why."
        case _:
            detail = f"{method} {path}: {phrase.lower()}."
            if status < 500:
                about = {"argument": "request", "accepted": "what /docs.json describes", "received": f"{method} {path}"}
    return Problem(status, phrase.lower().replace(" ", "-"), detail, **about)
