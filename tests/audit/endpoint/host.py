"""A server that a test starts, of the standard library: it answers as a function says, and keeps what it is asked."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

THRESHOLD = 100.5  # of the mean level: class 1, "light", is above it
SIDE = 4


class Asked(NamedTuple):
    """A request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    port: int  # of the client: that of its connection
    at: float  # seconds of the monotonic clock


class Answer(NamedTuple):
    """What it is answered."""

    body: bytes = b"{}"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    announced: int | None = None  # bytes, if not those of the body


DROPPED = None  # the connection is closed without a word
MISSING = Answer(b'{"detail": "no such route"}', 404)
Reply = Callable[[Asked], Answer | None]


@contextmanager
def host(reply: Reply) -> Iterator[tuple[str, list[Asked]]]:
    """The address of a server, and the requests that it got."""
    asked = list[Asked]()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers, port = dict(self.headers.items()), self.client_address[1]
            asked.append(Asked(self.command, self.path, headers, body, port, time.monotonic()))
            answer = reply(asked[-1])
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(answer.announced or len(answer.body)))
            self.end_headers()
            with suppress(ConnectionError):  # a client that had enough
                self.wfile.write(answer.body)
            self.close_connection = self.close_connection or answer.announced is not None

        do_POST = do_DELETE = do_GET  # noqa: N815

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_address[1]}", asked
        finally:
            listener.shutdown()
            thread.join()


def as_json(value: Any, status: int = 200) -> Answer:
    """An answer in JSON."""
    return Answer(json.dumps(value).encode(), status)


def in_turn(*answers: Answer | None) -> Reply:
    """These answers, one after the other."""
    rest = iter(answers)
    return lambda _: next(rest)


def pictures(asked: Asked) -> list[np.ndarray]:
    """The PNG files of a form, or the one that is the body."""
    start = asked.body.split(b"\x89PNG")[1:]
    return [np.asarray(Image.open(BytesIO(b"\x89PNG" + part), formats=["PNG"])) for part in start]


def light(images: Any) -> list[list[float]]:
    """Logits of images of levels (N, ...), whose nearest errors are known; see `tests.audit.grey`."""
    levels = np.asarray(images, np.float64).reshape(len(images), -1).mean(axis=1)
    return [[THRESHOLD, float(level)] for level in levels]


def probabilities(logits: list[float]) -> list[float]:
    """Their softmax."""
    odds = np.exp(np.array(logits) - max(logits))
    return [float(p) for p in odds / odds.sum()]
