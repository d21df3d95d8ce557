"""Reports as files: JSON for programs, and a page for people beside it."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from f2at.audit.page.html import beside_file, render_report
from f2at.audit.reports.compare import compare_reports
from f2at.audit.reports.earlier import is_whole, upgraded
from f2at.audit.reports.schema import report_schema
from f2at.audit.reports.statistics import proportion
from f2at.audit.reports.threats import left_by
from f2at.audit.reports.verdict import judge
from f2at.audit.request import AuditRequest
from f2at.files import replacing


def page_path(report: Path, *, name: str) -> Path:
    """The page beside a report's file.

    Raises:
        ValueError: the file, the argument `name`, does not end in .json.
    """
    if report.suffix != ".json":
        raise ValueError(f"{name} must end in .json; got {report}")
    return report.with_suffix(".html")


def write_report(report: Mapping[str, Any], path: str | Path, *, model_signature: str | None = None) -> Path:
    """Write a report as JSON, and as a page to the same name ending in .html, which is returned.

    Missing folders are made; files that are there are replaced, both or neither where the disk is full.

    Args:
        report: JSON values.
        path: of the JSON file.
        model_signature: what the page is to say of the model's signature, in a sentence.

    Raises:
        ValueError: the name does not end in .json.
    """
    path = Path(path)
    page = page_path(path, name="path")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft, replacing(page) as page_draft:
        draft.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        page_draft.write_text(render_report(report, beside_file(path.name, model_signature)), encoding="utf-8")
    return page


def read_report(path: str | Path) -> dict[str, Any]:
    """Read a report, in the form of this schema version, and check that it is whole and agrees with itself.

    That is: it is as the schema says, its samples add up to its figures, and its verdict follows from them. What of it
    was written by hand may still be wrong; a signature shows whether anything was.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no report, or of a schema version that is not read; the message names the file.
    """
    return parse_report(Path(path).read_bytes(), path)


def parse_report(content: bytes, path: str | Path) -> dict[str, Any]:
    """The report that a file's content is, with the same checks; `path` names it in messages.

    Raises:
        ValueError: see `read_report`.
    """
    try:
        given = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is not JSON; give a report written by f2at audit") from None
    if not isinstance(given, dict) or "schema_version" not in given:
        raise ValueError(f"{path} is not an audit report; give one written by f2at audit")
    try:
        whole = is_whole(given)
        report = dict(upgraded(given))
        if whole:
            _check_schema(report, path)
        itself = compare_reports(report, report)  # reads and counts all that a comparison needs
        agrees = all(_follows(report[name], itself[name]["baseline"]) for name in ("clean", "robust"))
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{path} is not a whole audit report: a field is missing or wrong: {error!r:.80}") from None
    except ValueError as error:
        raise ValueError(f"{path} {error}; audit again") from None
    if not agrees:
        raise ValueError(f"{path} contradicts itself: its samples do not add up to its figures")
    if whole:  # earlier versions judged by other rules
        _check_threats(report, path)
        _check_verdict(report, path)
    return report


def _follows(stated: Mapping[str, Any], counted: Mapping[str, Any]) -> bool:
    """Whether a share with its interval is what was counted, at its own level of confidence."""
    expected = proportion(counted["k"], counted["n"], stated["confidence"])
    # The last bits are those of another machine's mathematical library.
    return all(math.isclose(stated[key], expected[key], abs_tol=1e-9) for key in expected)


def _check_schema(report: Mapping[str, Any], path: str | Path) -> None:
    """Raise ValueError with the first field that is not as the schema says."""
    error = best_match(Draft202012Validator(report_schema()).iter_errors(report))
    if error is not None:
        field = error.json_path.removeprefix("$").removeprefix(".") or "report"
        raise ValueError(f"{path} is not a whole audit report: {field}: {error.message:.100}")


def _check_threats(report: Mapping[str, Any], path: str | Path) -> None:
    """Raise ValueError if what fell to threats does not add up to their figures."""
    sections, samples, level = report["threats"], report["samples"], report["robust"]["confidence"]
    right = [s["index"] for s in samples if s["prediction"] == s["label"]]
    worst = left_by(sections, samples, level) if sections else None
    agrees = [section["threat"] for section in sections] == report["request"]["threats"]
    agrees &= (worst is None) is (report["worst_case"] is None) and (not worst or _follows(report["worst_case"], worst))
    for section in sections:
        fallen = {row["index"] for row in section["fallen"]}
        standing = sum(index not in fallen for index in right)
        agrees &= fallen <= set(right) and _follows(section["robust"], {"k": standing, "n": len(samples)})
    if not agrees:
        raise ValueError(f"{path} contradicts itself: what fell to threats does not add up to their figures")


def _check_verdict(report: dict[str, Any], path: str | Path) -> None:
    """Raise ValueError if another verdict follows from the report's figures."""
    try:
        request = AuditRequest(**report["request"])
    except ValueError as error:  # an attack that this version has not, for one
        raise ValueError(f"{path}: its request: {error}") from error
    gated = [section for section in report["threats"] if section["threat"] in request.gate]
    found = judge(request, left_by(gated, report["samples"], request.confidence), report["flags"])
    stated = report["verdict"]
    if any(found[key] != stated[key] for key in ("threshold", "outcome")):
        outcome, other = (verdict["outcome"] or "none" for verdict in (stated, found))
        raise ValueError(f"{path} contradicts itself: its verdict is {outcome}, and by its figures it is {other}")
