"""Predictions over HTTP."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from f2at.serving.access.guard import caller_of
from f2at.serving.access.scopes import ScopedRoute
from f2at.serving.answers import Prediction, Predictions
from f2at.serving.api.backend import deployed
from f2at.serving.api.queries import read_planes
from f2at.serving.api.uploads import read_files
from f2at.serving.decoding.pool import Decoders
from f2at.serving.problems import Problem

Pictures = Callable[[], NDArray[np.uint8]]


async def predict(request: Request) -> Response:
    """Classify one image; with `?planes=K`, also classify its upper K bit-planes."""
    try:
        planes = read_planes(request.query_params.get("planes"))
        files = await read_files(request, "image", most=1)
        return _json((await _predict(request, files, planes))[0])
    except Problem as problem:
        return problem.response()


async def predict_batch(request: Request) -> Response:
    """Classify several images; if one cannot be read, the whole request is refused."""
    deployment = deployed(request)
    try:
        files = await read_files(request, "images", most=deployment.predictor.settings.max_batch)
        return _json(Predictions(predictions=await _predict(request, files), model=deployment.digest))
    except Problem as problem:
        return problem.response()


async def _predict(request: Request, files: list[bytes], planes: int | None = None) -> list[Prediction]:
    pictures = await decoded(request, files)
    return await deployed(request).predictor.predict(pictures, planes, single=len(files) == 1 and planes is None)


async def decoded(request: Request, files: list[bytes]) -> Pictures:
    """What gives the images in files, at the model's size: uint8 (N, H, W, 3)."""
    decoders: Decoders = request.state.decoders
    return await decoders.decode(files, deployed(request).bundle.preparation, caller_of(request).client)


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


ROUTES = (
    ScopedRoute("/predict", predict, methods=["POST"], scope="predict"),
    ScopedRoute("/predict_batch", predict_batch, methods=["POST"], scope="predict"),
)
