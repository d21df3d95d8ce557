"""The outermost middleware around small applications."""

import asyncio
import logging

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from f2at.serving.api.middleware import Observer
from f2at.serving.problems import Problem
from f2at.serving.process import metrics


async def refuse(_: Request) -> Response:
    return Problem(409, "taken", "Choose another.").response()


async def hang(_: Request) -> Response:
    await asyncio.sleep(60)
    raise AssertionError


APP = Starlette(routes=[Route("/refuse/{id}", refuse), Route("/hang/{id}", hang)])


async def get(app: ASGIApp, path: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
        return await client.get(path, headers=headers)


def fields(record: logging.LogRecord) -> dict[str, object]:
    found: dict[str, object] = record.__dict__["fields"]
    return found


def test_an_answer_a_problem_and_the_log_name_the_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    answer = asyncio.run(get(Observer(APP), "/refuse/7", **{"X-Request-ID": "r-7"}))
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "r-7"
    (record,) = [record for record in caplog.records if record.name == "bentoml.f2at.access"]
    assert {key: fields(record)[key] for key in ("path", "route", "status")} == {
        "path": "/refuse/7", "route": "/refuse/{id}", "status": 409,
    }  # fmt: skip


def test_nothing_in_a_line_of_the_log_can_pass_for_another_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    forged = "10.0.0.1 GET '/' 200 1.0 ms\nand a line of its own"
    transport = httpx.ASGITransport(Observer(APP), client=(forged, 0))

    async def ask() -> None:
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            await client.get("/refuse/a%0Ab")

    asyncio.run(ask())
    (record,) = [record for record in caplog.records if record.name == "bentoml.f2at.access"]
    assert record.getMessage().startswith(f"{forged!r} GET '/refuse/a\\nb' 409")
    assert "\n" not in record.getMessage()


def test_a_request_given_up_is_counted_as_one_without_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(get(Observer(APP), "/hang/1"), 0.05)

    caplog.set_level(logging.INFO)
    line = b'f2at_requests_total{method="GET",route="/hang/{id}",status="none"} '
    assert line not in metrics.expose()
    asyncio.run(leave())
    assert line + b"1.0" in metrics.expose()
    assert "no answer" in caplog.text


def test_ids_of_concurrent_requests_are_kept_apart() -> None:
    async def both() -> list[httpx.Response]:
        app = Observer(APP)
        return await asyncio.gather(*(get(app, f"/refuse/{k}", **{"X-Request-ID": f"r-{k}"}) for k in range(20)))

    assert [answer.json()["request_id"] for answer in asyncio.run(both())] == [f"r-{k}" for k in range(20)]
