"""The Prometheus metrics at /metrics: requests by route, pending predictions, and those of other collectors.

BentoML's own metrics are off: they create a series for every path ever requested. Labels here come from the service's
routes, never from a request.

Several server processes share the files in PROMETHEUS_MULTIPROC_DIR, which BentoML sets; whichever process is scraped
answers for all of them.
"""

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_OTHER = "other"
_NO_STATUS = "none"  # the client disconnected, or the time limit passed
_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)  # seconds

_OWN = CollectorRegistry()
_REQUESTS = Counter(
    "f2at_requests", "Requests, by route, method and status.", ["route", "method", "status"], registry=_OWN
)
_DURATION = Histogram(
    "f2at_request_duration_seconds", "Time until the answer started.", ["route"], buckets=_BUCKETS, registry=_OWN
)
PENDING = Gauge(
    "f2at_predictions_pending",
    "Prediction requests waiting or running.",
    multiprocess_mode="livesum",
    registry=_OWN,
)
DECODING = Gauge(
    "f2at_decodes_pending",
    "Requests whose images wait for a decode worker, or have one.",
    multiprocess_mode="livesum",
    registry=_OWN,
)
DECODERS_LOST = Counter(
    "f2at_decoders_lost",
    "Decode workers that were stopped at their deadline, or crashed.",
    ["reason"],
    registry=_OWN,
)


def observe(route: str | None, method: str, status: int | None, seconds: float) -> None:
    """Count a request that was answered, or abandoned (`status` None), after `seconds`.

    Args:
        route: the pattern of the route that served it, such as /audits/{id}; None if none did.
        method: of the request; all that HTTP does not define count as one.
        status: HTTP status.
        seconds: from the request's arrival to the start of the answer.
    """
    route = route or _OTHER
    _REQUESTS.labels(route, method if method in _METHODS else _OTHER, status or _NO_STATUS).inc()
    if status is not None:
        _DURATION.labels(route).observe(seconds)


def expose(*collectors: Collector) -> bytes:
    """All metrics in Prometheus' text format, of this process or, if there are several, of all of them."""
    registry = CollectorRegistry()
    if shared := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        _drop_dead_processes(Path(shared))
        MultiProcessCollector(registry)
    else:
        registry.register(_OWN)
    for collector in collectors:
        registry.register(collector)
    return generate_latest(registry)


def _drop_dead_processes(shared: Path) -> None:
    """Drop the live gauges of processes that were killed; their counters stay."""
    for file in shared.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, shared)
        except PermissionError:  # running, as another user
            pass
