"""What the clients decide, with a server and a clock that are played in memory: no socket, and no waiting."""

import json
from typing import Any

import httpx
import pytest

from f2at.serving.answers import Audit
from f2at.serving.client import ServiceError, core

LOST = httpx.ReadError("lost")
REFUSED = httpx.ConnectError("refused")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(core, "time", made)
    return made


def play(walk: core.Walk[Any], clock: Clock, *script: Any, every: float = 0.0) -> tuple[list[core.Doing], list[Any]]:
    """The steps that are taken and the items, where these are the answers to requests and to what is read."""
    answers, answer = iter(script), None
    steps, items = list[core.Doing](), list[Any]()
    while (step := core.advance(walk, answer)) is not None:
        answer = None
        if isinstance(step, core.Item):
            items.append(step.value)
            continue
        steps.append(step)
        if isinstance(step, core.Pause):
            clock.now += step.seconds
        elif not isinstance(step, core.Close):
            clock.now += every
            answer = next(answers)
    return steps, items


def pauses(steps: list[core.Doing]) -> list[float]:
    return [step.seconds for step in steps if isinstance(step, core.Pause)]


def busy(seconds: str) -> httpx.Response:
    return httpx.Response(503, headers={"Retry-After": seconds})


MODEL = httpx.Response(200, json={"digest": "sha256:0"})


def model(patience: float = 60) -> core.Walk[Any]:
    return core.only(core.Calls(patience).model())


def test_pauses_after_lost_connections_double_up_to_eight_seconds(clock: Clock) -> None:
    steps, items = play(model(), clock, *[LOST, REFUSED] * 3, MODEL)
    assert pauses(steps) == [0.5, 1, 2, 4, 8, 8]
    assert items == [{"digest": "sha256:0"}]
    assert len({step for step in map(str, steps) if step.startswith("Send")}) == 1  # the same request each time


def test_pauses_are_as_long_as_a_busy_server_asks_and_a_minute_at_most(clock: Clock) -> None:
    steps, _ = play(model(1000), clock, busy("3"), busy("900"), busy("soon"), LOST, busy("0"), MODEL)
    assert pauses(steps) == [3, 60, 1, 0.5, 0]


def test_patience_ends(clock: Clock) -> None:
    with pytest.raises(httpx.ReadError):
        play(model(3), clock, LOST, LOST, LOST)
    assert clock.now == 1.5  # another two seconds would have been too much
    with pytest.raises(ServiceError, match="503"):
        play(model(3), clock, busy("2"), busy("2"))
    assert clock.now == 3.5


@pytest.mark.parametrize("error", [LOST, REFUSED])
def test_deleted_is_only_what_the_service_may_have_heard_of(clock: Clock, error: httpx.TransportError) -> None:
    walk = core.only(core.Calls(60).delete("a"))
    if error is LOST:
        assert play(walk, clock, error, httpx.Response(404))[1] == [None]
    else:
        with pytest.raises(ServiceError, match="404"):
            play(walk, clock, error, httpx.Response(404))


def audit(state: str, created: float = 0.0) -> dict[str, Any]:
    return {"id": "a", "state": state, "model": "sha256:0", "request": {}, "created": created}


def shown(state: str, created: float = 0.0) -> httpx.Response:
    return httpx.Response(200, json=audit(state, created))


def follow(timeout: float | None = None) -> core.Walk[Audit]:
    return core.Calls(60).follow("a", timeout)


STREAM = httpx.Response(200)


def test_events_are_read_as_the_standard_says(clock: Clock) -> None:
    first, *rest = json.dumps(audit("running", 1), indent=1).splitlines()
    lines = [
        ": a comment",
        "retry: 1000",
        "",
        "event:audit",
        f"data:{first}",
        *(f"data: {line}" for line in rest),  # one event in several lines
        "",
        "event: other",
        "data: something that is no audit",
        "",
        "id: 4",
        f"data: {json.dumps(audit('running', 2))}",  # without a name
        "",
        "event: audit",
        "",  # without data
        f"data: {json.dumps(audit('done', 3))}",
        "",
    ]
    _, items = play(follow(), clock, shown("running"), STREAM, *lines)
    assert [(item.state, item.created) for item in items] == [
        ("running", 0),
        ("running", 1),
        ("running", 2),
        ("done", 3),
    ]


def test_an_event_without_its_end_is_none(clock: Clock) -> None:
    half = f"data: {json.dumps(audit('running', 1))}"
    steps, items = play(follow(), clock, shown("queued"), STREAM, half, None, shown("done", 2))
    assert [item.state for item in items] == ["queued", "done"]
    assert pauses(steps) == [1]


@pytest.mark.parametrize("broken", [(LOST,), (httpx.Response(503),), (STREAM, LOST), (STREAM, ": still here", None)])
def test_a_stream_that_breaks_is_closed_and_opened_again(clock: Clock, broken: tuple[Any, ...]) -> None:
    steps, items = play(follow(), clock, shown("running"), *broken, shown("running"), *broken, shown("done"))
    assert [item.state for item in items] == ["running", "done"]
    kinds = [type(step) for step in steps if not isinstance(step, core.Line)]
    assert kinds == [core.Send, core.Open, core.Close, core.Pause] * 2 + [core.Send]


def test_the_deadline_is_looked_at_with_every_line(clock: Clock) -> None:
    with pytest.raises(TimeoutError, match="audit a has not ended after 10 s"):
        play(follow(10), clock, shown("running"), STREAM, *[": still here", ""] * 5, every=1)
    assert clock.now == 11


def test_no_stream_is_opened_after_the_deadline(clock: Clock) -> None:
    with pytest.raises(TimeoutError):
        play(follow(0), clock, shown("running"), every=1)
    assert clock.now == 1


def test_an_id_names_one_audit_or_none() -> None:
    call = core.Calls(1).audit("a#b/c?d")
    step = next(call)
    assert isinstance(step, core.Send)
    assert step.path == "/audits/a%23b%2Fc%3Fd"
    with pytest.raises(ValueError, match="identifier must be the id of an audit; got an empty text"):
        next(core.Calls(1).delete(""))
    assert list(core.Calls(1).audits([], None, None, None)) == []


def test_samples_and_estimates_are_read(clock: Clock) -> None:
    sample = {"place": 4, "label": "cat", "index": 3, "image": "data:image/png;base64,"}
    answer = httpx.Response(200, json={"samples": [sample], "model": "sha256:0"})
    steps, [[found]] = play(core.only(core.Calls(60).samples()), clock, answer)
    assert (steps, found.label) == ([core.Send("GET", "/model/samples")], "cat")
    answer = httpx.Response(200, json={"most_evaluations": 300, "most_seconds": None, "model": "sha256:0"})
    steps, [estimate] = play(core.only(core.Calls(60).estimate({"samples": 3})), clock, answer)
    assert steps == [core.Send("POST", "/estimate", {"json": {"samples": 3}})]
    assert (estimate.most_evaluations, estimate.most_seconds) == (300, None)
