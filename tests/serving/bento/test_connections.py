"""What arrives on a connection before any handler runs, on a real uvicorn with small limits."""

import asyncio
import json
import re
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from f2at.serving.bento.connections import BoundedProtocol, allow_open_files
from f2at.serving.settings import Settings

LIMITS = {"max_connections": 6, "max_connections_per_address": 4, "max_headers": 10, "max_header_bytes": 2000}
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
LARGE = 30_000_000
Connect = Callable[..., socket.socket]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the size of the body; /slow after a while, /large with 30 MB, /unread and /late without reading."""
    size = 0 if scope["path"] in ("/unread", "/late") else len(await Request(scope, receive).body())
    if scope["path"] in ("/slow", "/late"):
        await asyncio.sleep(0.3)
    await PlainTextResponse(bytes(LARGE) if scope["path"] == "/large" else str(size))(scope, receive, send)


def server(**limits: Any) -> Iterator[tuple[int, Counter[str]]]:
    """A server with these limits: its port, and its connections by address."""
    counted = Counter[str]()
    settings = Settings(**{**LIMITS, "header_seconds": 1, "body_idle": 1, **limits})

    def protocol(*arguments: Any, **named: Any) -> BoundedProtocol:
        return BoundedProtocol(*arguments, **named, settings=settings, open_by_address=counted)

    running = uvicorn.Server(
        uvicorn.Config(app, http=protocol, lifespan="off", log_config=None, timeout_keep_alive=2)  # type: ignore[arg-type]
    )
    with closing(socket.create_server(("127.0.0.1", 0), backlog=50)) as listener:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        while not running.started:
            time.sleep(0.01)
        yield listener.getsockname()[1], counted
        running.should_exit = True
        thread.join()
    assert not counted


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[int, Counter[str]]]:
    yield from server()


@pytest.fixture
def connect(shared: tuple[int, Counter[str]]) -> Iterator[Connect]:
    """Opens a connection, and sends something."""
    port, counted = shared
    with ExitStack() as stack:

        def make(data: bytes = b"", host: str = "127.0.0.1") -> socket.socket:
            connection = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(host, 0))
            stack.enter_context(connection).sendall(data)
            return connection

        yield make
    until(lambda: not counted)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ending(connection: socket.socket) -> bytes:
    """All that comes until the connection ends."""
    received = []
    with suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            received.append(part)
    return b"".join(received)


def rest(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """The status and the problem that a connection ends with."""
    received = ending(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert "content-type: application/problem+json" in lines
    assert "connection: close" in lines
    problem = json.loads(body)
    assert f"x-request-id: {problem['request_id']}" in lines
    return int(head.split()[1]), problem


def answer(connection: socket.socket) -> bytes:
    """One answer and nothing after it, in however many pieces it comes; less where the connection ends."""
    received = b""
    while b"\r\n\r\n" not in received and (part := connection.recv(1)):
        received += part
    length = re.search(rb"content-length: (\d+)", received)
    return received + connection.recv(int(length[1]), socket.MSG_WAITALL) if length else received


def drip(connection: socket.socket, data: bytes, seconds: float) -> None:
    """Send bytes one by one, until the other end has had enough."""
    try:
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(seconds)
    except OSError:
        pass


@pytest.mark.parametrize(
    "request_",
    [
        GET + b"X: " + b"x" * 4000,  # a value without an end
        GET + b"X" * 4000,  # a name
        b"GET /" + b"x" * 4000,  # a path
        GET + b"".join(b"X-%d: x\r\n" % number for number in range(20)),  # many
        GET + b"X: " + b"x" * 2000 + b"\r\n\r\n",  # whole, and too large
    ],
)
def test_headers_are_bounded(request_: bytes, connect: Connect) -> None:
    begun = time.monotonic()
    status, problem = rest(connect(request_))
    assert (status, problem["type"], problem["argument"]) == (431, "urn:problem-type:f2at:headers-too-large", "headers")
    assert "10 headers and 2000 bytes" in problem["accepted"]
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("trailer", [b"X: x\r\n" * 20, b"X: " + b"x" * 4000])
def test_what_follows_a_body_is_bounded_as_well(trailer: bytes, connect: Connect) -> None:
    connection = connect(GET + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
    time.sleep(0.1)
    connection.sendall(b"0\r\n" + trailer)
    begun = time.monotonic()
    assert rest(connection)[0] == 431
    assert time.monotonic() - begun < 2  # not for its slowness


def test_a_refused_client_may_send_on_for_a_while(connect: Connect) -> None:
    connection = connect(GET + b"X: " + b"x" * 4000)
    connection.sendall(b"x" * 300_000)
    assert rest(connection)[0] == 431


def test_one_that_never_stops_is_cut_off(connect: Connect) -> None:
    connection = connect(GET + b"X: ")
    with pytest.raises(OSError, match=r"reset|pipe"):
        connection.sendall(b"x" * 20_000_000)


@pytest.mark.parametrize(("beginning", "more"), [(b"", b"GET /"), (GET, b""), (GET + b"X: x", b""), (b"\r\n", b"\r\n")])
def test_headers_must_be_there_in_time(beginning: bytes, more: bytes, connect: Connect) -> None:
    begun = time.monotonic()
    connection = connect(beginning)
    drip(connection, (more * 20 if more == b"\r\n" else more + b"x" * 20)[:15], 0.1)
    status, problem = rest(connection)
    assert (status, problem["type"]) == (408, "urn:problem-type:f2at:request-timeout")
    assert 0.9 < time.monotonic() - begun < 4


def test_a_connection_that_asks_nothing_is_closed(connect: Connect) -> None:
    begun = time.monotonic()
    assert connect().recv(100) == b""
    assert 0.9 < time.monotonic() - begun < 3


def test_the_second_request_of_a_connection_is_timed_as_well(connect: Connect) -> None:
    connection = connect(GET + b"\r\n")
    assert answer(connection).endswith(b"\r\n\r\n0")
    time.sleep(1.2)  # longer than headers may take: the time between requests is uvicorn's
    connection.sendall(GET + b"\r\n")
    assert answer(connection).endswith(b"\r\n\r\n0")
    connection.sendall(GET)
    assert rest(connection)[0] == 408


def test_what_nobody_reads_of_a_body_is_timed(connect: Connect) -> None:
    connection = connect(b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    assert answer(connection).endswith(b"\r\n\r\n0")
    begun = time.monotonic()
    drip(connection, b"x" * 30, 0.1)
    with closing(connection):
        assert connection.recv(100) == b""
    assert time.monotonic() - begun < 4


def test_bodies_may_be_longer_and_slower_than_headers(connect: Connect) -> None:
    connection = connect(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100015\r\n\r\n")
    connection.sendall(b"x" * 100_000)
    drip(connection, b"x" * 15, 0.1)
    assert answer(connection).endswith(b"100015")
    connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 9000)
    connection.sendall(b"0\r\n\r\n")
    assert answer(connection).endswith(b"9000")


@pytest.mark.parametrize(("count", "answered"), [(10, 10), (10_000, 0)])
def test_only_so_many_requests_wait_on_a_connection(count: int, answered: int, connect: Connect) -> None:
    slow = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
    connection = connect(slow + (GET + b"\r\n") * (count - 1))
    received = b""
    with suppress(ConnectionResetError):
        while received.count(b"HTTP/1.1 200") < count and (part := answer(connection)):
            received += part
    assert received.count(b"HTTP/1.1 200") == answered


def test_one_that_does_not_take_its_answer_is_cut_off(connect: Connect, shared: tuple[int, Counter[str]]) -> None:
    begun = time.monotonic()
    connection = connect(GET.replace(b"/", b"/large", 1) + b"\r\n")
    until(lambda: shared[1])
    until(lambda: not shared[1])
    assert 0.9 < time.monotonic() - begun < 5
    assert len(ending(connection)) < LARGE


def test_one_that_takes_its_answer_slowly_gets_it(connect: Connect) -> None:
    connection = connect(GET.replace(b"/", b"/large", 1) + b"Connection: close\r\n\r\n")
    received = 0
    for _ in range(5):  # longer than an answer may stand still
        time.sleep(0.4)
        received += len(connection.recv(4_000_000, socket.MSG_WAITALL))
    assert received + len(ending(connection)) > LARGE


def test_what_is_no_http_is_a_problem_too(connect: Connect) -> None:
    status, problem = rest(connect(b"hello\r\n\r\n"))
    assert (status, problem["accepted"]) == (400, "HTTP/1.1")


def test_nobody_gets_a_websocket(connect: Connect) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"
    assert answer(connect(GET + upgrade)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("pieces", [1, 30])
@pytest.mark.parametrize(
    ("framing", "size"),
    [
        (b"Content-Length: 5\r\n\r\nabcde", 5),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", 5),
        (b"Content-Length: 0\r\n\r\n", 0),
        (b"\r\n", 0),
    ],
)
def test_one_that_asks_for_another_protocol_is_answered_in_this_one(
    connect: Connect, framing: bytes, size: int, pieces: int
) -> None:
    """As Java's HttpClient asks, bodies included; and the connection goes on."""
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQ\r\n"
    request = GET.replace(b"GET", b"POST") + upgrade + framing
    connection = connect()
    for _ in range(2):
        step = -(-len(request) // pieces)
        for begin in range(0, len(request), step):
            connection.sendall(request[begin : begin + step])
            time.sleep(0.002)
        assert answer(connection).endswith(b"\r\n\r\n%d" % size)
    connection.sendall(GET + b"\r\n")
    assert answer(connection).endswith(b"\r\n\r\n0")


@pytest.mark.parametrize("chunk", [b"zz\r\nabc", b"-5\r\nabc", b"1\r\nab\r\n"])
def test_a_malformed_body_is_a_problem(connect: Connect, chunk: bytes) -> None:
    connection = connect(GET + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
    assert rest(connection)[0] == 400
    connection = connect(GET + b"Transfer-Encoding: chunked\r\n\r\n")
    time.sleep(0.1)
    connection.sendall(chunk)
    assert rest(connection)[0] == 400


@pytest.mark.parametrize("whole", [1, 3])
def test_what_follows_a_whole_request_costs_no_answer(connect: Connect, whole: int) -> None:
    """A body that is longer than its Content-Length, say."""
    slow = b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    received = ending(connect(slow * whole + b"defgh\r\n\r\n"))
    assert received.count(b"HTTP/1.1 200") == whole
    assert received.count(b"HTTP/1.1") == whole
    assert received.count(b"connection: close") == 1


def test_an_answer_that_nobody_waits_for_is_no_error(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    for count in (3, 100):  # the first of a few, and of too many
        connect(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n" * count).close()
    time.sleep(0.5)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_connections_are_counted_by_address_and_in_all(connect: Connect, shared: tuple[int, Counter[str]]) -> None:
    mine = [connect(GET) for _ in range(4)]
    until(lambda: shared[1].total() == 4)
    status, problem = rest(connect())
    assert (status, problem["detail"]) == (503, "Too many connections are open: 4 from your address.")
    other = connect(GET + b"\r\n", "127.0.0.2")
    assert answer(other).startswith(b"HTTP/1.1 200")
    connect(GET, "127.0.0.3")
    until(lambda: shared[1].total() == 6)
    assert "6 in all" in rest(connect(b"", "127.0.0.4"))[1]["detail"]
    mine[0].close()
    until(lambda: shared[1].total() == 5)
    assert answer(connect(GET + b"\r\n")).startswith(b"HTTP/1.1 200")


def test_a_proxy_is_many_clients() -> None:
    for port, counted in server(proxies="127.0.0.0/30", max_connections_per_address=1):
        with ExitStack() as stack:
            for host in ("127.0.0.1", "127.0.0.1", "127.0.0.4", "127.0.0.4"):
                address = ("127.0.0.1", port)
                stack.enter_context(socket.create_connection(address, timeout=10, source_address=(host, 0)))
            until(lambda: counted == {"": 2, "127.0.0.4": 1})  # noqa: B023
        until(lambda: not counted)  # noqa: B023


def test_as_many_files_may_be_open_as_connections_need() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
        allow_open_files(Settings(max_connections=1000))
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 1256
        allow_open_files(Settings(max_connections=100))
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 1256
        allow_open_files(Settings(max_connections=10**9))
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
