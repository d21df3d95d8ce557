"""Reports of real audits of the grey classifier, whose outcomes are known by hand, and rewritten ones."""

import copy
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2at.audit import run_audit
from f2at.audit.commands.compare import run, summary
from f2at.audit.reports.compare import BETTER, SAME, WORSE, compare_reports, gate
from f2at.audit.reports.difference import independent_interval, mcnemar_exact, paired_interval
from f2at.audit.reports.files import read_report, write_report
from f2at.audit.reports.report import SCHEMA_VERSION
from f2at.audit.reports.statistics import proportion
from tests.audit.grey import Shifted, grey_audit

DISTANCES = [1 + i % 12 for i in range(60)]
Reporter = Callable[..., dict[str, Any]]


def audited(levels: float = 0, distances: list[int] = DISTANCES, **request: Any) -> dict[str, Any]:
    audit = grey_audit(distances, wrap=lambda model: Shifted(model, levels), **{"eps": "8/255", **request})
    report: dict[str, Any] = audit.report(run_audit(audit))
    return report


@pytest.fixture(scope="module")
def baseline() -> dict[str, Any]:
    return audited()


@pytest.fixture(scope="module")
def shifted() -> dict[str, Any]:
    return audited(levels=4)


def rewritten(report: dict[str, Any], outcomes: Sequence[str]) -> dict[str, Any]:
    """A report whose samples are, in turn, "wrong", "broken" or "robust"."""
    made = copy.deepcopy(report)
    for sample, outcome in zip(made["samples"], outcomes, strict=True):
        sample["prediction"] = 1 - sample["label"] if outcome == "wrong" else sample["label"]
        sample["broken_by"] = "pgd" if outcome == "broken" else None
    n = len(outcomes)
    made["clean"] = proportion(n - outcomes.count("wrong"), n)
    made["robust"] = proportion(outcomes.count("robust"), n)
    return made


def test_a_shifted_threshold_by_hand(baseline: dict[str, Any], shifted: dict[str, Any]) -> None:
    """Every distance from 1 to 12 comes 5 times, odd ones dark. Light at 2 and 4 are now wrong. Beyond eps were dark at
    9 and 11, light at 10 and 12; of them light at 10 and 12 fall, and dark at 5 and 7 now stand."""
    found = compare_reports(baseline, shifted)
    assert found["paired"]
    assert found["warnings"] == []
    assert found["same_attacks"]
    clean, robust = found["clean"], found["robust"]
    assert (clean["baseline"]["k"], clean["candidate"]["k"]) == (60, 50)
    assert (clean["only_baseline"], clean["only_candidate"], clean["p_value"]) == (10, 0, 2 / 2**10)
    assert clean["difference"] == pytest.approx(-1 / 6)
    assert (clean["low"], clean["high"]) == paired_interval(50, 0, 10, 0)
    assert clean["verdict"] == WORSE
    assert (robust["only_baseline"], robust["only_candidate"], robust["difference"]) == (10, 10, 0)
    assert (robust["p_value"], robust["verdict"]) == (1, SAME)
    dark, light = found["classes"]
    assert (dark["baseline"]["robust"]["k"], dark["candidate"]["robust"]["k"]) == (10, 20)
    assert (light["baseline"]["robust"]["k"], light["candidate"]["robust"]["k"]) == (10, 0)
    assert gate(found) == "fail"
    assert gate(compare_reports(shifted, baseline)) == "pass"
    assert compare_reports(shifted, baseline)["clean"]["verdict"] == BETTER


def test_equal_reports_do_not_differ(baseline: dict[str, Any]) -> None:
    found = compare_reports(baseline, baseline)
    for accuracy in (found["clean"], found["robust"]):
        assert (accuracy["difference"], accuracy["p_value"], accuracy["verdict"]) == (0, 1, SAME)
        assert accuracy["low"] == pytest.approx(-accuracy["high"])
        assert accuracy["low"] < 0
    assert found["warnings"] == found["flags"]["raised"] == found["flags"]["cleared"] == []
    assert all(row["baseline"] == row["candidate"] for row in found["attacks"] + found["classes"])
    assert found["cost"]["baseline"] == found["cost"]["candidate"]
    assert gate(found, fail_on="any") == "pass"


outcome_lists = st.lists(st.sampled_from(["wrong", "broken", "robust"]), min_size=60, max_size=60)


