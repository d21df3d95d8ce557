"""JUnit XML, held against the schema of Jenkins' plugin and read by junitparser."""

from pathlib import Path

import pytest
import xmlschema
from junitparser import JUnitXml, TestCase
from torch import nn

from f2at.audit.reports.compare import compare_reports, gate
from f2at.evidence.findings import Findings, of_comparison, of_report
from f2at.evidence.junit import junit
from tests.audit.grey import Shifted
from tests.evidence.grey import grey_report

SCHEMA = xmlschema.XMLSchema(str(Path(__file__).parent / "schemas" / "junit-10.xsd"))


def read(found: Findings) -> dict[str, TestCase]:
    """The test cases by the name of their check or attack, as a reader finds them in a valid file."""
    text = junit(found)
    SCHEMA.validate(text)
    (suite,) = JUnitXml.fromstring(text.encode())
    cases = {(case.name if attacked(case) else case.classname.rpartition(".")[2]): case for case in suite}
    counted = (suite.tests, suite.failures, suite.skipped, suite.errors)
    states = [case.is_failure for case in suite], [case.is_skipped for case in suite]
    assert counted == (len(cases), *map(sum, states), 0)
    return cases


def attacked(case: TestCase) -> bool:
    return bool(case.classname == "f2at.audit.attacks")


def test_a_threshold_that_is_not_met_is_a_failure_with_its_figures(tmp_path: Path) -> None:
    report = grey_report(tmp_path / "report.json", min_robust_accuracy=0.9)
    cases = read(of_report(report, tmp_path / "report.json"))
    (failure,) = cases["threshold"].result
    assert cases["threshold"].is_failure
    assert failure.type == "failed"
    for part in ("90.0 %", "33.3 % (12 of 36, 95 % interval 20.2 % to 49.7 %)", "24 to ", "eps 8/255"):
        assert part in failure.message
    assert failure.text.endswith("In the report: /verdict")
    assert [name for name, case in cases.items() if case.is_failure] == ["threshold"]


def test_what_was_not_looked_for_is_skipped(tmp_path: Path) -> None:
    report = grey_report(tmp_path / "report.json", attacks=[{"name": "square", "queries": 10}])
    cases = read(of_report(report, tmp_path / "report.json"))
    assert "No threshold was stated" in cases["threshold"].result[0].message
    assert {name for name, case in cases.items() if case.is_skipped} == {
        "threshold",
        *(flag["name"] for flag in report["flags"] if flag["raised"] is None),
    }
    assert cases["black_box_beats_white_box"].is_skipped


def test_every_sanity_flag_and_every_attack_is_a_case(tmp_path: Path) -> None:
    """Softmax outputs are found; the second attack has no image left, since the first broke all."""
    report = grey_report(
        tmp_path / "report.json",
        [1, 2, 3, 4] * 3,
        wrap=lambda model: nn.Sequential(model, nn.Softmax(dim=1)),
        attacks=[{"name": "square", "queries": 500}, {"name": "fgsm", "as": "later"}],
        min_robust_accuracy=0,
    )
    assert report["robust"]["k"] == 0
    cases = read(of_report(report, tmp_path / "report.json"))
    assert set(cases) == {"threshold", "square", "later", *(flag["name"] for flag in report["flags"])}
    claims = {flag["name"]: flag["check"] for flag in report["flags"]}
    assert {name: cases[name].name for name in claims} == claims
    assert cases["softmax_outputs"].is_failure
    assert cases["softmax_outputs"].result[0].type == "raised"
    assert "12 of 12 outputs are non-negative" in cases["softmax_outputs"].result[0].message
    assert cases["later"].is_skipped
    assert cases["square"].system_out.endswith(
        "tried on 12 images, broke 12; 0.0 % (0 of 12, 95 % interval 0.0 % to 24.2 %) stand."
    )
    assert cases["square"].time == round(report["run"]["seconds"]["square"], 3)
    assert cases["threshold"].is_passed


def test_a_report_of_version_2_claims_nothing(tmp_path: Path) -> None:
    """Its checks are titled by what is wrong: a pass by that name would read as the opposite."""
    report = grey_report(tmp_path / "report.json")
    old = {**report, "flags": [{**flag, "check": flag["title"]} for flag in report["flags"]]}
    assert read(of_report(old, tmp_path / "report.json"))["zero_gradients"].name == "zero_gradients"


def test_names_that_xml_cannot_hold_are_mended(tmp_path: Path) -> None:
    report = grey_report(tmp_path / "report.json", min_robust_accuracy=0.9)
    report["classes"][0]["name"] = "\x0b<b>&\U0001f600"
    (failure,) = read(of_report(report, tmp_path / "report.json"))["threshold"].result
    assert "Worst class: \ufffd<b>&\U0001f600, 6 of 18" in failure.message


@pytest.mark.parametrize(("levels", "state"), [(0, "passed"), (6, "failed")])
def test_a_comparison_is_a_gate_and_the_flags_that_are_new(levels: float, state: str, tmp_path: Path) -> None:
    baseline = grey_report(tmp_path / "baseline.json")
    candidate = grey_report(tmp_path / "candidate.json", wrap=lambda model: Shifted(model, levels))
    comparison = compare_reports(baseline, candidate)
    outcome = gate(comparison)
    found = of_comparison(comparison, outcome, f"gate: {outcome}", candidate, tmp_path / "candidate.json")
    cases = read(found)
    assert found.gate.state == state
    assert cases["not_worse"].is_failure == (state == "failed")
    assert set(cases) == {"not_worse", *(flag["name"] for flag in candidate["flags"])}
    if state == "failed":
        assert "Clean accuracy 100.0 % before, 75.0 % after: -25.0 [" in cases["not_worse"].result[0].message
