"""mCE between two reports, by hand."""

from typing import Any

import pytest

from f2at.attacks.transformations.corruptions import CORRUPTIONS
from f2at.audit.commands.compare import summary
from f2at.audit.reports.compare import compare_reports
from f2at.audit.reports.corruption_error import corruption_error
from tests.audit.reports.test_compare import audited


def scanned(errors: dict[str, list[float]]) -> dict[str, Any]:
    rows = [
        {"kind": c.title, "value": 1 - share} for c in CORRUPTIONS.values() for share in errors.get(c.title, [0.1, 0.2])
    ]
    return {"threats": [{"name": "corruptions", "scan": rows}]}


def test_errors_are_summed_over_severities_and_meant_over_fifteen() -> None:
    baseline, candidate = scanned({}), scanned({"Gaussian noise": [0.3, 0.3], "Saturate": [1.0, 1.0]})
    found = corruption_error(baseline, candidate)
    assert found is not None
    assert len(found["each"]) == 15  # without the four extras, of which saturation is one
    assert found["each"]["Gaussian noise"] == pytest.approx(2)
    assert found["mean"] == pytest.approx((14 + 2) / 15)


def test_nothing_is_measured_by_a_baseline_that_is_always_right_or_was_not_tried() -> None:
    assert corruption_error(scanned({"Fog": [0.0, 0.0]}), scanned({})) is None
    assert corruption_error({"threats": []}, scanned({})) is None
    assert corruption_error(scanned({}), {"threats": []}) is None
    shorter = scanned({c.title: [0.1] for c in CORRUPTIONS.values()})
    assert corruption_error(scanned({}), shorter) is None


def test_a_comparison_says_it() -> None:
    kept: dict[str, Any] = {"distances": [3] * 30, "suite": "quick", "threats": ["corruptions:severity=1"]}
    report = audited(**kept)
    found = compare_reports(report, report)
    assert found["corruption_error"] is None or found["corruption_error"]["mean"] == pytest.approx(1)
    found["corruption_error"] = {"mean": 1.5, "each": {"Fog": 1.0, "Snow": 2.0}}
    assert "(mCE), the baseline's being 1: 1.50, from 1.00 for fog to 2.00 for snow" in summary(found)
    assert "mCE" not in summary({**found, "corruption_error": None})
