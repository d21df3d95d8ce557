"""Metrics of one process; tests/e2e/test_observability.py scrapes several."""

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from f2at.serving.jobs.audits import Audits
from f2at.serving.process import metrics

Samples = dict[tuple[str, ...], float]


def scraped(*collectors: metrics.AuditCollector) -> Samples:
    """Every sample by its name and the values of its labels, in the order of the labels' names."""
    families = text_string_to_metric_families(metrics.expose(*collectors).decode())
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


def test_a_flag_that_was_not_looked_for_is_not_counted() -> None:
    report = {
        "request": {"suite": "quick"},
        "threat_model": {"norm": "linf", "eps": "8/255"},
        "model": {"digest": "sha256:one"},
        "clean": {"value": 0.9},
        "robust": {"value": 0.5, "low": 0.4},
        "flags": [{"raised": True}, {"raised": False}, {"raised": None}],
    }
    labels, values = metrics._summary(report)
    assert labels == ["sha256:one", "quick", "linf", "8/255"]
    assert values == {"clean_accuracy": 0.9, "robust_accuracy": 0.5, "robust_accuracy_low": 0.4, "flags": 1}


def test_audits_are_counted_and_a_database_that_fails_takes_nothing_else_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_KEPT", -1.0)
    audits = Audits(
        f"sqlite:///{tmp_path}/audits.sqlite", "sha256:one", reference_images=9, max_audits=9, max_samples=9
    )
    collector = metrics.AuditCollector(lambda: audits)
    audits.submit({}, "first")
    audits.submit({}, "second")
    audits.cancel("second")
    samples = scraped(collector)
    assert samples["f2at_model_info", "sha256:one"] == 1
    assert samples["f2at_database_up",] == 1
    assert {key[1]: value for key, value in samples.items() if key[0] == "f2at_audits"} == {
        "queued": 1, "running": 0, "done": 0, "cancelled": 1, "failed": 0,
    }  # fmt: skip
    audits.close()
    for file in tmp_path.iterdir():
        file.write_bytes(b"no database" * 1000)
    samples = scraped(collector)
    assert samples["f2at_database_up",] == 0
    assert not any(name == "f2at_audits" for name, *_ in samples)
    assert ("f2at_predictions_pending",) in samples


@pytest.mark.slow
def test_what_a_killed_process_had_under_way_is_forgotten(tmp_path: Path) -> None:
    """Two processes count in shared files; what the killed one had pending goes, what it counted stays."""
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
