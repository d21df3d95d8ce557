"""Bodies that come slowly, or more of them than a process may hold, as ASGI messages."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from f2at.serving.access.guard import Caller
from f2at.serving.api import middleware
from f2at.serving.api.bodies import Held
from f2at.serving.api.middleware import Gate, Observer
from f2at.serving.decoding.pool import Decoders
from f2at.serving.problems import Problem
from f2at.serving.settings import Settings

SETTINGS = Settings(max_body=1000, body_idle=1, body_seconds=2)


@dataclass(frozen=True)
class Model:
    digest: str = "sha256:abc"


async def read(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the size of the body, or with the problem of reading it."""
    scope["state"]["caller"] = scope["caller"]
    try:
        response: Response = PlainTextResponse(str(len(await Request(scope, receive).body())))
    except Problem as problem:
        response = problem.response()
    await response(scope, receive, send)


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers before any of the body was read."""
    await Problem(401, "key-required", "This server requires an API key.").response()(scope, receive, send)


class Client:
    """Sends a request part by part, and then nothing more unless that was all; keeps what comes back."""

    def __init__(self, parts: Sequence[bytes], *, declared: int | None = None, pause: float = 0, whole: bool = True):
        self.parts = list(parts)
        self.headers = [] if declared is None else [(b"content-length", str(declared).encode())]
        if declared is None and parts:
            self.headers.append((b"transfer-encoding", b"chunked"))
        self.pause, self.whole = pause, whole
        self.sent: list[Message] = []
        self.read = 0

    async def receive(self) -> Message:
        await asyncio.sleep(self.pause)
        if not self.parts:
            if not self.whole:
                await asyncio.sleep(60)
            return {"type": "http.disconnect"}
        part = self.parts.pop(0)
        self.read += len(part)
        return {"type": "http.request", "body": part, "more_body": bool(self.parts) or not self.whole}

    async def send(self, message: Message) -> None:
        self.sent.append({**message, "read": self.read})

    async def ask(self, app: ASGIApp, client: str = "ci") -> "Client":
        scope: Scope = {"type": "http", "method": "POST", "path": "/x", "headers": self.headers, "query_string": b""}
        scope["caller"] = Caller(client, frozenset(), key=True)
        await app(scope, self.receive, self.send)
        return self

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def text(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def header(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])


def gate(app: ASGIApp = read, settings: Settings = SETTINGS) -> ASGIApp:
    return Observer(Gate(app, settings=lambda: settings, deployment=Model, decoders=lambda: Decoders(settings)))


@pytest.mark.parametrize(
    ("client", "seconds"),
    [
        (Client([b"x" * 10], declared=11, whole=False), 1),  # the last byte never comes
        (Client([b"x"] * 50, declared=50, pause=0.1), 2),  # it never pauses, and never ends
    ],
)
def test_a_slow_body_is_a_problem_with_a_request_id_and_logged_as_one(
    client: Client, seconds: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    begun = time.monotonic()
    asyncio.run(client.ask(gate()))
    assert seconds - 0.1 < time.monotonic() - begun < seconds + 0.9
    problem = json.loads(client.text)
    assert (client.status, problem["title"]) == (408, "Request timeout")
    assert problem["request_id"] == client.header[b"x-request-id"].decode()
    assert client.header[b"content-type"] == b"application/problem+json"
    assert " 408 " in caplog.text
    assert "no answer" not in caplog.text


def test_an_answer_that_does_not_come_is_a_problem_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang(*_: Any) -> None:
        await asyncio.sleep(60)

    caplog.set_level("INFO")
    monkeypatch.setattr(middleware, "_PATIENCE", 0.1)
    client = asyncio.run(Client([]).ask(gate(hang)))
    assert (client.status, json.loads(client.text)["title"]) == (504, "Gateway timeout")
    assert " 504 " in caplog.text


@pytest.mark.parametrize("app", [read, refuse])
@pytest.mark.parametrize("declared", [300_000, None])
def test_a_refused_body_is_answered_at_once_and_read_to_its_end(app: ASGIApp, declared: int | None) -> None:
    settings = Settings(max_body=1_000_000) if app is refuse else SETTINGS
    client = asyncio.run(Client([b"x" * 100_000] * 3, declared=declared).ask(gate(app, settings)))
    assert client.status == (401 if app is refuse else 413)
    assert client.header[b"connection"] == b"close"
    assert client.sent[0]["read"] < 300_000 <= client.sent[-1]["read"]
    bodies = [message for message in client.sent if message["type"] == "http.response.body"]
    assert [message.get("more_body", False) for message in bodies] == [True] * (len(bodies) - 1) + [False]


def test_what_is_drained_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("f2at.serving.api.bodies._DRAINED_BYTES", 1000)
    monkeypatch.setattr("f2at.serving.api.bodies._DRAINED_SECONDS", 0.2)
    client = asyncio.run(Client([b"x" * 600] * 1000, declared=600_000).ask(gate()))
    assert (client.status, client.read) == (413, 1200)
    client = asyncio.run(Client([b"x" * 10], declared=600_000, whole=False).ask(gate()))
    assert (client.status, client.sent[-1]["body"]) == (413, b"")


def test_a_connection_is_used_again_where_little_is_left_unread() -> None:
    client = asyncio.run(Client([b"x" * 100], declared=100).ask(gate(refuse)))
    assert b"connection" not in client.header


def test_bodies_are_counted_before_they_are_read_and_given_back() -> None:
    app = gate(settings=Settings(max_body=1000, max_uploads=2000, body_idle=1))

    async def scenario() -> None:
        held = [Client([b"x"], declared=900, whole=False) for _ in range(2)]
        slow = [asyncio.create_task(client.ask(app, str(k))) for k, client in enumerate(held)]
        await asyncio.sleep(0.1)
        same = await Client([b"x" * 200], declared=200).ask(app, "0")  # more than its half
        assert (same.status, same.read) == (503, 0)
        assert (b"retry-after", b"1") in same.sent[0]["headers"]
        other = await Client([b"x" * 200], declared=200).ask(app, "2")
        assert other.text == b"200"
        full = await Client([b"x" * 900], declared=900).ask(app, "2")
        streamed = await Client([b"x" * 150] * 3).ask(app, "3")
        assert (full.status, streamed.status) == (503, 503)
        await asyncio.gather(*slow)
        assert [client.status for client in held] == [408, 408]
        assert (await Client([b"x" * 1000], declared=1000).ask(app, "0")).text == b"1000"

    asyncio.run(scenario())


def test_many_small_bodies_are_too_many_as_well() -> None:
    app = gate(settings=Settings(max_body=1000, max_uploads=1 << 20, body_idle=1))

    async def scenario() -> None:
        slow = [Client([b"x"], declared=None if k % 2 else 2, whole=False) for k in range(512)]
        tasks = [asyncio.create_task(client.ask(app, "0")) for client in slow]
        await asyncio.sleep(0.1)
        same, other = Client([b"x"], declared=1), Client([b"x"], declared=1)
        assert (await same.ask(app, "0")).status == 503
        assert (await other.ask(app, "1")).status == 200
        await asyncio.gather(*tasks)

    asyncio.run(scenario())


def test_one_body_is_never_too_many() -> None:
    held = Held()
    assert held.hold("a", 1500, 2000)
    assert not held.hold("a", 1, 2000)
    assert held.hold("b", 500, 2000)
    held.release("a", 1500)
    assert held.hold("a", 1000, 2000)
