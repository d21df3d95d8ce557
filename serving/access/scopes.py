"""What a route asks of its callers. Every route declares it; `f2at.serving.access.guard` reads it there."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.types import ASGIApp, Scope

from f2at.serving.access.keys import SCOPES

# Besides the names of scopes:
OPEN = None  # nothing: open to all
ANY_KEY = ""  # a key, whatever its scopes
METRICS = "metrics"  # ANY_KEY or OPEN, as F2AT_METRICS says
_SAFE = ("GET", "HEAD")


class ScopedRoute(Route):
    """A route that declares what its callers need.

    Args:
        path: as Starlette takes it.
        endpoint: what answers.
        scope: a name in SCOPES, OPEN, ANY_KEY or METRICS.
        read_scope: the same for GET and HEAD, where they need something else.
        methods: that it answers.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        scope: str | None,
        read_scope: str | None = None,
        methods: Sequence[str] = ("GET",),
    ) -> None:
        super().__init__(path, endpoint, methods=list(methods))
        self._scope = _known(scope)
        self._read_scope = _known(read_scope or scope)

    def needed(self, method: str) -> str | None:
        """What `method` needs, answered or not: a 405 is for those who may call the route."""
        return self._read_scope if method in _SAFE else self._scope


class ScopedMount(Mount):
    """An application below a path, all of which needs one scope; see `ScopedRoute`."""

    def __init__(self, path: str, app: ASGIApp, *, scope: str | None) -> None:
        super().__init__(path, app)
        self._scope = _known(scope)

    def needed(self, method: str) -> str | None:  # noqa: ARG002
        """What any method needs."""
        return self._scope


Scoped = ScopedRoute | ScopedMount


def scoped(routes: Iterable[BaseRoute]) -> list[Scoped]:
    """The same routes, all of which declare a scope.

    Raises:
        TypeError: one does not.
    """
    checked = []
    for route in routes:
        if not isinstance(route, Scoped):
            raise TypeError(f"{route} declares no scope; it must be a ScopedRoute or a ScopedMount")
        checked.append(route)
    return checked


def needed_scope(routes: Iterable[Scoped], request: Scope) -> str | None:
    """What a request, an ASGI scope of type "http", needs: what the first route with its path declares.

    Where there is no such route, a key all the same: who has none learns nothing about what there is.
    """
    for route in routes:
        if route.matches(request)[0] is not Match.NONE:
            return route.needed(request["method"])
    return ANY_KEY


def _known(scope: str | None) -> str | None:
    assert scope in (OPEN, ANY_KEY, METRICS, *SCOPES), scope
    return scope
