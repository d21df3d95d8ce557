"""What two counts say about the difference between two models beyond the samples counted."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f2at.audit.reports.statistics import CONFIDENCE, wilson_intervals


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided p value of McNemar's exact test on paired outcomes (McNemar, Psychometrika 12, 1947).

    Samples on which both agree say nothing. If neither is better, each of the others is a fair coin: the p value is
    the chance of a split at least as uneven.

    Args:
        only_first: samples that only the first classifies correctly.
        only_second: samples that only the second does.
    """
    _check_counts(only_first=only_first, only_second=only_second)
    n, fewer = only_first + only_second, min(only_first, only_second)
    if 2 * fewer >= n - 1:  # as even as can be
        return 1.0
    ways = tail = 1  # n over i, from i = 0 up; exact, and faster than math.comb for each
    for i in range(fewer):
        ways = ways * (n - i) // (i + 1)
        tail += ways
    return float(2 * tail / 2**n)


def paired_interval(
    both: int, only_first: int, only_second: int, neither: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Interval for the difference, first minus second, of two proportions of the same samples.

    Method 10 of Newcombe (Statistics in Medicine 17, 1998, pp. 2635-2650, https://pubmed.ncbi.nlm.nih.gov/9839354/):
    Wilson's intervals of the two proportions, squared and added, less what the pairing explains (phi, corrected for
    continuity). Unlike the textbook interval it has a width where no sample tells the two apart.

    Args:
        both: how many samples both classify correctly.
        only_first: how many only the first does.
        only_second: how many only the second does.
        neither: how many none does.
        confidence: as in `wilson_interval`.
    """
    _check_counts(both=both, only_first=only_first, only_second=only_second, neither=neither)
    counts = (both, only_first, only_second, neither)
    if not sum(counts):
        return -1.0, 1.0
    low, high = paired_intervals(*map(np.asarray, counts), confidence=confidence)
    return float(low), float(high)


def paired_intervals(
    both: NDArray[Any],
    only_first: NDArray[Any],
    only_second: NDArray[Any],
    neither: NDArray[Any],
    *,
    confidence: float = CONFIDENCE,
) -> tuple[NDArray[np.float64], ...]:
    """`paired_interval` of many tables of the same number of samples > 0: lower ends, upper ends.

    Args:
        both: counts, as the others of a shape that broadcasts with theirs.
        only_first: see `paired_interval`.
        only_second: the same.
        neither: the same.
        confidence: the same.
    """
    first, second = both + only_first, both + only_second
    n = int((first + only_second + neither).flat[0])
    association = both * neither - only_first * only_second
    association = np.where(association > 0, np.maximum(association - n / 2, 0.0), association)
    margins = 1.0 * first * (n - first) * second * (n - second)
    # Where a margin is empty, so is the association.
    phi = association / np.sqrt(np.maximum(margins, 1.0))
    return _square_and_add((first, n), (second, n), phi, confidence)


def independent_interval(
    first: Sequence[int], second: Sequence[int], confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Interval for the difference, first minus second, of two proportions (k, n) of different samples.

    Method 10 of Newcombe (Statistics in Medicine 17, 1998, pp. 873-890, https://pubmed.ncbi.nlm.nih.gov/9595617/),
    the hybrid of Wilson's score intervals.
    """
    if not first[1] or not second[1]:
        return -1.0, 1.0
    (k1, n1), (k2, n2) = first, second
    low, high = _square_and_add((np.asarray(k1), n1), (np.asarray(k2), n2), 0.0, confidence)
    return float(low), float(high)


def _square_and_add(
    first: tuple[NDArray[Any], int], second: tuple[NDArray[Any], int], phi: NDArray[Any] | float, confidence: float
) -> tuple[NDArray[np.float64], ...]:
    (k1, n1), (k2, n2) = first, second
    p1, p2 = k1 / n1, k2 / n2
    (low1, high1), (low2, high2) = wilson_intervals(k1, n1, confidence), wilson_intervals(k2, n2, confidence)

    def spread(u: NDArray[Any], v: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(np.sqrt(np.maximum(u * u - 2 * phi * u * v + v * v, 0.0)))

    difference = p1 - p2
    low = np.maximum(difference - spread(p1 - low1, high2 - p2), -1.0)
    return low, np.minimum(difference + spread(high1 - p1, p2 - low2), 1.0)


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 0:
            raise ValueError(f"{name} must be a count, 0 or more; got {count}")
