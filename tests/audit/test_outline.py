"""What an audit costs, known without its images and its model: as the audit itself plans it."""

from typing import Any

import pytest

from f2at.audit.cost import Cost
from f2at.audit.outline import Outline
from f2at.audit.request import AuditRequest
from tests.audit.grey import SIDE, grey_audit

ATTACKS = [{"name": "pgd", "steps": 9, "restarts": 1}]


@pytest.mark.parametrize("samples", [3, 25, 60])
@pytest.mark.parametrize(
    "request_",
    [
        {"suite": "quick"},
        {"suite": "adaptive", "curve": False},
        {"suite": "adaptive", "norm": "l2", "eps": "0.5"},
        {"suite": "quick", "threats": ["brightness:range=30%", "rotate-translate:degrees=10,shift=10%"]},
        {"suite": "custom", "attacks": ATTACKS, "samples_per_gradient": 3, "draws": 5},
    ],
)
def test_it_is_what_the_steps_of_the_audit_cost(request_: dict[str, Any], samples: int) -> None:
    audit = grey_audit([5] * samples, **{"eps": "8/255", **request_})
    costs = [audit.cost(step) for step in audit.steps]
    planned = Cost(sum(cost.forwards for cost in costs), sum(cost.gradients for cost in costs))
    assert Outline.of(audit.request, samples, (SIDE, SIDE, 3)).cost == planned


def test_an_attack_costs_what_its_steps_say() -> None:
    """PGD of 9 steps takes 10 gradients an image, each of 3 evaluations."""
    request = AuditRequest(suite="custom", attacks=ATTACKS, samples_per_gradient=3)
    outline = Outline.of(request, 30, (SIDE, SIDE, 3))
    assert [list(shard) for shard in outline.shards] == [list(range(25)), list(range(25, 30))]
    assert [outline.stage_cost("pgd", shard) for shard in outline.shards] == [Cost(0, 750), Cost(0, 150)]
