"""Metrics of audits, of one process; tests/e2e/test_observability.py scrapes several."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from f2at.serving.jobs import metrics
from f2at.serving.jobs.audits import Audits
from f2at.serving.process.metrics import expose

Samples = dict[tuple[str, ...], float]


def scraped(collector: metrics.AuditCollector) -> Samples:
    """Every sample by its name and the values of its labels, in the order of the labels' names."""
    families = text_string_to_metric_families(expose(collector).decode())
    return {(s.name, *(s.labels[k] for k in sorted(s.labels))): s.value for family in families for s in family.samples}


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
    monkeypatch.setattr(metrics, "_LIFETIME", -1.0)
    audits = Audits(
        f"sqlite:///{tmp_path}/audits.sqlite",
        "sha256:one",
        size=(8, 8),
        reference_images=9,
        max_audits=9,
        max_samples=9,
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
