import asyncio
import errno
import pickle
import tempfile
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from f2at.serving.api.uploads import read_files
from f2at.serving.problems import Problem


async def _sizes(request: Request) -> Response:
    try:
        return JSONResponse([len(file) for file in await read_files(request, "image", most=2)])
    except Problem as problem:
        return problem.response()


def post(**options: Any) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=[Route("/", _sizes, methods=["POST"])]))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.post("/", **options)

    return asyncio.run(send())


@pytest.mark.parametrize("name", ["x.png", "../../etc/passwd", "a\0b\n.png", "\u00e9" * 100, "a" * 1000])
def test_the_name_of_a_file_means_nothing(name: str) -> None:
    assert post(files=[("image", (name, b"xyz")), ("image", (name, b"x"))]).json() == [3, 1]


def test_a_form_needs_no_room_in_tmp(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with tempfile.SpooledTemporaryFile(max_size=1) as file, pytest.raises(OSError, match="No space left"):
        file.write(b"xyz")  # so that is where it would fail
    assert post(files=[("image", ("x", b"x" * 3_000_000))]).json() == [3_000_000]


@pytest.mark.parametrize(
    "files",
    [
        [("image", ("a" * 1_000_000, b"x"))],
        [("f" * 100_000, ("x", b"x"))],
        [("image", ("x", b"x"))] * 3,
        [(f"field {number}", ("x", b"x")) for number in range(1000)],
    ],
)
def test_names_and_numbers_are_bounded(files: list[Any]) -> None:
    response = post(files=files)
    assert response.status_code == 400
    assert len(response.content) < 1000


def test_the_name_of_another_field_is_shown_in_part() -> None:
    response = post(files=[("f" * 3000, ("x", b"x"))])
    assert response.status_code == 422
    assert "f" * 40 in response.json()["received"]
    assert len(response.content) < 1000


def test_a_url_or_a_pickle_is_no_file() -> None:
    url = "http://127.0.0.1:1/x.png"
    assert post(files=[("image", (None, url))]).status_code == 422
    assert post(data={"image": url}).status_code == 415
    assert post(json={"image": url}).status_code == 415
    for kind in ("application/octet-stream", "application/vnd.bentoml+pickle", "application/python-pickle"):
        content = pickle.dumps({"image": b"x"})
        assert post(content=content, headers={"Content-Type": kind}).status_code == 415
