"""Reports of an earlier schema version, brought into the form of this one."""

from collections.abc import Mapping
from typing import Any

from f2at.audit.provenance.context import Context
from f2at.audit.reports.report import SCHEMA_VERSION

_READABLE = (2, SCHEMA_VERSION)


def is_own(report: Mapping[str, Any]) -> bool:
    """Whether a report is of this version, and was not of an earlier one: those did not say what made them."""
    harness = report.get("harness")
    return report["schema_version"] == SCHEMA_VERSION and not (
        isinstance(harness, Mapping) and harness.get("version", "") is None
    )


def upgraded(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """The report in the form of this version; what its own version did not say is empty, be it required today.

    Raises:
        ValueError: it is of a version that cannot be read.
    """
    version = report["schema_version"]
    if version not in _READABLE:
        raise ValueError(f"has schema version {version!r}, this program reads {' and '.join(map(str, _READABLE))}")
    if version == SCHEMA_VERSION:
        return report
    run = dict(report["run"])
    unknown = dict.fromkeys(("version", "commit", "modified", "digest"))
    return {
        **report,
        "schema_version": SCHEMA_VERSION,
        "request": {
            "curve": report["curve"] is not None,
            "accept_weak": False,
            "confidence": report["robust"]["confidence"],
            **report["request"],
        },
        "threat_model": {**report["threat_model"], "techniques": []},
        "suite": {"name": report["request"]["suite"], "title": None, "strength": None, "claims": None},
        "certified_lower_bound": None,
        "verdict": {**report["verdict"], "reason": None},
        "flags": [{**flag, "found": flag["raised"] or None, "check": flag["title"]} for flag in report["flags"]],
        "context": Context().model_dump(),
        "harness": {"name": "f2at", **unknown, "environments": run.pop("environments")},
        "repeat": None,
        "run": run,
    }
