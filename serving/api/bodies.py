"""The bodies of requests while they arrive: bounded in bytes and in time, and in how much of them is held at once."""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Never

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from f2at.serving.problems import Problem
from f2at.serving.settings import Settings

_DRAINED_BYTES = 256 << 20  # of a refused body, so that clients that send everything before they read see the answer
_DRAINED_SECONDS = 10.0
_MOST = 1024  # bodies in flight, however small
_SMALL = 1 << 16  # bytes that may be left unread on a connection that is used again


class Held:
    """Bytes of bodies that a process holds, in all and by client. One client gets at most half of them."""

    def __init__(self) -> None:
        self._by_client = Counter[str]()
        self._total = 0

    def hold(self, client: str, size: int, most: int) -> bool:
        """Hold `size` bytes more for `client` if that leaves `most` in all, and half of that for one client."""
        if self._total + size > most or self._by_client[client] + size > max(size, most // 2):
            return False
        self._by_client[client] += size
        self._total += size
        return True

    def release(self, client: str, size: int) -> None:
        """Give bytes back."""
        self._by_client[client] -= size
        self._total -= size
        if not self._by_client[client]:
            del self._by_client[client]


class Body:
    """The body of one request; the application gets it by `receive`, which raises a Problem where it is refused.

    Args:
        scope: of the request; `state.caller` says whose it is, once it is known.
        receive: gets the next part of it.
        settings: the limits.
        held: bytes of all bodies. A declared length is counted before the first byte is read, and given back by
            `release`: what was read is in memory until the request is answered. Each counts for at least a 1024th of
            all, so that many small ones are too many as well.
    """

    def __init__(self, scope: Scope, receive: Receive, settings: Settings, held: Held) -> None:
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        self.problem: Problem | None = None  # why it was refused
        self.complete = not declared.strip("0") and "transfer-encoding" not in headers  # nothing is left to read
        self._declared = int(declared) if declared.isdigit() else None
        self._scope, self._receive, self._settings, self._held = scope, receive, settings, held
        self._end = asyncio.get_running_loop().time() + settings.body_seconds
        self._read = 0
        self._holding: tuple[str, int] | None = None

    def check_length(self) -> None:
        """Refuse a body that is declared too large: 413."""
        if self._declared is not None and self._declared > self._settings.max_body:
            self._too_large(f"{self._declared} bytes")

    async def receive(self) -> Message:
        """The next part. Raises a Problem: 408 too slow, 413 too large, 503 too many bytes are held already."""
        if self.problem:
            raise self.problem
        if self.complete:
            return await self._receive()
        if self._holding is None:
            self._hold(max(self._declared or 0, self._settings.max_uploads // _MOST))
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(min(now + self._settings.body_idle, self._end)):
                message = await self._receive()
        except TimeoutError:
            self._too_slow()
        size = len(message.get("body", b""))
        self._read += size
        if self._read > self._settings.max_body:
            self._too_large("more than that")
        if self._declared is None:
            self._hold(size)
        self.complete = not message.get("more_body", False)
        return message

    @property
    def abandoned(self) -> bool:
        """Whether more of it is on its way than a connection that is used again should have to skip."""
        return not self.complete and (self._declared is None or self._declared - self._read > _SMALL)

    async def drain(self) -> None:
        """Read what is left, up to a bound, and forget it; a client that was too slow is not waited for."""
        left = _DRAINED_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(0 if self.problem and self.problem.status == 408 else _DRAINED_SECONDS):
                while left > 0 and not self.complete:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self.complete = not message.get("more_body", False)

    def release(self) -> None:
        """The request was answered: what it held is free."""
        if self._holding:
            self._held.release(*self._holding)
            self._holding = None

    def _hold(self, size: int) -> None:
        caller = self._scope.get("state", {}).get("caller")
        client, holding = self._holding or (caller.client if caller else "", 0)
        most = self._settings.max_uploads
        if not self._held.hold(client, size, most):
            self._refuse(
                Problem(
                    503,
                    "overloaded",
                    f"Too many uploads are in flight: {most} bytes of them are held, for one client half of that.",
                    headers={"Retry-After": "1"},
                )
            )
        self._holding = client, holding + size

    def _too_large(self, received: str) -> Never:
        most = self._settings.max_body
        self._refuse(
            Problem(
                413,
                "body-too-large",
                f"The request body is too large; send at most {most} bytes.",
                argument="body",
                accepted=f"at most {most} bytes",
                received=received,
            )
        )

    def _too_slow(self) -> Never:
        idle, seconds = self._settings.body_idle, self._settings.body_seconds
        expected = "" if self._declared is None else f" of {self._declared}"
        self._refuse(
            Problem(
                408,
                "request-timeout",
                f"The request body came too slowly: it may pause for {idle} seconds, and take {seconds} in all.",
                argument="body",
                accepted=f"a body that is there within {seconds} seconds",
                received=f"{self._read}{expected} bytes",
            )
        )

    def _refuse(self, problem: Problem) -> Never:
        self.problem = problem
        raise problem
