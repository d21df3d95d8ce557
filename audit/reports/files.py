"""Reports as files: JSON for programs, and a page for people beside it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from f2at.audit.page.html import beside_file, render_report
from f2at.audit.reports.compare import compare_reports
from f2at.audit.reports.earlier import upgraded


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
    texts = {
        path: json.dumps(report, indent=2, allow_nan=False) + "\n",
        page: render_report(report, beside_file(path.name, model_signature)),
    }
    written = {file: file.with_name(f".{file.name}.{os.getpid()}") for file in texts}
    try:
        for file, text in texts.items():
            written[file].write_text(text, encoding="utf-8")
        for file in texts:
            written[file].replace(file)
    finally:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)
    return page


def read_report(path: str | Path) -> dict[str, Any]:
    """Read a report, in the form of this schema version, and check that its samples add up to its figures.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no report, or of a schema version that is not read; the message names the file.
    """
    return parse_report(Path(path).read_bytes(), path)


def parse_report(content: bytes, path: str | Path) -> dict[str, Any]:
    """The report that a file's content is, with the same checks; `path` names it in messages.

    Raises:
        ValueError: it is not a report of this schema version.
    """
    try:
        report = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is not JSON; give a report written by f2at audit") from None
    if not isinstance(report, dict) or "schema_version" not in report:
        raise ValueError(f"{path} is not an audit report; give one written by f2at audit")
    try:
        report = dict(upgraded(report))
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a whole audit report: {error!r:.80}") from None
    except ValueError as error:
        raise ValueError(f"{path} {error}; audit again") from None
    try:
        itself = compare_reports(report, report)  # reads and counts all that a comparison needs
        counted = [(itself[name]["baseline"]["k"], itself[name]["baseline"]["n"]) for name in ("clean", "robust")]
        stated = [(report[name]["k"], report[name]["n"]) for name in ("clean", "robust")]
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{path} is not a whole audit report: {error!r:.80}") from None
    if counted != stated:
        raise ValueError(f"{path} contradicts itself: its samples do not add up to its figures")
    return report
