"""Threats beside the ball, on a classifier whose errors can be counted by hand: is the mean level above 100?"""

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as hypothesis_arrays

from f2at.audit import run_audit
from f2at.audit.plan import Audit
from f2at.audit.reports.files import read_report, write_report
from f2at.audit.reports.report import deterministic_part, without_examples
from f2at.audit.threats.universal import apply_to_all
from tests.audit.grey import SIDE, THRESHOLD, grey_audit

DISTANCES = [*range(1, 13), *range(20, 80, 3)]  # in levels, dark and light images in turn
ASKED: dict[str, Any] = {"suite": "quick", "eps": "1/255"}


def report_of(*threats: str, distances: list[int] = DISTANCES, **request: Any) -> dict[str, Any]:
    audit = grey_audit(distances, **{**ASKED, "threats": list(threats), **request})
    report: dict[str, Any] = audit.report(run_audit(audit))
    return report


def section_of(threat: str, **request: Any) -> dict[str, Any]:
    sections: list[dict[str, Any]] = report_of(threat, **request)["threats"]
    (section,) = sections
    return section


def levels(distances: list[int] = DISTANCES) -> list[int]:
    """Of each image, as `grey_images` makes them."""
    return [100 + d if row % 2 else 101 - d for row, d in enumerate(distances)]


def standing_when_pixels_change(count: int) -> int:
    """How many images keep their class when the worst is done to so many of their pixels: all white, or all black."""
    total, stand = SIDE * SIDE, 0
    for row, level in enumerate(levels()):
        worst = ((total - count) * level + count * (0 if row % 2 else 255)) / total
        stand += (worst > THRESHOLD) == bool(row % 2)
    return stand


@pytest.mark.parametrize("count", [1, 2, 5])
def test_l0_is_exact_where_each_pixel_counts_alike(count: int) -> None:
    section = section_of(f"l0:pixels={count}")
    assert section["robust"]["k"] == standing_when_pixels_change(count)
    assert {row["how"] for row in section["fallen"]} == {f"{count} pixels"} or count > 1


@pytest.mark.parametrize(("area", "side"), [("7%", 1), ("1/4", 2), ("60%", 3)])
def test_a_patch_is_exact_where_each_place_counts_alike(area: str, side: int) -> None:
    assert section_of(f"patch:area={area}")["robust"]["k"] == standing_when_pixels_change(side * side)


def test_light_is_scanned_both_ways() -> None:
    section = section_of("brightness:range=30%")
    factors = [1 + sign * 0.3 * step / 6 for step in range(1, 7) for sign in (-1, 1)]
    stand = sum(
        all((np.rint(min(255, level * f)) > THRESHOLD) == bool(row % 2) for f in factors)
        for row, level in enumerate(levels())
    )
    assert section["robust"]["k"] == stand
    assert section["attacks"] == []
    darker = [row for row in section["scan"] if row["kind"] == "darker"]
    lighter = [row for row in section["scan"] if row["kind"] == "lighter"]
    assert [row["k"] for row in darker] == sorted((row["k"] for row in darker), reverse=True)
    assert lighter[-1]["k"] < lighter[0]["k"]
    assert section["curve"]["points"][0]["k"] == len(DISTANCES)
    assert section["curve"]["points"][-1]["k"] == stand


def test_what_leaves_an_even_picture_as_it_is_breaks_nothing() -> None:
    for threat in ("resize", "rotate-translate:fill=edge"):
        assert section_of(threat)["robust"]["k"] == len(DISTANCES)


def test_black_corners_break_light_pictures_only() -> None:
    section = section_of("rotate-translate:degrees=45,shift=0%")
    assert 0 < len(section["fallen"]) < len(DISTANCES) // 2
    assert {row["index"] % 2 for row in section["fallen"]} == {1}
    assert all("clockwise" in row["how"] for row in section["fallen"])


def test_one_perturbation_makes_all_lighter_or_all_darker() -> None:
    """No change of pixels can do both, so that one kind stands, where each image alone would fall."""
    distances = [5] * 60
    report = report_of("universal:eps=8/255", distances=distances, eps="8/255")
    assert report["robust"]["k"] == 0
    (section,) = report["threats"]
    assert section["strength"] == "weak"  # as quick has it
    fallen = {row["index"] for row in section["fallen"]}
    for start in (0, 25, 50):
        shard = {row["index"] for row in report["samples"][start : start + 25]}
        assert shard & fallen in ({i for i in shard if i % 2}, {i for i in shard if not i % 2})
    assert [p["k"] for p in section["curve"]["points"]] == [20] * 4 + [
        sum(row["index"] not in fallen for row in report["samples"][::3])
    ]


