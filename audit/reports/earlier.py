"""Reports of an earlier schema version, brought into the form of this one."""

from collections.abc import Mapping
from typing import Any

from f2at.audit.provenance.context import Context
from f2at.audit.reports.report import SCHEMA_VERSION

_READABLE = (2, 3, SCHEMA_VERSION)
_WHOLE = _READABLE[1:]  # versions that say all that is required today, but for threats


def is_whole(report: Mapping[str, Any]) -> bool:
    """Whether a report must be as the schema says, once upgraded: version 2 did not say what made it."""
    harness = report.get("harness")
    return report["schema_version"] in _WHOLE and not (
        isinstance(harness, Mapping) and harness.get("version", "") is None
    )


def upgraded(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """The report in the form of this version; what its own version did not say is empty, be it required today.

    Raises:
        ValueError: it is of a version that cannot be read.
    """
    version = report["schema_version"]
    if version not in _READABLE:
        *rest, last = map(str, _READABLE)
        raise ValueError(f"has schema version {version!r}, this program reads {', '.join(rest)} and {last}")
    for step in (_from_2, _from_3)[version - 2 :]:
        report = step(report)
    return report


def _from_3(report: Mapping[str, Any]) -> dict[str, Any]:
    """Without threats beside the ball."""
    return {
        **report,
        "schema_version": 4,
        "request": {**report["request"], "samples_per_gradient": 1, "draws": 1, "threats": [], "gate": []},
        "threats": [],
        "worst_case": None,
    }


def _from_2(report: Mapping[str, Any]) -> dict[str, Any]:
    run = dict(report["run"])
    unknown = dict.fromkeys(("version", "commit", "modified", "digest"))
    return {
        **report,
        "schema_version": 3,
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
