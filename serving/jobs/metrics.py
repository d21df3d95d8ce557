"""Prometheus metrics of the served model and its audits; `f2at.serving.process.metrics` exposes them.

Every replica reads the same values from the database: take their maximum, not the sum.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from f2at.serving.jobs.audits import Audits
from f2at.serving.problems import Problem
from f2at.serving.webhooks.deliveries import count_by_outcome

_LOG = logging.getLogger("bentoml.f2at")
_LIFETIME = 5.0  # seconds for which values read from the database are cached
_OF_LAST_AUDITS = {
    "clean_accuracy": "Clean accuracy in the last finished audit of each model.",
    "robust_accuracy": "Accuracy under attack in the last finished audit of each model.",
    "robust_accuracy_low": "Lower end of its interval.",
    "flags": "Sanity flags that it raised: reasons not to trust the audit.",
}

_Summary = tuple[list[str], dict[str, float]]


def _summary(report: Mapping[str, Any]) -> _Summary:
    """The metrics of a report: its labels, and its values by the names in `_OF_LAST_AUDITS`."""
    request, threat = report["request"], report["threat_model"]
    values = {
        "clean_accuracy": report["clean"]["value"],
        "robust_accuracy": report["robust"]["value"],
        "robust_accuracy_low": report["robust"]["low"],
        "flags": sum(bool(flag["raised"]) for flag in report["flags"]),
    }
    return [report["model"]["digest"], request["suite"], threat["norm"], threat["eps"]], values


class AuditCollector(Collector):
    """The served model and the audits in the database, read on each scrape but at most every few seconds.

    Args:
        audits: returns the audits of the served model.
    """

    def __init__(self, audits: Callable[[], Audits]) -> None:
        self._audits = audits
        self._lock = Lock()
        self._read = float("-inf")
        self._metrics: list[Metric] = []
        self._summaries: dict[str, _Summary] = {}  # by audit id; a finished audit does not change

    def collect(self) -> Iterable[Metric]:
        """The metrics, when prometheus_client asks for them."""
        served = GaugeMetricFamily("f2at_model_info", "The model being served; always 1.", labels=["model"])
        served.add_metric([self._audits().digest], 1)
        with self._lock:
            if time.monotonic() - self._read > _LIFETIME:
                self._metrics = self._query()
                self._read = time.monotonic()
            return [served, *self._metrics]

    def _query(self) -> list[Metric]:
        up = GaugeMetricFamily("f2at_database_up", "Whether the database of audits can be read and written: 1 or 0.")
        states = GaugeMetricFamily("f2at_audits", "Audits kept in the database, by state.", labels=["state"])
        webhooks = GaugeMetricFamily(
            "f2at_webhooks", "Deliveries of webhooks kept in the database, by outcome.", labels=["outcome"]
        )
        accuracies = {
            name: GaugeMetricFamily(f"f2at_audit_{name}", text, labels=["model", "suite", "norm", "eps"])
            for name, text in _OF_LAST_AUDITS.items()
        }
        audits = self._audits()
        try:
            audits.health.check()
            for state, count in audits.count_by_state().items():
                states.add_metric([state], count)
            for outcome, count in count_by_outcome(audits.jobs).items():
                webhooks.add_metric([outcome], count)
            self._summaries = {
                identifier: self._summaries.get(identifier) or _summary(audits.report(identifier))
                for identifier in audits.last_done().values()
            }
        except (SQLAlchemyError, Problem) as error:  # the other metrics matter even more then
            _LOG.warning("No metrics of audits: %s", error)
            up.add_metric([], 0)
            return [up]
        up.add_metric([], 1)
        for labels, values in self._summaries.values():
            for name, value in values.items():
                accuracies[name].add_metric(labels, value)
        return [up, states, webhooks, *accuracies.values()]
