"""The short way to the endpoints of predictions."""

import asyncio
import logging
import warnings

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from f2at.serving.process.logs import untraced

with warnings.catch_warnings():  # of BentoML's own imports
    warnings.simplefilter("ignore", DeprecationWarning)
    from f2at.serving.api.predictions import ShortWay


async def answer(request: Request) -> Response:
    return PlainTextResponse(f"short {(await request.body()).decode()}")


async def fail(_: Request) -> Response:
    raise RuntimeError("the runtime broke")


async def long_way(request: Request) -> Response:
    return PlainTextResponse(f"long {request.method}")


APP = ShortWay(
    Starlette(routes=[Route("/predict", long_way, methods=["GET", "POST"]), Route("/other", long_way)]),
    endpoints={"/predict": answer, "/fail": fail},
)


def send(method: str, path: str, content: bytes = b"") -> httpx.Response:
    async def call() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://server") as client:
            return await client.request(method, path, content=content)

    return asyncio.run(call())


def test_a_post_takes_the_short_way_and_all_else_the_long_one() -> None:
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


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {"BENTOML_CONFIG_OPTIONS": "services.f2at.tracing.excluded_urls=.*"}),
        (
            {"BENTOML_CONFIG_OPTIONS": "services.f2at.workers=2"},
            {"BENTOML_CONFIG_OPTIONS": "services.f2at.workers=2 services.f2at.tracing.excluded_urls=.*"},
        ),
        ({"BENTOML_CONFIG_OPTIONS": "services.f2at.tracing.exporter_type=otlp"}, {}),
        ({"BENTOML_CONFIG": "/etc/bentoml.yaml"}, {}),
    ],
)
def test_spans_are_recorded_only_where_tracing_is_set_up(environment: dict[str, str], expected: dict[str, str]) -> None:
    assert untraced(environment) == expected