def test_a_universal_perturbation_has_not_seen_what_it_is_tried_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []

    def record(_: Any, inputs: Any, labels: Any, **__: Any) -> Any:
        seen.append(sorted((255 * inputs[:, 0, 0, 0]).round().int().tolist()))
        assert len(labels) == len(inputs)
        return 0 * inputs[0]

    monkeypatch.setattr("f2at.audit.threats.universal.universal", record)
    audit = grey_audit([1 + row for row in range(60)], threats=["universal:images=30"], curve=False, **ASKED)
    report = audit.report(run_audit(audit))
    everyone = [101 + i if i % 2 else 100 - i for i in (row["index"] for row in report["samples"])]
    assert [len(levels) for levels in seen] == [30, 30, 30]
    for start, levels in zip((0, 25, 50), seen, strict=True):
        own = everyone[start : start + 25]
        assert not set(own) & set(levels)
        assert set(levels) <= set(everyone)
    assert report["threats"][0]["robust"]["k"] == 60


def test_without_other_images_nothing_universal_can_be_learnt() -> None:
    with pytest.raises(ValueError, match=r"threat universal needs more than 25 samples, .*; got 25"):
        grey_audit([5] * 25, threats=["universal"], **ASKED)
    with pytest.raises(ValueError, match="threat universal has no attack that goes by scores alone"):
        grey_audit([5] * 60, suite="black-box", threats=["universal"])


@given(
    change=hypothesis_arrays(np.float64, (3, 2, 2), elements=st.floats(-1, 1) | st.just(np.nan) | st.just(np.inf)),
    clean=hypothesis_arrays(np.uint8, (3, 2, 2, 3)),
    levels=st.integers(1, 40),
)
def test_a_universal_change_is_the_same_for_all_and_within_its_radius(change: Any, clean: Any, levels: int) -> None:
    images = apply_to_all(change, clean, eps=Fraction(2 * levels + 1, 510)).astype(int)
    moved = images - clean
    assert abs(moved).max() <= levels
    lowest, highest = moved.min(0), moved.max(0)
    # The same where nothing is clipped: what is clipped lies at an end.
    assert ((images == 0) | (images == 255) | (moved == lowest) | (moved == highest)).all()
    apart = (lowest != highest) & ~((images == 0) | (images == 255)).any(0)
    assert not apart.any()


@pytest.mark.slow
def test_the_grid_is_counted_and_as_strong_as_any_turn_on_it() -> None:
    asked = "rotate-translate:degrees=45,shift=25%"
    refined, grid = section_of(asked, suite="adaptive"), section_of(f"{asked},search=grid")
    assert grid["attacks"][0]["parameters"]["planned"] == 31 * 5 * 5 - 1
    # What stands was tried with every turn, and no more was asked.
    stand = grid["robust"]["k"]
    assert grid["attacks"][0]["forward_evaluations"] >= 774 * stand
    assert refined["robust"]["k"] <= stand
    assert grid["strength"] == "strong"


def test_corruptions_are_all_tried_and_the_worst_counts() -> None:
    section = section_of("corruptions:severity=2")
    assert len(section["scan"]) == 2 * 19
    assert section["robust"]["k"] <= min(row["k"] for row in section["scan"])
    assert {row["strength"] for row in section["scan"]} == {1.0, 2.0}


def test_another_ball_is_as_strong_as_in_an_audit_of_its_own() -> None:
    section = section_of("l2:eps=0.3")
    own = report_of(norm="l2", eps="0.3")
    assert section["robust"] == own["robust"]
    assert [a["name"] for a in section["attacks"]] == [a["name"] for a in own["attacks"]]


def test_what_fell_to_less_has_fallen_to_more() -> None:
    report = report_of("l0:pixels=1", "l0:pixels=4", "patch:area=7%")
    less, more, patch = report["threats"]
    assert more["robust"]["k"] == standing_when_pixels_change(4)
    tried = more["attacks"][0]["attempted"]
    assert tried == len(DISTANCES) - len(less["fallen"])  # the rest was known
    assert {row["index"] for row in less["fallen"]} < {row["index"] for row in more["fallen"]}
    assert patch["attacks"][0]["attempted"] == len(DISTANCES)  # a square of one pixel, but sets are not compared so far


def test_a_scan_has_its_whole_curve_beside_a_weaker_one() -> None:
    alone = section_of("jpeg:quality=10")
    _, beside = report_of("jpeg:quality=60", "jpeg:quality=10")["threats"]
    assert (beside["robust"], beside["curve"], beside["scan"]) == (alone["robust"], alone["curve"], alone["scan"])


def test_the_worst_case_is_of_the_ball_and_all_threats() -> None:
    report = report_of("l0:pixels=1", "brightness")
    fallen = {row["index"] for section in report["threats"] for row in section["fallen"]}
    fallen |= {s["index"] for s in report["samples"] if s["broken_by"]}
    assert report["worst_case"]["k"] == len(DISTANCES) - len(fallen)
    assert report_of()["worst_case"] is None


