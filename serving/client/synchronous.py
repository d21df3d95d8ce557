"""The client that blocks."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from datetime import datetime
from typing import Any, Self, TypeVar, assert_never

import httpx

from f2at.serving.answers import Audit, Estimate, Prediction, Sample
from f2at.serving.client import core
from f2at.serving.client.inputs import Image, Images, content, contents

T = TypeVar("T")


class Client:
    """The service at `url`. Use it as a context manager, or `close` it. `AsyncClient` is the same for asyncio.

    Every call is safe to repeat and is retried until `patience` is used up: after 429 and 503 once Retry-After has
    passed, and after a lost connection. The Idempotency-Key keeps an audit from being started twice.

    An image is a `Path`, `bytes` or an open binary file, of PNG, JPEG, WebP or BMP; or a Pillow image or a numpy array
    of uint8, (H, W, 3) or grey (H, W), which are sent as PNG, without loss.

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
        self._http = httpx.Client(base_url=url, headers=core.headers(key), timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def predict(self, image: Image, *, planes: int | None = None) -> Prediction:
        """Classify an image; with `planes`, also classify its natural pattern of that many bit-planes.

        Raises:
            TypeError, ValueError: not an image that is taken; they say which are, and what came.
        """
        return self._call(self._calls.predict(content(image), planes))

    def predict_batch(self, images: Images) -> list[Prediction]:
        """Classify several images in one request; `model()["limits"]["max_batch"]` is the most it takes.

        Raises:
            TypeError, ValueError: see `predict`; or these are not several images.
        """
        return self._call(self._calls.predict_batch(contents(images)))

    def model(self) -> dict[str, Any]:
        """What is served: digest, classes, input size, recipe, limits."""
        return self._call(self._calls.model())

    def samples(self) -> list[Sample]:
        """A few of the model's reference images, as data: URLs of PNG files, for who may see them."""
        return self._call(self._calls.samples())

    def leaderboard(
        self, *, suite: str | None = None, model: str | None = None, since: float | str | datetime | None = None
    ) -> Iterator[dict[str, Any]]:
        """What the audits that are done found, the newest first, a row for each; see `audits` for the filters."""
        return self._walk(self._calls.leaderboard(suite, model, since))

    def start_audit(self, *, idempotency_key: str | None = None, **request: Any) -> Audit:
        """Start an audit, such as `suite="adaptive", eps="8/255", samples=200`; see `f2at.audit.AuditRequest`.

        `idempotency_key` names the audit: another call with the same key and request returns the same audit, so a
        program that was killed and restarted starts nothing twice. The default is a new name.
        """
        return self._call(self._calls.start_audit(idempotency_key, request))

    def estimate(self, **request: Any) -> Estimate:
        """What an audit would take at most; takes what `start_audit` takes, refuses the same, and starts none."""
        return self._call(self._calls.estimate(request))

    def audits(
        self,
        *,
        state: str | Iterable[str] | None = None,
        suite: str | None = None,
        model: str | None = None,
        since: float | str | datetime | None = None,
    ) -> Iterator[Audit]:
        """The audits, newest first; pages are fetched as the iterator is consumed.

        Args:
            state: only those in this state, or in one of these.
            suite: only those of this suite.
            model: only those of the model of this digest.
            since: only those from then on; a number is seconds since 1970, as in `Audit.created`.
        """
        return self._walk(self._calls.audits(state, suite, model, since))

    def audit(self, identifier: str) -> Audit:
        """An audit in its current state."""
        return self._call(self._calls.audit(identifier))

    def follow(self, identifier: str, *, timeout: float | None = None) -> Iterator[Audit]:
        """An audit as it is now, and again whenever it has changed, until it has ended; see `wait`."""
        return self._walk(self._calls.follow(identifier, timeout))

    def wait(
        self, identifier: str, *, progress: Callable[[Audit], object] | None = None, timeout: float | None = None
    ) -> Audit:
        """Follow an audit to its end, which may be `done`, `failed` or `cancelled`.

        Args:
            identifier: id of the audit.
            progress: called with the audit whenever it has changed.
            timeout: seconds after which to give up; None: never.

        Raises:
            TimeoutError: the audit has not ended by then. It keeps running.
        """
        for audit in self.follow(identifier, timeout=timeout):
            if progress:
                progress(audit)
        return audit

    def report(self, identifier: str) -> dict[str, Any]:
        """The report of an audit that is done; `f2at schema` prints its schema."""
        return self._call(self._calls.report(identifier))

    def report_page(self, identifier: str) -> str:
        """The same as a self-contained HTML page."""
        return self._call(self._calls.report_page(identifier))

    def cancel(self, identifier: str) -> Audit:
        """Stop an audit; 409 if it has ended."""
        return self._call(self._calls.cancel(identifier))

    def delete(self, identifier: str) -> None:
        """Remove an audit that has ended, and its report."""
        self._call(self._calls.delete(identifier))

    @property
    def _calls(self) -> core.Calls:
        return core.Calls(self.patience)

    def _call(self, call: core.Call[T]) -> T:
        with closing(self._walk(core.only(call))) as items:
            return next(items)

    def _walk(self, walk: core.Walk[T]) -> Generator[T, None, None]:
        """Take the steps; the items among them are what the caller gets."""
        lines: Iterator[str] = iter(())
        answer: Any = None
        with ExitStack() as streams:  # the walk itself holds nothing that must be closed
            while (step := core.advance(walk, answer)) is not None:
                answer = None
                if isinstance(step, core.Item):
                    yield step.value
                    continue
                try:
                    match step:
                        case core.Send():
                            answer = self._http.request(step.method, step.path, **step.options)
                        case core.Pause():
                            time.sleep(step.seconds)
                        case core.Open():
                            answer = streams.enter_context(self._http.stream("GET", step.path))
                            lines = answer.iter_lines()
                        case core.Line():
                            answer = next(lines, None)
                        case core.Close():
                            streams.close()
                        case _:
                            assert_never(step)
                except httpx.TransportError as error:
                    answer = error
