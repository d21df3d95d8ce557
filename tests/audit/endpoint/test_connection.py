"""Requests to a server that is busy, gone, slow or rude."""

import time
from email.utils import formatdate
from typing import Any

import pytest

from f2at.audit.endpoint.address import Address, EndpointError
from f2at.audit.endpoint.connection import Reply, Server
from tests.audit.endpoint.host import DROPPED, Answer, Asked, host, in_turn

GOOD = Answer(b'{"fine": true}')


def ask(url: str, slept: list[float] | None = None, **options: Any) -> Reply:
    address = Address.parse(url)
    pauses = [] if slept is None else slept
    server = Server(address, **{"sleep": pauses.append, **options})
    return server.send("POST", address, b"body", "text/plain")


def test_a_connection_is_used_again() -> None:
    with host(lambda _: GOOD) as (url, asked):
        address = Address.parse(f"{url}/a?b=c")
        server = Server(address)
        for _ in range(3):
            assert server.send("POST", address, b"body", "text/plain").body == GOOD.body
    assert len({a.port for a in asked}) == 1
    assert [(a.method, a.path, a.body) for a in asked] == [("POST", "/a?b=c", b"body")] * 3


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_asked_again_later(status: int) -> None:
    slept = list[float]()
    with host(in_turn(Answer(b"", status), Answer(b"", status, (("Retry-After", "7"),)), GOOD)) as (url, asked):
        assert ask(url, slept).body == GOOD.body
    assert (len(asked), slept) == (3, [0.5, 7.0])


def test_retry_after_may_be_a_date_and_is_cut() -> None:
    slept = list[float]()
    date = formatdate(time.time() + 20, usegmt=True)
    later = [Answer(b"", 503, (("Retry-After", text),)) for text in (date, "3600", "soon")]
    with host(in_turn(*later, GOOD)) as (url, _):
        assert ask(url, slept, patience=4000).body == GOOD.body
    assert 15 < slept[0] <= 20
    assert slept[1:] == [60.0, 2.0]


def test_a_lost_connection_is_opened_again() -> None:
    cut = Answer(b"half", announced=100)
    slept = list[float]()
    with host(in_turn(DROPPED, GOOD, cut, GOOD)) as (url, asked):
        for _ in range(2):
            assert ask(url, slept).body == GOOD.body
    assert (len(asked), slept) == (4, [0.5, 0.5])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (DROPPED, "closes the connection before its answer is whole"),
        (Answer(b"half", announced=100), "closes the connection before its answer is whole"),
        (Answer(b"<h1>Busy</h1>", 503), r"answers 503 Service Unavailable: '<h1>Busy</h1>'"),
    ],
)
def test_patience_ends(answer: Answer | None, message: str) -> None:
    slept = list[float]()
    with host(lambda _: answer) as (url, asked), pytest.raises(EndpointError, match=message):
        ask(f"{url}/predict", slept, patience=0.4)
    assert (len(asked), slept) == (1, [])


def test_a_server_that_is_not_there_is_named() -> None:
    with host(lambda _: GOOD) as (url, _):
        pass
    with pytest.raises(EndpointError, match=r"http://127\.0\.0\.1:\d+/x cannot be reached: Connection refused"):
        ask(f"{url}/x", patience=0)


@pytest.mark.parametrize("slow", ["silent", "in drops"])
def test_an_answer_that_takes_too_long_is_given_up(slow: str) -> None:
    def reply(_: Asked) -> Answer:
        if slow == "silent":
            time.sleep(0.5)
        return Answer(b"x" * 10, announced=1000)

    with host(reply) as (url, _), pytest.raises(EndpointError, match=r"no answer in time|before its answer is whole"):
        ask(url, timeout=0.2, patience=0)


def test_an_answer_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("f2at.audit.endpoint.connection._LARGEST", 1000)
    with host(lambda _: Answer(b"x" * 5000)) as (url, _), pytest.raises(EndpointError, match="more than 1000 bytes"):
        ask(url)


def test_each_sending_is_announced() -> None:
    announced = list[int]()
    with host(in_turn(DROPPED, Answer(b"", 503), GOOD)) as (url, _):
        address = Address.parse(url)
        Server(address, sleep=lambda _: None).send("POST", address, b"", before=lambda: announced.append(1))
    assert len(announced) == 3


@pytest.mark.parametrize(
    ("header", "expected"),
    [("Authorization", ("Authorization", "Bearer s3cret")), ("X-Api-Key", ("X-Api-Key", "s3cret"))],
)
def test_the_key_is_sent_and_never_said(header: str, expected: tuple[str, str]) -> None:
    with host(lambda asked: Answer(f"no: {asked.headers}".encode(), 400)) as (url, asked):
        address = Address.parse(f"{url}/predict?token=t0ken")
        server = Server(address, key="s3cret", key_header=header)
        reply = server.send("POST", address, b"")
        assert expected in asked[0].headers.items()
        assert asked[0].path == "/predict?token=t0ken"
        said = str(server.refusal(address, reply))
    assert "s3cret" not in said
    assert "t0ken" not in said
    assert '400 Bad Request: "no: {' in said


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(b"", 401), "answers 401 Unauthorized: it wants a key; set F2AT_ENDPOINT_KEY"),
        (Answer(b"<html>\n <b>Oh</b>", 500), "answers 500 Internal Server Error: '<html> <b>Oh</b>'"),
        (
            Answer(b"", 302, (("Location", "https://else.example/login?next=t0ken"),)),
            "redirects to https://else.example/login: ",
        ),
        (Answer(b"", 307, (("Location", "/v2"),)), "redirects to another path: give that URL"),
    ],
)
def test_refusals_are_one_line(answer: Answer, message: str) -> None:
    with host(lambda _: answer) as (url, asked):
        address = Address.parse(url)
        server = Server(address)
        said = str(server.refusal(address, server.send("POST", address, b"")))
    assert message in said
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://me:pass@host/predict", "url must have no user name or password"),
        ("ftp://host/x", "url must be http"),
        ("https:///x", "url must be http"),
        ("https://host:port/x?key=s3cret", "url must be http"),
    ],
)
def test_urls_that_are_none_are_refused(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Address.parse(url)
    assert "pass@" not in str(error.value)
    assert "s3cret" not in str(error.value)


def test_a_url_is_said_without_its_query() -> None:
    assert str(Address.parse("https://[::1]:8443/a/b?key=s3cret")) == "https://[::1]:8443/a/b"
    assert Address.parse("http://host").target == "/"
