"""Who receives webhooks in tests: a real server, with the packages that check signatures and read events."""

import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat
from standardwebhooks import Webhook

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
Answer = Callable[["_Handler"], object]


class Request(NamedTuple):
    """What came."""

    headers: dict[str, str]
    body: bytes
    time: float

    def event(self, secret: str = SECRET) -> BaseCloudEvent:
        """The event, if the signature is right; an error of the packages otherwise."""
        Webhook(secret).verify(self.body, self.headers)
        assert self.headers["content-type"] == "application/cloudevents+json"
        return from_structured_event(HTTPMessage(self.headers, self.body), JSONFormat())

    @property
    def data(self) -> dict[str, Any]:
        """What the event is about."""
        data = self.event().get_data()
        assert isinstance(data, dict)
        return data


class Receiver(ThreadingHTTPServer):
    """Answers each request by the next of `answers`, a status or a function, and then by 204."""

    daemon_threads = True

    def __init__(self, answers: Sequence[int | Answer] = (), *, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.answers = list(answers)
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        """Where it listens; the path is a secret, as those of chat services are."""
        return f"http://127.0.0.1:{self.server_port}/hooks/T0P53CR3T?a=b"

    def wait(self, count: int, seconds: float = 60) -> list[Request]:
        """The requests that came, once there are as many."""
        deadline = time.monotonic() + seconds
        while len(self.requests) < count:
            assert time.monotonic() < deadline, f"{len(self.requests)} of {count} requests came"
            time.sleep(0.05)
        return list(self.requests)


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()} | {":path": self.path}
        answer = self.server.answers.pop(0) if self.server.answers else 204
        self.server.requests.append(Request(headers, body, time.time()))
        if callable(answer):
            answer(self)
        else:
            self.answer(answer)

    def answer(self, status: int, **headers: str) -> None:
        """Answer with headers, named with _ for -, and no body."""
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiving(*answers: int | Answer, port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver for as long as the block lasts."""
    with Receiver(answers, port=port) as receiver:
        if tls:
            receiver.socket = tls.wrap_socket(receiver.socket, server_side=True)
        thread = Thread(target=receiver.serve_forever, args=[0.05])
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


def webhook_settings(folder: Path, *urls: str, secrets: Sequence[str] = (SECRET,)) -> dict[str, str]:
    """The variables with which webhooks go to receivers on this machine; the secrets are written to `folder`."""
    path = folder / "webhook-secret"
    path.touch(mode=0o600)
    path.write_text("\n".join(secrets) + "\n")
    return {
        "F2AT_WEBHOOK_URLS": ",".join(urls),
        "F2AT_WEBHOOK_SECRET": str(path),
        "F2AT_WEBHOOK_ALLOW_PRIVATE": "127.0.0.0/8",
    }
