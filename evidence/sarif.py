"""Findings as SARIF 2.1.0, for viewers of what analyses found: a rule for each check, a result for each that fails."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from f2at import __version__
from f2at.evidence.findings import Check, Findings, State, facts

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

# A gate stops a pipeline, a flag says how to read it; what is passed or was not looked for is no result.
_LEVELS: Mapping[State, str] = {"failed": "error", "undecided": "error", "raised": "warning"}


def sarif(found: Findings) -> str:
    """The text of the file.

    A result says where in the report its evidence stands: the report is the artifact, with its digest and the line, and
    the JSON pointer is a logical location.
    """
    content = found.path.read_bytes()
    uri = quote(_relative(found.path).as_posix())
    lines = content.decode("utf-8").splitlines()
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "f2at",
                "semanticVersion": __version__,
                "shortDescription": {"text": "Audits how robust an image classifier is to adversarial changes."},
                "rules": [_rule(check, gate=check is found.gate) for check in found.checks],
            }
        },
        "artifacts": [
            {
                "location": {"uri": uri},
                "length": len(content),
                "mimeType": "application/json",
                "hashes": {"sha-256": hashlib.sha256(content).hexdigest()},
            }
        ],
        "results": [
            _result(check, number, uri, lines, found)
            for number, check in enumerate(found.checks)
            if check.state in _LEVELS
        ],
        "columnKind": "unicodeCodePoints",
        "properties": facts(found.report),
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, allow_nan=False) + "\n"


def _rule(check: Check, *, gate: bool) -> dict[str, Any]:
    return {
        "id": check.name,
        "shortDescription": {"text": check.title},
        "fullDescription": {"text": check.meaning},
        "help": {"text": check.meaning},
        "defaultConfiguration": {"level": "error" if gate else "warning"},
        "properties": {"tags": ["robustness", "gate" if gate else "sanity check"]},
    }


def _result(check: Check, rule: int, uri: str, lines: Sequence[str], found: Findings) -> dict[str, Any]:
    evidence = f"{check.evidence[:1].upper()}{check.evidence[1:]}".removesuffix(".")
    threat = found.report["threat_model"]
    # What makes it the same finding in the next run, of another model and in another file.
    identity = f"{found.command} {check.name} {threat['norm']} {threat['effective_eps']}"
    return {
        "ruleId": check.name,
        "ruleIndex": rule,
        "kind": "fail",
        "level": _LEVELS[check.state],
        "message": {"text": f"{check.title}. {evidence}."},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri, "index": 0},
                    "region": {"startLine": _line(check, lines)},
                },
                "logicalLocations": [{"fullyQualifiedName": check.place, "kind": "object"}],
            }
        ],
        # The name by which GitHub tells findings apart; of a file that is not in the repository it makes none itself.
        "partialFingerprints": {"primaryLocationLineHash": hashlib.sha256(identity.encode()).hexdigest()[:16] + ":1"},
        "properties": {"state": check.state},
    }


def _line(check: Check, lines: Sequence[str]) -> int:
    """Where in the report's file the evidence stands; 1 in a file that has no line for it."""
    _, key, *index = check.place.split("/")
    mark = f'"name": "{check.name}"' if index else f'"{key}": {{'
    return next((number for number, line in enumerate(lines, start=1) if mark in line), 1)


def _relative(path: Path) -> Path:
    """Without the folders of this machine: as seen from the current one if it is below that, else its name alone."""
    path = path.resolve()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else Path(path.name)
