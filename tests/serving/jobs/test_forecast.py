import pytest

from f2at.audit import perform, run_audit
from f2at.audit.meter import Meter
from f2at.serving.jobs.forecast import Forecast
from tests.audit.grey import grey_audit

ATTACKS = [{"name": "pgd", "steps": 9, "restarts": 1}, {"name": "square", "queries": 100}]


def test_it_is_known_with_the_first_word_of_a_worker() -> None:
    """PGD on 5 images takes 50 gradients at most: 20 of them in 6 seconds are 0.3 s each, a forward pass a third."""
    planned = grey_audit([5] * 5, suite="custom", attacks=ATTACKS, eps="8/255", curve=False)
    first = planned.run(planned.shards[0][0], []) | {"forward_evaluations": 0, "gradient_evaluations": 0}
    forecast = Forecast(planned)
    assert forecast.of([[]], {0: None}) == {"share": None, "seconds_left": None}
    assert forecast.pace is None
    told = {"place": 1, "evaluated": 20, "seconds": 6.0}
    found = forecast.of([[first]], {0: told})
    later = planned.shards[0][2:]
    costs = [planned.cost(step, [first]) for step in later]
    expected = 30 * 0.3 + sum(0.3 * cost.gradients + 0.1 * cost.forwards for cost in costs)
    assert found["seconds_left"] == pytest.approx(expected, abs=0.1)
    assert forecast.pace == pytest.approx((0.1, 0.3))
    stale = {**told, "place": 0}
    assert forecast.of([[first]], {0: stale}) != found, "a word about a step that is done says nothing of the next"


def test_more_workers_take_less_time_and_at_the_end_nothing_is_left() -> None:
    planned = grey_audit([5] * 50, suite="custom", attacks=ATTACKS, eps="8/255", curve=False)
    results = run_audit(planned)
    shards = [[result for result in results if result["shard"] == number] for number in range(2)]
    for result in results:
        result["seconds"] = 1.0
    one, two = (Forecast(planned).of([part[:2] for part in shards], dict.fromkeys(range(n))) for n in (1, 2))
    assert one["seconds_left"] == pytest.approx(2 * two["seconds_left"], abs=0.2)
    assert 0 < one["share"] == two["share"] < 1
    assert Forecast(planned).of(shards, {}) == {"share": 1.0, "seconds_left": 0.0}


def test_it_says_what_the_meter_of_an_offline_audit_says() -> None:
    planned = grey_audit([1 + i % 12 for i in range(30)], suite="custom", attacks=ATTACKS, eps="8/255", curve=False)
    meter = Meter(planned, planned.measure())
    perform(planned, meter=meter)
    results = run_audit(planned)
    shards = [[result for result in results if result["shard"] == number] for number in range(2)]
    assert Forecast(planned).of(shards, {})["share"] == meter.share == 1.0
