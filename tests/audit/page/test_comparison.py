"""The page of a comparison."""

from pathlib import Path
from typing import Any

import pytest

from f2at.audit.commands.compare import run
from f2at.audit.page.comparison import render_comparison
from f2at.audit.reports.compare import compare_reports
from f2at.audit.reports.files import write_report
from tests.audit.reports.test_compare import audited

LIGHT: dict[str, Any] = {"distances": [40] * 60, "suite": "quick", "threats": ["brightness:range=30%"]}


@pytest.fixture(scope="module")
def reports() -> list[dict[str, Any]]:
    return [audited(**LIGHT), audited(levels=38, **{**LIGHT, "threats": ["jpeg:quality=50"]})]


def test_every_figure_is_there_with_what_is_said_of_it(reports: list[dict[str, Any]]) -> None:
    page = render_comparison(compare_reports(*reports), "gate (not worse beyond chance): fail", "fail")
    for text in (
        "Accuracy on clean images",
        "brightness:range=30%",
        "jpeg:quality=50",
        "not audited",
        "gate (not worse beyond chance): fail",
        "Class by class",
        ">dark<",
    ):
        assert text in page
    assert "http" not in page


def test_names_are_escaped(reports: list[dict[str, Any]]) -> None:
    comparison = compare_reports(*reports)
    comparison["names"]["candidate"] = "<script>alert(1)</script>"
    assert "<script>" not in render_comparison(comparison)


def test_the_command_writes_it(reports: list[dict[str, Any]], tmp_path: Path) -> None:
    for name, report in zip(("a", "b"), reports, strict=True):
        write_report(report, tmp_path / f"{name}.json")
    page = tmp_path / "page.html"
    asked = [str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--html", str(page)]
    assert run(asked) in (0, 3)
    assert "Two audits compared" in page.read_text()
