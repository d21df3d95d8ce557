"""Power against cases worked by hand, and against audits and comparisons that are drawn and judged."""

import itertools
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2at.audit.reports.difference import paired_interval
from f2at.audit.reports.power import outcome_chances, samples_needed, tolerance_power
from f2at.audit.reports.statistics import proportion, verdict

DRAWS = 20_000
SLACK = 5 / (2 * DRAWS**0.5)  # five standard errors of a share, at most


def test_a_threshold_by_hand() -> None:
    """Of 4 images, Wilson's interval begins above 50 % if all 4 are right (51.01 %; 3: 30.1 %), and ends below it if
    none is, the mirror image."""
    chances = outcome_chances(4, 0.5, 0.9)
    assert chances["pass"] == pytest.approx(0.9**4)
    assert chances["fail"] == pytest.approx(0.1**4)
    assert chances["inconclusive"] == pytest.approx(1 - 0.9**4 - 0.1**4)
    # Of 6, from 5 on: 43.6 % is below, 6 of 6 begins at 60.97 %; of 10, from 9 on: 59.6 %, and 8 of 10 is 49.0 %.
    assert outcome_chances(6, 0.5, 0.7)["pass"] == pytest.approx(0.7**6)
    assert outcome_chances(10, 0.5, 0.7)["pass"] == pytest.approx(0.7**10 + 10 * 0.7**9 * 0.3)


def test_the_level_of_the_interval_counts() -> None:
    assert outcome_chances(3, 0.5, 0.9)["pass"] == 0  # 3 of 3 begins at 43.9 %
    assert outcome_chances(3, 0.5, 0.9, confidence=0.8)["pass"] == pytest.approx(0.9**3)  # at 64.6 %


@pytest.mark.parametrize("certain", [0.0, 1.0])
def test_what_is_certain(certain: float) -> None:
    assert outcome_chances(20, 0.5, certain)["pass"] == certain
    assert outcome_chances(20, 0.5, certain)["fail"] == 1 - certain


@given(st.integers(1, 400), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_threshold_by_definition(n: int, threshold: float, expected: float) -> None:
    """The sum over every count, with the verdict that a report would give it."""
    summed = {"pass": 0.0, "fail": 0.0, "inconclusive": 0.0}
    for k in range(n + 1):
        outcome = verdict(proportion(k, n), threshold)
        assert outcome is not None
        summed[outcome] += comb(n, k) * expected**k * (1 - expected) ** (n - k)
    assert outcome_chances(n, threshold, expected) == pytest.approx(summed, abs=1e-9)


@pytest.mark.parametrize(("n", "threshold", "expected"), [(200, 0.3, 0.385), (1000, 0.35, 0.385), (60, 0.6, 0.45)])
def test_a_threshold_by_simulation(n: int, threshold: float, expected: float) -> None:
    counts = np.random.default_rng(0).binomial(n, expected, DRAWS)
    found = [verdict(proportion(k, n), threshold) for k in counts.tolist()]
    for outcome, chance in outcome_chances(n, threshold, expected).items():
        assert found.count(outcome) / DRAWS == pytest.approx(chance, abs=SLACK)


def test_two_models_that_never_differ_by_hand() -> None:
    """Whether the interval is above -tolerance is then a matter of how many both get right."""
    n, expected, tolerance = 20, 0.7, 12.0
    passing = [k for k in range(n + 1) if 100 * paired_interval(k, 0, 0, n - k)[0] >= -tolerance]
    assert passing == [6, 7, 8, 9, 10, 11, 12, 13, 14]
    chance = sum(comb(n, k) * expected**k * (1 - expected) ** (n - k) for k in passing)
    assert tolerance_power(n, tolerance, expected, apart=0.0) == pytest.approx(chance)


@pytest.mark.parametrize(
    ("n", "tolerance", "expected", "apart"),
    [
        (1, 50, 0.5, 0.5),
        (7, 30, 0.6, 0.3),
        (12, 20, 0.5, 1.0),
        (16, 25, 0.8, 0.4),
        (16, 0, 0.8, 0.4),
        (9, 100, 0.9, 0.2),
    ],
)
def test_a_tolerance_by_definition(n: int, tolerance: float, expected: float, apart: float) -> None:
    """The sum over every table of four counts."""
    cells = (expected - apart / 2, apart / 2, apart / 2, 1 - expected - apart / 2)
    chance = 0.0
    for both, won, lost in itertools.product(range(n + 1), repeat=3):
        neither = n - both - won - lost
        if neither >= 0 and not 100 * paired_interval(both, won, lost, neither)[0] < -tolerance:
            ways = comb(n, both) * comb(n - both, won) * comb(n - both - won, lost)
            powers = zip(cells, (both, won, lost, neither), strict=True)
            chance += ways * float(np.prod([max(cell, 0.0) ** count for cell, count in powers]))
    assert tolerance_power(n, tolerance, expected, apart) == pytest.approx(chance, abs=1e-6)


def test_winning_more_of_what_differs_is_never_worse() -> None:
    """What the sums rely on."""
    for n in (1, 2, 5, 12):
        for both, neither in itertools.product(range(n + 1), repeat=2):
            differing = n - both - neither
            lows = [paired_interval(both, won, differing - won, neither)[0] for won in range(differing + 1)]
            assert lows == sorted(lows)


@pytest.mark.parametrize(
    ("n", "tolerance", "expected", "apart"), [(300, 5, 0.4, 0.1), (800, 3, 0.6, 0.2), (150, 8, 0.9, 0.18)]
)
def test_a_tolerance_by_simulation(n: int, tolerance: float, expected: float, apart: float) -> None:
    cells = (expected - apart / 2, apart / 2, apart / 2, 1 - expected - apart / 2)
    tables = np.random.default_rng(0).multinomial(n, cells, DRAWS // 4)
    passed = [100 * paired_interval(*table)[0] >= -tolerance for table in tables.tolist()]
    assert np.mean(passed) == pytest.approx(tolerance_power(n, tolerance, expected, apart), abs=2 * SLACK)


def test_as_many_samples_as_it_takes() -> None:
    def power(n: int) -> float:
        return outcome_chances(n, 0.3, 0.385)["pass"]

    found = samples_needed(power)
    assert found is not None
    assert power(found) >= 0.9
    # Teeth aside, fewer have less, and no number much smaller has as much.
    assert all(power(n) < 0.9 for n in range(1, round(0.95 * found)))
    assert samples_needed(lambda n: float(n >= 4)) == 4
    assert samples_needed(lambda n: float(n >= 1)) == 1
    assert 77_777 <= (samples_needed(lambda n: float(n >= 77_777)) or 0) <= 78_555
    assert samples_needed(lambda n: 0.0) is None


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="threshold must be from 0 to 1; got 30"):
        outcome_chances(10, 30, 0.5)
    with pytest.raises(ValueError, match=r"apart must be at most 0\.2 for an accuracy of 0\.9; got 0\.3"):
        tolerance_power(10, 3, 0.9, 0.3)
