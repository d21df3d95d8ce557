"""The protocol's routes: health, metadata and inference, answered by what is deployed."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from f2at import __version__
from f2at.serving.access.scopes import OPEN, ScopedRoute
from f2at.serving.answers import Prediction
from f2at.serving.api.backend import deployed
from f2at.serving.api.inference.tensors import Question, Tensor, read_question, write_answer
from f2at.serving.api.predictions import Pictures, decoded
from f2at.serving.model.deployment import Deployment
from f2at.serving.problems import Problem, invalid
from f2at.serving.settings import Settings

PATH = "/v2"
_MODELS = (PATH + "/models/{name}", PATH + "/models/{name}/versions/{version}")
_TENSOR, _FILES = "images", "encoded"
_SCORES = "probabilities"
_OUTPUTS = {_SCORES: "FP32", "label": "BYTES", "index": "INT64", "margin": "FP32"}
_JSON_LENGTH = "Inference-Header-Content-Length"
_DIGITS = 12  # of a digest, which a version is


def routes(settings: Callable[[], Settings], trouble: Callable[[], str | None]) -> list[ScopedRoute]:
    """The routes of the protocol.

    Args:
        settings: returns those of the server.
        trouble: says why the server is not ready, if it is not.
    """

    reading = asyncio.Lock()  # one body at a time: JSON takes many times its size in memory while it is read

    async def live(_: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(_: Request) -> Response:
        reason = trouble()
        return JSONResponse({"ready": reason is None}, status_code=200 if reason is None else 503)

    async def server(_: Request) -> Response:
        return JSONResponse({"name": "f2at", "version": __version__, "extensions": ["binary_tensor_data"]})

    async def model_ready(request: Request) -> Response:
        deployment = _named(request, settings())
        return JSONResponse({"name": settings().model_name, "ready": True, "version": _version(deployment)})

    async def model(request: Request) -> Response:
        return JSONResponse(_metadata(settings().model_name, _named(request, settings())))

    async def infer(request: Request) -> Response:
        deployment = _named(request, settings())
        if (encoding := request.headers.get("content-encoding", "identity")) != "identity":
            raise Problem(
                415,
                "unsupported-media-type",
                "Send the body as it is.",
                argument="Content-Encoding",
                accepted="none",
                received=encoding[:40],
            )
        lengths = request.headers.getlist(_JSON_LENGTH)
        if len(lengths) > 1:
            raise _refused(_JSON_LENGTH, "given once", f"{len(lengths)} times")
        body, most = await request.body(), deployment.predictor.settings.max_batch
        async with reading:
            question = await asyncio.to_thread(read_question, body, next(iter(lengths), None), most_files=most)
        wanted = _wanted(question)
        predictions = await deployment.predictor.predict(await _pictures(request, deployment, question))
        outputs = [tensor for tensor in _outputs(predictions) if tensor.name in wanted]
        head = {"model_name": settings().model_name, "model_version": _version(deployment)}
        head |= {} if question.identifier is None else {"id": question.identifier}
        content, json_bytes = write_answer(head, outputs, binary=frozenset(n for n, binary in wanted.items() if binary))
        if json_bytes is None:
            return Response(content, media_type="application/json")
        return Response(content, media_type="application/octet-stream", headers={_JSON_LENGTH: str(json_bytes)})

    return [
        ScopedRoute(f"{PATH}/health/live", live, scope=OPEN),
        ScopedRoute(f"{PATH}/health/ready", ready, scope=OPEN),
        ScopedRoute(PATH, server, scope=OPEN),
        *(ScopedRoute(f"{path}/ready", model_ready, scope="predict") for path in _MODELS),
        *(ScopedRoute(f"{path}/infer", infer, methods=["POST"], scope="predict") for path in _MODELS),
        *(ScopedRoute(path, model, scope="predict") for path in reversed(_MODELS)),
    ]


def path_of(settings: Settings, deployment: Deployment) -> dict[str, str]:
    """The parameters of the paths of what is deployed."""
    return {"name": settings.model_name, "version": _version(deployment)}


def _named(request: Request, settings: Settings) -> Deployment:
    """The deployed model, if it is the one that the path names."""
    deployment = deployed(request)
    name, version = request.path_params["name"], request.path_params.get("version")
    known = _version(deployment)
    if name != settings.model_name or version not in (None, known):
        received = name if version is None else f"{name}, version {version}"
        raise Problem(
            404,
            "unknown-model",
            f"This server has the model {settings.model_name!r}, version {known!r}; got {received[:80]!r}.",
            argument="name" if name != settings.model_name else "version",
            accepted=settings.model_name if name != settings.model_name else known,
            received=received[:80],
        )
    return deployment


def _version(deployment: Deployment) -> str:
    return deployment.digest.removeprefix("sha256:")[:_DIGITS]


def _metadata(name: str, deployment: Deployment) -> dict[str, Any]:
    bundle = deployment.predictor.bundle
    return {
        "name": name,
        "versions": [_version(deployment)],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": _TENSOR, "datatype": "UINT8", "shape": [-1, *bundle.input_size, 3]},
            {"name": _FILES, "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [
            {"name": output, "datatype": datatype, "shape": [-1, len(bundle.classes)] if output == _SCORES else [-1]}
            for output, datatype in _OUTPUTS.items()
        ],
    }


async def _pictures(request: Request, deployment: Deployment, question: Question) -> Pictures:
    """What gives the images of a request: its tensor, or its files once they are decoded."""
    if len(question.inputs) != 1 or not question.inputs.keys() <= {_TENSOR, _FILES}:
        received = ", ".join(question.inputs) or "none"
        raise _refused("inputs", f"one of {_TENSOR} (UINT8) and {_FILES} (BYTES)", received)
    (tensor,) = question.inputs.values()
    most, count = deployment.predictor.settings.max_batch, tensor.shape[0] if tensor.shape else 0
    if not 1 <= count <= most:
        raise _refused(f"shape of {tensor.name!r}", f"that of 1 to {most} images", list(tensor.shape))
    values = tensor.values
    if tensor.name == _FILES:
        if not isinstance(values, list) or tensor.shape not in ((count,), (count, 1)):
            raise _refused(f"shape of {_FILES!r}", "[N] or [N, 1], of BYTES", list(tensor.shape))
        return await decoded(request, values)
    expected = (count, *deployment.predictor.bundle.input_size, 3)
    if isinstance(values, list) or tensor.shape != expected:
        accepted = f"{list(expected)}, of UINT8; images of other sizes go into {_FILES!r}, as files"
        raise _refused(f"shape of {_TENSOR!r}", accepted, list(tensor.shape))
    return lambda: values


def _wanted(question: Question) -> dict[str, bool]:
    """The outputs that are wanted, and whether as bytes."""
    if question.outputs is None:
        return dict.fromkeys(_OUTPUTS, question.binary)
    if unknown := question.outputs.keys() - _OUTPUTS.keys():
        raise _refused("outputs", f"among {', '.join(_OUTPUTS)}", min(unknown)[:40])
    return {name: question.binary if binary is None else binary for name, binary in question.outputs.items()}


def _outputs(predictions: list[Prediction]) -> list[Tensor]:
    count = len(predictions)
    probabilities = np.array([list(each.probabilities.values()) for each in predictions], np.float32)
    return [
        Tensor(_SCORES, probabilities, probabilities.shape),
        Tensor("label", [each.label.encode() for each in predictions], (count,)),
        Tensor("index", np.array([each.index for each in predictions], np.int64), (count,)),
        Tensor("margin", np.array([each.margin for each in predictions], np.float32), (count,)),
    ]


def _refused(argument: str, accepted: str, received: Any) -> Problem:
    return invalid(argument, accepted, received, status=400, shown=str(received))
