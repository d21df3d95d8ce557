"""Errors as RFC 9457 problem details: what was wrong, what is accepted, what came."""

from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from f2at.serving.process.logs import request_id

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818 (the RFC's own word)
    """A request that cannot be answered as asked.

    Args:
        status: HTTP status, 400 to 599.
        kind: short name of the kind of problem, the same for every occurrence; the tail of `type`.
        detail: one or two sentences for a person, saying what to do.
        headers: extra response headers, such as Retry-After.
        extensions: further members of the answer; by convention `argument`, `accepted` and `received`.
    """

    def __init__(
        self, status: int, kind: str, detail: str, *, headers: dict[str, str] | None = None, **extensions: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers or {}
        self.body = {
            "type": f"urn:problem-type:f2at:{kind}",
            "title": kind.replace("-", " ").capitalize(),
            "status": status,
            "detail": detail,
            **extensions,
        }

    def response(self) -> JSONResponse:
        """The problem as a response; it names the request, as the log does."""
        identifier = request_id.get()
        body = self.body if identifier is None else {**self.body, "request_id": identifier}
        return JSONResponse(body, status_code=self.status, headers=self.headers, media_type=MEDIA_TYPE)


def from_status(status: int, method: str, path: str) -> Problem:
    """The problem behind a bare HTTP error status, as frameworks answer for `method` on `path`."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Error"
    match status:
        case 404:
            detail = f"There is nothing at {path}."
        case 405:
            detail = f"{path} does not take {method}; the Allow header names what it takes."
        case 500:
            detail = "The server failed; its log says why."
        case _:
            detail = f"{method} {path}: {phrase.lower()}."
    return Problem(status, phrase.lower().replace(" ", "-"), detail)
