"""SARIF 2.1.0, held against its schema and read by sarif-tools."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sarif.loader import load_sarif_file
from torch import nn

from f2at.audit.reports.compare import compare_reports, gate
from f2at.evidence.findings import Findings, of_comparison, of_report
from f2at.evidence.sarif import sarif
from tests.audit.grey import Shifted
from tests.evidence.grey import grey_report

SCHEMA = json.loads((Path(__file__).parent / "schemas" / "sarif-2.1.0.json").read_text())


def read(found: Findings, path: Path) -> dict[str, Any]:
    """The run, as a reader finds it in a valid file."""
    path.write_text(sarif(found))
    log: dict[str, Any] = json.loads(path.read_text())
    jsonschema.Draft4Validator(SCHEMA).validate(log)
    (run,) = log["runs"]
    records = load_sarif_file(str(path)).get_records()
    assert [(record["Code"], record["Severity"], record["Line"]) for record in records] == [
        (result["ruleId"], result["level"], result["locations"][0]["physicalLocation"]["region"]["startLine"])
        for result in run["results"]
    ]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    return dict(run)


def softmax(model: nn.Module) -> nn.Module:
    return nn.Sequential(model, nn.Softmax(dim=1))


def test_a_failed_gate_is_an_error_and_a_raised_flag_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("out of CI/report.json")
    report = grey_report(path, wrap=softmax, min_robust_accuracy=0.9)
    run = read(of_report(report, path), tmp_path / "report.sarif")
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [
        "threshold",
        *(flag["name"] for flag in report["flags"]),
    ]
    results = {result["ruleId"]: result for result in run["results"]}
    raised = [flag["name"] for flag in report["flags"] if flag["raised"]]
    assert "softmax_outputs" in raised
    assert {name: result["level"] for name, result in results.items()} == {
        "threshold": "error",
        **dict.fromkeys(raised, "warning"),
    }
    assert f"({report['robust']['k']} of 36, 95 % interval" in results["threshold"]["message"]["text"]
    lines = path.read_text().splitlines()
    for name, words in (("threshold", '"verdict": {'), ("softmax_outputs", '"name": "softmax_outputs"')):
        (location,) = results[name]["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"] == "out%20of%20CI/report.json"
        assert words in lines[location["physicalLocation"]["region"]["startLine"] - 1]
        (logical,) = location["logicalLocations"]
        assert pointed(report, logical["fullyQualifiedName"]) in (report["verdict"], *report["flags"])
    assert (
        pointed(report, results["softmax_outputs"]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"])["name"]
        == "softmax_outputs"
    )
    (artifact,) = run["artifacts"]
    assert artifact["hashes"]["sha-256"] == sha256(path.read_bytes()).hexdigest()


def pointed(document: Any, pointer: str) -> Any:
    """What a JSON pointer (RFC 6901) leads to."""
    for part in pointer.split("/")[1:]:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def test_what_is_passed_or_was_not_asked_for_is_no_result(tmp_path: Path) -> None:
    for threshold in (None, 0.1):
        report = grey_report(tmp_path / "report.json", min_robust_accuracy=threshold)
        assert not any(flag["raised"] for flag in report["flags"])
        assert read(of_report(report, tmp_path / "report.json"), tmp_path / "report.sarif")["results"] == []


def test_a_finding_keeps_its_fingerprint_in_the_next_run(tmp_path: Path) -> None:
    """Of another model, in another file: it is the same alert, until it is gone."""
    prints = []
    for name, distances in (("first", [1, 2, 9, 10]), ("second", [3, 4, 5, 11])):
        report = grey_report(tmp_path / f"{name}.json", distances * 5, min_robust_accuracy=0.9)
        run = read(of_report(report, tmp_path / f"{name}.json"), tmp_path / f"{name}.sarif")
        prints.append([result["partialFingerprints"] for result in run["results"]])
    assert prints[0] == prints[1]
    assert prints[0][0]["primaryLocationLineHash"]


def test_no_folder_of_this_machine_is_named(tmp_path: Path) -> None:
    report = grey_report(tmp_path / "report.json", min_robust_accuracy=0.9)
    text = sarif(of_report(report, tmp_path / "report.json"))
    assert str(tmp_path) not in text
    assert '"uri": "report.json"' in text


def test_a_comparison_points_into_the_candidate(tmp_path: Path) -> None:
    baseline = grey_report(tmp_path / "baseline.json")
    path = tmp_path / "candidate.json"
    candidate = grey_report(path, wrap=lambda model: softmax(Shifted(model, 6)))
    comparison = compare_reports(baseline, candidate)
    outcome = gate(comparison)
    run = read(of_comparison(comparison, outcome, f"gate: {outcome}", candidate, path), tmp_path / "x.sarif")
    results = {result["ruleId"]: result for result in run["results"]}
    assert results["not_worse"]["level"] == "error"
    assert results["softmax_outputs"]["level"] == "warning"
    assert results["not_worse"]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "/clean"
    # What both raise is nothing that the candidate brings.
    same = compare_reports(candidate, candidate)
    assert read(of_comparison(same, "pass", "gate: pass", candidate, path), tmp_path / "y.sarif")["results"] == []
