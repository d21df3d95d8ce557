"""The scope that each route needs. Every route declares its own; `f2at.serving.access.guard` checks it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.types import ASGIApp, Scope

from f2at.serving.access.keys import SCOPES

# Besides the names of scopes, a route may need:
OPEN = None  # no key: open to all
ANY_KEY = ""  # a key with any scopes
METRICS = "metrics"  # ANY_KEY or OPEN, depending on F2AT_METRICS
_SAFE = ("GET", "HEAD")


class ScopedRoute(Route):
    """A route that declares what its callers need.

    Args:
        path: as Starlette takes it.
        endpoint: answers the requests.
        scope: a name in SCOPES, OPEN, ANY_KEY or METRICS.
        read_scope: the same for GET and HEAD; default: `scope`.
        methods: the HTTP methods it answers.
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
        """What `method` needs, even one that is not allowed: only those who may call the route get a 405."""
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
    """The same routes, checked: each declares a scope.

    Raises:
        TypeError: a route declares none.
    """
    checked = []
    for route in routes:
        if not isinstance(route, Scoped):
            raise TypeError(f"{route} declares no scope; it must be a ScopedRoute or a ScopedMount")
        checked.append(route)
    return checked


def needed_scope(routes: Iterable[Scoped], request: Scope) -> str | None:
    """What a request, an ASGI scope of type "http", needs: what the first route that matches its path declares.

    An unknown path needs a key as well, so that callers without one cannot probe which paths exist.
    """
    for route in routes:
        if route.matches(request)[0] is not Match.NONE:
            return route.needed(request["method"])
    return ANY_KEY


def _known(scope: str | None) -> str | None:
    assert scope in (OPEN, ANY_KEY, METRICS, *SCOPES), scope
    return scope
