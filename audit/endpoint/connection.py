"""HTTP requests to one server: over connections that stay open, repeated where the server is busy or gone."""

import http.client
import ssl
import threading
import time
import weakref
from collections.abc import Callable
from typing import NamedTuple

from f2at.audit.endpoint.address import Address, EndpointError
from f2at.retry_after import retry_after

_REPEATED = (429, 502, 503, 504)
_LONGEST_PAUSE = 60.0  # seconds; a longer Retry-After is cut to this
_LARGEST = 64 << 20  # bytes of an answer
_SHOWN = 100  # characters of an answer that an error quotes
_LOST = (OSError, http.client.HTTPException)


class Reply(NamedTuple):
    """An answer, read to its end."""

    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes


class Server:
    """The server at an address; threads may share it.

    A request is repeated until `patience` is used up: after 429, 502, 503 and 504, once Retry-After has passed where it
    is given, and after a lost connection. Classifying an image changes nothing, so that is safe.

    Args:
        address: scheme, host and port of it are used.
        key: sent with every request; never part of a message.
        key_header: the header to send it in; "Authorization" sends it as a bearer token.
        timeout: seconds to wait for an answer.
        patience: seconds that a request may spend waiting for a server that is busy or unreachable.
        sleep: how time passes; None: in vain once `give_up` was called.
    """

    def __init__(
        self,
        address: Address,
        *,
        key: str | None = None,
        key_header: str = "Authorization",
        timeout: float = 30.0,
        patience: float = 60.0,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.address, self.timeout, self.patience = address, timeout, patience
        self._given_up = threading.Event()
        self._key, self._sleep = key, sleep or self._given_up.wait
        self._headers = {"Accept": "application/json", "User-Agent": "f2at"}
        if key:
            self._headers[key_header] = f"Bearer {key}" if key_header.lower() == "authorization" else key
        self._tls = ssl.create_default_context() if address.scheme == "https" else None
        self._idle: list[http.client.HTTPConnection] = []  # of any thread
        weakref.finalize(self, _close, self._idle)

    def send(
        self,
        method: str,
        address: Address,
        body: bytes | None = None,
        kind: str = "",
        *,
        before: Callable[[], object] = lambda: None,
        patience: float | None = None,
    ) -> Reply:
        """The answer to a request, whatever its status but those that are repeated.

        Args:
            method: GET or POST.
            address: path and query of it are used.
            body: what to send.
            kind: its Content-Type.
            before: called before each time that it is sent; may raise.
            patience: in place of the server's.

        Raises:
            EndpointError: no answer came while patience lasted, or one that is too large.
        """
        deadline = time.monotonic() + (self.patience if patience is None else patience)
        pause = 0.5
        while True:
            before()
            try:
                reply = self._once(method, address, body, kind)
            except ssl.SSLCertVerificationError as error:
                raise EndpointError(f"{address}: its certificate cannot be trusted: {error.verify_message}") from error
            except _LOST as error:
                wait, pause = pause, min(2 * pause, 8.0)
                problem = EndpointError(f"{address} cannot be reached: {_reason(error)}")
                problem.__cause__ = error
            else:
                if reply.status not in _REPEATED:
                    return reply
                wait, pause = _retry_after(reply, pause), min(2 * pause, 8.0)
                problem = self.refusal(address, reply)
            if time.monotonic() + wait > deadline:
                raise problem
            self._sleep(wait)
            if self._given_up.is_set():
                raise problem

    def give_up(self) -> None:
        """Repeat no request any more, in whatever thread."""
        self._given_up.set()

    def refusal(self, address: Address, reply: Reply) -> EndpointError:
        """What an answer that is none says, in one line."""
        if 300 <= reply.status < 400:
            try:
                there = str(Address.parse(reply.headers.get("Location", "")))
            except ValueError:
                there = "another path"
            return EndpointError(f"{address} redirects to {there}: give that URL; no key is sent after a redirect")
        said = f"{reply.status} {reply.reason}".strip()
        if reply.status in (401, 403):
            given = "the one in F2AT_ENDPOINT_KEY is not accepted" if self._key else "set F2AT_ENDPOINT_KEY"
            return EndpointError(f"{address} answers {said}: it wants a key; {given}")
        return EndpointError(f"{address} answers {said}: {self.quoted(reply.body)}")

    def quoted(self, body: bytes) -> str:
        """The beginning of an answer as one line of text, without the key if it repeats that."""
        text = body[: 10 * _SHOWN].decode("utf-8", "replace")
        if self._key:
            text = text.replace(self._key, "***")
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")

    def _once(self, method: str, address: Address, body: bytes | None, kind: str) -> Reply:
        connection = self._connection()
        headers = {**self._headers, "Content-Type": kind} if kind else self._headers
        try:
            connection.request(method, address.target, body, headers)
            response = connection.getresponse()
            content = _read(response, time.monotonic() + self.timeout, address)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return Reply(response.status, response.reason, response.headers, content)

    def _connection(self) -> http.client.HTTPConnection:
        try:
            return self._idle.pop()
        except IndexError:
            host, port = self.address.host, self.address.port
            if self._tls is not None:
                return http.client.HTTPSConnection(host, port, timeout=self.timeout, context=self._tls)
            return http.client.HTTPConnection(host, port, timeout=self.timeout)


def _close(connections: list[http.client.HTTPConnection]) -> None:
    for connection in connections:
        connection.close()


def _read(response: http.client.HTTPResponse, deadline: float, address: Address) -> bytes:
    """The whole body. A server that sends it byte by byte times out like one that sends nothing."""
    parts, size = [], 0
    while part := response.read1(1 << 16):
        parts.append(part)
        size += len(part)
        if size > _LARGEST:
            raise EndpointError(f"{address} answers with more than {_LARGEST} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError("timed out")
    if response.length:  # bytes that were announced
        raise http.client.IncompleteRead(b"", response.length)
    response.close()  # of which read1 does not take care; the connection stays open
    return b"".join(parts)


def _retry_after(reply: Reply, pause: float) -> float:
    """Seconds to wait: what Retry-After says, as a number or a date, or else `pause`."""
    asked = retry_after(reply.headers.get("Retry-After", ""))
    return pause if asked is None else min(asked, _LONGEST_PAUSE)


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.HTTPException):
        return "it closes the connection before its answer is whole"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
