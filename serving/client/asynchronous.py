"""The client for asyncio."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, aclosing
from datetime import datetime
from inspect import isawaitable
from typing import Any, Self, TypeVar, assert_never

import httpx

from f2at.serving.answers import Audit, Estimate, Prediction, Sample
from f2at.serving.client import core
from f2at.serving.client.inputs import Image, Images, content, contents

T = TypeVar("T")


class AsyncClient:
    """The service at `url`, for asyncio: `Client` with coroutines, and asynchronous iterators where that has iterators.

    Use it as an asynchronous context manager, or `await` its `close`. Calls may run at the same time. Images are read
    and packed in a thread, so that the event loop goes on meanwhile.

    Args:
        url: where the service is.
        key: an API key, sent as a bearer token.
        timeout: seconds to wait for an answer.
        patience: seconds that a call may spend waiting for a server that is busy or unreachable; 0: do not wait.

    Raises (every call):
        ServiceError: the service refused the request, for good or for longer than `patience`.
        httpx.TransportError: the service was unreachable for longer than `patience`.
    """

    def __init__(
        self,
        url: str = core.URL,
        *,
        key: str | None = None,
        timeout: float = core.TIMEOUT,
        patience: float = core.PATIENCE,
    ) -> None:
        self.patience = patience
        self._http = httpx.AsyncClient(base_url=url, headers=core.headers(key), timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def predict(self, image: Image, *, planes: int | None = None) -> Prediction:
        """Classify an image; see `Client.predict`."""
        return await self._call(self._calls.predict(await asyncio.to_thread(content, image), planes))

    async def predict_batch(self, images: Images) -> list[Prediction]:
        """Classify several images in one request; see `Client.predict_batch`."""
        return await self._call(self._calls.predict_batch(await asyncio.to_thread(contents, images)))

    async def model(self) -> dict[str, Any]:
        """What is served: digest, classes, input size, recipe, limits."""
        return await self._call(self._calls.model())

    async def samples(self) -> list[Sample]:
        """A few of the model's reference images; see `Client.samples`."""
        return await self._call(self._calls.samples())

    def leaderboard(
        self, *, suite: str | None = None, model: str | None = None, since: float | str | datetime | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """What the audits that are done found, the newest first, a row for each; see `Client.leaderboard`."""
        return self._walk(self._calls.leaderboard(suite, model, since))

    async def start_audit(self, *, idempotency_key: str | None = None, **request: Any) -> Audit:
        """Start an audit, such as `suite="adaptive", eps="8/255", samples=200`; see `Client.start_audit`."""
        return await self._call(self._calls.start_audit(idempotency_key, request))

    async def estimate(self, **request: Any) -> Estimate:
        """What an audit would take at most; see `Client.estimate`."""
        return await self._call(self._calls.estimate(request))

    def audits(
        self,
        *,
        state: str | Iterable[str] | None = None,
        suite: str | None = None,
        model: str | None = None,
        since: float | str | datetime | None = None,
    ) -> AsyncGenerator[Audit, None]:
        """The audits, newest first; pages are fetched as the iterator is consumed. See `Client.audits`."""
        return self._walk(self._calls.audits(state, suite, model, since))

    async def audit(self, identifier: str) -> Audit:
        """An audit in its current state."""
        return await self._call(self._calls.audit(identifier))

    def follow(self, identifier: str, *, timeout: float | None = None) -> AsyncGenerator[Audit, None]:
        """An audit as it is now, and again whenever it has changed, until it has ended; see `wait`.

        Who leaves it before the end closes its connection by `contextlib.aclosing`, or by closing the client.
        """
        return self._walk(self._calls.follow(identifier, timeout))

    async def wait(
        self, identifier: str, *, progress: Callable[[Audit], object] | None = None, timeout: float | None = None
    ) -> Audit:
        """Follow an audit to its end, which may be `done`, `failed` or `cancelled`.

        Args:
            identifier: id of the audit.
            progress: called with the audit whenever it has changed; it may be a coroutine function.
            timeout: seconds after which to give up; None: never.

        Raises:
            TimeoutError: the audit has not ended by then. It keeps running.
        """
        async for audit in self.follow(identifier, timeout=timeout):
            if progress and isawaitable(told := progress(audit)):
                await told
        return audit

    async def report(self, identifier: str) -> dict[str, Any]:
        """The report of an audit that is done; `f2at schema` prints its schema."""
        return await self._call(self._calls.report(identifier))

    async def report_page(self, identifier: str) -> str:
        """The same as a self-contained HTML page."""
        return await self._call(self._calls.report_page(identifier))

    async def cancel(self, identifier: str) -> Audit:
        """Stop an audit; 409 if it has ended."""
        return await self._call(self._calls.cancel(identifier))

    async def delete(self, identifier: str) -> None:
        """Remove an audit that has ended, and its report."""
        await self._call(self._calls.delete(identifier))

    @property
    def _calls(self) -> core.Calls:
        return core.Calls(self.patience)

    async def _call(self, call: core.Call[T]) -> T:
        async with aclosing(self._walk(core.only(call))) as items:
            return await anext(items)

    async def _walk(self, walk: core.Walk[T]) -> AsyncGenerator[T, None]:
        """Take the steps; the items among them are what the caller gets."""
        lines: AsyncIterator[str] | None = None
        answer: Any = None
        async with AsyncExitStack() as streams:  # the walk itself holds nothing that must be closed
            while (step := core.advance(walk, answer)) is not None:
                answer = None
                if isinstance(step, core.Item):
                    yield step.value
                    continue
                try:
                    match step:
                        case core.Send():
                            answer = await self._http.request(step.method, step.path, **step.options)
                        case core.Pause():
                            await asyncio.sleep(step.seconds)
                        case core.Open():
                            answer = await streams.enter_async_context(self._http.stream("GET", step.path))
                            lines = answer.aiter_lines()
                        case core.Line():
                            answer = await anext(lines, None) if lines else None
                        case core.Close():
                            await streams.aclose()
                        case _:
                            assert_never(step)
                except httpx.TransportError as error:
                    answer = error
