"""What every route has: a request id, a log line, metrics; a limit on the body, problem details, the model digest."""

import asyncio
import logging
from collections.abc import Callable
from time import perf_counter
from typing import Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from f2at.serving.api.bodies import Body, Held
from f2at.serving.decoding.pool import Decoders
from f2at.serving.problems import MEDIA_TYPE, Problem, from_status
from f2at.serving.process.logs import accept_request_id, request_id
from f2at.serving.process.metrics import observe
from f2at.serving.settings import Settings

_ACCESS = logging.getLogger("bentoml.f2at.access")
# Seconds until an answer must have begun. BentoML has a limit as well, but its answer would be no problem document.
_PATIENCE = 60.0
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
    if _ACCESS.isEnabledFor(logging.INFO):  # and without a search for the line of code that logs
        line, more = "%r %s %r %s %.1f ms", {"fields": fields}
        _ACCESS.handle(_ACCESS.makeRecord(_ACCESS.name, logging.INFO, "", 0, line, words, None, extra=more))


class Deployed(Protocol):
    """The deployed model, as far as the middleware needs to know it."""

    @property
    def digest(self) -> str:
        """The digest of the model."""


class Gate:
    """ASGI middleware around the whole service, BentoML's own routes and mounted apps included.

    Args:
        app: what it wraps.
        settings: returns the limits: bytes of a body, declared or streamed, and seconds for it.
        deployment: returns what is served now. It becomes the request's `state.deployment`, and its digest is sent with
            the answer.
        decoders: returns what decodes images; becomes `state.decoders`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Callable[[], Settings],
        deployment: Callable[[], Deployed],
        decoders: Callable[[], Decoders],
    ) -> None:
        self.app = app
        self.settings = settings
        self.deployment = deployment
        self.decoders = decoders
        self._held = Held()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["deployment"] = self.deployment()
        state["decoders"] = self.decoders()
        body = Body(scope, receive, self.settings(), self._held)
        started = replaced = closing = False

        async def deliver(message: Message) -> None:
            nonlocal started, closing
            if message["type"] == "http.response.start":
                started = True
                if not deadline.expired():
                    deadline.reschedule(None)
                headers = MutableHeaders(raw=message["headers"])
                headers["X-Model-Digest"] = state["deployment"].digest
                headers["X-Content-Type-Options"] = "nosniff"
                if closing := body.abandoned:
                    headers["Connection"] = "close"
            elif closing and not message.get("more_body", False):
                # Closing a connection that bytes are still coming in on resets it, answer and all.
                await send({**message, "more_body": True})
                await body.drain()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        async def finish(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                status = message["status"]
                if body.problem or (status >= 400 and not headers.get("content-type", "").startswith(MEDIA_TYPE)):
                    replaced = True
                    answer = body.problem or from_status(status, scope["method"], scope["path"])
                    if "allow" in headers:
                        answer.headers["Allow"] = headers["allow"]
                    await answer.response()(scope, receive, deliver)
                    return
            if not replaced:
                await deliver(message)

        deadline = asyncio.timeout(_PATIENCE)
        try:
            async with deadline:
                try:
                    body.check_length()
                    await self.app(scope, body.receive, finish)
                except Problem as problem:  # of the body, where the application lets it pass
                    await problem.response()(scope, receive, deliver)
        except TimeoutError:
            if started or not deadline.expired():
                raise
            await from_status(504, scope["method"], scope["path"]).response()(scope, receive, deliver)
        finally:
            body.release()
