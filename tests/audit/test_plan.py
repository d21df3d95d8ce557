import json
import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from f2at.arguments import ArgumentError
from f2at.attacks.registry import ATTACKS
from f2at.attacks.targets.torch_target import TorchTarget
from f2at.audit import Audit, AuditRequest, run_audit
from f2at.audit.page.html import render_report
from f2at.audit.reports.report import deterministic_part
from f2at.audit.steps import SHARD_SIZE
from f2at.audit.suites import SUITES, probes
from f2at.images.pixels import to_images, to_inputs
from f2at.images.png import base64_png
from f2at.images.sets.base import in_memory
from tests.audit.grey import FIVE, Grey, grey_audit, grey_images

DISTANCES = [1 + i % 12 for i in range(36)]  # three of each from 1 to 12


def custom(*attacks: Any) -> dict[str, Any]:
    return {"suite": "custom", "attacks": list(attacks)}


class StopError(Exception):
    """What a heartbeat raises to end a step."""


def stop(_: int) -> None:
    raise StopError


@pytest.fixture(scope="module")
def grey_report() -> dict[str, Any]:
    audit = grey_audit(DISTANCES, eps="8/255")
    return audit.report(run_audit(audit))


def test_worst_case_of_a_classifier_with_known_distances(grey_report: dict[str, Any]) -> None:
    assert (grey_report["clean"]["k"], grey_report["robust"]["k"], grey_report["robust"]["n"]) == (36, 12, 36)
    assert grey_report["attacks"][-1]["robust"] == grey_report["robust"]
    by_label = {row["name"]: (row["n"], row["clean"]["k"], row["robust"]["k"]) for row in grey_report["classes"]}
    assert by_label == {"dark": (18, 18, 6), "light": (18, 18, 6)}
    for sample in grey_report["samples"]:
        assert (sample["broken_by"] is None) == (DISTANCES[sample["index"]] > 8)
        assert sample.get("adversarial_distance", 0) <= 8


def test_curve_and_median_of_a_classifier_with_known_distances(grey_report: dict[str, Any]) -> None:
    curve = grey_report["curve"]
    assert {d["index"]: d["levels"] for d in curve["minimal_perturbations"]} == dict(enumerate(DISTANCES))
    for point in curve["points"]:
        assert point["k"] == sum(d > point["levels"] for d in DISTANCES)
    assert [point["eps"] for point in curve["points"]][:5] == ["0", "2/255", "4/255", "6/255", "8/255"]
    assert curve["points"][-1]["eps"] == "128/255"
    assert curve["median_minimal_perturbation"]["levels"] == 6.5


def test_a_sane_model_trips_no_flag(grey_report: dict[str, Any]) -> None:
    assert [flag["name"] for flag in grey_report["flags"] if flag["raised"]] == []


@pytest.mark.parametrize(("eps", "levels", "robust"), [("1/255", 1, 33), ("0.031", 7, 15), ("12/255", 12, 0)])
def test_eps_is_cut_to_whole_levels(eps: str, levels: int, robust: int) -> None:
    audit = grey_audit(DISTANCES, eps=eps)
    report = audit.report(run_audit(audit))
    assert report["threat_model"]["effective_eps"] == f"{levels}/255"
    assert report["robust"]["k"] == robust


def test_l2_distances_are_those_of_whole_levels() -> None:
    # From a uniform 101 the mean must fall below 100.5: 25 of 48 values by one level at least, and norm 5.
    audit = grey_audit([1] * 6, eps="0.0192", norm="l2")  # 4.896 levels
    assert audit.report(run_audit(audit))["robust"]["k"] == 6
    audit = grey_audit([1] * 6, eps="0.0275", norm="l2")  # 7.01 levels; all 48 by one level is 6.93
    report = audit.report(run_audit(audit))
    assert report["robust"]["k"] == 0
    assert all(5 <= d["levels"] <= 7.02 for d in report["curve"]["minimal_perturbations"])


