"""How often an endpoint is asked."""

import pytest

from f2at.audit.endpoint.limits import Limits, QueriesSpentError


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept = list[float]()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_no_more_than_the_budget_leaves() -> None:
    limits = Limits(most=10)
    limits.take(7)
    with pytest.raises(QueriesSpentError, match="the budget of 10 queries is spent: 7 images were sent"):
        limits.take(4)
    limits.take(3)
    assert (limits.sent, limits.requests, limits.left) == (10, 2, 0)
    assert Limits().left is None


def test_images_leave_at_the_rate() -> None:
    clock = Clock()
    limits = Limits(rate=4, clock=clock, sleep=clock.sleep)
    for images in (2, 1, 1):
        limits.take(images)
    assert clock.slept == [0.5, 0.25]
    clock.now += 60  # an endpoint that was idle is not flooded afterwards
    limits.take(1)
    limits.take(1)
    assert clock.slept == [0.5, 0.25, 0.25]


@pytest.mark.parametrize(("name", "value"), [("most", 0), ("rate", 0), ("rate", float("nan")), ("rate", -1)])
def test_limits_that_are_none_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=r"max_queries must be at least 1|rate must be > 0"):
        Limits(**{name: value})  # type: ignore[arg-type]
