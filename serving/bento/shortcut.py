"""A direct way from a request to an endpoint of predictions.

Bypasses BentoML's own path from a request to a method and back: its context, streamed answers and a span per part take
longer than a small model's prediction, and nothing here uses them.
"""

import logging
from collections.abc import Iterable

from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from f2at.serving.problems import from_status

_LOG = logging.getLogger("bentoml.f2at")


class Shortcut:
    """ASGI middleware, the innermost: hands a POST to the path of one of `routes` straight to its endpoint."""

    def __init__(self, app: ASGIApp, *, routes: Iterable[Route]) -> None:
        self.app = app
        self._routes = {route.path: route for route in routes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        route = self._routes.get(scope.get("path", "")) if scope.get("method") == "POST" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = route  # as a router would set it, for logs and metrics
        try:
            response = await route.endpoint(Request(scope, receive))
        except ClientDisconnect:  # nobody is left to answer
            return
        except Exception:
            _LOG.exception("%s failed", route.path)
            response = from_status(500, "POST", route.path).response()
        await response(scope, receive, send)
