from typing import Any

import pytest

from f2at.audit import run_audit
from f2at.audit.reports.report import SCHEMA_VERSION, deterministic_part, without_examples
from f2at.images.png import read_base64_png
from tests.audit.grey import grey_audit, grey_images

DISTANCES = [1 + i % 12 for i in range(60)]


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    audit = grey_audit(DISTANCES, eps="0.033", examples=5, min_robust_accuracy=0.2)
    made: dict[str, Any] = audit.report(run_audit(audit), id="one")
    return made


def test_every_part_is_there(report: dict[str, Any]) -> None:
    assert report["schema_version"] == SCHEMA_VERSION
    assert report.keys() == {
        *("schema_version", "request", "model", "data", "threat_model", "clean", "robust", "verdict", "attacks"),
        *("iterations", "curve", "confidences", "corruptions", "classes", "flags", "samples", "examples"),
        *("surrogate", "limitations", "certified_lower_bound", "context", "harness", "repeat", "run", "suite"),
        *("threats", "worst_case"),
    }
    assert report["threat_model"] == {
        "norm": "linf",
        "eps": "33/1000",
        "effective_eps": "8/255",
        "levels": 8.0,
        "pixels": "8-bit, 0 to 255; eps is in units of the full range",
        "knowledge": ["white-box", "black-box"],
        "query_budget": {"square": 300},
        "goal": "any wrong class (untargeted)",
        "techniques": [
            {
                "framework": "MITRE ATLAS",
                "id": "AML.T0043.000",
                "name": "Craft Adversarial Data: White-Box Optimization",
            },
            {"framework": "NIST AI 100-2 E2025", "id": "NISTAML.022", "name": "Evasion"},
            {
                "framework": "MITRE ATLAS",
                "id": "AML.T0043.001",
                "name": "Craft Adversarial Data: Black-Box Optimization",
            },
            {"framework": "NIST AI 100-2 E2025", "id": "NISTAML.025", "name": "Black-box Evasion"},
        ],
    }
    assert report["certified_lower_bound"] is None


def test_deterministic_part_leaves_out_what_shapes_no_figure(report: dict[str, Any]) -> None:
    assert report.keys() - deterministic_part(report).keys() == {"context", "harness", "repeat", "run"}
    assert "seconds" not in str(deterministic_part(report))


def test_a_copy_without_examples_has_no_picture_and_says_so(report: dict[str, Any]) -> None:
    copy = without_examples(report)
    assert len(report["examples"]) == 5
    for example in report["examples"]:
        assert example["clean"] not in str(copy)
        assert example["adversarial"] not in str(copy)
    assert "iVBOR" not in str(copy)
    assert copy["run"]["examples_withheld"] == 5
    assert "withheld" in copy["limitations"][-1]
    same = report.keys() - {"examples", "run", "limitations"}
    assert all(copy[key] == report[key] for key in same)
    assert without_examples(copy) == copy


def test_samples_add_up(report: dict[str, Any]) -> None:
    samples, attacks = report["samples"], report["attacks"]
    assert sum(s["broken_by"] is None for s in samples) == report["robust"]["k"] == 20
    for attack in attacks:
        assert sum(s["broken_by"] == attack["name"] for s in samples) == attack["broken"]
    fgsm = attacks[0]
    assert (fgsm["attempted"], fgsm["gradient_evaluations"], fgsm["forward_evaluations"]) == (60, 60, 0)
    square = attacks[-1]
    assert square["forward_evaluations"] == 300 * square["attempted"]  # the whole budget, as none of them falls
    assert square["broken"] == 0


def test_examples_are_the_samples_they_say(report: dict[str, Any]) -> None:
    images, labels = grey_images(DISTANCES)
    assert len(report["examples"]) == 5
    for example in report["examples"]:
        clean, adversarial = read_base64_png(example["clean"]), read_base64_png(example["adversarial"])
        assert (clean == images[example["index"]]).all()
        assert abs(adversarial.astype(int) - clean).max() == example["adversarial_distance"] <= 8
        light = adversarial.mean() > 100.5
        assert light == example["adversarial_prediction"] != labels[example["index"]] == example["prediction"]


def test_curve_follows_a_subset_of_large_audits() -> None:
    audit = grey_audit([3] * 250, eps="2/255")
    assert list(audit._curve_positions) == list(range(0, 250, 3))


def test_an_l2_report_says_what_rounding_may_do() -> None:
    audit = grey_audit([3] * 4, norm="l2", eps="1")
    said = audit.report(run_audit(audit))["limitations"]
    assert any("8-bit grid" in text for text in said)