def test_swapping_the_reports_turns_every_sign(baseline: dict[str, Any]) -> None:
    opposite = {BETTER: WORSE, WORSE: BETTER, SAME: SAME}

    @given(outcome_lists, outcome_lists)  # within, as an example that is told has no room for a report
    def turned(old: list[str], new: list[str]) -> None:
        one, other = rewritten(baseline, old), rewritten(baseline, new)
        there, back = compare_reports(one, other), compare_reports(other, one)
        for a, b in ((there["clean"], back["clean"]), (there["robust"], back["robust"])):
            assert a["difference"] == -b["difference"]
            assert (a["low"], a["high"]) == pytest.approx((-b["high"], -b["low"]), abs=1e-12)
            assert (a["only_baseline"], a["only_candidate"]) == (b["only_candidate"], b["only_baseline"])
            assert a["p_value"] == b["p_value"] == mcnemar_exact(a["only_baseline"], a["only_candidate"])
            assert a["verdict"] == opposite[b["verdict"]]
            assert a["only_candidate"] - a["only_baseline"] == a["candidate"]["k"] - a["baseline"]["k"]

    turned()


def test_samples_are_paired_by_index_not_by_place(baseline: dict[str, Any]) -> None:
    outcomes = ["robust", "broken", "wrong"] * 20
    one = rewritten(baseline, outcomes)
    other = {**one, "samples": one["samples"][::-1]}
    assert compare_reports(one, other)["robust"]["p_value"] == 1
    assert compare_reports(one, other)["robust"]["only_baseline"] == 0


def test_other_images_are_compared_without_pairing(baseline: dict[str, Any]) -> None:
    other = audited(distances=[12] * 40, samples=30, seed=3)
    found = compare_reports(baseline, other)
    robust = found["robust"]
    assert not found["paired"]
    assert "no paired test" in found["method"]
    assert robust["p_value"] is robust["only_baseline"] is robust["only_candidate"] is None
    assert (robust["low"], robust["high"]) == independent_interval((30, 30), (20, 60))
    assert (robust["verdict"], found["clean"]["verdict"]) == (BETTER, SAME)
    assert found["warnings"] == [
        "seed: 0 against 3",
        "data: other images or labels",
        "number of samples: 60 against 30",
    ]
    assert gate(found, fail_on="any") == "fail"


def test_another_draw_of_the_same_data_is_not_paired(baseline: dict[str, Any]) -> None:
    found = compare_reports(baseline, audited(samples=5))
    assert not found["paired"]
    assert found["warnings"] == [
        "samples: other draws from the same data, with 5 images in common",
        "number of samples: 60 against 5",
    ]


def test_everything_not_alike_is_named(baseline: dict[str, Any]) -> None:
    other = copy.deepcopy(baseline)
    other["request"] |= {"suite": "standard", "seed": 1}
    other["model"] |= {"input_size": [8, 8], "classes": ["light", "dark"]}
    other["surrogate"] = {"digest": "sha256:77"}
    other["attacks"][1]["parameters"]["steps"] = 50
    other["attacks"][2]["every"] = 10
    del other["attacks"][-1]
    other["iterations"] = None
    other["curve"]["attack"]["parameters"]["steps"] = 11
    found = compare_reports(baseline, other)
    assert found["paired"]
    assert found["warnings"] == [
        "surrogate: None against sha256:77",
        "attacks: fgsm, pgd, apgd-ce, apgd-t, square against fgsm, pgd, apgd-ce, apgd-t",
        "pgd, steps: 20 against 50",
        "apgd-ce, every: 1 against 10",
        "iterations: apgd-ce against None",
        "curve, steps: 10 against 11",
        "suite: custom against standard",
        "seed: 0 against 1",
        "classes: dark, light against light, dark",
        "input size: 4 x 4 against 8 x 8",
    ]
    assert not found["same_attacks"]
    assert found["attacks"][-1]["name"] == "square"
    assert found["attacks"][-1]["candidate"] is None


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"eps": "9/255"}, "reports must share norm and eps to be compared; got linf eps 8/255 and linf eps 9/255"),
        ({"norm": "l2", "eps": "1"}, "reports must share norm and eps to be compared; got linf eps 8/255 and l2 eps 1"),
    ],
)
def test_another_threat_model_is_refused(baseline: dict[str, Any], request_: dict[str, Any], reason: str) -> None:
    other = audited(distances=[3, 9], **request_)
    with pytest.raises(ValueError, match=reason):
        compare_reports(baseline, other)


def test_eps_is_the_same_if_8_bit_images_cannot_tell() -> None:
    assert compare_reports(audited(distances=[3, 9]), audited(distances=[3, 9], eps="0.034"))["warnings"] == []