def test_misclassified_images_are_not_attacked_and_count_as_broken() -> None:
    images, labels = grey_images([20] * 10)
    labels[:4] = 1 - labels[:4]
    audit = grey_audit([20] * 10, eps="8/255")
    wrong = Audit(
        audit._target, in_memory(images, labels), audit.request, classes=audit.classes, to_target=torch.from_numpy
    )
    report = wrong.report(run_audit(wrong))
    assert (report["clean"]["k"], report["robust"]["k"]) == (6, 6)
    assert all(attack["attempted"] == 6 for attack in report["attacks"])
    assert report["curve"]["points"][0]["k"] == 6
    assert report["curve"]["median_minimal_perturbation"]["n"] == 6


def test_an_error_inside_eps_that_only_the_curve_finds_counts() -> None:
    audit = grey_audit(DISTANCES, eps="8/255")
    results: list[dict[str, Any]] = []
    for step in audit.steps:  # as if no attack of the suite had broken anything
        result = audit.run(step, [r for r in results if r["shard"] == step.shard])
        results.append(result if step.stage in ("clean", "curve") else {**result, "broken": None, "examples": []})
    report = audit.report(results)
    assert sum(attack["broken"] for attack in report["attacks"]) == 0
    assert report["curve"]["broken_inside_eps"] == 24
    assert report["robust"]["k"] == 12


@pytest.mark.parametrize(
    ("eps", "norm"), [("1", "linf"), ("200/255", "linf"), ("1/255", "l2"), ("50", "l2"), ("1/255", "l1"), ("40", "l1")]
)
def test_extreme_radii(eps: str, norm: str) -> None:
    other: dict[str, Any] = {"suite": "quick"} if norm == "l1" else {}
    audit = grey_audit([3, 90], eps=eps, norm=norm, **other)
    report = audit.report(run_audit(audit))
    levels = [point["levels"] for point in report["curve"]["points"]]
    assert levels == sorted(set(levels))
    assert report["robust"]["k"] == (2 if norm != "linf" and eps == "1/255" else 0)


def test_l1_sums_the_levels_of_all_values() -> None:
    """A grey image of 48 values falls where their mean is moved by half a level less than it is away."""
    audit = grey_audit([1, 2, 3, 4] * 3, eps="145/255", norm="l1", suite="quick")
    report = audit.report(run_audit(audit))
    assert report["robust"]["k"] == 3
    nearest = {d["index"]: d["levels"] for d in report["curve"]["minimal_perturbations"]}
    for index, levels in nearest.items():
        assert levels >= 48 * (1 + index % 4) - 24


def test_a_suite_without_attacks_for_the_norm_is_refused() -> None:
    with pytest.raises(ArgumentError, match="norm must be one of linf, l2 for the suite labels; got 'l1'"):
        AuditRequest(suite="labels", norm="l1", eps="12")
    for suite in SUITES:
        if suite != "labels":
            attacks = AuditRequest(suite=suite, norm="l1", eps="12").chosen_suite.attacks
            assert attacks
            assert all("l1" in attack.norms for attack in attacks)
            assert len({attack.name for attack in attacks}) == len(attacks)


def test_labels_alone_have_no_attack_in_l1() -> None:
    with pytest.raises(ValueError, match="norm must be linf or l2 for a model that answers labels alone; got 'l1'"):
        probes(SUITES["transfer"], norm="l1", gradients=False, scores=False)
    for gradients in (True, False):
        found = probes(SUITES["standard"], norm="l1", gradients=gradients)
        assert "l1" in found.curve.norms
        assert found.iterations is None or "l1" in found.iterations.norms


@pytest.mark.parametrize(("threshold", "outcome"), [(None, None), (0.1, "pass"), (0.3, "inconclusive"), (0.9, "fail")])
def test_verdict(threshold: float | None, outcome: str | None) -> None:
    audit = grey_audit(DISTANCES, eps="8/255", min_robust_accuracy=threshold, accept_weak=True)  # 12 of 36 stand
    verdict = audit.report(run_audit(audit))["verdict"]
    assert (verdict["threshold"], verdict["outcome"]) == (threshold, outcome)


