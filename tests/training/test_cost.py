from typing import Any

import pytest

from f2at.training.configuration.files import config_from_table
from f2at.training.cost import forward_passes


@pytest.mark.parametrize(
    ("method", "passes"),
    [
        ({"name": "plain"}, 3),
        ({"name": "sat"}, 2 * 10 + 3),
        ({"name": "seat"}, 2 * 10 + 3),
        ({"name": "trades"}, 2 * 10 + 1 + 7),
        ({"name": "mart"}, 2 * 10 + 6),
        ({"name": "f2at"}, 2 * 10 + 9),
        ({"name": "f2at", "alpha": 0.0}, 2 * 10 + 6),
        ({"name": "f2at", "gamma": 0.0}, 2 * 10 + 9),
        ({"name": "f2at", "alpha": 0.0, "gamma": 0.0}, 2 * 10 + 3),
        ({"name": "f2at-fast"}, 2 * 10 + 1 + 3),
        ({"name": "f2at-fast", "gamma": 0.0}, 2 * 10 + 3),
    ],
)
def test_a_step_of_pgd_10_costs_two_passes_a_step_and_three_for_each_batch_that_is_learnt_from(
    method: dict[str, Any], passes: int
) -> None:
    assert forward_passes(config_from_table({"method": method})) == passes


@pytest.mark.parametrize(
    ("sections", "passes"),
    [
        ({"attack": {"kind": "n-fgsm"}}, 2 + 3),
        ({"attack": {"kind": "none"}}, 3),
        ({"attack": {"steps": 2, "objective": "kl"}}, 2 * 2 + 1 + 3),
        ({"attack": {"steps": 2}, "awp": {"gamma": 0.005}}, 2 * 2 + 2 * 3),
    ],
)
def test_the_inner_attack_and_the_perturbation_of_weights_are_counted(sections: dict[str, Any], passes: int) -> None:
    assert forward_passes(config_from_table({"method": {"name": "sat"}, **sections})) == passes
