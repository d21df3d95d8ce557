"""On which samples a check is made, by hand-worked cases."""

import pytest

from f2at.audit import run_audit
from f2at.audit.suites import chosen
from tests.audit.grey import grey_audit


@pytest.mark.parametrize(
    ("standing", "every", "leads", "expected"),
    [
        (range(25), 1, {}, list(range(25))),
        (range(25), 5, {}, [0, 1, 2, 3, 4]),  # a group of five in five
        (range(25), 5, {20: 0.5, 7: 0.1, 3: 2.0, 11: 0.2, 24: 0.3, 0: 0.7}, [0, 7, 11, 20, 24]),  # the nearest
        ([1, 2, 9, 24], 5, {24: 0.1, 9: 0.2}, [9, 24]),  # two of the group stand
        ([7, 8, 9], 5, {7: 0.1}, []),  # none of it does
        (range(25, 50), 10, {30: 0.1}, []),  # the second shard has no group
    ],
)
def test_a_check_takes_on_the_nearest_to_an_error(
    standing: list[int], every: int, leads: dict[int, float], expected: list[int]
) -> None:
    assert chosen(list(standing), every, leads) == expected


def test_the_square_check_of_quick_is_on_those_that_gradients_nearly_moved() -> None:
    """Of 25 grey images that stand at distances 9 to 33, the nearest to the threshold."""
    audit = grey_audit(list(reversed(range(9, 34))), eps="8/255", suite="quick")
    results = run_audit(audit)
    (check,) = (result for result in results if result["stage"] == "square")
    samples = audit.report(results)["samples"]
    assert sorted(33 - samples[position]["index"] for position in check["attempted"]) == [9, 10, 11, 12, 13]
