"""How likely a verdict is before the audit is run, and how many samples it takes for one.

Exact: probabilities of counts are summed over all counts that get the verdict, by the very intervals that give it. As
counts are whole numbers, power is a saw-tooth in the number of samples: now and then one more sample has a little less.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f2at.audit.reports.difference import paired_intervals
from f2at.audit.reports.statistics import CONFIDENCE, wilson_intervals

POWER = 0.9
MOST = 1_000_000  # samples of an audit
_NEGLIGIBLE = 1e-9  # counts that are rarer together are left out of the sums over pairs
_AT_ONCE = 1 << 20  # elements of an array


def outcome_chances(n: int, threshold: float, expected: float, confidence: float = CONFIDENCE) -> dict[str, float]:
    """The probability of each verdict on a threshold.

    Args:
        n: samples, at least 1.
        threshold: as in the request.
        expected: the true accuracy under attack.
        confidence: of the interval by which the verdict goes.

    Returns:
        "pass", "fail" and "inconclusive", which add up to 1.
    """
    _check_shares(threshold=threshold, expected=expected)
    counts = np.arange(n + 1)
    chances = _binomial(n, counts, expected)
    low, high = wilson_intervals(counts, n, confidence)
    passed, failed = (float(chances[reached].sum()) for reached in (low >= threshold, high < threshold))
    return {"pass": passed, "fail": failed, "inconclusive": max(0.0, 1 - passed - failed)}


def tolerance_power(n: int, tolerance: float, expected: float, apart: float) -> float:
    """The probability that a candidate exactly as good as the baseline passes the gate of `compare` with a tolerance.

    Args:
        n: samples, at least 1, the same for both.
        tolerance: in percentage points.
        expected: the true accuracy of both.
        apart: share of the samples that only one of the two classifies correctly, half of them for each.
    """
    _check_shares(expected=expected, apart=apart)
    if apart / 2 > min(expected, 1 - expected) + 1e-12:
        raise ValueError(
            f"apart must be at most {2 * min(expected, 1 - expected):g} for an accuracy of {expected:g}; got {apart:g}"
        )
    alike = 1 - apart
    right = 0.0 if alike == 0 else min(1.0, max(0.0, (expected - apart / 2) / alike))
    return float(sum(_passing(n, discordant, tolerance, apart, right) for discordant in _blocks(n, apart)))


def samples_needed(power: Callable[[int], float], target: float = POWER) -> int | None:
    """A number of samples that has the power, and is at most 1 % above one that has not; None: more than `MOST`.

    Args:
        power: of a number of samples; growing, but for its teeth.
        target: probability of the verdict.
    """
    enough = 1
    while power(enough) < target:
        if enough == MOST:
            return None
        enough = min(2 * enough, MOST)
    few = enough // 2
    while enough - few > max(1, enough // 100):
        middle = (few + enough) // 2
        few, enough = (few, middle) if power(middle) >= target else (middle, enough)
    return enough


def _passing(n: int, discordant: NDArray[Any], tolerance: float, apart: float, right: float) -> float:
    """The part of `tolerance_power` with so many samples (R,) on which the two differ."""
    s = discordant[:, None]
    same = n - s
    both = _likely(same.min(), right).start, _likely(same.max(), right).stop
    both_right = np.arange(*both)[None]
    chances = np.where(both_right <= same, _binomial(same, np.minimum(both_right, same), right), 0.0)
    # The more of the differing samples the candidate wins, the better for it: find the fewest that pass.
    losing, winning = np.full(chances.shape, -1), np.broadcast_to(s + 1, chances.shape)
    neither = np.maximum(same - both_right, 0)
    while (winning - losing > 1).any():
        won = np.maximum((losing + winning) // 2, 0)
        low, _ = paired_intervals(same - neither, won, s - won, neither)
        passes = ~(100 * low < -tolerance)
        losing, winning = np.where(passes, losing, won), np.where(passes, won, winning)
    wins = np.arange(s.max() + 2)[None]
    tails = np.where(wins <= s, _binomial(s, np.minimum(wins, s), 0.5), 0.0)[:, ::-1].cumsum(axis=1)[:, ::-1]
    passing = np.take_along_axis(tails, winning, axis=1)
    return float((_binomial(n, s, apart) * chances * passing).sum())


def _blocks(n: int, apart: float) -> Iterator[NDArray[Any]]:
    """Numbers of samples on which the two may differ, a few at a time."""
    likely = _likely(n, apart)
    rows = max(1, _AT_ONCE // (likely.stop + 1))
    for start in range(likely.start, likely.stop, rows):
        yield np.arange(start, min(start + rows, likely.stop))


def _likely(n: int, p: float) -> range:
    """The counts outside of which a binomial count hardly ever is."""
    below = _binomial(n, np.arange(n + 1), p).cumsum()
    first, last = np.searchsorted(below / below[-1], [_NEGLIGIBLE, 1 - _NEGLIGIBLE])  # rounded, it ends beside 1
    return range(int(first), min(int(last), int(n)) + 1)


def _binomial(n: Any, k: NDArray[Any], p: float) -> NDArray[np.float64]:
    """The probability of k successes of n."""
    logs = _log_factorials(int(np.max(n)))
    if p in (0.0, 1.0):
        return np.where(k == p * n, 1.0, 0.0)
    ways = logs[n] - logs[k] - logs[n - k]
    return np.asarray(np.exp(ways + k * np.log(p) + (n - k) * np.log1p(-p)))


def _log_factorials(most: int) -> NDArray[np.float64]:
    """log(k!) for k from 0 to at least so many."""
    return _table(1 << int(most).bit_length())


@cache
def _table(most: int) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.log(np.arange(1, most + 1)).cumsum()])


def _check_shares(**shares: float) -> None:
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must be from 0 to 1; got {share}")
