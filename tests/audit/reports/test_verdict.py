"""The verdict on a threshold: what is proven, what is undecided, and what is said of it."""

from typing import Any

import pytest

from f2at.audit.reports.statistics import proportion
from f2at.audit.reports.verdict import judge
from f2at.audit.request import AuditRequest
from f2at.audit.suites import CUSTOM, SUITES

AT_CHANCE = [{"name": "clean_accuracy_at_chance", "raised": True}]


def judged(suite: str, threshold: float | None, *, flags: Any = (), **request: Any) -> dict[str, Any]:
    """Of 81 of 263, 25.5 to 36.6 %."""
    asked = AuditRequest(suite=suite, min_robust_accuracy=threshold, **request)
    return judge(asked, proportion(81, 263, asked.confidence), flags)


@pytest.mark.parametrize("suite", SUITES)
def test_only_a_pass_needs_a_strong_suite(suite: str) -> None:
    strong = suite in ("adaptive", "standard", "paper")
    assert judged(suite, 0.2)["outcome"] == ("pass" if strong else "inconclusive")
    assert judged(suite, 0.2, accept_weak=True)["outcome"] == "pass"
    for accepted in (False, True):
        assert judged(suite, 0.3, accept_weak=accepted)["outcome"] == "inconclusive"
        assert judged(suite, 0.4, accept_weak=accepted)["outcome"] == "fail"
    assert judged(suite, None) == {"threshold": None, "outcome": None, "reason": None}


def test_attacks_of_one_s_own_claim_no_strength() -> None:
    own: dict[str, Any] = {"attacks": [{"name": "apgd-t"}]}
    assert judged(CUSTOM, 0.2, **own)["outcome"] == "inconclusive"
    assert judged(CUSTOM, 0.2, accept_weak=True, **own)["outcome"] == "pass"


def test_the_reason_says_what_to_do() -> None:
    assert judged("adaptive", 0.2)["reason"] == (
        "Even the lower end of the 95 % interval reaches the threshold of 20.0 %, stated before the run."
    )
    assert judged("quick", 0.4)["reason"] == (
        "Even the upper end of the 95 % interval is below the threshold of 40.0 %, stated before the run. The suite "
        "quick is weak, and finds that already."
    )
    assert "it takes more samples to tell." in judged("adaptive", 0.3)["reason"]
    for threshold in (0.2, 0.3):
        reason = judged("quick", threshold)["reason"]
        assert "audit with the suite adaptive (--suite adaptive), or accept a weak one (--accept-weak)" in reason
        assert "adaptive, which follows the gradients of the model itself" in judged("black-box", threshold)["reason"]


def test_images_that_tell_nothing_pass_no_threshold_by_any_suite() -> None:
    verdict = judged("adaptive", 0.2, flags=AT_CHANCE)
    assert verdict["outcome"] == "inconclusive"
    assert "do not show that the model is better than chance" in verdict["reason"]


def test_the_interval_has_the_level_that_was_asked_for() -> None:
    assert judged("adaptive", 0.265, confidence=0.8)["outcome"] == "pass"  # 27.3 to 34.6 %
    assert judged("adaptive", 0.265)["outcome"] == "inconclusive"
    assert "80 % interval" in judged("adaptive", 0.2, confidence=0.8)["reason"]
