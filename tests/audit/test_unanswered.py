"""Images for which a model returns infinite values, or none that are numbers."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator
from torch import Tensor, nn

from f2at.audit import run_audit
from f2at.audit.page.html import render_report
from f2at.audit.reports.schema import report_schema
from f2at.audit.subject import NO_ANSWER, score
from tests.audit.grey import FIVE, Grey, grey_audit

SUITES: dict[str, dict[str, Any]] = {
    "five": {"suite": "custom", "attacks": FIVE},
    "adaptive": {"suite": "adaptive"},
    "black-box": {
        "suite": "custom",
        "attacks": [{"name": name, "queries": 300} for name in ("square", "rays", "hopskipjump")],
    },
}


class Overflowing(nn.Module):
    """Grey's logits, but `value` in place of one of them where the mean level lies between two others."""

    def __init__(self, low: float, high: float, value: float, column: int) -> None:
        super().__init__()
        self.low, self.high, self.value, self.column = low, high, value, column
        self.grey = Grey()

    def forward(self, inputs: Tensor) -> Tensor:
        level = 255 * inputs.mean((1, 2, 3))
        fails = (level > self.low) & (level < self.high)
        logits: Tensor = self.grey(inputs).clone()
        logits[:, self.column] = torch.where(fails, self.value, logits[:, self.column])
        return logits


def audit(*model: Any, distances: list[int], **request: Any) -> dict[str, Any]:
    plan = grey_audit(distances, wrap=lambda _: Overflowing(*model).eval(), eps="8/255", **request)
    report = plan.report([json.loads(json.dumps(result, allow_nan=False)) for result in run_audit(plan)])
    Draft202012Validator(report_schema()).validate(report)
    assert render_report(report)
    return report


def flag(report: dict[str, Any]) -> tuple[bool, str]:
    (found,) = (flag for flag in report["flags"] if flag["name"] == "answers_missing")
    return found["raised"], found["evidence"]


@pytest.mark.parametrize(
    ("suite", "value", "column"),
    [
        ("five", torch.nan, 0),
        ("five", torch.inf, 1),
        ("five", -torch.inf, 0),
        ("adaptive", torch.nan, 1),
        ("black-box", torch.inf, 0),
    ],
)
def test_an_attacked_image_without_an_answer_has_fallen(suite: str, value: float, column: int) -> None:
    """The second image is light, 30 levels from dark; 4 levels below it the model has no answer, whichever logit it is.

    The first stands: it is dark and far.
    """
    report = audit(122, 126.5, value, column, distances=[60, 30], **SUITES[suite])
    assert (report["clean"]["k"], report["robust"]["k"]) == (2, 1)
    standing, fallen = sorted(report["samples"], key=lambda sample: sample["index"])
    assert standing["broken_by"] is None
    assert (fallen["adversarial_prediction"], fallen["adversarial_confidence"]) == (None, None)
    raised, evidence = flag(report)
    assert raised
    assert evidence.endswith(f": image 1 ({fallen['broken_by']})")


def test_a_clean_image_without_an_answer_is_wrong() -> None:
    report = audit(129, 131, torch.nan, 0, distances=[60, 30, 60, 60], suite="quick")
    assert (report["clean"]["k"], report["robust"]["k"]) == (3, 3)
    sample = next(sample for sample in report["samples"] if sample["index"] == 1)
    assert (sample["prediction"], sample["confidence"], sample["margin"], sample["broken_by"]) == (None,) * 4
    raised, evidence = flag(report)
    assert raised
    assert evidence.endswith(": image 1 (clean)")


def test_no_answer_at_all() -> None:
    report = audit(-1, 256, torch.nan, 0, distances=[30] * 8, suite="quick")
    assert (report["clean"]["k"], report["robust"]["k"], flag(report)[0]) == (0, 0, True)
    assert "and 3 more" in flag(report)[1]


def test_answers_missing_beyond_eps_only() -> None:
    report = audit(70, 75, torch.nan, 0, distances=[60, 60], suite="quick")
    assert report["robust"]["k"] == 2
    raised, evidence = flag(report)
    assert raised
    assert evidence.endswith(": images corrupted, unrounded or beyond eps")


def test_a_sound_model_answers() -> None:
    assert flag(audit(300, 301, torch.nan, 0, distances=[3, 30], suite="quick")) == (
        False,
        "every answer was made of finite numbers",
    )


def test_scores_of_logits_that_are_not_finite() -> None:
    logits = np.array([[2.0, 1.0], [np.nan, 1.0], [1.0, np.inf], [-np.inf, 1.0]])
    scores = score(logits, np.array([0, 1, 1, 1]))
    assert scores.predictions.tolist() == [0, NO_ANSWER, NO_ANSWER, NO_ANSWER]
    assert scores.margins[0] == -1
    assert scores.label_confidences.tolist()[1:] == [0, 0, 0]
