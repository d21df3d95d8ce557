"""Nothing but Starlette and ONNX Runtime, in one thread: no limits, checks or logs. The minimum cost of a service."""

import io

import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.throughput.rivals.classifier import Classifier

classifier = Classifier()


async def predict(request: Request) -> Response:
    """Classify an uploaded image."""
    async with request.form() as form:
        file = form["image"]
        if isinstance(file, str):
            return Response(status_code=422)
        content = await file.read()
    return JSONResponse(classifier(np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))))


app = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
