"""What the clients do, without doing it: which requests, when once more, how long to pause, how answers are read.

A call is a generator of steps. Whoever runs it, a driver, takes a step, and hands back through `advance` what came of
it. No step is taken here, so the same call serves threads and event loops, and a test can play the server in memory.
"""

import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx

from f2at.retry_after import retry_after
from f2at.serving.answers import Audit, Estimate, Prediction, Predictions, Sample, Samples
from f2at.serving.client.errors import ServiceError

URL = "http://127.0.0.1:3000"
TIMEOUT = 30.0  # seconds for an answer
PATIENCE = 60.0  # seconds for a server that is busy or unreachable

_RETRIED = (429, 503)
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 8.0  # seconds after a lost connection, doubled each time
_LONGEST_PAUSE = 60.0  # seconds; a longer Retry-After is cut to this
_BETWEEN_STREAMS = 1.0  # seconds

T = TypeVar("T")


@dataclass(frozen=True)
class Send:
    """Send a request; hand back the response, read to its end."""

    method: str
    path: str
    options: Mapping[str, Any] = field(default_factory=dict)  # of httpx's `request`


@dataclass(frozen=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Open:
    """GET a path; hand back the response as soon as its head is there."""

    path: str


@dataclass(frozen=True)
class Line:
    """Hand back the next line of what is open, without its end, or None after the last."""


@dataclass(frozen=True)
class Close:
    """Close what is open, if anything."""


@dataclass(frozen=True)
class Item(Generic[T]):
    """Hand this to the caller."""

    value: T


Doing: TypeAlias = Send | Pause | Open | Line | Close
Call: TypeAlias = Generator[Doing, Any, T]  # it returns its result
Walk: TypeAlias = Generator[Doing | Item[T], Any, None]  # its results are items


def advance(walk: Walk[T], answer: Any) -> Doing | Item[T] | None:
    """The next step, after what the last one gave (at first, None), or the error that it ended in; None: no more."""
    try:
        return walk.throw(answer) if isinstance(answer, httpx.TransportError) else walk.send(answer)
    except StopIteration:
        return None


def only(call: Call[T]) -> Walk[T]:
    """A call as a walk of one item."""
    yield Item((yield from call))


def headers(key: str | None) -> dict[str, str]:
    """What every request says."""
    return {"Authorization": f"Bearer {key}"} if key else {}


@dataclass(frozen=True)
class Calls:
    """The calls of a client that waits up to `patience` seconds for a server that is busy or unreachable."""

    patience: float

    def predict(self, image: bytes, planes: int | None) -> Call[Prediction]:
        """One image."""
        query = {} if planes is None else {"planes": planes}
        found = yield from self._json("POST", "/predict", params=query, files={"image": image})
        return Prediction.model_validate(found)

    def predict_batch(self, images: Sequence[bytes]) -> Call[list[Prediction]]:
        """Several images."""
        files = [("images", image) for image in images]
        found = yield from self._json("POST", "/predict_batch", files=files)
        return Predictions.model_validate(found).predictions

    def model(self) -> Call[dict[str, Any]]:
        """What is served."""
        return self._json("GET", "/model")

    def samples(self) -> Call[list[Sample]]:
        """A few reference images."""
        return Samples.model_validate((yield from self._json("GET", "/model/samples"))).samples

    def leaderboard(
        self, suite: str | None, model: str | None, since: float | str | datetime | None
    ) -> Walk[dict[str, Any]]:
        """What audits found, page by page."""
        query = _given(suite=suite, model=model, since=_seconds(since))
        return self._pages("/leaderboard", query, "rows", "audit", dict)

    def start_audit(self, key: str | None, request: Mapping[str, Any]) -> Call[Audit]:
        """A new audit, named by `key`, or by a new name."""
        named = {"Idempotency-Key": key or str(uuid4())}
        return Audit.model_validate((yield from self._json("POST", "/audits", json=request, headers=named)))

    def estimate(self, request: Mapping[str, Any]) -> Call[Estimate]:
        """What an audit would take."""
        return Estimate.model_validate((yield from self._json("POST", "/estimate", json=request)))

    def audit(self, identifier: str) -> Call[Audit]:
        """An audit."""
        return Audit.model_validate((yield from self._json("GET", f"{_audit(identifier)}")))

    def audits(
        self,
        state: str | Iterable[str] | None,
        suite: str | None,
        model: str | None,
        since: float | str | datetime | None,
    ) -> Walk[Audit]:
        """Audits, page by page."""
        states = [state] if isinstance(state, str) else None if state is None else list(state)
        if states == []:  # of no state, there is none
            return
        query = _given(state=states, suite=suite, model=model, since=_seconds(since))
        yield from self._pages("/audits", query, "audits", "id", Audit.model_validate)

    def _pages(
        self, path: str | None, query: Mapping[str, Any], name: str, key: str, read: Callable[[dict[str, Any]], T]
    ) -> Walk[T]:
        """The entries that a list has under `name`, each once, by the `key` of its audit."""
        seen: set[str] = set()  # an audit started meanwhile moves the others to later pages
        options = {"params": query}
        while path:
            page = yield from self._json("GET", path, **options)
            for entry in page[name]:
                if entry[key] not in seen:
                    seen.add(entry[key])
                    yield Item(read(entry))
            path, options = page["links"].get("next"), {}  # which has the filters in it

    def report(self, identifier: str) -> Call[dict[str, Any]]:
        """A report."""
        return self._json("GET", f"{_audit(identifier)}/report")

    def report_page(self, identifier: str) -> Call[str]:
        """A report's page."""
        return (yield from self._answer(Send("GET", f"{_audit(identifier)}/report.html"))).text

    def cancel(self, identifier: str) -> Call[Audit]:
        """Stop an audit."""
        return Audit.model_validate((yield from self._json("DELETE", f"{_audit(identifier)}")))

    def delete(self, identifier: str) -> Call[None]:
        """Remove an audit; if an answer was lost, one that is no longer there has been removed."""
        send = Send("DELETE", f"{_audit(identifier)}", {"params": {"purge": "true"}})
        yield from self._answer(send, done_before=404)

    def follow(self, identifier: str, timeout: float | None) -> Walk[Audit]:
        """The states of an audit from the server's streams of events, over as many connections as it takes."""
        deadline, seen = None if timeout is None else time.monotonic() + timeout, None
        while True:
            news: Audit | None = yield from self.audit(identifier)  # raises if there is none, unlike a broken stream
            opened = False
            while news:
                if news != seen:
                    yield Item(news)
                seen = news
                if news.over:
                    return
                if not (opened or _passed(deadline)):
                    opened = yield from _opened(f"{_audit(identifier)}/events")
                news = (yield from _event(deadline)) if opened else None
            yield Close()
            if _passed(deadline):
                raise TimeoutError(f"audit {identifier} has not ended after {timeout} s")
            yield Pause(_BETWEEN_STREAMS)

    def _json(self, method: str, path: str, **options: Any) -> Call[dict[str, Any]]:
        body: dict[str, Any] = (yield from self._answer(Send(method, path, options))).json()
        return body

    def _answer(self, send: Send, *, done_before: int | None = None) -> Call[httpx.Response]:
        """The answer to a request, which is sent until there is one or patience ends.

        `done_before` is the status by which a request is refused that was carried out before the connection was lost.
        """
        deadline, pause, heard = time.monotonic() + self.patience, _FIRST_PAUSE, False
        while True:
            try:
                response: httpx.Response = yield send
            except httpx.TransportError as error:
                heard = heard or not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                wait, pause = pause, min(2 * pause, _LAST_PAUSE)
                if time.monotonic() + wait > deadline:
                    raise
            else:
                if response.is_success or (heard and response.status_code == done_before):
                    return response
                wait = _pause(response)
                if response.status_code not in _RETRIED or time.monotonic() + wait > deadline:
                    raise ServiceError(response)
            yield Pause(wait)


def _audit(identifier: str) -> str:
    """The path of an audit; what cannot be an id names none, and no other either."""
    if not identifier:
        raise ValueError("identifier must be the id of an audit; got an empty text")
    return f"/audits/{quote(identifier, safe='')}"


def _opened(path: str) -> Call[bool]:
    """Whether there is a stream at a path, which is open then."""
    try:
        response: httpx.Response = yield Open(path)
    except httpx.TransportError:
        return False
    return response.is_success


def _event(deadline: float | None) -> Call[Audit | None]:
    """The audit in the next event of what is open; None where that ends or breaks, or at a line after `deadline`.

    The server says something every few seconds: comments, too, are lines. An event whose end is missing is none.
    """
    name, data = "", list[str]()
    try:
        while not _passed(deadline) and (line := (yield Line())) is not None:
            kind, _, value = line.partition(":")
            if not line:
                if data and name in ("", "audit"):
                    return Audit.model_validate_json("\n".join(data))
                name, data = "", []
            elif kind == "event":
                name = value.removeprefix(" ")
            elif kind == "data":
                data.append(value.removeprefix(" "))
    except httpx.TransportError:
        pass
    return None


def _pause(response: httpx.Response) -> float:
    asked = retry_after(response.headers.get("Retry-After", ""))
    return 1.0 if asked is None else min(asked, _LONGEST_PAUSE)


def _given(**query: Any) -> dict[str, Any]:
    """What of a query is not None."""
    return {name: value for name, value in query.items() if value is not None}


def _seconds(since: float | str | datetime | None) -> float | str | None:
    return since.timestamp() if isinstance(since, datetime) else since


def _passed(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() > deadline
