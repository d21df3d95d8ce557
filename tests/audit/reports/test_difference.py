import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2at.audit.reports.difference import independent_interval, mcnemar_exact, paired_interval

counts = st.integers(0, 200)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (10, 2, 158 / 4096),  # 2 (1 + 12 + 66) / 2^12
        (0, 5, 2 / 32),
        (0, 6, 2 / 64),
        (1, 3, 10 / 16),
        (7, 7, 1.0),
        (5, 4, 1.0),
        (0, 1, 1.0),
        (0, 0, 1.0),
        # Fagerland, Lydersen & Laake, "Statistical Analysis of Contingency Tables" (2017), chapter 8, exact test.
        (1, 7, 0.0703),
        (6, 16, 0.0525),
    ],
)
def test_mcnemar_against_hand_worked_and_published_values(only_first: int, only_second: int, p: float) -> None:
    assert mcnemar_exact(only_first, only_second) == pytest.approx(p, abs=5e-5)
    assert mcnemar_exact(only_second, only_first) == mcnemar_exact(only_first, only_second)


@given(counts, counts)
def test_mcnemar_is_twice_the_tail_of_a_fair_coin(only_first: int, only_second: int) -> None:
    n = only_first + only_second
    tail = sum(math.comb(n, i) for i in range(min(only_first, only_second) + 1)) / 2**n
    assert mcnemar_exact(only_first, only_second) == pytest.approx(min(1.0, 2 * tail))


# Both, only first, only second, neither.
@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), pp. 2635-2650, worked examples, method 10.
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((18, 12, 2, 18), 0.0562, 0.3290),
        ((53, 0, 0, 1), -0.0729, 0.0729),
        ((0, 30, 0, 0), 0.8395, 1.0),
        # Fagerland, Lydersen & Laake, "Statistical Analysis of Contingency Tables" (2017), chapter 8.
        ((1, 1, 7, 12), -0.5069, -0.0256),
        ((59, 6, 16, 80), -0.1186, -0.0046),
    ],
)
def test_paired_interval_against_published_values(table: tuple[int, int, int, int], low: float, high: float) -> None:
    assert paired_interval(*table) == pytest.approx((low, high), abs=5e-5)


# Newcombe, Statistics in Medicine 17 (1998), pp. 873-890, Table II, method 10.
@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090)],
)
def test_independent_interval_against_published_values(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    assert independent_interval(first, second) == pytest.approx((low, high), abs=5e-5)


@given(counts, counts, counts, counts)
def test_paired_interval_holds_the_difference_and_turns_with_it(both: int, first: int, second: int, none: int) -> None:
    low, high = paired_interval(both, first, second, none)
    n = both + first + second + none
    assert -1 <= low <= high <= 1
    if n:
        assert low - 1e-12 <= (first - second) / n <= high + 1e-12
    assert paired_interval(both, second, first, none) == pytest.approx((-high, -low), abs=1e-12)


@given(st.integers(1, 200), st.integers(0, 200))
def test_pairing_narrows_the_interval_of_models_that_agree(both: int, neither: int) -> None:
    n = both + neither
    paired = paired_interval(both, 0, 0, neither)
    independent = independent_interval((both, n), (both, n))
    assert independent[0] <= paired[0] < 0 < paired[1] <= independent[1]


def test_nothing_counted_says_nothing_and_nonsense_is_refused() -> None:
    assert paired_interval(0, 0, 0, 0) == (-1.0, 1.0)
    assert independent_interval((0, 0), (3, 4)) == (-1.0, 1.0)
    with pytest.raises(ValueError, match="only_second must be a count, 0 or more; got -1"):
        mcnemar_exact(1, -1)
    with pytest.raises(ValueError, match="confidence must be between 0 and 1; got 95"):
        paired_interval(1, 2, 3, 4, confidence=95)
