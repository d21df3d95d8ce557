"""What Prometheus scrapes at /metrics: requests by route, predictions under way, the model, audits and accuracies.

BentoML's own metrics are off: they have a series for every path that anyone ever asked for. Labels here come from the
service's routes, never from a request.

Several server processes share the files in PROMETHEUS_MULTIPROC_DIR, which BentoML sets; whichever process is scraped
answers for all of them. What is read from the database is the same from every replica: take the maximum, not the sum.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from f2at.serving.jobs.audits import Audits
from f2at.serving.problems import Problem

_LOG = logging.getLogger("bentoml.f2at")

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_OTHER = "other"
_NO_STATUS = "none"  # the client left, or the time limit passed
_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)  # seconds
_KEPT = 5.0  # seconds that what was read from the database is good for
_OF_LAST_AUDITS = {
    "clean_accuracy": "Clean accuracy in the last finished audit of each model.",
    "robust_accuracy": "Accuracy under attack in the last finished audit of each model.",
    "robust_accuracy_low": "Lower end of its 95 % interval.",
    "flags": "Sanity flags that it raised: reasons not to trust the audit.",
}

_OWN = CollectorRegistry()
_REQUESTS = Counter(
    "f2at_requests", "Requests, by route, method and status.", ["route", "method", "status"], registry=_OWN
)
_DURATION = Histogram(
    "f2at_request_duration_seconds", "Time until an answer began.", ["route"], buckets=_BUCKETS, registry=_OWN
)
PENDING = Gauge(
    "f2at_predictions_pending",
    "Prediction requests waiting or under way.",
    multiprocess_mode="livesum",
    registry=_OWN,
)


def observe(route: str | None, method: str, status: int | None, seconds: float) -> None:
    """Count a request that was answered, or given up (`status` None), after `seconds`.

    Args:
        route: the pattern of the route that served it, such as /audits/{id}; None if none did.
        method: any method; those that HTTP does not know count as one.
        status: HTTP status.
        seconds: from its arrival to the beginning of the answer.
    """
    route = route or _OTHER
    _REQUESTS.labels(route, method if method in _METHODS else _OTHER, status or _NO_STATUS).inc()
    if status is not None:
        _DURATION.labels(route).observe(seconds)


_Summary = tuple[list[str], dict[str, float]]


def _summary(report: Mapping[str, Any]) -> _Summary:
    """What of a report is shown: its labels, and its values by the names in `_OF_LAST_AUDITS`."""
    request, threat = report["request"], report["threat_model"]
    values = {
        "clean_accuracy": report["clean"]["value"],
        "robust_accuracy": report["robust"]["value"],
        "robust_accuracy_low": report["robust"]["low"],
        "flags": sum(bool(flag["raised"]) for flag in report["flags"]),
    }
    return [report["model"]["digest"], request["suite"], threat["norm"], threat["eps"]], values


class AuditCollector(Collector):
    """The model, and its audits as the database has them, read when scraped but not more often than every few seconds.

    Args:
        audits: gives those of the model being served.
    """

    def __init__(self, audits: Callable[[], Audits]) -> None:
        self._audits = audits
        self._lock = Lock()
        self._read = float("-inf")
        self._metrics: list[Metric] = []
        self._summaries: dict[str, _Summary] = {}  # by audit: a finished one does not change

    def collect(self) -> Iterable[Metric]:
        """The metrics, as prometheus_client asks for them."""
        served = GaugeMetricFamily("f2at_model_info", "The model being served; always 1.", labels=["model"])
        served.add_metric([self._audits().digest], 1)
        with self._lock:
            if time.monotonic() - self._read > _KEPT:
                self._metrics = self._query()
                self._read = time.monotonic()
            return [served, *self._metrics]

    def _query(self) -> list[Metric]:
        up = GaugeMetricFamily("f2at_database_up", "Whether the database of audits can be read: 1 or 0.")
        states = GaugeMetricFamily("f2at_audits", "Audits kept in the database, by state.", labels=["state"])
        accuracies = {
            name: GaugeMetricFamily(f"f2at_audit_{name}", text, labels=["model", "suite", "norm", "eps"])
            for name, text in _OF_LAST_AUDITS.items()
        }
        audits = self._audits()
        try:
            for state, count in audits.count_by_state().items():
                states.add_metric([state], count)
            self._summaries = {
                identifier: self._summaries.get(identifier) or _summary(audits.report(identifier))
                for identifier in audits.last_done().values()
            }
        except (SQLAlchemyError, Problem) as error:  # the other metrics are wanted all the more
            _LOG.warning("No metrics of audits: %s", error)
            up.add_metric([], 0)
            return [up]
        up.add_metric([], 1)
        for labels, values in self._summaries.values():
            for name, value in values.items():
                accuracies[name].add_metric(labels, value)
        return [up, states, *accuracies.values()]


def expose(*collectors: Collector) -> bytes:
    """All metrics in Prometheus' text format: of this process or, where there are several, of all of them."""
    registry = CollectorRegistry()
    if shared := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        _bury(Path(shared))
        MultiProcessCollector(registry)
    else:
        registry.register(_OWN)
    for collector in collectors:
        registry.register(collector)
    return generate_latest(registry)


def _bury(shared: Path) -> None:
    """Take out what processes that were killed had under way; what they counted stays."""
    for file in shared.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, shared)
        except PermissionError:  # alive, and somebody else's
            pass
