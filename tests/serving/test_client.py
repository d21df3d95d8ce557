"""The clients when requests fail, and what they ask; tests/e2e/test_client.py tests them against real servers."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, aclosing
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from f2at.serving.answers import Audit
from f2at.serving.client import AsyncClient, Client, ServiceError
from tests.audit.endpoint.host import DROPPED, Answer, Asked, host, in_turn

MODEL = Answer(b'{"digest": "sha256:0"}')


class Blocking:
    """An AsyncClient that is used as a Client: each call runs to its end in an event loop."""

    def __init__(self, url: str, **options: Any) -> None:
        self._client = AsyncClient(url, **options)
        self._loop = asyncio.Runner()

    def __enter__(self) -> "Blocking":
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run(self._client.close())
        self._loop.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            made = getattr(self._client, name)(*arguments, **options)
            return self._loop.run(made) if asyncio.iscoroutine(made) else self._each(made)

        return call

    def _each(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        nothing = object()

        async def following() -> Any:
            return await anext(items, nothing)

        while (item := self._loop.run(following())) is not nothing:
            yield item


Opened = Callable[..., Client]


@pytest.fixture(params=[Client, Blocking])
def connect(request: pytest.FixtureRequest) -> Opened:
    """Makes a client of either kind."""
    made: Opened = request.param
    return made


def server(*script: Answer | None) -> AbstractContextManager[tuple[str, list[Asked]]]:
    """A server that gives these answers in order: its address and the requests it got."""
    return host(in_turn(*script))


def audit(state: str, done: int, name: str = "a") -> bytes:
    stage = {"stage": "clean", "shards": done, "total": 4, "samples": 25 * done, "robust": 25 * done}
    progress = {"done": done, "total": 4, "stages": [stage]}
    values = {"id": name, "state": state, "model": "sha256:0", "request": {}, "created": 0.0, "progress": progress}
    return json.dumps(values).encode()


def event(body: bytes) -> bytes:
    return b"event: audit\ndata: " + body + b"\n\n"


def counts(audits: list[Audit]) -> list[int]:
    return [audit.progress.done if audit.progress else 0 for audit in audits]


def page(*names: str, following: str | None = None) -> Answer:
    links = {"next": following} if following else {}
    rows = [json.loads(audit("done", 4, name)) for name in names]
    return Answer(json.dumps({"audits": rows, "model": "sha256:0", "links": links}).encode())


def test_both_have_the_same_methods() -> None:
    blocking, waiting = (
        {
            name: list(inspect.signature(method).parameters.values())
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if name == "__init__" or not name.startswith("_")
        }
        for kind in (Client, AsyncClient)
    )
    assert blocking == waiting
    assert {"predict", "follow", "close"} < set(blocking)


@pytest.mark.parametrize("status", [429, 503])
def test_comes_back_when_it_was_told_to(connect: Opened, status: int) -> None:
    with server(Answer(status=status, headers=(("Retry-After", "1"),)), MODEL) as (url, asked), connect(url) as client:
        assert client.model() == {"digest": "sha256:0"}
    assert asked[1].at - asked[0].at >= 1


def test_a_lost_connection_is_tried_again_with_the_same_idempotency_key(connect: Opened) -> None:
    with server(DROPPED, Answer(audit("queued", 0), 202)) as (url, asked), connect(url, key="secret") as client:
        assert client.start_audit(samples=4).id == "a"
    assert len({request.headers["Idempotency-Key"] for request in asked}) == 1
    assert [request.headers["Authorization"] for request in asked] == ["Bearer secret"] * 2


def test_every_audit_has_a_name_of_its_own(connect: Opened) -> None:
    queued = Answer(audit("queued", 0), 202)
    with server(queued, queued) as (url, asked), connect(url) as client:
        client.start_audit()
        client.start_audit()
    assert len({request.headers["Idempotency-Key"] for request in asked}) == 2


def test_a_server_that_asks_for_more_than_patience_is_not_waited_for(connect: Opened) -> None:
    problem = {"type": "urn:problem-type:f2at:too-many-audits", "status": 429, "detail": "Wait.", "accepted": "16"}
    full = Answer(json.dumps(problem).encode(), 429, (("Retry-After", "30"),))
    with server(full) as (url, asked), connect(url, patience=5) as client:
        with pytest.raises(ServiceError, match=r"429 too-many-audits: Wait\.") as refused:
            client.model()
        assert refused.value.problem == problem
    assert len(asked) == 1


def test_other_errors_are_not_tried_again(connect: Opened) -> None:
    with server(Answer(b"<h1>Bad gateway</h1>", 502)) as (url, asked), connect(url) as client:
        with pytest.raises(ServiceError) as refused:
            client.model()
        assert (refused.value.status, refused.value.kind, refused.value.detail) == (502, "", "Bad Gateway")
    assert len(asked) == 1


def test_nobody_there(connect: Opened) -> None:
    with connect("http://127.0.0.1:1", patience=0) as client, pytest.raises(httpx.ConnectError):
        client.model()


BROKEN = (
    Answer(audit("running", 1)),
    Answer(event(audit("running", 1)) + event(audit("running", 2)) + b"data: {"),  # and the stream ends
    Answer(audit("running", 2)),
    DROPPED,
    Answer(audit("running", 3)),
    Answer(status=503),
    Answer(audit("running", 3)),
    Answer(event(audit("running", 3)), announced=10_000),  # and the connection is lost
    Answer(audit("running", 3)),
    Answer(b": still here\n\nevent: other\ndata: 0\n\n" + event(audit("done", 4))),
)


def test_following_outlives_streams_that_break_and_repeats_nothing(connect: Opened) -> None:
    with server(*BROKEN) as (url, asked), connect(url) as client:
        seen = list(client.follow("a"))
    assert counts(seen) == [1, 2, 3, 4]
    assert [audit.state for audit in seen] == ["running"] * 3 + ["done"]
    assert [request.path for request in asked] == ["/audits/a", "/audits/a/events"] * 5


def test_waiting_is_following(connect: Opened) -> None:
    seen: list[Audit] = []
    script = (Answer(audit("running", 1)), Answer(event(audit("running", 1)) + event(audit("done", 4))))
    with server(*script * 2) as (url, _), connect(url) as client:
        assert client.wait("a").state == "done"
        assert client.wait("a", progress=seen.append) == seen[-1]
    assert counts(seen) == [1, 4]


def test_what_has_ended_is_not_listened_to(connect: Opened) -> None:
    with server(Answer(audit("failed", 1))) as (url, asked), connect(url) as client:
        assert [audit.state for audit in client.follow("a")] == ["failed"]
    assert len(asked) == 1


def test_an_audit_that_goes_away_meanwhile_is_an_error(connect: Opened) -> None:
    script = (Answer(audit("running", 1)), Answer(status=404), Answer(status=404))
    with server(*script) as (url, _), connect(url) as client:
        states = client.follow("a")
        assert next(states).state == "running"
        with pytest.raises(ServiceError, match="404"):
            next(states)


@pytest.mark.parametrize("timeout", [0, 0.5])
def test_following_ends_after_its_timeout(connect: Opened, timeout: float) -> None:
    quiet, running = Answer(b": still here\n\n"), Answer(audit("running", 1))
    seen: list[Audit] = []
    with (
        host(lambda asked: quiet if asked.path.endswith("/events") else running) as (url, _),
        connect(url) as client,
        pytest.raises(TimeoutError, match=f"audit a has not ended after {timeout} s"),
    ):
        client.wait("a", timeout=timeout, progress=seen.append)
    assert counts(seen) == [1]


def test_the_list_goes_from_page_to_page(connect: Opened) -> None:
    following = "/audits?limit=2&offset=2&state=done"
    with server(page("a", "b", following=following), page("b", "c")) as (url, asked), connect(url) as client:
        assert [audit.id for audit in client.audits()] == ["a", "b", "c"]
    assert [request.path for request in asked] == ["/audits", following]


@pytest.mark.parametrize(
    ("filters", "query"),
    [
        ({"state": "done"}, "state=done"),
        ({"state": ["done", "failed"]}, "state=done&state=failed"),
        ({"state": {"queued": 1}.keys(), "suite": "quick"}, "state=queued&suite=quick"),
        ({"model": "sha256:0", "since": 12.5}, "model=sha256%3A0&since=12.5"),
        ({"since": datetime(1970, 1, 2, tzinfo=UTC)}, "since=86400.0"),
        ({"since": "2026-01-01"}, "since=2026-01-01"),
    ],
)
def test_the_list_is_filtered(connect: Opened, filters: dict[str, Any], query: str) -> None:
    with server(page("a")) as (url, asked), connect(url) as client:
        assert [audit.id for audit in client.audits(**filters)] == ["a"]
    assert [request.path for request in asked] == [f"/audits?{query}"]


def test_deletes(connect: Opened) -> None:
    with server(Answer(b"", 204)) as (url, asked), connect(url) as client:
        client.delete("a")
    assert [(request.method, request.path) for request in asked] == [("DELETE", "/audits/a?purge=true")]


def test_what_is_gone_after_a_lost_answer_has_been_deleted(connect: Opened) -> None:
    with server(DROPPED, Answer(status=404)) as (url, asked), connect(url) as client:
        client.delete("a")
    assert len(asked) == 2


@pytest.mark.parametrize("status", [404, 409])
def test_what_cannot_be_deleted_is_an_error(connect: Opened, status: int) -> None:
    with server(Answer(status=status)) as (url, _), connect(url) as client:
        with pytest.raises(ServiceError) as refused:
            client.delete("a")
        assert refused.value.status == status


def test_the_rest_of_the_routes(connect: Opened) -> None:
    prediction = b'{"label": "7", "index": 7, "probabilities": {"7": 1.0}, "margin": 3.5, "model": "sha256:0"}'
    answers = {
        "GET /leaderboard?suite=quick": (
            b'{"rows": [{"audit": "a"}, {"audit": "b"}], "links": {"next": "/leaderboard?offset=2"}}'
        ),
        "GET /leaderboard?offset=2": b'{"rows": [{"audit": "b"}, {"audit": "c"}], "links": {}}',
        "GET /audits/a": audit("done", 4),
        "GET /audits/a/report": b'{"robust": 1}',
        "GET /audits/a/report.html": b"<!doctype html>",
        "DELETE /audits/a": audit("cancelled", 1),
        "POST /predict?planes=2": prediction,
        "POST /predict_batch": b'{"model": "sha256:0", "predictions": [%b, %b]}' % (prediction, prediction),
    }
    with host(lambda asked: Answer(answers[f"{asked.method} {asked.path}"])) as (url, asked), connect(url) as client:
        assert [row["audit"] for row in client.leaderboard(suite="quick")] == ["a", "b", "c"]
        assert client.audit("a").state == "done"
        assert client.report("a") == {"robust": 1}
        assert client.report_page("a") == "<!doctype html>"
        assert client.cancel("a").state == "cancelled"
        assert client.predict(b"1", planes=2).label == "7"
        assert [row.index for row in client.predict_batch([b"1", b"2"])] == [7, 7]
    assert len(asked) == len(answers)
    assert asked[-1].body.count(b'name="images"') == 2


def test_leaving_before_the_end_closes_the_connection() -> None:
    endless = (Answer(audit("running", 1)), Answer(event(audit("running", 2)), announced=10_000))
    with server(*endless, MODEL) as (url, asked), Client(url) as client:
        states = client.follow("a")
        assert counts([next(states), next(states)]) == [1, 2]
        del states
        assert client.model() == {"digest": "sha256:0"}
    assert len(asked) == 3


def test_leaving_before_the_end_closes_the_connection_of_asyncio() -> None:
    async def leave(url: str) -> list[Audit]:
        async with AsyncClient(url) as client:
            async with aclosing(client.follow("a")) as states:
                first = [await anext(states), await anext(states)]
            async for audit in client.follow("a"):  # closed by the client, or the loop
                return [*first, audit]
        return first

    endless = (Answer(audit("running", 1)), Answer(event(audit("running", 2)), announced=10_000))
    with server(*endless, *endless) as (url, _):
        assert counts(asyncio.run(leave(url))) == [1, 2, 1]


def test_calls_of_asyncio_run_at_the_same_time() -> None:
    async def both(url: str) -> list[Audit]:
        async with AsyncClient(url) as client, asyncio.timeout(20):
            return list(await asyncio.gather(client.wait("a"), client.wait("b")))

    waiting = set[str]()

    def reply(asked: Asked) -> Answer:
        """Each audit ends once somebody has asked for both."""
        name = asked.path.split("/")[2]
        waiting.add(name)
        return Answer(audit("done" if len(waiting) == 2 else "running", 1, name))

    with host(reply) as (url, _):
        assert [audit.id for audit in asyncio.run(both(url))] == ["a", "b"]


def test_progress_may_be_a_coroutine_function() -> None:
    seen: list[Audit] = []

    async def progress(audit: Audit) -> None:
        await asyncio.sleep(0)
        seen.append(audit)

    async def wait(url: str, progress: Callable[[Audit], Awaitable[None]]) -> Audit:
        async with AsyncClient(url) as client:
            return await client.wait("a", progress=progress)

    with server(Answer(audit("done", 4))) as (url, _):
        assert asyncio.run(wait(url, progress)) == seen[0]


def test_a_call_of_asyncio_can_be_cancelled_while_it_waits_for_a_busy_server() -> None:
    async def give_up(url: str) -> None:
        async with AsyncClient(url) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await client.model()

    with server(Answer(status=503, headers=(("Retry-After", "30"),))) as (url, asked):
        asyncio.run(give_up(url))
    assert len(asked) == 1
