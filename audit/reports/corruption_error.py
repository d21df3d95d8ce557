"""mCE: a candidate's errors under natural corruptions, in those of the baseline."""

from collections.abc import Mapping
from typing import Any

from f2at.attacks.transformations.corruptions import CORRUPTIONS
from f2at.attacks.transformations.corruptions.errors import corruption_errors, mean_corruption_error

_COUNTED = [corruption.title for corruption in CORRUPTIONS.values() if not corruption.extra]


def corruption_error(baseline: Mapping[str, Any], candidate: Mapping[str, Any]) -> dict[str, Any] | None:
    """How often a candidate errs under corruptions, for each time that the baseline does.

    Hendrycks and Dietterich 2019, Section 4.2, with the baseline in the place of AlexNet.

    Args:
        baseline: a report.
        candidate: another.

    Returns:
        JSON values: "mean", over the fifteen corruptions that the paper counts, and "each", by title; None unless both
        audits have the threat `corruptions` up to the same severity, and where the baseline is always right under one
        of them, so that nothing can be measured by it.
    """
    scans = [_errors(report) for report in (candidate, baseline)]
    if None in scans:
        return None
    new, old = scans
    assert new is not None
    assert old is not None
    if any(len(new[name]) != len(old[name]) or not any(old[name]) for name in old):
        return None
    each = corruption_errors(new, old)
    return {"mean": mean_corruption_error(new, old), "each": each}


def _errors(report: Mapping[str, Any]) -> dict[str, list[float]] | None:
    """Of each corruption that counts, the share of images that are wrong, by severity; of the strongest such threat."""
    sections = [section for section in report["threats"] if section["name"] == "corruptions"]
    if not sections:
        return None
    scan = max((section["scan"] for section in sections), key=len)
    return {title: [1 - row["value"] for row in scan if row["kind"] == title] for title in _COUNTED}