def test_a_threat_counts_for_the_threshold_where_it_is_said_to() -> None:
    request: dict[str, Any] = {"distances": [40] * 60, "min_robust_accuracy": 0.9, "accept_weak": True}
    threat = "brightness:range=50%"
    assert report_of(threat, **request)["verdict"]["outcome"] == "pass"
    assert report_of(threat, gate=[threat], **request)["verdict"]["outcome"] == "fail"


def test_a_quick_audit_claims_little() -> None:
    sections = report_of("l0:pixels=4", "patch:area=1/4", "rotate-translate", "jpeg")["threats"]
    assert [s["strength"] for s in sections] == ["weak", "weak", "weak", "strong"]


def test_without_gradients_scores_are_used_and_nothing_strong_is_claimed() -> None:
    section = section_of("l0:pixels=2", suite="black-box", distances=[1, 2], curve=False)
    assert [attack["knowledge"] for attack in section["attacks"]] == ["black-box"]
    assert section["strength"] == "weak"
    with pytest.raises(ValueError, match="threat l0 has no attack that goes by labels alone"):
        grey_audit([1, 2], suite="labels", threats=["l0:pixels=2"])


@pytest.mark.slow
def test_a_report_with_threats_is_the_same_whatever_the_order_and_survives_its_file(tmp_path: Any) -> None:
    threats = ["rotate-translate", "patch:area=1/4", "corruptions:severity=1", "l0:pixels=2"]
    request: dict[str, Any] = {**ASKED, "threats": threats}
    audit = grey_audit(DISTANCES, **request)
    report = audit.report(run_audit(audit))
    results: list[dict[str, Any]] = []
    for shard in reversed(audit.shards):
        for step in shard:
            earlier = [r for r in results if r["shard"] == step.shard]
            results.append(json.loads(json.dumps(grey_audit(DISTANCES, **request).run(step, earlier))))
    assert deterministic_part(audit.report(results)) == deterministic_part(report)
    write_report(report, tmp_path / "report.json")
    assert read_report(tmp_path / "report.json") == report


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["threats"][0]["fallen"].pop(),
        lambda r: r["threats"][0]["robust"].update(k=r["threats"][0]["robust"]["k"] + 1),
        lambda r: r["worst_case"].update(k=r["worst_case"]["k"] + 1),
        lambda r: r["threats"].pop(),
        lambda r: r.update(worst_case=None),
    ],
)
def test_a_report_whose_threats_do_not_add_up_is_refused(change: Any, tmp_path: Any) -> None:
    report = report_of("l0:pixels=1", "brightness")
    change(report)
    write_report(report, tmp_path / "report.json") if report["worst_case"] else (tmp_path / "report.json").write_text(
        json.dumps(report)
    )
    with pytest.raises(ValueError, match="contradicts itself: what fell to threats"):
        read_report(tmp_path / "report.json")


def test_pictures_are_few_and_withheld_with_the_others() -> None:
    report = report_of("l0:pixels=4", "brightness:range=80%")
    assert [len(section["examples"]) for section in report["threats"]] == [4, 4]
    closed = without_examples(report)
    assert [section["examples"] for section in closed["threats"]] == [[], []]
    assert closed["run"]["examples_withheld"] == len(report["examples"]) + 8


def test_the_most_that_threats_take_is_known_before() -> None:
    request: dict[str, Any] = {**ASKED, "threats": ["l0:pixels=1", "rotate-translate", "jpeg", "l2", "universal"]}
    audit = grey_audit(DISTANCES, **request)
    results = run_audit(audit)
    for step, result in zip(audit.steps, results, strict=True):
        if "/" in step.stage:
            cost = audit.cost(step)
            assert result["gradient_evaluations"] <= cost.gradients + cost.forwards, step.stage
            assert result["forward_evaluations"] + result["gradient_evaluations"] <= sum(cost), step.stage


def test_images_that_are_too_small_for_a_threat_are_named() -> None:
    with pytest.raises(ValueError, match=r"area must be at least 1/16, a pixel of 4 x 4"):
        grey_audit(DISTANCES, threats=["patch:area=1%"])
    with pytest.raises(ValueError, match=r"threat l0: pixels must be at most 16, all of an image; got 17"):
        grey_audit(DISTANCES, threats=["l0:pixels=17"])


def test_progress_knows_every_step() -> None:
    audit: Audit = grey_audit(DISTANCES, threats=["jpeg", "l0:pixels=1"])
    stages = [step.stage for step in audit.shards[0]]
    assert stages[-3:] == ["jpeg:quality=10/scan", "l0:pixels=1/sparse-pgd", "l0:pixels=1/sparse-rs"]
    assert grey_audit(DISTANCES, threats=["l0:pixels=8"]).shards[0][-1].stage == "l0:pixels=8/strengths"
