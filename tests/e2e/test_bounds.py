"""What strangers send before anything is known of them: bounded in memory and time, while others are served.

With the limit on memory of deploy/kubernetes where this machine lets a test set one (cgroups).
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest

from f2at.bundle.format import Bundle
from f2at.images.png import png
from tests.e2e.attack import STRANGER, limited_memory, memory_rise_below, others

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow

HEAD = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {}\r\n\r\n"


@pytest.fixture(scope="module")
def bounded(start_server: Callable[..., "Server"]) -> Iterator["Server"]:
    """A server whose limits take effect soon."""
    limits = {"F2AT_BODY_IDLE": "3", "F2AT_HEADER_SECONDS": "3", "F2AT_WORKER": "off"}
    with limited_memory() as prefix:
        server = start_server(prefix=prefix, **limits)
        yield server
        server.stop()


def stranger(server: "Server") -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=60, source_address=(STRANGER, 0))


def ending(connection: socket.socket) -> bytes:
    """All that comes back."""
    received = b""
    with suppress(ConnectionError):
        while part := connection.recv(1 << 16):
            received += part
    return received


def test_bodies_that_lack_their_last_byte(bounded: "Server", bundle: Bundle) -> None:
    size = 15_900_000
    with ExitStack() as stack, memory_rise_below(200, bounded), others(bounded, png(bundle.reference()[0][0])):
        uploads = [stack.enter_context(stranger(bounded)) for _ in range(50)]
        content = bytes(size - 1)

        def send(connection: socket.socket) -> None:
            with suppress(OSError):
                connection.sendall(HEAD.format(size).encode() + content)

        threads = [threading.Thread(target=send, args=[connection]) for connection in uploads]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        answers = [ending(connection) for connection in uploads]
    arrived = [answer for answer in answers if answer]  # one that sends too slowly to be read on is reset
    assert {answer[9:12] for answer in arrived} == {b"408", b"503"}
    assert all(b"application/problem+json" in answer for answer in arrived)


def test_headers_without_an_end(bounded: "Server", bundle: Bundle) -> None:
    with ExitStack() as stack, memory_rise_below(200, bounded), others(bounded, png(bundle.reference()[0][0])):
        over = time.monotonic() + 5

        def send(connection: socket.socket) -> None:
            with suppress(OSError):
                connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
                while time.monotonic() < over:
                    connection.sendall(b"x" * 10_000)

        def keep_sending() -> None:
            while time.monotonic() < over:
                with stranger(bounded) as connection:
                    send(connection)

        threads = [threading.Thread(target=keep_sending) for _ in range(100)]
        for thread in threads:
            thread.start()
        slow = [stack.enter_context(stranger(bounded)) for _ in range(100)]
        for connection in slow:
            connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert {ending(connection)[9:12] for connection in slow} == {b"408"}
        for thread in threads:
            thread.join()


def test_many_small_bodies_that_never_end(bounded: "Server", bundle: Bundle) -> None:
    with ExitStack() as stack, memory_rise_below(200, bounded), others(bounded, png(bundle.reference()[0][0])):
        slow = [stack.enter_context(stranger(bounded)) for _ in range(700)]
        for connection in slow:
            connection.sendall(HEAD.format(100).encode() + b"x")
        assert {ending(connection)[9:12] for connection in slow} == {b"408", b"503"}


def test_more_connections_than_one_address_may_have(bounded: "Server", bundle: Bundle) -> None:
    with ExitStack() as stack, memory_rise_below(200, bounded), others(bounded, png(bundle.reference()[0][0])):
        held = [stack.enter_context(stranger(bounded)) for _ in range(1024)]
        assert ending(stack.enter_context(stranger(bounded)))[9:12] == b"503"
        assert ending(held[0]) == b""  # it asked nothing
    assert bounded.client.get("/livez").status_code == 200