def test_flags_newly_raised_cleared_and_kept(baseline: dict[str, Any]) -> None:
    def with_flags(**raised: bool | None) -> dict[str, Any]:
        changed = [{**flag, "raised": raised.get(flag["name"], flag["raised"])} for flag in baseline["flags"]]
        return {**baseline, "flags": changed}

    old = with_flags(zero_gradients=True, softmax_outputs=True, randomised_outputs=None)
    new = with_flags(zero_gradients=None, softmax_outputs=True, randomised_outputs=True)
    found = compare_reports(old, new)
    assert {kind: [f["name"] for f in listed] for kind, listed in found["flags"].items()} == {
        "raised": ["randomised_outputs"],
        "cleared": ["zero_gradients"],
        "in_both": ["softmax_outputs"],
    }
    assert (gate(found), gate(found, fail_on="any")) == ("pass", "fail")


# 60 images, 30 robust before. Intervals of the difference in points; of clean accuracy, 60 of 60 twice, +-6.0.
@pytest.mark.parametrize(
    ("lost", "gained", "tolerance", "outcome"),
    [
        (0, 0, 7, "pass"),  # -3.2 to 3.2
        (0, 0, 5, "inconclusive"),  # because of clean accuracy
        (20, 0, 7, "fail"),  # -44.8 to -20.4
        (6, 0, 7, "inconclusive"),  # -17.9 to -1.8: worse beyond chance, perhaps by less than 7 points
        (6, 0, 20, "pass"),  # worse beyond chance, and surely by less than 20 points
        (0, 6, 7, "pass"),  # 1.8 to 17.9
    ],
)
def test_non_inferiority(baseline: dict[str, Any], lost: int, gained: int, tolerance: float, outcome: str) -> None:
    old = ["robust"] * 30 + ["broken"] * 30
    new = ["broken"] * lost + ["robust"] * (30 - lost) + ["robust"] * gained + ["broken"] * (30 - gained)
    found = compare_reports(rewritten(baseline, old), rewritten(baseline, new))
    assert gate(found, tolerance=tolerance) == outcome


def test_clean_and_robust_accuracy_have_tolerances_of_their_own(baseline: dict[str, Any]) -> None:
    """An undefended model of 1,000 images, and one that withstands 61 % and costs 3 points of clean accuracy."""
    n = 1000
    sampled = {**baseline, "samples": [{**baseline["samples"][0], "index": index} for index in range(n)]}
    old = ["broken"] * 900 + ["wrong"] * 100
    new = ["robust"] * 610 + ["broken"] * 260 + ["wrong"] * 130
    found = compare_reports(rewritten(sampled, old), rewritten(sampled, new))
    assert (found["clean"]["difference"], found["robust"]["difference"]) == pytest.approx((-0.03, 0.61))
    assert found["clean"]["verdict"] == WORSE
    assert gate(found) == gate(found, tolerance_robust=5) == "fail"
    assert gate(found, tolerance_clean=5) == gate(found, tolerance=5) == "pass"  # the interval: -4.3 to -2.1
    assert gate(found, tolerance_clean=3) == "inconclusive"
    assert gate(found, tolerance=0, tolerance_clean=5) == "pass"
    assert gate(found, tolerance=5, tolerance_clean=1) == "fail"
    back = compare_reports(rewritten(sampled, new), rewritten(sampled, old))
    assert gate(back, tolerance_clean=5) == "fail"
    with pytest.raises(ValueError, match="tolerance_clean must be from 0 to 100 percentage points; got 101"):
        gate(found, tolerance_clean=101)


def test_an_accuracy_has_the_name_that_holds_for_both(baseline: dict[str, Any]) -> None:
    def knowing(*knowledge: str) -> dict[str, Any]:
        return {**baseline, "threat_model": {**baseline["threat_model"], "knowledge": list(knowledge)}}

    def name(one: dict[str, Any], other: dict[str, Any]) -> str:
        found: str = compare_reports(one, other)["accuracy"]
        return found

    both, asking, other = knowing("white-box", "black-box"), knowing("black-box"), knowing("transfer")
    assert name(both, both) == "robust accuracy"
    assert name(both, asking) == name(asking, both) == name(asking, asking) == "accuracy under black-box attacks"
    assert name(both, other) == "accuracy under transfer attacks"
    assert name(asking, other) == "accuracy under black-box and transfer attacks"
    printed = summary(compare_reports(asking, asking))
    assert re.search(r"^under black-box attacks +20/60 33.3%", printed, re.MULTILINE)
    assert not re.search(r"^robust", printed, re.MULTILINE)


