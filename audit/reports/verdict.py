"""The verdict on a threshold that was stated before the run, and the reason for it in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from f2at.audit.reports.flags import WORTHLESS
from f2at.audit.reports.statistics import verdict
from f2at.audit.request import AuditRequest
from f2at.audit.suites import FOR_THRESHOLDS


def judge(request: AuditRequest, accuracy: dict[str, Any], flags: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Hold an accuracy under attack against the threshold of the request.

    A fail is a proof: the errors were found. A pass is undecided where it says little: by a suite that claims no
    strength, unless the request accepts that, or by images on which a model that sees nothing would do as well.

    Args:
        request: with the threshold, if there is one.
        accuracy: as `f2at.audit.reports.statistics.proportion` gives it.
        flags: the sanity flags, raised or not.

    Returns:
        "threshold", "outcome" and "reason"; the latter two are None without a threshold.
    """
    threshold, suite = request.min_robust_accuracy, request.chosen_suite
    outcome = verdict(accuracy, threshold)
    if threshold is None or outcome is None:
        return {"threshold": None, "outcome": None, "reason": None}
    bar, level = f"threshold of {100 * threshold:.1f} %, stated before the run", f"{100 * request.confidence:g} %"
    weak = not suite.strong and not request.accept_weak
    if outcome == "fail":
        reason = f"Even the upper end of the {level} interval is below the {bar}."
        if not suite.strong:
            reason += f" The suite {request.suite} is weak, and finds that already."
    elif outcome == "inconclusive":
        reason = f"The {bar}, lies inside the {level} interval: it takes more samples to tell."
        if weak:
            reason += f" No number of them passes it by the suite {request.suite}, which is weak: {_remedy(request)}."
    elif {flag["name"] for flag in flags if flag["raised"]} & WORTHLESS:
        outcome = "inconclusive"
        reason = f"The {bar}, is reached, but these images do not show that the model is better than chance."
    elif weak:
        outcome = "inconclusive"
        reason = f"The {bar}, is reached, but the suite {request.suite} is weak: {_remedy(request)}."
    else:
        reason = f"Even the lower end of the {level} interval reaches the {bar}."
        if not suite.strong:
            reason += f" The suite {request.suite} is weak, which was accepted before the run."
    return {"threshold": threshold, "outcome": outcome, "reason": reason}


def _remedy(request: AuditRequest) -> str:
    """What lets a threshold be passed after all."""
    how = "" if request.chosen_suite.needs_gradients else ", which follows the gradients of the model itself"
    return (
        f"audit with the suite {FOR_THRESHOLDS}{how} (--suite {FOR_THRESHOLDS}), or accept a weak one (--accept-weak)"
    )
