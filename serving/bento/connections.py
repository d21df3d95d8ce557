"""Connections: bounded in number and by address, and so is what arrives on one before any handler runs.

Works around uvicorn, which BentoML serves with: its parser, httptools, keeps headers without an end, and nothing limits
how long they may take, or how many connections are open. What is refused here gets a problem document as well.
"""

import logging
import resource
from asyncio import BaseTransport, TimerHandle, Transport
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.http import auto
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from f2at.serving.access.guard import network_of
from f2at.serving.bento.upgrades import SingleProtocolParser
from f2at.serving.problems import Problem
from f2at.serving.process.logs import accept_request_id, request_id
from f2at.serving.process.metrics import observe
from f2at.serving.settings import Settings

_ACCESS = logging.getLogger("bentoml.f2at.access")
_OTHER_FILES = 256  # that a server process may have open beside its connections
# After a refusal, what still comes is read and forgotten for a while: closing at once would reset the connection.
_DRAINED_SECONDS, _DRAINED_BYTES = 1.0, 1 << 20
_PIPELINED = 16  # requests that may wait for the answer to an earlier one on the same connection


def bound_connections(settings: Callable[[], Settings]) -> None:
    """Have uvicorn, wherever it is started in this process from now on, bound its connections as `settings` say."""
    open_by_address = Counter[str]()

    def protocol(*arguments: Any, **named: Any) -> "BoundedProtocol":
        return BoundedProtocol(*arguments, **named, settings=settings(), open_by_address=open_by_address)

    auto.AutoHTTPProtocol = cast(Any, protocol)