def test_attacks_that_broke_nothing_are_named(baseline: dict[str, Any]) -> None:
    whole = rewritten(baseline, ["robust"] * 60)
    assert "the attacks broke nothing of the candidate" in summary(compare_reports(baseline, whole))
    assert "broke nothing" not in summary(compare_reports(baseline, baseline))


def test_a_few_images_pass_the_plain_test_but_prove_nothing(baseline: dict[str, Any]) -> None:
    """The reason for a tolerance: 4 images lost of 60 are not beyond chance, and not shown to be harmless either."""
    found = compare_reports(
        rewritten(baseline, ["robust"] * 30 + ["broken"] * 30), rewritten(baseline, ["robust"] * 26 + ["broken"] * 34)
    )
    assert found["robust"]["p_value"] == 2 / 2**4
    assert (gate(found), gate(found, tolerance=10)) == ("pass", "inconclusive")  # -13.5 to 0.3


def test_a_pass_under_other_attacks_proves_nothing(baseline: dict[str, Any]) -> None:
    weaker = {**baseline, "attacks": baseline["attacks"][:1]}
    better, worse = (rewritten(weaker, [outcome] * 60) for outcome in ("robust", "broken"))
    assert compare_reports(baseline, better)["robust"]["verdict"] == BETTER
    assert (
        gate(compare_reports(baseline, better))
        == gate(compare_reports(baseline, better), tolerance=10)
        == "inconclusive"
    )
    assert gate(compare_reports(baseline, worse)) == "fail"


LIGHT = "brightness:range=30%"


@pytest.fixture(scope="module")
def in_any_light() -> list[dict[str, Any]]:
    """Of a model and of one whose threshold lies 30 levels higher, on images at 40 levels from the former."""
    kept: dict[str, Any] = {
        "distances": [40] * 60,
        "suite": "quick",
        "threats": [LIGHT, "l0:pixels=1"],
        "gate": [LIGHT],
    }
    return [audited(**kept), audited(levels=30, **kept)]


def test_threats_are_compared_image_by_image(in_any_light: list[dict[str, Any]]) -> None:
    """Light images have 140 levels, dark ones 61: 30 % less light leaves 98 of the former, below either threshold; 30 %
    more makes 79 of the latter. With the threshold at 130, what the ball leaves is the same."""
    found = compare_reports(*in_any_light)
    light, pixel = found["threats"]
    assert (light["name"], light["gated"], light["same_attacks"]) == (LIGHT, True, True)
    assert (light["change"]["baseline"]["k"], light["change"]["candidate"]["k"]) == (30, 30)
    assert (pixel["name"], pixel["gated"], pixel["change"]["verdict"]) == ("l0:pixels=1", False, SAME)
    swapped = compare_reports(*reversed(in_any_light))["threats"][0]["change"]
    assert (swapped["low"], swapped["high"]) == (-light["change"]["high"], -light["change"]["low"])


def lost(report: dict[str, Any], name: str, images: int) -> dict[str, Any]:
    """The report as if so many more images had fallen to a threat."""
    made = copy.deepcopy(report)
    section = next(s for s in made["threats"] if s["threat"] == name)
    fallen = {row["index"] for row in section["fallen"]}
    more = [s["index"] for s in made["samples"] if s["prediction"] == s["label"] and s["index"] not in fallen][:images]
    section["fallen"] += [{"index": index, "by": f"{name}/scan", "prediction": 0, "how": ""} for index in more]
    return made


def test_a_threat_that_counts_gates_and_another_does_not(in_any_light: list[dict[str, Any]]) -> None:
    baseline = in_any_light[0]
    assert gate(compare_reports(baseline, lost(baseline, LIGHT, 20))) == "fail"
    pixel = compare_reports(baseline, lost(baseline, "l0:pixels=1", 20))
    assert (gate(pixel), gate(pixel, threats=["l0:pixels=1"])) == ("pass", "fail")
    few = compare_reports(baseline, lost(baseline, LIGHT, 2))
    assert (gate(few), gate(few, tolerance_robust=1), gate(few, tolerance_robust=40)) == (
        "pass",
        "inconclusive",
        "pass",
    )
    assert gate(few, tolerance=40, tolerance_robust=0) == "inconclusive"
    with pytest.raises(ValueError, match=r"threats must be among those of the reports \(.*\); got 'patch'"):
        gate(few, threats=["patch"])


