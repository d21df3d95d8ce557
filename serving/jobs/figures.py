"""The figures of a report that lists of audits have: kept apart, so that no list reads whole reports."""

from collections.abc import Mapping
from typing import Any

from f2at.audit.suites import accuracy_name


def figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """JSON values: what was asked, what was right, and what of it stood.

    "name" is what the model was trained with and on, as far as its manifest says; "data" where the images were, None
    for the model's own; "clean", "robust", "worst_case" and each of "threats", by its text, are shares with their
    intervals; "accuracy" is what robust accuracy is called.
    """
    manifest, request = report["model"].get("manifest", {}), report["request"]
    method = (manifest.get("recipe") or {}).get("method") or {}
    architecture = manifest.get("architecture") or {}
    files = (report["repeat"] or {}).get("files", [])
    parts = [method.get("name"), architecture.get("name"), manifest.get("dataset")]
    return {
        "name": ", ".join(str(part) for part in parts if part) or None,
        "data": next((file["name"] for file in files if file["what"] == "data"), None),
        "suite": request["suite"],
        "norm": request["norm"],
        "eps": request["eps"],
        "samples": report["robust"]["n"],
        "clean": report["clean"],
        "robust": report["robust"],
        "accuracy": accuracy_name(report["threat_model"]["knowledge"]),
        "threats": {section["threat"]: section["robust"] for section in report["threats"]},
        "worst_case": report["worst_case"],
        "verdict": report["verdict"]["outcome"],
        "flags": [flag["name"] for flag in report["flags"] if flag["raised"]],
    }
