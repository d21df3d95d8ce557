from typing import Any

import pytest

from f2at.audit import Audit, perform
from f2at.audit.cost import Cost, Pace
from f2at.audit.meter import Meter
from f2at.audit.steps import Step
from tests.audit.grey import grey_audit

ATTACKS = [{"name": "pgd", "steps": 9, "restarts": 1}, {"name": "square", "queries": 100}]
PACE = Pace(forward=1.0, gradient=10.0)


def audit(distances: list[int], **request: Any) -> Audit:
    return grey_audit(distances, suite="custom", attacks=ATTACKS, eps="8/255", curve=False, **request)


def test_before_the_first_step_it_is_what_all_steps_cost_at_most() -> None:
    """30 images: shards of 25 and 5, all followed; no attack succeeds, in the plan."""
    planned = audit([5] * 30)
    per_image = {"pgd": Cost(0, 10), "square": Cost(100, 0)}
    for step in planned.steps:
        if step.stage in per_image:
            n = 25 if step.shard == 0 else 5
            assert planned.cost(step) == Cost(*(n * each for each in per_image[step.stage]))
    assert Meter(planned, PACE).seconds_left == sum(PACE.seconds(planned.cost(step)) for step in planned.steps)


def test_what_fell_costs_no_later_attack_anything() -> None:
    planned = audit([1, 1, 1, 20])
    first = planned.shards[0]
    results = [planned.run(first[0], [])]
    assert planned.cost(first[1], results) == Cost(0, 4 * 10)
    results.append(planned.run(first[1], results))
    assert planned.cost(first[2], results) == Cost(100, 0)  # one of four stands


def test_every_evaluation_moves_it_and_at_the_end_nothing_is_left() -> None:
    planned = audit([1 + i % 12 for i in range(30)])
    meter = Meter(planned, PACE)
    seen: list[tuple[Step | None, float, float]] = []
    meter.show = lambda: seen.append((meter.step, meter.share, meter.seconds_left))
    perform(planned, meter=meter)
    assert seen[-1] == (None, 1.0, 0.0)
    assert {step for step, *_ in seen if step} == set(planned.steps)
    assert all(0 <= share <= 1 for _, share, _ in seen)
    for step in planned.steps:  # within a step, it only falls
        left = [seconds for running, _, seconds in seen if running == step]
        assert left == sorted(left, reverse=True)
        assert len(set(left)) > 1
    assert len(seen) > 10 * len(planned.steps)


def test_a_stage_is_expected_to_last_as_long_as_it_did() -> None:
    planned = audit([5] * 100)
    meter = Meter(planned, PACE)
    for step in planned.shards[0]:
        meter.end(step, 7.0)
    assert meter.seconds_left == pytest.approx(3 * 7.0 * len(planned.shards[0]))
    assert meter.share == pytest.approx(1 / 4)


def test_the_pace_is_measured_and_costs_the_report_nothing() -> None:
    planned = audit([5] * 4)
    pace = planned.measure()
    assert 0 < pace.forward < 1
    assert 0 < pace.gradient < 1
    report = perform(planned)
    assert report["attacks"][0]["forward_evaluations"] + report["attacks"][0]["gradient_evaluations"] <= 4 * 10
