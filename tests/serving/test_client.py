"""The client when requests fail; tests/e2e/test_client.py tests it when they succeed."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import httpx
import pytest

from f2at.serving.client import Client, ServiceError


class Answer(NamedTuple):
    status: int
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = ()


DROPPED = None  # the connection is closed without an answer
MODEL = Answer(200, b'{"digest": "sha256:0"}')


class Asked(NamedTuple):
    path: str
    headers: dict[str, str]
    at: float


@contextmanager
def server(*script: Answer | None) -> Iterator[tuple[str, list[Asked]]]:
    """A server that gives these answers in order; yields its address and the requests it got."""
    answers, asked = iter(script), list[Asked]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(Asked(self.path, dict(self.headers.items()), time.monotonic()))
            answer = next(answers)
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_port}", asked
        finally:
            listener.shutdown()
            thread.join()


def audit(state: str, done: int) -> bytes:
    stage = {"stage": "clean", "shards": done, "total": 4, "samples": 25 * done, "robust": 25 * done}
    progress = {"done": done, "total": 4, "stages": [stage]}
    values = {"id": "a", "state": state, "model": "sha256:0", "request": {}, "created": 0.0, "progress": progress}
    return json.dumps(values).encode()


def event(body: bytes) -> bytes:
    return b"event: audit\ndata: " + body + b"\n\n"


@pytest.mark.parametrize("status", [429, 503])
def test_comes_back_when_it_was_told_to(status: int) -> None:
    with server(Answer(status, headers=(("Retry-After", "1"),)), MODEL) as (url, asked), Client(url) as client:
        assert client.model() == {"digest": "sha256:0"}
    assert asked[1].at - asked[0].at >= 1


def test_a_lost_connection_is_tried_again_with_the_same_idempotency_key() -> None:
    with server(DROPPED, Answer(202, audit("queued", 0))) as (url, asked), Client(url, key="secret") as client:
        assert client.start_audit(samples=4).id == "a"
    assert len({request.headers["Idempotency-Key"] for request in asked}) == 1
    assert [request.headers["Authorization"] for request in asked] == ["Bearer secret"] * 2


def test_every_audit_has_a_name_of_its_own() -> None:
    queued = Answer(202, audit("queued", 0))
    with server(queued, queued) as (url, asked), Client(url) as client:
        client.start_audit()
        client.start_audit()
    assert len({request.headers["Idempotency-Key"] for request in asked}) == 2


def test_a_server_that_asks_for_more_than_patience_is_not_waited_for() -> None:
    problem = {"type": "urn:problem-type:f2at:too-many-audits", "status": 429, "detail": "Wait.", "accepted": "16"}
    full = Answer(429, json.dumps(problem).encode(), (("Retry-After", "30"),))
    with server(full) as (url, asked), Client(url, patience=5) as client:
        with pytest.raises(ServiceError, match=r"429 too-many-audits: Wait\.") as refused:
            client.model()
        assert refused.value.problem == problem
    assert len(asked) == 1


def test_other_errors_are_not_tried_again() -> None:
    with server(Answer(502, b"<h1>Bad gateway</h1>")) as (url, asked), Client(url) as client:
        with pytest.raises(ServiceError) as refused:
            client.model()
        assert (refused.value.status, refused.value.kind, refused.value.detail) == (502, "", "Bad Gateway")
    assert len(asked) == 1


def test_nobody_there() -> None:
    with Client("http://127.0.0.1:1", patience=0) as client, pytest.raises(httpx.ConnectError):
        client.model()


def test_waiting_outlives_a_stream_that_breaks() -> None:
    script = (
        Answer(200, audit("running", 1)),
        Answer(200, event(audit("running", 1)) + event(audit("running", 2))),  # and the stream ends
        Answer(200, audit("running", 2)),
        DROPPED,
        Answer(200, audit("running", 3)),
        Answer(503),
        Answer(200, audit("running", 3)),
        Answer(200, b": still here\n\n" + event(audit("done", 4))),
    )
    seen: list[int] = []
    with server(*script) as (url, _), Client(url) as client:
        done = client.wait("a", progress=lambda audit: seen.append(audit.progress.done if audit.progress else 0))
    assert done.state == "done"
    assert seen == [1, 2, 3, 4]
