"""What /readyz says besides BentoML's own: whether the server needs a person before it can do all of its work."""

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from f2at.serving.problems import Problem


class Readiness:
    """ASGI middleware: answers /readyz with 503 while `trouble` returns what is wrong, in words.

    Only for what does not pass by itself. During an outage of the database that may pass, predictions continue, so the
    server stays ready.
    """

    def __init__(self, app: ASGIApp, *, trouble: Callable[[], str | None]) -> None:
        self.app = app
        self.trouble = trouble

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope.get("path") == "/readyz" and (reason := self.trouble()):
            detail = f"The audit database is lost: {reason}."
            answer = Problem(503, "database-lost", detail, headers={"Retry-After": "30"}).response()
            await answer(scope, receive, send)
            return
        await self.app(scope, receive, send)
