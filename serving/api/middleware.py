"""What every route has: a request id, a log line, metrics; a limit on the body, problem details, the model digest."""

import logging
from collections.abc import Callable
from time import perf_counter
from typing import Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from f2at.serving.problems import MEDIA_TYPE, Problem, from_status
from f2at.serving.process.logs import accept_request_id, request_id
from f2at.serving.process.metrics import observe

_ACCESS = logging.getLogger("bentoml.f2at.access")
_PROBES = ("/livez", "/readyz", "/healthz", "/metrics")  # polled all the time: logged only when they fail


class Observer:
    """ASGI middleware, our outermost: gives the request an id, then counts, times and logs the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = perf_counter()
        identifier = accept_request_id(Headers(scope=scope).get("x-request-id"))
        request_id.set(identifier)
        answered = False

        async def answer(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                MutableHeaders(raw=message["headers"])["X-Request-ID"] = identifier
                _record(scope, message["status"], perf_counter() - started)
            await send(message)

        try:
            await self.app(scope, receive, answer)
        finally:
            if not answered:
                _record(scope, None, perf_counter() - started)


def _record(scope: Scope, status: int | None, seconds: float) -> None:
    # The router leaves the route that matched in the scope.
    route, method, path = getattr(scope.get("route"), "path", None), scope["method"], scope["path"]
    observe(route, method, status, seconds)
    if path in _PROBES and status == 200:
        return
    client = scope["client"][0] if scope.get("client") else None
    fields = {"method": method, "path": path, "route": route, "status": status}
    fields |= {"milliseconds": round(1000 * seconds, 3), "client": client}
    if caller := scope.get("state", {}).get("caller"):
        fields["caller"] = caller.name  # for a key, its name
    words = (client, method, path, status or "no answer", 1000 * seconds)
    _ACCESS.info("%s %s %r %s %.1f ms", *words, extra={"fields": fields})


class Deployed(Protocol):
    """The deployed model, as far as the middleware needs to know it."""

    @property
    def digest(self) -> str:
        """The digest of the model."""


class Gate:
    """ASGI middleware around the whole service, BentoML's own routes and mounted apps included.

    Args:
        app: what it wraps.
        max_body: returns the largest accepted request body in bytes, declared or streamed; a larger one answers 413.
        deployment: returns what is served now. It becomes the request's `state.deployment`, and its digest is sent with
            the answer.
    """

    def __init__(self, app: ASGIApp, *, max_body: Callable[[], int], deployment: Callable[[], Deployed]) -> None:
        self.app = app
        self.max_body = max_body
        self.deployment = deployment

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["deployment"] = self.deployment()
        problem: Problem | None = None
        received = 0
        replaced = False

        async def bounded_receive() -> Message:
            nonlocal problem, received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_body():
                problem = self._too_large("more than that")
                raise problem
            return message

        async def finish(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                headers["X-Model-Digest"] = state["deployment"].digest
                headers["X-Content-Type-Options"] = "nosniff"
                status = message["status"]
                if problem or (status >= 400 and not headers.get("content-type", "").startswith(MEDIA_TYPE)):
                    replaced = True
                    answer = problem or from_status(status, scope["method"], scope["path"])
                    if "allow" in headers:
                        answer.headers["Allow"] = headers["allow"]
                    answer.headers["X-Model-Digest"] = state["deployment"].digest
                    await answer.response()(scope, receive, send)
                    return
            if not replaced:
                await send(message)

        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdigit() and int(declared) > self.max_body():
            problem = self._too_large(f"{declared} bytes")
            await problem.response()(scope, receive, finish)
            return
        await self.app(scope, bounded_receive, finish)

    def _too_large(self, received: str) -> Problem:
        return Problem(
            413,
            "body-too-large",
            f"The request body is too large; send at most {self.max_body()} bytes.",
            argument="body",
            accepted=f"at most {self.max_body()} bytes",
            received=received,
            headers={"Connection": "close"},
        )
