"""Every route of the service, including those that BentoML adds without a way to declare a scope on them."""

from typing import Never

from starlette.applications import Starlette

from f2at.serving.access.scopes import OPEN, Scoped, ScopedMount, ScopedRoute, scoped
from f2at.serving.api import predictions


def _answered_by_bentoml(*_: object) -> Never:
    raise AssertionError("BentoML answers this route")


# BentoML's own. Ours shadow its /, /docs.json and /metrics.
OWN: tuple[Scoped, ...] = (
    ScopedRoute("/livez", _answered_by_bentoml, scope=OPEN),
    ScopedRoute("/readyz", _answered_by_bentoml, scope=OPEN),
    ScopedRoute("/healthz", _answered_by_bentoml, scope=OPEN),
    ScopedRoute("/schema.json", _answered_by_bentoml, scope=OPEN),
    ScopedMount("/static_content", _answered_by_bentoml, scope=OPEN),
)


def every_route(app: Starlette) -> list[Scoped]:
    """The routes of predictions, of the mounted `app` and of BentoML, in the order in which they are matched.

    Raises:
        TypeError: a route of `app` declares no scope.
    """
    return [*predictions.ROUTES, *scoped(app.routes), *OWN]
