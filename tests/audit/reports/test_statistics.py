import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2at.audit.reports.statistics import better_than, median_or_none, proportion, verdict, wilson_interval


# Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998), Table I,
# method 3 (score, no continuity correction), 95 %.
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_against_published_values(successes: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("successes", "n", "chance", "better"),
    [
        (5, 5, 0.6, True),  # 5 log(1 / 0.6) = 2.55; what it takes is 1.96 ** 2 / 2 = 1.92
        (3, 3, 2 / 3, False),  # 1.22
        (1, 1, 0.5, False),
        (17, 100, 0.11, False),  # 1.61
        (18, 100, 0.11, True),  # 2.09
        (60, 100, 0.6, False),
        (0, 5, 0.6, False),
        (5, 5, 1.0, False),
        (1, 5, 0.0, True),
    ],
)
def test_what_is_better_than_chance(successes: int, n: int, chance: float, better: bool) -> None:
    assert better_than(successes, n, chance) is better


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_ends_solve_the_score_equation(case: tuple[int, int]) -> None:
    k, n = case
    for end in wilson_interval(k, n):
        assert 0 <= end <= 1
        if 0 < end < 1:
            assert abs(k / n - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / n), rel=1e-5)
    mirrored = wilson_interval(n - k, n)
    assert wilson_interval(k, n) == pytest.approx((1 - mirrored[1], 1 - mirrored[0]), abs=1e-12)


def test_wilson_of_nothing_and_of_nonsense() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert proportion(0, 0)["value"] is None
    with pytest.raises(ValueError, match="successes must be from 0 to n = 3; got 4"):
        wilson_interval(4, 3)
    with pytest.raises(ValueError, match="confidence must be between 0 and 1; got 95"):
        wilson_interval(1, 3, confidence=95)


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(None, None), (0.2552, "pass"), (0.2554, "inconclusive"), (0.3661, "inconclusive"), (0.3663, "fail")],
)
def test_verdict_is_by_interval(threshold: float | None, expected: str | None) -> None:
    assert verdict(proportion(81, 263), threshold) == expected


def test_median_counts_unbroken_samples_as_infinitely_far() -> None:
    assert median_or_none([3, None, 1]) == 3
    assert median_or_none([3, None, 1, 2]) == 2.5
    assert median_or_none([3, None, None]) is None
    assert median_or_none([3, None]) is None
    assert median_or_none([]) is None
