from itertools import count, takewhile

from f2at.serving.webhooks.retries import PAUSES, pause_after

DAY = 86_400


def pauses(asked: float | None = None, chance: float = 0.5) -> list[float]:
    found = (pause_after(tries, asked, chance) for tries in count(1))
    return [pause for pause in takewhile(lambda pause: pause is not None, found) if pause is not None]


def test_pauses_grow_and_end() -> None:
    assert pauses() == list(PAUSES)
    assert pauses() == sorted(pauses())
    assert 2 * DAY < sum(pauses()) < 3 * DAY


def test_what_failed_together_does_not_come_back_together() -> None:
    assert [pause_after(1, None, chance) for chance in (0.0, 1.0)] == [1.6, 2.4]


def test_a_receiver_may_ask_for_more_time_but_not_for_ever() -> None:
    assert pauses(asked=100)[:4] == [100, 100, 100, 300]
    assert pauses(asked=1e9) == [DAY] * len(PAUSES)
