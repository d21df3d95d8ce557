import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from f2at.serving.api.json_body import parse_json_object, read_json_object
from f2at.serving.problems import Problem


async def _echo(request: Request) -> Response:
    try:
        return JSONResponse(await read_json_object(request))
    except Problem as problem:
        return problem.response()


def post(content: Any, kind: str = "application/json") -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=[Route("/", _echo, methods=["POST"])]))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.post("/", content=content, headers={"Content-Type": kind})

    return asyncio.run(send())


def test_an_object_is_read_and_an_empty_body_is_an_empty_one() -> None:
    assert post(b'{"eps": "8/255", "attacks": [{"name": "pgd"}]}').json()["attacks"] == [{"name": "pgd"}]
    assert post(b"", "application/json; charset=utf-8").json() == {}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"\xff", 400),
        (b'{"a": NaN}', 400),
        (b'{"a": -Infinity}', 400),
        (b'{"a": 1e999}', 400),
        (b'{"a": "\\ud800"}', 400),
        (b'{"a": ' + b"9" * 5000 + b"}", 400),
        (b"[" * 30_000, 400),
        (b'{"a":' * 9 + b"1" + b"}" * 9, 422),
        (b"[1]", 422),
        (b"null", 422),
        (b'{"a": "' + b"x" * 70_000 + b'"}', 413),
    ],
)
def test_what_cannot_be_read_is_refused(body: bytes, status: int) -> None:
    response = post(body)
    assert response.status_code == status
    assert response.json()["argument"] == "body"


def test_a_stream_is_left_once_it_is_too_long() -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while sent < 1000:
            sent += 1
            yield b" " * 10_000

    assert post(endless()).status_code == 413
    assert sent < 20


def test_another_type_is_refused() -> None:
    assert post(b"{}", "text/plain").status_code == 415


def test_the_deepest_is_taken() -> None:
    assert parse_json_object(b'{"a":' * 8 + b"1" + b"}" * 8)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_what_is_taken_can_be_sent_back(value: Any) -> None:
    body = json.dumps({"value": value}).encode()
    try:
        found = parse_json_object(body)
    except Problem:  # too deep, or no Unicode
        return
    assert found == {"value": value}
    JSONResponse(found)