def test_a_threat_that_counts_and_was_not_tried_alike_proves_nothing(in_any_light: list[dict[str, Any]]) -> None:
    baseline = in_any_light[0]
    without = {**baseline, "threats": baseline["threats"][1:]}
    found = compare_reports(baseline, without)
    assert (found["threats"][0]["candidate"], found["threats"][0]["change"]) == (None, None)
    assert gate(found) == "inconclusive"
    other = copy.deepcopy(baseline)
    other["threats"][1]["attacks"][0]["parameters"] = {"steps": 1}
    found = compare_reports(baseline, other)
    assert (gate(found), gate(found, threats=["l0:pixels=1"])) == ("pass", "inconclusive")
    assert "under other attacks" in summary(found)


def test_the_command_names_the_threats_that_count(
    in_any_light: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(tmp_path / name) for name in ("old.json", "new.json")]
    for path, report in zip(paths, in_any_light, strict=True):
        write_report(report, Path(path))
    assert run([*paths, "--gate", "l0:pixels=1"]) == 0
    printed = capsys.readouterr().out
    assert f"the same under {LIGHT}, l0:pixels=1): pass" in printed
    assert run([*paths, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["gate"]["threats"] == [LIGHT]


def test_without_a_curve_no_distance_is_named(baseline: dict[str, Any]) -> None:
    bare = audited(curve=False)
    assert "median distance to an error: not measured -> not measured" in summary(compare_reports(bare, bare))
    assert " levels -> not measured" in summary(compare_reports(baseline, bare))


def test_clean_accuracy_gates_too(baseline: dict[str, Any]) -> None:
    old, new = ["broken"] * 60, ["wrong"] * 20 + ["broken"] * 40
    found = compare_reports(rewritten(baseline, old), rewritten(baseline, new))
    assert (found["clean"]["verdict"], found["robust"]["verdict"]) == (WORSE, SAME)
    assert (gate(found), gate(found, tolerance=10)) == ("fail", "fail")


def test_the_gate_refuses_nonsense(baseline: dict[str, Any]) -> None:
    found = compare_reports(baseline, baseline)
    with pytest.raises(ValueError, match="fail_on must be one of worse, any; got 'all'"):
        gate(found, fail_on="all")
    with pytest.raises(ValueError, match="tolerance must be from 0 to 100 percentage points; got -1"):
        gate(found, tolerance=-1)


def test_a_comparison_is_json(baseline: dict[str, Any], shifted: dict[str, Any]) -> None:
    found = compare_reports(baseline, shifted)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_reports_are_read_back(baseline: dict[str, Any], tmp_path: Path) -> None:
    page = write_report(baseline, tmp_path / "report.json")
    assert read_report(tmp_path / "report.json") == baseline
    assert page == tmp_path / "report.html"
    assert page.read_text(encoding="utf-8").lower().startswith("<!doctype html>")


def _without(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda report: {k: v for k, v in report.items() if k != key}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda report: [report], "is not an audit report"),
        (_without("schema_version"), "is not an audit report"),
        (
            lambda report: {**report, "schema_version": 1},
            f"has schema version 1, this program reads 2, 3 and {SCHEMA_VERSION}; audit again",
        ),
        (_without("samples"), "is not a whole audit report: report: 'samples' is a required property"),
        (_without("curve"), "is not a whole audit report: report: 'curve' is a required property"),
        (lambda report: {**report, "samples": 3}, "is not a whole audit report: samples: 3 is not of type 'array'"),
        (
            lambda report: {**report, "robust": {**report["robust"], "k": "60"}},
            "is not a whole audit report: robust.k: '60' is not of type 'integer'",
        ),
        (
            lambda report: {**report, "request": {**report["request"], "suite": "quick"}},
            "report.json: its request: ",
        ),
        (lambda report: {**report, "robust": {**report["robust"], "value": 0.99}}, "contradicts itself"),
        (lambda report: {**report, "clean": {**report["clean"], "low": 0.99}}, "contradicts itself"),
        (
            lambda report: {**report, "verdict": {"threshold": 0.5, "outcome": "pass", "reason": "It is."}},
            "contradicts itself: its verdict is pass, and by its figures it is none",
        ),
        (lambda report: {**report, "samples": report["samples"][1:]}, "contradicts itself"),
        (lambda report: {**report, "samples": [report["samples"][0]] * 60}, "contradicts itself"),
        (lambda report: {**report, "robust": proportion(60, 60)}, "contradicts itself"),
    ],
)
def test_what_is_no_whole_report_is_refused_by_name(
    baseline: dict[str, Any], tmp_path: Path, change: Callable[[dict[str, Any]], Any], reason: str
) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(change(baseline)))
    with pytest.raises(ValueError, match=r"report\.json") as refused:
        read_report(path)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"robust: 63 %", b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_no_json_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"report\.json is not JSON"):
        read_report(path)
