"""Predictions over HTTP: the two endpoints, and the short way to them."""

import logging
from collections.abc import Awaitable, Callable, Mapping

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from f2at.serving.answers import Predictions
from f2at.serving.api.queries import read_planes
from f2at.serving.api.routes import deployed
from f2at.serving.api.uploads import read_files
from f2at.serving.problems import Problem, from_status

_LOG = logging.getLogger("bentoml.f2at")
Endpoint = Callable[[Request], Awaitable[Response]]


async def predict(request: Request) -> Response:
    """Classify one image; with `?planes=K`, say what its upper K bit-planes look like to the model, too."""
    try:
        planes = read_planes(request.query_params.get("planes"))
        files = await read_files(request, "image", most=1)
        return _json((await deployed(request).predictor.predict(files, planes))[0])
    except Problem as problem:
        return problem.response()


async def predict_batch(request: Request) -> Response:
    """Classify several images; one that cannot be read refuses them all."""
    deployment = deployed(request)
    try:
        files = await read_files(request, "images", most=deployment.predictor.settings.max_batch)
        return _json(Predictions(predictions=await deployment.predictor.predict(files), model=deployment.digest))
    except Problem as problem:
        return problem.response()


class ShortWay:
    """ASGI middleware, the innermost: hands a POST to one of `endpoints`, by path, right to the function.

    BentoML's way from a request to a method and back, with its context, its streamed answers and a span for each part,
    takes longer than a small model, and gives nothing that is used here.
    """

    def __init__(self, app: ASGIApp, *, endpoints: Mapping[str, Endpoint]) -> None:
        self.app = app
        self._routes = {path: Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        route = self._routes.get(scope.get("path", "")) if scope.get("method") == "POST" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = route  # as a router would: logs and metrics name it
        try:
            response = await route.endpoint(Request(scope, receive))
        except Exception:
            _LOG.exception("%s failed", route.path)
            response = from_status(500, "POST", route.path).response()
        await response(scope, receive, send)


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")
