"""What a count says about the model beyond the samples counted."""

import math
from collections.abc import Sequence
from statistics import NormalDist, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


def wilson_interval(successes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval for a proportion (Wilson, JASA 1927; recommended by Newcombe 1998).

    Unlike the textbook interval it is right near 0 and 1 and for small n. No sample says nothing: (0, 1).

    Raises:
        ValueError: not 0 <= successes <= n, or confidence outside (0, 1).
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be from 0 to n = {n}; got {successes}")
    if n == 0:
        return 0.0, 1.0
    low, high = wilson_intervals(np.asarray(successes), n, confidence)
    return float(low), float(high)


def wilson_intervals(
    successes: NDArray[Any], n: int, confidence: float = CONFIDENCE
) -> tuple[NDArray[np.float64], ...]:
    """`wilson_interval` of many counts of the same n > 0, of any shape: lower ends, upper ends."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1; got {confidence}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = successes / n
    centre = p + z * z / (2 * n)
    spread = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # The ends are exactly 0 and 1 there; rounding would leave 1e-17 behind.
    low = np.where(successes == 0, 0.0, (centre - spread) / scale)
    return low, np.where(successes == n, 1.0, (centre + spread) / scale)


def better_than(successes: int, n: int, chance: float) -> bool:
    """Whether a proportion is above chance by more than luck: the likelihood-ratio test, at 95 %.

    Unlike a score interval it believes what is right on all of a few: 5 of 5 are better than a chance of 60 %, which
    does as well once in 13 times, and 3 of 3 are not.

    Args:
        successes: from 0 to n.
        n: >= 1.
        chance: the proportion it is compared with, from 0 to 1.
    """
    if successes <= chance * n or chance >= 1:
        return False
    if chance <= 0:
        return True
    failures = n - successes
    ratio = successes * math.log(successes / (n * chance))
    if failures:
        ratio += failures * math.log(failures / (n * (1 - chance)))
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    return 2 * ratio > z * z


def proportion(k: int, n: int, confidence: float = CONFIDENCE) -> dict[str, Any]:
    """``k`` of ``n`` with its Wilson interval, as JSON values; ``value`` is None when n = 0."""
    low, high = wilson_interval(k, n, confidence)
    return {"k": k, "n": n, "value": k / n if n else None, "low": low, "high": high, "confidence": confidence}


def verdict(accuracy: dict[str, Any], threshold: float | None) -> str | None:
    """Hold a proportion against a threshold stated beforehand, by its interval.

    Returns:
        "pass" if even the lower end reaches the threshold, "fail" if not even the upper end does, else
        "inconclusive": more samples are needed. None without a threshold.
    """
    if threshold is None:
        return None
    if accuracy["low"] >= threshold:
        return "pass"
    return "fail" if accuracy["high"] < threshold else "inconclusive"


def median_or_none(distances: Sequence[float | None]) -> float | None:
    """Median where None means "beyond every radius tried", as the median itself may be."""
    value = median(math.inf if d is None else d for d in distances) if distances else math.inf
    return value if math.isfinite(value) else None
