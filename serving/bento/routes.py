"""Every route of the service, those included that BentoML adds and on which it gives no way to put a scope."""

from typing import Never

from starlette.applications import Starlette

from f2at.serving.access.scopes import OPEN, Scoped, ScopedMount, ScopedRoute, scoped
from f2at.serving.api import predictions


def _answered_by_bentoml(*_: object) -> Never:
    raise AssertionError("BentoML answers this route")


# BentoML's own. Its /, /docs.json and /metrics are hidden by ours.
OWN: tuple[Scoped, ...] = (
    ScopedRoute("/livez", _answered_by_bentoml, scope=OPEN),
    ScopedRoute("/readyz", _answered_by_bentoml, scope=OPEN),
    ScopedRoute("/healthz", _answered_by_bentoml, scope=OPEN),
    ScopedRoute("/schema.json", _answered_by_bentoml, scope=OPEN),
    ScopedMount("/static_content", _answered_by_bentoml, scope=OPEN),
)


def every_route(app: Starlette) -> list[Scoped]:
    """The routes of predictions, of the mounted `app` and of BentoML, in the order in which they are looked up.

    Raises:
        TypeError: a route of `app` declares no scope.
    """
    return [*predictions.ROUTES, *scoped(app.routes), *OWN]
