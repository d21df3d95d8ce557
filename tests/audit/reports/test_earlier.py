"""Reports that earlier versions of this program have left behind."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from f2at.audit import run_audit
from f2at.audit.page.html import render_report
from f2at.audit.reports.compare import compare_reports
from f2at.audit.reports.earlier import upgraded
from f2at.audit.reports.files import read_report, write_report
from tests.audit.grey import grey_audit

DUMP = Path(__file__).parents[2] / "serving" / "jobs" / "data" / "audits-dbos-3.0.0.sql"


@pytest.fixture(scope="module")
def second() -> dict[str, Any]:
    """A report of schema version 2, as a service of that time has stored it."""
    query = "SELECT output FROM operation_outputs WHERE workflow_uuid = 'done' AND function_name = 'report'"
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(DUMP.read_text())
        found: dict[str, Any] = json.loads(database.execute(query).fetchone()[0])
    assert found["schema_version"] == 2
    return found


def test_what_version_2_said_is_where_it_is_now_and_the_rest_is_empty(second: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(second))
    report = read_report(path)
    assert report["schema_version"] == 4
    assert report["harness"]["environments"] == second["run"]["environments"]
    assert "environments" not in report["run"]
    assert report["harness"]["digest"] is report["repeat"] is report["certified_lower_bound"] is None
    assert set(report["context"].values()) == {None}
    assert all(report[name] == second[name] for name in ("clean", "robust", "samples", "attacks", "model"))
    assert upgraded(report) == report
    write_report(report, path)
    assert read_report(path) == report


def test_version_3_is_this_one_without_threats(tmp_path: Path) -> None:
    audit = grey_audit([3, 9] * 4, suite="quick", eps="5/255", min_robust_accuracy=0.9)
    report = audit.report(run_audit(audit))
    asked = {
        k: v for k, v in report["request"].items() if k not in ("samples_per_gradient", "draws", "threats", "gate")
    }
    third = {k: v for k, v in report.items() if k not in ("threats", "worst_case")}
    third |= {"schema_version": 3, "request": asked}
    path = tmp_path / "report.json"
    path.write_text(json.dumps(third))
    assert read_report(path) == report
    third["verdict"]["outcome"] = "pass"  # is held against its figures as those of this version are
    path.write_text(json.dumps(third))
    with pytest.raises(ValueError, match="its verdict is pass, and by its figures it is fail"):
        read_report(path)


def test_version_2_has_a_page_and_can_be_compared(second: dict[str, Any]) -> None:
    assert second["model"]["digest"] in render_report(second)
    report = upgraded(second)
    assert compare_reports(report, report)["paired"]


def test_other_versions_are_refused_by_number(second: dict[str, Any]) -> None:
    for version in (1, 5, "2", None):
        with pytest.raises(ValueError, match=rf"has schema version {version!r}, this program reads 2, 3 and 4"):
            upgraded({**second, "schema_version": version})
