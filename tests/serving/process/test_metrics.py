"""Metrics of one process; tests/e2e/test_observability.py scrapes several."""

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from f2at.serving.process import metrics

Samples = dict[tuple[str, ...], float]


def scraped() -> Samples:
    """Every sample by its name and the values of its labels, in the order of the labels' names."""
    families = text_string_to_metric_families(metrics.expose().decode())
    return {(s.name, *(s.labels[k] for k in sorted(s.labels))): s.value for family in families for s in family.samples}


def test_requests_are_counted_by_what_the_service_knows() -> None:
    before = scraped().get(("f2at_requests_total", "other", "other", "404"), 0)
    metrics.observe("/test/{id}", "GET", 200, 0.003)
    metrics.observe("/test/{id}", "GET", 200, 0.3)
    metrics.observe("/left", "POST", None, 9.0)
    metrics.observe(None, "BREW", 404, 0.001)
    samples = scraped()
    assert samples["f2at_requests_total", "GET", "/test/{id}", "200"] == 2
    assert samples["f2at_requests_total", "POST", "/left", "none"] == 1
    assert samples["f2at_requests_total", "other", "other", "404"] == before + 1
    assert samples["f2at_request_duration_seconds_bucket", "0.005", "/test/{id}"] == 1
    assert samples["f2at_request_duration_seconds_count", "/test/{id}"] == 2
    assert ("f2at_request_duration_seconds_count", "/left") not in samples


@pytest.mark.slow
def test_what_a_killed_process_had_under_way_is_forgotten(tmp_path: Path) -> None:
    """Two processes count in shared files; the killed one's gauges go, its counters stay."""
    program = """
import os, signal, sys
from f2at.serving.process import metrics
metrics.PENDING.inc()
metrics.observe("/predict", "POST", 200, 0.1)
if "scrape" in sys.argv:
    print(metrics.expose().decode())
else:
    os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    output = [
        subprocess.run(
            [sys.executable, "-c", program, *words],
            env=environment,
            cwd=Path(__file__).parents[3],
            stdout=-1,
            check=False,
        ).stdout.decode()
        for words in ([], ["scrape"])
    ][1]
    assert "f2at_predictions_pending 1.0" in output
    assert 'f2at_requests_total{method="POST",route="/predict",status="200"} 2.0' in output