# The rest is about a model on which attacks differ, random numbers matter and some samples stand.


@pytest.fixture
def make_audit(convnet: Callable[..., nn.Module]) -> Callable[..., Audit]:
    target = TorchTarget(convnet(), classes=10)
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    labels = target.logits(torch.from_numpy(to_inputs(images))).numpy().argmax(axis=1)

    def make(**request: Any) -> Audit:
        asked = AuditRequest(**{"suite": "custom", "attacks": FIVE, "eps": "3/255", "samples": 30, **request})
        return Audit(target, in_memory(images, labels), asked, classes=list("0123456789"), to_target=torch.from_numpy)

    return make


@pytest.mark.slow
def test_a_request_gives_one_report_in_any_order_through_json_and_after_stops(make_audit: Callable[..., Audit]) -> None:
    audit = make_audit()
    report = audit.report(run_audit(audit), id="one")
    assert 0 < report["robust"]["k"] < report["clean"]["k"]  # or the test would compare nothing

    results: list[dict[str, Any]] = []
    for shard in reversed(range(len(audit.shards))):
        for step in range(len(audit.shards[shard])):
            worker = make_audit()  # every step in a process of its own, knowing only what was stored
            previous = [r for r in json.loads(json.dumps(results)) if r["shard"] == shard]
            random.Random(step).shuffle(previous)
            with pytest.raises(StopError):
                worker.run(worker.shards[shard][step], previous, stop)
            results.append(worker.run(worker.shards[shard][step], previous))
    other = make_audit().report(json.loads(json.dumps(results)), id="two")
    assert deterministic_part(other) == deterministic_part(report)
    assert other["run"]["id"] != report["run"]["id"]


