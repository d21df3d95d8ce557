"""What strangers send before anything is known of them: bounded in memory and time, while others are served.

With the limit on memory of deploy/kubernetes where this machine lets a test set one (cgroups).
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
import yaml

from f2at.bundle.format import Bundle
from f2at.images.png import png

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
STRANGER = "127.0.0.2"
PNG = {"Content-Type": "image/png"}
HEAD = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {}\r\n\r\n"


@pytest.fixture(scope="module")
def bounded(start_server: Callable[..., "Server"]) -> Iterator["Server"]:
    """A server whose limits take effect soon."""
    limits = {"F2AT_BODY_IDLE": "3", "F2AT_HEADER_SECONDS": "3", "F2AT_WORKER": "off"}
    with limited_memory() as prefix:
        server = start_server(prefix=prefix, **limits)
        yield server
        server.stop()


@contextmanager
def limited_memory() -> Iterator[list[str]]:
    """What to put before a command so that it gets as much memory as deploy/kubernetes gives a server, and no more."""
    deployment, *_ = yaml.safe_load_all((REPOSITORY / "deploy" / "kubernetes" / "server.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == "1Gi"
    for parent, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(parent) / f"f2at-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:  # there are none, or not for this user
            continue
        try:
            if (group / limit).exists():
                (group / limit).write_text(str(1 << 30))
                yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
                return
        finally:
            group.rmdir()
    yield []


@contextmanager
def others(server: "Server", image: bytes) -> Iterator[None]:
    """Other clients all the while: each is answered, the slowest of a hundred within a second, and so is /livez."""
    seconds: dict[str, list[float]] = {"/predict": [], "/livez": []}
    wrong: list[object] = []
    over = threading.Event()

    def ask(path: str) -> None:
        with httpx.Client(base_url=server.url, timeout=30) as client:
            while not over.wait(0.01):
                begun = time.monotonic()
                try:
                    answer = client.get(path) if path == "/livez" else client.post(path, content=image, headers=PNG)
                    if answer.status_code != 200:
                        wrong.append(answer.text)
                except httpx.TransportError as error:
                    wrong.append(error)
                seconds[path].append(time.monotonic() - begun)

    threads = [threading.Thread(target=ask, args=[path]) for path in ("/predict", "/predict", "/livez")]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not wrong
    for times in seconds.values():
        assert len(times) > 30
        assert np.quantile(times, 0.99) < 1
    assert max(seconds["/livez"]) < 1


def stranger(server: "Server") -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=60, source_address=(STRANGER, 0))


def ending(connection: socket.socket) -> bytes:
    """All that comes back."""
    received = b""
    with suppress(ConnectionError):
        while part := connection.recv(1 << 16):
            received += part
    return received


def most_memory(server: "Server") -> float:
    """Megabytes that the server's processes have ever occupied, all of them together at the most."""
    total = 0
    for pid in server.processes():
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        total += int(status["VmHWM"].split()[0])
    return total * 1024 / 1e6


def test_bodies_that_lack_their_last_byte(bounded: "Server", bundle: Bundle) -> None:
    size = 15_900_000
    with ExitStack() as stack, others(bounded, png(bundle.reference()[0][0])):
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
    assert most_memory(bounded) < 600


def test_headers_without_an_end(bounded: "Server", bundle: Bundle) -> None:
    with ExitStack() as stack, others(bounded, png(bundle.reference()[0][0])):
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
    assert most_memory(bounded) < 600


def test_many_small_bodies_that_never_end(bounded: "Server", bundle: Bundle) -> None:
    with ExitStack() as stack, others(bounded, png(bundle.reference()[0][0])):
        slow = [stack.enter_context(stranger(bounded)) for _ in range(700)]
        for connection in slow:
            connection.sendall(HEAD.format(100).encode() + b"x")
        assert {ending(connection)[9:12] for connection in slow} == {b"408", b"503"}
    assert most_memory(bounded) < 600


def test_more_connections_than_one_address_may_have(bounded: "Server", bundle: Bundle) -> None:
    with ExitStack() as stack, others(bounded, png(bundle.reference()[0][0])):
        held = [stack.enter_context(stranger(bounded)) for _ in range(1024)]
        assert ending(stack.enter_context(stranger(bounded)))[9:12] == b"503"
        assert ending(held[0]) == b""  # it asked nothing
    assert bounded.client.get("/livez").status_code == 200
