import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2at.serving.access import rates
from f2at.serving.access.rates import RateLimit


def test_a_burst_then_the_rate() -> None:
    limit = RateLimit(rate=2, burst=3)
    assert [limit.delay("a", 100.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.delay("a", 100.25) == 0.25
    assert limit.delay("a", 100.5) == 0
    assert limit.delay("a", 100.5) == 0.5


def test_a_client_that_waits_has_its_burst_again_and_no_more() -> None:
    limit = RateLimit(rate=1, burst=2)
    assert [limit.delay("a", 0.0) for _ in range(3)] == [0, 0, 1]
    assert [limit.delay("a", 1e6) for _ in range(3)] == [0, 0, 1]


def test_clients_do_not_share() -> None:
    limit = RateLimit(rate=1, burst=1)
    assert [limit.delay(client, 0.0) for client in "aab"] == [0, 1, 0]


@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 20),
    pauses=st.lists(st.floats(0, 5), min_size=1, max_size=100),
)
def test_no_more_than_burst_and_rate_in_any_window_and_a_wait_is_rewarded(
    rate: float, burst: int, pauses: list[float]
) -> None:
    limit, now, admitted = RateLimit(rate, burst), 0.0, []
    for pause in pauses:
        now += pause
        delay = limit.delay("a", now)
        if delay:
            now += delay
            assert limit.delay("a", now) == 0, "who waits as long as it was told is admitted"
        admitted.append(now)
    for first, begin in enumerate(admitted):
        for count, end in enumerate(admitted[first:], start=1):
            assert count <= burst + rate * (end - begin) + 1e-6 * rate * now + 1e-6


def test_only_so_many_clients_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_MOST_CLIENTS", 2)
    limit = RateLimit(rate=1, burst=1)
    assert [limit.delay(client, 0.0) for client in "abac"] == [0, 0, 1, 0]
    assert limit.delay("a", 0.0) == 1, "seen after b"
    assert limit.delay("b", 0.0) == 0, "forgotten"
