"""A typed client of the service; it needs only httpx and pydantic, and no model.

with Client("http://127.0.0.1:3000", key="...") as client:
    print(client.predict(Path("digit.png")).label)
    audit = client.wait(client.start_audit(suite="adaptive", eps="32/255", samples=200).id, progress=print)
    report = client.report(audit.id)
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import httpx

from f2at.retry_after import retry_after
from f2at.serving.answers import Audit, Prediction, Predictions

Image = Path | bytes  # a file or its content: PNG, JPEG, WebP or BMP
_RETRIED = (429, 503)
_LONGEST_PAUSE = 60.0  # seconds; a longer Retry-After is cut to this


class ServiceError(Exception):
    """An error answer, with the fields of its problem details (RFC 9457).

    Attributes:
        status: the HTTP status.
        kind: the kind of problem, such as "invalid-argument"; the last part of the problem's `type`.
        detail: what was wrong and what to do, for a person.
        problem: the whole answer, with `argument`, `accepted` and `received`.
    """

    def __init__(self, response: httpx.Response) -> None:
        try:
            problem = response.json()
        except ValueError:  # something in front of the service answered, such as a proxy
            problem = {}
        self.problem: dict[str, Any] = problem if isinstance(problem, dict) else {}
        self.status = response.status_code
        self.kind = str(self.problem.get("type", "")).rpartition(":")[2]
        self.detail = str(self.problem.get("detail") or response.reason_phrase)
        super().__init__(f"{self.status} {self.kind or 'error'}: {self.detail}")


class Client:
    """The service at `url`. Use it as a context manager, or `close` it.

    Every call is safe to repeat and is retried until `patience` is used up: after 429 and 503 once Retry-After has
    passed, and after a lost connection. The Idempotency-Key keeps an audit from being started twice.

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
        self, url: str = "http://127.0.0.1:3000", *, key: str | None = None, timeout: float = 30, patience: float = 60
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.patience = patience
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def predict(self, image: Image, *, planes: int | None = None) -> Prediction:
        """Classify an image; with `planes`, also classify its natural pattern of that many bit-planes."""
        query = {} if planes is None else {"planes": planes}
        files = {"image": _content(image)}
        return Prediction.model_validate(self._json("POST", "/predict", params=query, files=files))

    def predict_batch(self, images: Sequence[Image]) -> list[Prediction]:
        """Classify several images in one request; `model()["limits"]["max_batch"]` is the most it takes."""
        files = [("images", _content(image)) for image in images]
        return Predictions.model_validate(self._json("POST", "/predict_batch", files=files)).predictions

    def model(self) -> dict[str, Any]:
        """What is served: digest, classes, input size, recipe, limits."""
        return self._json("GET", "/model")

    def start_audit(self, *, idempotency_key: str | None = None, **request: Any) -> Audit:
        """Start an audit, such as `suite="adaptive", eps="8/255", samples=200`; see `f2at.audit.AuditRequest`.

        `idempotency_key` names the audit: another call with the same key and request returns the same audit, so a
        program that was killed and restarted starts nothing twice. The default is a new name.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        return Audit.model_validate(self._json("POST", "/audits", json=request, headers=headers))

    def audits(self) -> Iterator[Audit]:
        """Every audit, newest first; pages are fetched as the iterator is consumed."""
        path: str | None = "/audits"
        seen: set[str] = set()  # an audit started meanwhile moves the others to later pages
        while path:
            page = self._json("GET", path)
            for audit in map(Audit.model_validate, page["audits"]):
                if audit.id not in seen:
                    seen.add(audit.id)
                    yield audit
            path = page["links"].get("next")

    def audit(self, identifier: str) -> Audit:
        """An audit in its current state."""
        return Audit.model_validate(self._json("GET", f"/audits/{identifier}"))

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
        deadline = None if timeout is None else time.monotonic() + timeout
        last = None
        for audit in self._follow(identifier, deadline):
            if progress and audit != last:
                progress(audit)
            last = audit
            if audit.over:
                return audit
        raise TimeoutError(f"audit {identifier} has not ended after {timeout} s")

    def report(self, identifier: str) -> dict[str, Any]:
        """The report of an audit that is done; `f2at schema` prints its schema."""
        return self._json("GET", f"/audits/{identifier}/report")

    def report_page(self, identifier: str) -> str:
        """The same as a self-contained HTML page."""
        return self._request("GET", f"/audits/{identifier}/report.html").text

    def cancel(self, identifier: str) -> Audit:
        """Stop an audit; 409 if it has ended."""
        return Audit.model_validate(self._json("DELETE", f"/audits/{identifier}"))

    def _follow(self, identifier: str, deadline: float | None) -> Iterator[Audit]:
        """The states of an audit from the server's stream of events, over as many connections as it takes."""
        while True:
            yield self.audit(identifier)  # also raises if there is no such audit, unlike a broken stream
            try:
                with self._http.stream("GET", f"/audits/{identifier}/events") as stream:
                    for line in stream.iter_lines() if stream.is_success else ():
                        if line.startswith("data:"):
                            yield Audit.model_validate(json.loads(line.removeprefix("data:")))
                        if _passed(deadline):  # the server says something every few seconds
                            return
            except httpx.TransportError:
                pass
            if _passed(deadline):
                return
            time.sleep(1)

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        body: dict[str, Any] = self._request(method, path, **options).json()
        return body

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        deadline, pause = time.monotonic() + self.patience, 0.5
        while True:
            try:
                response = self._http.request(method, path, **options)
            except httpx.TransportError:
                wait, pause = pause, min(2 * pause, 8)
                if time.monotonic() + wait > deadline:
                    raise
            else:
                if response.is_success:
                    return response
                wait = _pause(response)
                if response.status_code not in _RETRIED or time.monotonic() + wait > deadline:
                    raise ServiceError(response)
            time.sleep(wait)


def _content(image: Image) -> bytes:
    return image.read_bytes() if isinstance(image, Path) else image


def _pause(response: httpx.Response) -> float:
    asked = retry_after(response.headers.get("Retry-After", ""))
    return 1.0 if asked is None else min(asked, _LONGEST_PAUSE)


def _passed(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() > deadline