def test_another_seed_draws_other_samples(make_audit: Callable[..., Audit]) -> None:
    first, second = (make_audit(seed=seed)._indices for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_report_is_json_and_complete(make_audit: Callable[..., Audit]) -> None:
    audit = make_audit()
    results = run_audit(audit)
    report = audit.report(results, id="a", requester="b")
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert len(set(report["data"]["indices"])) == report["data"]["n"] == 30
    assert report["run"]["requester"] == "b"
    assert set(report["run"]["seconds"]) == {step.stage for step in audit.steps}
    standing = report["clean"]["k"]
    for attack in report["attacks"]:
        assert attack["attempted"] == standing
        standing -= attack["broken"]
        assert attack["robust"]["k"] == standing
    assert sum(c["robust"]["k"] for c in report["classes"]) == report["robust"]["k"]
    assert 0 < len(report["examples"]) <= 8
    assert audit.report(results, examples=False)["examples"] == []


def test_an_attack_can_be_repeated_by_hand_from_the_report(make_audit: Callable[..., Audit]) -> None:
    audit = make_audit(samples=SHARD_SIZE, examples=SHARD_SIZE, eps="4/255")
    report = audit.report(run_audit(audit))
    order = [attack["name"] for attack in report["attacks"]]
    told = next(attack for attack in report["attacks"] if attack["broken"] and attack["name"] != "fgsm")
    standing = [
        row
        for row, sample in enumerate(report["samples"])
        if sample["broken_by"] is None or order.index(sample["broken_by"]) >= order.index(told["name"])
    ]
    assert len(standing) == told["attempted"]
    images, labels = audit._drawn.read(standing), audit._labels[standing]
    found = (
        ATTACKS[told["name"]]
        .override(**told["parameters"])
        .run(
            audit._target,
            torch.from_numpy(to_inputs(images)),
            torch.from_numpy(labels),
            eps=4 / 255,
            norm="linf",
            rng=np.random.default_rng(np.random.SeedSequence([*told["seed"], 0])),
        )
    )
    pictures = {e["index"]: e["adversarial"] for e in report["examples"] if e["broken_by"] == told["name"]}
    assert len(pictures) == told["broken"]
    for row, image in zip(standing, to_images(found.numpy()), strict=True):
        index = report["samples"][row]["index"]
        assert index not in pictures or base64_png(image) == pictures[index]


def test_heartbeat_hears_of_every_evaluation(make_audit: Callable[..., Audit]) -> None:
    audit = make_audit(samples=5)
    beats: list[int] = []
    results = run_audit(audit, heartbeat=beats.append)
    spent = sum(r["forward_evaluations"] + r["gradient_evaluations"] for r in results)
    assert sum(beats) > spent > 0
    assert max(beats) <= SHARD_SIZE


def test_steps_want_the_results_before_them(make_audit: Callable[..., Audit]) -> None:
    audit = make_audit()
    first = audit.run(audit.steps[0], [])
    with pytest.raises(ValueError, match=r"results must be one for each of 1 steps; got 0"):
        audit.run(audit.steps[1], [])
    with pytest.raises(ValueError, match=r"missing \[\(0, 'fgsm'\)\]"):
        audit.run(audit.steps[2], [first, first])
    with pytest.raises(ValueError, match="results must be one for each"):
        audit.report([first])


@given(st.integers(1, 40), st.integers(0, 99))
def test_plan_covers_every_sample_once(n: int, seed: int) -> None:
    audit = grey_audit([3] * 40, samples=n, seed=seed)
    positions = [p for i in range(len(audit.shards)) for p in audit._shard(i).positions.tolist()]
    assert positions == list(range(n))
    assert len({step.stage for step in audit.steps}) * len(audit.shards) == len(audit.steps)
    assert [step.index for step in audit.steps] == list(range(len(audit.steps)))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"suite": "all"}, "suite must be one of quick, .*custom; got 'all'"),
        ({"suite": ["quick"]}, "suite must be one of quick, "),
        ({"norm": "l0"}, "norm must be one of linf, l2, l1; got 'l0'"),
        ({"eps": "0"}, "eps must be > 0"),
        ({"eps": "1.5"}, "eps must be at most 1 for linf"),
        ({"eps": "1/256"}, "eps must be at least 1/255"),
        ({"eps": "1e-2"}, "eps must be a fraction"),
        ({"eps": 8}, r"eps must be at most 1 for linf \(images lie in \[0, 1\]\); got 8"),
        ({"eps": True}, 'eps must be a number or text such as "8/255"; got True'),
        ({"eps": ["8/255"]}, 'eps must be a number or text such as "8/255"; got'),
        ({"samples": 0}, "samples must be an integer from 1"),
        ({"samples": True}, "samples must be an integer from 1"),
        ({"samples": 9.0}, "samples must be an integer from 1 to 1000000; got 9.0"),
        ({"seed": -1}, "seed must be an integer from 0"),
        ({"min_robust_accuracy": 50}, "min_robust_accuracy must be a number from 0 to 1; got 50"),
        ({"min_robust_accuracy": float("nan")}, "min_robust_accuracy must be a number"),
        ({"accept_weak": 1}, "accept_weak must be on or off; got 1"),
        ({"confidence": 95}, "confidence must be a number from 0.5 to 0.9999; got 95"),
        ({"examples": 65}, "examples must be an integer from 0 to 64"),
        ({"self": 1}, "unknown argument 'self'; accepted: suite, eps"),
        ({"epsilon": "8/255"}, "unknown argument 'epsilon'; accepted: suite, eps"),
        ({"suite": "custom"}, 'attacks must be a list of attacks if suite is "custom", and only then; got None'),
        ({"attacks": [{"name": "pgd"}]}, 'attacks must be a list of attacks if suite is "custom", and only then'),
        (custom(), r"attacks must be a list of 1 to 32; got \[\]"),
        (custom("pgd"), """attacks must be mappings whose "name" is one of fgsm, pgd, .*; got 'pgd'"""),
        (custom({"name": []}), """attacks must be mappings whose "name" is one of"""),
        (
            custom({"name": "deepfool"}),
            """attacks must be mappings whose "name" is one of .*; got {'name': 'deepfool'}""",
        ),
        (custom({"name": "pgd", "stpes": 5}), "pgd has no parameter 'stpes'; it takes objective, restarts, start"),
        (custom({"name": "pgd", "steps": 0}), "pgd: steps must be an integer of at least 1; got 0"),
        (custom({"name": "pgd", "steps": 10**6}), "steps of pgd must be at most 100000; got 1000000"),
        (custom({"name": "pgd", "step_size": float("nan")}), "step_size of pgd must be at most 100000; got nan"),
        (custom({"name": "pgd", "objective": "loss"}), "pgd: objective must be one of cross_entropy, dlr"),
        (custom({"name": "pgd"}, {"name": "pgd", "steps": 5}), 'attacks must be of different names; .* with "as"'),
        (custom({"name": "pgd", "as": "PGD 5"}), "name of an attack must be lower-case letters, digits and dashes"),
        (custom({"name": "pgd", "as": "curve"}), "attacks must be named otherwise than clean, iterations"),
        (custom({"name": "cw-l2"}), "norm must be one of l2 for cw-l2; got 'linf'"),
    ],
)
def test_bad_requests_are_named(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        AuditRequest(**request_)
    wrong = caught.value
    assert wrong.argument in (*AuditRequest.model_fields, *request_)
    assert wrong.accepted
    if wrong.argument in request_ and wrong.argument != "attacks":  # of which the entry that is wrong is named
        assert wrong.received is request_[wrong.argument]


@pytest.mark.parametrize("eps", [0.03, "0.03", Fraction("0.03")])
def test_a_number_is_the_text_that_it_is_written_as(eps: Any) -> None:
    request = AuditRequest(eps=eps)
    assert (str(request.exact_eps), request.effective_eps) == ("3/100", Fraction(7, 255))
    assert AuditRequest(eps="3/100").exact_eps == request.exact_eps


def test_a_threshold_is_met_by_the_adaptive_suite_where_none_is_named() -> None:
    assert AuditRequest().suite == "quick"
    assert AuditRequest(min_robust_accuracy=0.3).suite == "adaptive"
    assert AuditRequest(min_robust_accuracy=0.0).suite == "adaptive"
    assert AuditRequest(min_robust_accuracy=0.3, suite="quick").suite == "quick"
    assert AuditRequest(min_robust_accuracy=None).suite == "quick"


def test_request_survives_json() -> None:
    request = AuditRequest(eps="0.03", norm="l2", samples=7, seed=3, min_robust_accuracy=0.25)
    assert AuditRequest(**json.loads(json.dumps(request.model_dump()))) == request


def test_data_that_does_not_fit_is_named() -> None:
    images, labels = grey_images([3] * 4)
    target = grey_audit([3])._target

    def audit(images: np.ndarray = images, labels: np.ndarray = labels, classes: str = "ab", **request: Any) -> None:
        Audit(target, in_memory(images, labels), AuditRequest(**request), classes=list(classes))

    for arguments, message in (
        ({"images": images.astype(np.float32)}, r"images must be uint8 \(N, H, W, 3\); got float32"),
        ({"labels": labels[:2]}, r"labels must be integers \(4,\)"),
        ({"labels": labels + 1}, r"labels must lie in \[0, 2\); got 1 to 2"),
        ({"classes": "a\udcff"}, "names of classes must be Unicode text"),
        ({"classes": "abc"}, "classes must be 2 names, one for each output; got 3"),
        ({"samples": 5}, "samples must be at most 4, all there are; got 5"),
    ):
        with pytest.raises(ValueError, match=message):
            audit(**arguments)


def test_a_custom_suite_runs_the_attacks_it_lists() -> None:
    listed: list[dict[str, Any]] = [
        {"name": "fgsm"},
        {"name": "pgd", "steps": 5},
        {"name": "pgd", "as": "pgd-7", "steps": 7},
    ]
    request = AuditRequest(suite="custom", attacks=listed)
    assert AuditRequest(**json.loads(json.dumps(request.model_dump()))) == request
    audit = grey_audit(DISTANCES, suite="custom", attacks=listed, eps="8/255")
    report = audit.report(run_audit(audit))
    assert [a["name"] for a in report["attacks"]] == ["fgsm", "pgd", "pgd-7"]
    assert [a["parameters"].get("steps") for a in report["attacks"]] == [None, 5, 7]
    assert report["robust"]["k"] == 12


@pytest.mark.slow
def test_attacks_that_run_alone_take_on_every_image() -> None:
    """The paper's columns: the same images for each, and a worst case over all."""
    report = (audit := grey_audit(DISTANCES, suite="paper", eps="8/255")).report(run_audit(audit))
    names = [a["name"] for a in report["attacks"]]
    assert names == ["fgsm", "pgd-20", "pgd-100", "mi-fgsm", "cw", "apgd-ce", "apgd-t", "fab-t", "square"]
    for attack in report["attacks"][:5]:
        assert (attack["attempted"], attack["alone"]["k"], attack["alone"]["n"]) == (36, 12, 36)
    for attack in report["attacks"][5:]:
        assert (attack["attempted"], attack["alone"]) == (12, None)
    assert [a["broken"] for a in report["attacks"]] == [24, 0, 0, 0, 0, 0, 0, 0, 0]
    assert report["robust"]["k"] == 12


@pytest.mark.slow
def test_a_check_runs_on_some_images() -> None:
    """Groups of five: places 0 to 4 and 125 to 129 are one in 25, and 0 to 4, 50 to 54 and 100 to 104 one in 10."""
    report = (audit := grey_audit([20] * 130, suite="adaptive", eps="8/255")).report(run_audit(audit))
    assert {a["name"]: (a["every"], a["attempted"]) for a in report["attacks"]} == {
        "multi-targeted": (1, 130),
        "fab-t": (25, 10),
        "square": (10, 15),
    }


def test_accuracy_after_each_step_of_a_long_run(grey_report: dict[str, Any]) -> None:
    """Twice the 30 steps of the suite's longest run; the last point is what stands in the end."""
    iterations = grey_report["iterations"]
    assert iterations["attack"]["parameters"]["steps"] == 60
    points = iterations["points"]
    assert (points[0]["iterations"], points[-1]["iterations"]) == (0, 60)
    values = [point["k"] for point in points]
    assert values == sorted(values, reverse=True)
    assert (values[-1], points[-1]["n"], iterations["broken_beyond_suite"]) == (12, 36, 0)


def test_no_long_run_where_nothing_stands() -> None:
    """The second shard is attacked no further; its images count as fallen at the first step."""
    audit = grey_audit([60] * 25 + [1] * 25, eps="8/255", suite="quick", seed=1)
    results = run_audit(audit)
    for run in (r for r in results if r["stage"] == "iterations"):
        assert run["gradient_evaluations"] > 20 * len(run["confidences"])  # of the usual PGD, and of the run
    standing = {s["index"] for s in audit.report(results)["samples"] if s["broken_by"] is None}
    assert standing == set(range(25))
    alone = grey_audit([1] * 25, eps="8/255", suite="quick")
    results = run_audit(alone)
    (run,) = (r for r in results if r["stage"] == "iterations")
    confidences = 20 * len(run["confidences"])
    assert run["gradient_evaluations"] == confidences  # of the usual PGD, and none of the run
    assert run["standing"] == [25, *([0] * (len(run["standing"]) - 1))]
    points = alone.report(results)["iterations"]["points"]
    assert [point["k"] for point in points[:3]] == [25, 0, 0]


def test_the_curve_is_left_out_on_request() -> None:
    whole, short = (grey_audit(DISTANCES, eps="8/255", curve=curve) for curve in (True, False))
    assert {step.stage for step in whole.steps} - {step.stage for step in short.steps} == {"curve"}
    report, full = (audit.report(run_audit(audit)) for audit in (short, whole))
    assert report["curve"] is None
    assert report["robust"] == full["robust"]
    assert [text for text in report["limitations"] if "was left out, as asked" in text]
    (flag,) = (f for f in report["flags"] if f["name"] == "accuracy_above_chance_at_any_radius")
    assert (flag["raised"], flag["evidence"]) == (None, "the search at larger radii was left out")
    assert "accuracy against eps, and the nearest errors" in render_report(report)


def test_confidence_in_the_true_class(grey_report: dict[str, Any]) -> None:
    """Of two logits, threshold and level: the probability is 1 / (1 + exp(-|level - 100.5|))."""
    found = {row["index"]: row for row in grey_report["confidences"]["samples"]}
    assert sorted(found) == list(range(36))
    for index, distance in enumerate(DISTANCES):
        margin = distance - 0.5
        assert found[index]["clean"] == pytest.approx(1 / (1 + np.exp(-margin)), abs=1e-5)
        assert found[index]["adversarial"] == pytest.approx(1 / (1 + np.exp(8 - margin)), abs=1e-5)


@pytest.mark.slow
def test_a_model_without_gradients_takes_black_box_suites_only() -> None:
    class Answers:
        classes, gradients = 2, False

        def __init__(self) -> None:
            self.target = TorchTarget(Grey(), classes=2)

        def logits(self, inputs: Any) -> Any:
            return self.target.logits(inputs)

        def gradient(self, *_: Any) -> Any:
            raise AssertionError("nobody may ask")

    images, labels = grey_images([2, 20] * 5)

    def audit(suite: str) -> Audit:
        request = AuditRequest(suite=suite, eps="8/255")
        return Audit(
            Answers(), in_memory(images, labels), request, classes=["dark", "light"], to_target=torch.from_numpy
        )

    with pytest.raises(ValueError, match=r"suite must be one without white-box attacks .*black-box.*; got 'quick'"):
        audit("quick")
    report = (plan := audit("black-box")).report(run_audit(plan))
    assert (report["robust"]["k"], report["iterations"], report["confidences"]) == (5, None, None)
    unknown = {flag["name"] for flag in report["flags"] if flag["raised"] is None}
    assert unknown >= {"zero_gradients", "iterative_weaker_than_single_step", "more_steps_still_help"}


def test_transfer_attacks_follow_the_surrogate() -> None:
    """A surrogate that sees what the model sees gives its errors away; one that sees nothing does not."""
    images, labels = grey_images(DISTANCES)

    def broken(surrogate: nn.Module) -> dict[str, int]:
        audit = Audit(
            TorchTarget(Grey(), classes=2),
            in_memory(images, labels),
            AuditRequest(suite="transfer", eps="8/255"),
            classes=["dark", "light"],
            to_target=torch.from_numpy,
            surrogate=TorchTarget(surrogate, classes=2),
            surrogate_model={"digest": "sha256:1"},
        )
        report = audit.report(run_audit(audit))
        assert report["surrogate"] == {"digest": "sha256:1"}
        assert {a["on"] for a in report["attacks"]} == {"surrogate"}
        return {a["name"]: 36 - a["alone"]["k"] for a in report["attacks"]}

    same = broken(Grey())
    assert (same["transfer-pgd"], same["transfer-mi"]) == (24, 24)
    assert max(broken(nn.Sequential(nn.Flatten(), Blind())).values()) == 0
    with pytest.raises(ValueError, match="surrogate must be given for suite 'transfer'"):
        grey_audit(DISTANCES, suite="transfer")


class Blind(nn.Module):
    """Adds up light and dark stripes: what it is misled by cancels out in a mean."""

    def forward(self, inputs: Tensor) -> Tensor:
        stripes = torch.where(torch.arange(inputs.shape[1]) % 2 == 0, 1.0, -1.0)
        value = (inputs * stripes).mean(1)
        return torch.stack([-value, value], dim=1)
