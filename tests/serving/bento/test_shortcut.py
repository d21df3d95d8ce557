import asyncio
import logging

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from f2at.serving.bento.shortcut import Shortcut


async def answer(request: Request) -> Response:
    return PlainTextResponse(f"short {(await request.body()).decode()}")


async def fail(_: Request) -> Response:
    raise RuntimeError("the runtime broke")


async def long_way(request: Request) -> Response:
    return PlainTextResponse(f"long {request.method}")


APP = Shortcut(
    Starlette(routes=[Route("/predict", long_way, methods=["GET", "POST"]), Route("/other", long_way)]),
    routes=[Route("/predict", answer, methods=["POST"]), Route("/fail", fail, methods=["POST"])],
)


def send(method: str, path: str, content: bytes = b"") -> httpx.Response:
    async def call() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://server") as client:
            return await client.request(method, path, content=content)

    return asyncio.run(call())


def test_a_post_takes_the_shortcut_and_all_else_the_long_way() -> None:
    assert send("POST", "/predict", b"body").text == "short body"
    assert send("GET", "/predict").text == "long GET"
    assert send("GET", "/other").text == "long GET"
    assert send("POST", "/predict/").status_code != 200


def test_a_failure_is_logged_and_answered_as_a_problem(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        response = send("POST", "/fail")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "broke" not in response.text
    assert "the runtime broke" in caplog.text
