import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from f2at.serving.api.middleware import Gate
from f2at.serving.decoding.pool import Decoders
from f2at.serving.problems import MEDIA_TYPE, Problem
from f2at.serving.settings import Settings

LIMIT = 1000
SETTINGS = Settings(max_body=LIMIT)


@dataclass(frozen=True)
class Model:
    digest: str


async def read(request: Request) -> Response:
    try:
        return PlainTextResponse(str(len(await request.body())))
    except Problem as problem:
        return problem.response()


async def swallow(request: Request) -> Response:
    """Acts like a framework that turns every failure into its own error answer."""
    try:
        await request.body()
    except Exception:
        return JSONResponse({"error": "unexpected"}, status_code=500)
    return JSONResponse([{"error": "bad"}], status_code=400)


async def own_problem(_: Request) -> Response:
    return Problem(409, "taken", "Choose another.", argument="key").response()


ROUTES = [
    Route("/read", read, methods=["POST"]),
    Route("/swallow", swallow, methods=["POST"]),
    Route("/own", own_problem),
]


def request(method: str, path: str, content: Any = b"") -> httpx.Response:
    gate = Gate(
        Starlette(routes=ROUTES),
        settings=lambda: SETTINGS,
        deployment=lambda: Model("sha256:abc"),
        decoders=lambda: Decoders(SETTINGS),
    )

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(gate, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.request(method, path, content=content)

    return asyncio.run(send())


async def streamed(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 100):
        yield b"x" * 100


def problem(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == MEDIA_TYPE
    assert response.headers["x-model-digest"] == "sha256:abc"
    body: dict[str, Any] = response.json()
    assert body["status"] == response.status_code
    return body


@pytest.mark.parametrize("send", [lambda size: b"x" * size, streamed])
def test_the_body_is_bounded_declared_or_streamed(send: Callable[[int], Any]) -> None:
    assert request("POST", "/read", content=send(LIMIT)).text == str(LIMIT)
    for path in ("/read", "/swallow"):
        response = request("POST", path, content=send(LIMIT + 100))
        assert response.status_code == 413
        assert str(LIMIT) in problem(response)["detail"]


def test_framework_errors_become_problems() -> None:
    assert request("GET", "/nothing").status_code == 404
    assert problem(request("GET", "/nothing"))["title"] == "Not found"
    refused = request("GET", "/read")
    assert problem(refused)["status"] == 405
    assert refused.headers["allow"] == "POST"
    assert problem(request("POST", "/swallow"))["status"] == 400


def test_problems_and_answers_pass_as_they_are() -> None:
    response = request("GET", "/own")
    assert problem(response)["argument"] == "key"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert request("POST", "/read", content=b"").text == "0"


def test_a_problem_is_what_the_rfc_says() -> None:
    body = json.loads(bytes(Problem(422, "invalid-argument", "Say so.", accepted="a", received="b").response().body))
    assert body == {
        "type": "urn:problem-type:f2at:invalid-argument",
        "title": "Invalid argument",
        "status": 422,
        "detail": "Say so.",
        "argument": None,
        "accepted": "a",
        "received": "b",
    }
