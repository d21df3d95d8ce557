from typing import Any

import pytest

from f2at.training.configuration.files import config_from_table
from f2at.training.cost import Outlook, Stopwatch, foresee, forward_passes


@pytest.mark.parametrize(
    ("method", "passes"),
    [
        ({"name": "plain"}, 3),
        ({"name": "sat"}, 2 * 10 + 3),
        ({"name": "seat"}, 2 * 10 + 3),
        ({"name": "trades"}, 2 * 10 + 1 + 7),
        ({"name": "mart"}, 2 * 10 + 6),
        ({"name": "f2at"}, 2 * 10 + 9),
        ({"name": "f2at", "alpha": 0.0}, 2 * 10 + 6),
        ({"name": "f2at", "gamma": 0.0}, 2 * 10 + 9),
        ({"name": "f2at", "alpha": 0.0, "gamma": 0.0}, 2 * 10 + 3),
        ({"name": "f2at-fast"}, 2 * 10 + 1 + 3),
        ({"name": "f2at-fast", "gamma": 0.0}, 2 * 10 + 3),
    ],
)
def test_a_step_of_pgd_10_costs_two_passes_a_step_and_three_for_each_batch_that_is_learnt_from(
    method: dict[str, Any], passes: int
) -> None:
    assert forward_passes(config_from_table({"method": method})) == passes


@pytest.mark.parametrize(
    ("sections", "passes"),
    [
        ({"attack": {"kind": "n-fgsm"}}, 2 + 3),
        ({"attack": {"kind": "none"}}, 3),
        ({"attack": {"steps": 2, "objective": "kl"}}, 2 * 2 + 1 + 3),
        ({"attack": {"steps": 2}, "awp": {"gamma": 0.005}}, 2 * 2 + 2 * 3),
    ],
)
def test_the_inner_attack_and_the_perturbation_of_weights_are_counted(sections: dict[str, Any], passes: int) -> None:
    assert forward_passes(config_from_table({"method": {"name": "sat"}, **sections})) == passes


def test_what_is_to_come_is_counted_in_passes() -> None:
    """SAT with PGD-10 takes 23 passes, so at 23 s an image one pass takes a second."""
    config = config_from_table({"method": {"name": "sat"}, "attack": {"validation_steps": 5, "test_steps": 20}})
    epoch = 23 * 100 + 12 * 30 + (4 + 22) * 30
    assert foresee(config, 23.0, images=100, validation=30, test=10, epochs=3) == (epoch, 3 * epoch + 42 * 10)
    many = foresee(config, 23.0, images=100, validation=1000, test=10, epochs=1)
    assert many.epoch == 23 * 100 + 12 * 1000 + (4 + 22) * 256
    plain = config_from_table({"method": {"name": "plain"}})
    assert foresee(plain, 3.0, images=100, validation=30, test=0, epochs=2) == (330, 660)


def test_it_is_said_in_hours_and_minutes() -> None:
    line = Outlook(75.4, 5000.0).line(66)
    assert line == "about 01:15 an epoch, validation included; 1:23:20 in all for the 66 to come"


def test_the_pace_is_told_once_and_without_the_first_batch() -> None:
    times = iter([0.0, 100.0, 102.0, 104.0, 106.0])
    watch = Stopwatch(lambda: next(times))
    told = [watch.beat(8, last=False) for _ in range(4)]
    assert told == [None, None, None, 6 / 24]
    assert watch.beat(8, last=True) is None


@pytest.mark.parametrize(("batches", "expected"), [(1, 4 / 8), (2, 1 / 8)])
def test_a_short_epoch_tells_it_at_its_end(batches: int, expected: float) -> None:
    times = iter([0.0, 4.0, 5.0])
    watch = Stopwatch(lambda: next(times))
    assert [watch.beat(8, last=index == batches - 1) for index in range(batches)][-1] == expected
