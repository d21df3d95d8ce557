"""The client when requests fail; tests/e2e/test_client.py tests it when they succeed."""

import json
from contextlib import AbstractContextManager

import httpx
import pytest

from f2at.serving.client import Client, ServiceError
from tests.audit.endpoint.host import DROPPED, Answer, Asked, host, in_turn

MODEL = Answer(b'{"digest": "sha256:0"}')


def server(*script: Answer | None) -> AbstractContextManager[tuple[str, list[Asked]]]:
    """A server that gives these answers in order: its address and the requests it got."""
    return host(in_turn(*script))


def audit(state: str, done: int) -> bytes:
    stage = {"stage": "clean", "shards": done, "total": 4, "samples": 25 * done, "robust": 25 * done}
    progress = {"done": done, "total": 4, "stages": [stage]}
    values = {"id": "a", "state": state, "model": "sha256:0", "request": {}, "created": 0.0, "progress": progress}
    return json.dumps(values).encode()


def event(body: bytes) -> bytes:
    return b"event: audit\ndata: " + body + b"\n\n"


@pytest.mark.parametrize("status", [429, 503])
def test_comes_back_when_it_was_told_to(status: int) -> None:
    with server(Answer(status=status, headers=(("Retry-After", "1"),)), MODEL) as (url, asked), Client(url) as client:
        assert client.model() == {"digest": "sha256:0"}
    assert asked[1].at - asked[0].at >= 1


def test_a_lost_connection_is_tried_again_with_the_same_idempotency_key() -> None:
    with server(DROPPED, Answer(audit("queued", 0), 202)) as (url, asked), Client(url, key="secret") as client:
        assert client.start_audit(samples=4).id == "a"
    assert len({request.headers["Idempotency-Key"] for request in asked}) == 1
    assert [request.headers["Authorization"] for request in asked] == ["Bearer secret"] * 2


def test_every_audit_has_a_name_of_its_own() -> None:
    queued = Answer(audit("queued", 0), 202)
    with server(queued, queued) as (url, asked), Client(url) as client:
        client.start_audit()
        client.start_audit()
    assert len({request.headers["Idempotency-Key"] for request in asked}) == 2


def test_a_server_that_asks_for_more_than_patience_is_not_waited_for() -> None:
    problem = {"type": "urn:problem-type:f2at:too-many-audits", "status": 429, "detail": "Wait.", "accepted": "16"}
    full = Answer(json.dumps(problem).encode(), 429, (("Retry-After", "30"),))
    with server(full) as (url, asked), Client(url, patience=5) as client:
        with pytest.raises(ServiceError, match=r"429 too-many-audits: Wait\.") as refused:
            client.model()
        assert refused.value.problem == problem
    assert len(asked) == 1


def test_other_errors_are_not_tried_again() -> None:
    with server(Answer(b"<h1>Bad gateway</h1>", 502)) as (url, asked), Client(url) as client:
        with pytest.raises(ServiceError) as refused:
            client.model()
        assert (refused.value.status, refused.value.kind, refused.value.detail) == (502, "", "Bad Gateway")
    assert len(asked) == 1


def test_nobody_there() -> None:
    with Client("http://127.0.0.1:1", patience=0) as client, pytest.raises(httpx.ConnectError):
        client.model()


def test_waiting_outlives_a_stream_that_breaks() -> None:
    script = (
        Answer(audit("running", 1)),
        Answer(event(audit("running", 1)) + event(audit("running", 2))),  # and the stream ends
        Answer(audit("running", 2)),
        DROPPED,
        Answer(audit("running", 3)),
        Answer(status=503),
        Answer(audit("running", 3)),
        Answer(b": still here\n\n" + event(audit("done", 4))),
    )
    seen: list[int] = []
    with server(*script) as (url, _), Client(url) as client:
        done = client.wait("a", progress=lambda audit: seen.append(audit.progress.done if audit.progress else 0))
    assert done.state == "done"
    assert seen == [1, 2, 3, 4]