def allow_open_files(settings: Settings) -> None:
    """Raise this process's limit on open files to what the connections need, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = settings.max_connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        settings: the limits.
        open_by_address: counts the connections of each client address. Those of proxies in F2AT_PROXIES, which are many
            clients, count only in all.
    """

    def __init__(self, *arguments: Any, settings: Settings, open_by_address: Counter[str], **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.parser = cast(Any, SingleProtocolParser(self))
        self._answering: RequestResponseCycle | None = None  # `cycle` is the last request, which may wait for this one
        self._settings, self._open = settings, open_by_address
        self._address: str | None = None  # once it is counted
        self._timer: TimerHandle | None = None  # until which a head must be there, or after a refusal the end
        self._in_head = self._in_body = self._refused = False
        self._taking: TimerHandle | None = None  # until which the client must have taken more of an answer
        self._parts = 0  # heads and pieces of bodies that the parser has passed on
        self._unparsed = 0  # bytes that it has taken since

    def connection_made(self, transport: BaseTransport) -> None:
        """Count it, or refuse it."""
        super().connection_made(cast(Transport, transport))
        host = self.client[0] if self.client else ""
        address = "" if self._settings.is_proxy(host) else network_of(host)
        most, share = self._settings.max_connections, self._settings.max_connections_per_address
        many = self._open.total() >= most
        if many or (address and self._open[address] >= share):
            self._refuse(
                Problem(
                    503,
                    "overloaded",
                    f"Too many connections are open: {f'{most} in all' if many else f'{share} from your address'}.",
                    headers={"Retry-After": "1"},
                ),
                close=True,
            )
            return
        self._address = address
        self._open[address] += 1
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give its place back."""
        super().connection_lost(exc)
        self._forsake(self._answering)
        self._cancel_timer()
        if self._taking is not None:
            self._taking.cancel()
        if self._address is not None:
            self._open[self._address] -= 1
            if not self._open[self._address]:
                del self._open[self._address]
            self._address = None

    def data_received(self, data: bytes) -> None:
        """Parse what came; refuse what goes on for too long without being a head or a piece of a body."""
        if self._refused:
            self._unparsed += len(data)
            if self._unparsed > _DRAINED_BYTES:
                self._abort()
            return
        parts = self._parts
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        self._unparsed = 0 if self._parts > parts else self._unparsed + len(data)
        if self._unparsed > self._settings.max_header_bytes:
            self._refuse(self._large("more than that"))
        elif self._timer is None and (self._in_head or self._unparsed):
            self._await_head()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; those behind a body, which nobody reads, count as well."""
        super().on_header(name, value)
        if len(self.headers) > self._settings.max_headers:
            self._refuse(self._large(f"more than {self._settings.max_headers} headers"))
            raise OverflowError  # stops the parser

    def on_headers_complete(self) -> None:
        """The head is there: from here on, the application bounds its request."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._settings.max_header_bytes:
            self._refuse(self._large(f"{size} bytes"))
            raise OverflowError
        if len(self.pipeline) >= _PIPELINED:  # thousands of small ones come at once
            self._abort()
            raise OverflowError
        self._cancel_timer()
        self._in_head, self._in_body = False, True
        self._parts += 1
        super().on_headers_complete()
        if not self.pipeline:
            self._answering = self.cycle

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._parts += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The end of a body, or of a head without one."""
        self._in_body = False
        self._parts += 1
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is sent: the rest of a body that nobody wanted must come within the time for the next head."""
        self._answering = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if self._in_body and self._timer is None and not self.transport.is_closing():
            self._await_head()

    def pause_writing(self) -> None:
        """An answer waits in memory for the client to take it; uvicorn waits as long as the client likes."""
        super().pause_writing()
        self._await_taking()

    def resume_writing(self) -> None:
        """The client has taken it."""
        super().resume_writing()
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def send_400_response(self, msg: str) -> None:
        """Uvicorn's way to refuse what is no HTTP, or what a method above has just refused."""
        if not self._refused:
            problem = Problem(
                400,
                "malformed-request",
                msg,
                argument="request",
                accepted="HTTP/1.1",
                received="something else",
            )
            self._refuse(problem)

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(self._settings.header_seconds, self._head_is_late)

    def _await_taking(self) -> None:
        left = self.transport.get_write_buffer_size()

        def look() -> None:
            if self.transport.get_write_buffer_size() < left:
                self._await_taking()
            else:
                self._abort()

        self._taking = self.loop.call_later(self._settings.body_idle, look)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_is_late(self) -> None:
        self._timer = None
        if self.cycle is not None and not self.cycle.response_complete:  # an earlier request is still being answered
            self._await_head()
        elif self._in_head or self._unparsed:
            seconds = self._settings.header_seconds
            problem = Problem(
                408,
                "request-timeout",
                f"The headers came too slowly: they may take {seconds} seconds.",
                argument="headers",
                accepted=f"headers that are there within {seconds} seconds",
                received=f"{self._unparsed} bytes without their end",
            )
            self._refuse(problem)
        else:  # nothing was asked
            self.transport.close()

    def _large(self, received: str) -> Problem:
        settings = self._settings
        return Problem(
            431,
            "headers-too-large",
            "The path and the headers are too large.",
            argument="headers",
            accepted=f"at most {settings.max_headers} headers and {settings.max_header_bytes} bytes, the path included",
            received=received,
        )

    def _refuse(self, problem: Problem, *, close: bool = False) -> None:
        """Answer with a problem and end the connection, at once or after a while; requests that were whole come first.

        For a body, it is the answer to its request, if that has none yet.
        """
        self._refused = True
        self._cancel_timer()
        self._unparsed = 0
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not self._in_body:
                cycle.keep_alive = False
                return
            if cycle is not self._answering or cycle.response_started:
                self._abort()
                return
            self._forsake(cycle)
        identifier = accept_request_id(None)
        token = request_id.set(identifier)
        try:
            response = problem.response()
            observe(None, "", problem.status, 0.0)
            client = self.client[0] if self.client else None
            fields = {"status": problem.status, "client": client}
            _ACCESS.info("%r before a request %d", client, problem.status, extra={"fields": fields})
        finally:
            request_id.reset(token)
        response.headers["X-Request-ID"] = identifier
        response.headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}".encode()]
        lines += [name + b": " + value for name, value in response.raw_headers]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(response.body)]))
        if close or not self.transport.can_write_eof():
            self.transport.close()
        else:
            self.transport.write_eof()
            self._timer = self.loop.call_later(_DRAINED_SECONDS, self.transport.close)

    def _abort(self) -> None:
        """End the connection at once; what is being answered is not waited for."""
        self._refused = True
        self._forsake(self._answering)
        self.transport.abort()

    def _forsake(self, cycle: RequestResponseCycle | None) -> None:
        """Have the application see that nobody waits for its answer any more, and send none."""
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
