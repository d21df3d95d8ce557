"""Who gets a worker, and when."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2at.serving.decoding.cost import Cost
from f2at.serving.decoding.turns import Turn, Turns
from f2at.serving.problems import Problem


class Queue:
    """Turns whose begun ones are listed by the names of their requests."""

    def __init__(self, workers: int, most: int = 100) -> None:
        self.turns = Turns(workers, most)
        self.begun: list[str] = []
        self._by_name: dict[str, Turn] = {}

    def join(self, *names: str) -> None:
        """A name is the client's letter and a number; capitals are heavy."""
        for name in names:
            cost = Cost.HEAVY if name[0].isupper() else Cost.ORDINARY
            self._by_name[name] = Turn(name[0].lower(), cost, lambda name=name: self.begun.append(name))  # type: ignore[misc]
            self.turns.join(self._by_name[name])

    def leave(self, name: str) -> None:
        self.turns.leave(self._by_name.pop(name))


def test_clients_take_turns_and_none_gets_every_worker() -> None:
    queue = Queue(3)
    queue.join("a1", "a2", "a3", "a4")
    assert queue.begun == ["a1", "a2"]
    queue.join("b1", "b2", "c1")
    assert queue.begun == ["a1", "a2", "b1"]
    for name in ("a1", "b1", "c1", "a2"):
        queue.leave(name)
    assert queue.begun == ["a1", "a2", "b1", "c1", "b2", "a3", "a4"]


def test_heavy_files_get_half_of_the_workers_whoever_sends_them() -> None:
    queue = Queue(4)
    queue.join("A1", "B1", "C1", "e1", "A2", "d1")
    assert queue.begun == ["A1", "B1", "e1", "d1"]
    queue.leave("d1")
    assert len(queue.begun) == 4
    queue.leave("A1")
    assert queue.begun[4:] == ["C1"]


def test_one_worker_is_for_all_of_them() -> None:
    queue = Queue(1)
    queue.join("A1", "A2", "b1")
    queue.leave("A1")
    queue.leave("b1")
    assert queue.begun == ["A1", "b1", "A2"]


def test_who_waits_no_longer_is_passed_over() -> None:
    queue = Queue(1)
    queue.join("a1", "b1", "c1")
    queue.leave("b1")
    queue.leave("a1")
    queue.leave("c1")
    assert queue.begun == ["a1", "c1"]
    assert len(queue.turns) == 0


def test_more_than_may_wait_are_refused() -> None:
    queue = Queue(3, most=4)
    queue.join("a1", "a2")
    with pytest.raises(Problem, match="Too many of your images") as own:
        queue.join("a3")
    queue.join("b1", "b2")
    with pytest.raises(Problem, match="Too many images") as all_together:
        queue.join("c1")
    assert [(error.value.status, error.value.headers["Retry-After"]) for error in (own, all_together)] == [
        (429, "1"),
        (503, "1"),
    ]
    queue.leave("a1")
    queue.join("c1")


@given(st.integers(1, 5), st.lists(st.tuples(st.sampled_from("abcABC"), st.booleans()), max_size=40))
def test_bounds_hold_and_everyone_gets_there(workers: int, moves: Iterable[tuple[str, bool]]) -> None:
    queue = Queue(workers)
    for number, (letter, finish) in enumerate(moves):
        queue.join(f"{letter}{number}")
        if finish and queue.begun:
            queue.leave(queue.begun.pop(0))
        assert len(queue.begun) <= workers
        assert sum(name[0].isupper() for name in queue.begun) <= max(1, workers // 2)
        for client in "abc":
            assert sum(name[0].lower() == client for name in queue.begun) <= max(1, workers - 1)
    while queue.begun:
        queue.leave(queue.begun.pop(0))
    assert len(queue.turns) == 0
