from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from f2at.attacks import ATTACKS
from f2at.attacks.attack import Attack
from f2at.attacks.objectives import OBJECTIVES
from f2at.attacks.target import CountingTarget, Evaluation
from f2at.attacks.white_box.pgd import pgd
from f2at.audit.budget import allowance
from f2at.audit.cost import harness_queries, most_evaluations
from f2at.audit.request import AuditRequest

N, CLASSES = 4, 10
# Small, so that a test takes little; all different, so that no two can be mixed up.
SHORT = {
    "steps": 3,
    "restarts": 2,
    "target_classes": 4,
    "final_runs": 2,
    "final_steps": 5,
    "first_excess": 1e9,
    "last_excess": 1e9,
    "final_excess": 1e9,
    "least_excess": 1e9,
    "neighbours": 2,
    "searches": 3,
    "queries": 60,
}
ONCE: Mapping[Callable[..., Any], Mapping[str, int]] = {pgd: {"restarts": 1}}


class Fortress:
    """A model that no image fools; its gradients point somewhere."""

    classes = CLASSES

    def logits(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        # Class 0 always leads; the others change with the image, so that attacks have something to follow.
        means = inputs.reshape(len(inputs), -1)[:, : CLASSES - 1]
        return np.concatenate([np.full((len(inputs), 1), 9, np.float32), means], axis=1)

    def gradient(self, inputs: Any, labels: Any, targets: Any, weights: Any) -> Evaluation:
        objectives = np.zeros((len(inputs), len(OBJECTIVES)), np.float32)
        return Evaluation(self.logits(inputs), objectives, np.ones_like(inputs))


def spent(attack: Attack) -> float:
    """Evaluations a sample, where the attack never succeeds."""
    target = CountingTarget(Fortress())
    inputs = np.random.default_rng(0).random((N, 3, 8, 8), np.float32)
    attack.run(target, inputs, np.zeros(N, np.int64), eps=0.1, norm=attack.norms[0], rng=np.random.default_rng(0))
    return (target.forward_evaluations + target.gradient_evaluations) / N


def with_numbers(name: str, numbers: Mapping[str, float]) -> Attack:
    """The attack with those of the numbers that it takes."""
    attack = ATTACKS[name].override(**{key: numbers[key] for key in numbers.keys() & ATTACKS[name].parameters.keys()})
    # Where an attack is to transfer, it runs to the end whatever happens, and once.
    return (
        attack if attack.parameters.get("stop_at_success", True) else attack.override(**ONCE.get(attack.function, {}))
    )


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_takes_more_than_it_may_and_a_stubborn_model_makes_it_take_nearly_that(name: str) -> None:
    attack = with_numbers(name, SHORT)
    if "abort_early" in attack.parameters:
        attack = attack.override(abort_early=False)
    most = attack.most_per_sample
    slack = attack.parameters.get("restarts", 1) + attack.parameters.get("neighbours", 0) + 1  # a last look per run
    assert most - slack <= spent(attack) <= most


@settings(max_examples=40)
@given(
    name=st.sampled_from(sorted(ATTACKS)),
    numbers=st.fixed_dictionaries(
        {key: st.integers(1, 4) for key in SHORT if not key.endswith("excess") and key != "queries"}
    ),
    queries=st.integers(1, 40),
)
def test_the_bound_holds_for_any_parameters(name: str, numbers: dict[str, int], queries: int) -> None:
    attack = with_numbers(name, {**numbers, "queries": queries})
    assert spent(attack) <= attack.most_per_sample


def test_a_suite_costs_what_its_attacks_cost_on_the_images_that_they_get() -> None:
    # AutoAttack: APGD-CE, 9 targets of APGD-T and FAB-T (which looks twice a step), and Square's queries.
    each = 101 + (1 + 9 * 101) + (1 + 2 * 900) + 5000
    assert most_evaluations(AuditRequest(suite="standard"), 1000) == 1000 * each
    # FAB-T checks groups of five, one in 25; Square one in 10: of 250 samples 10 and 25.
    search, fab = 10 * 13 + 8 * 31, 1 + 2 * 300
    assert most_evaluations(AuditRequest(suite="adaptive"), 250) == 250 * search + 10 * fab + 25 * 1000
    assert most_evaluations(AuditRequest(suite="quick"), 250) == 250 * (1 + 3 * 6) + 25 * 100
    listed = AuditRequest(suite="custom", attacks=[{"name": "fgsm"}, {"name": "square", "queries": 7}])
    assert most_evaluations(listed, 3) == 3 * 8


STAGES_OF_TWO = [("clean", 10), ("square", 10), ("rays", 10), ("iterations", 10), ("corruptions", 10)]


@given(
    left=st.integers(0, 50_000),
    shards=st.integers(1, 4),
    standing=st.lists(st.integers(0, 10), min_size=8, max_size=8),
    share=st.floats(0, 1),
)
def test_what_attacks_are_allowed_is_never_more_than_is_left(
    left: int, shards: int, standing: list[int], share: float
) -> None:
    """However many images each attack takes on, and whatever share of its queries it takes."""
    steps = STAGES_OF_TWO * shards
    reserved = sum(harness_queries(stage, count) for stage, count in steps)
    left += reserved
    attacked = iter(standing)
    for place, (stage, count) in enumerate(steps):
        if stage in ("square", "rays"):
            samples = next(attacked)
            if samples:
                left -= int(share * allowance(left, steps[place:], {"square", "rays"}, samples)) * samples
                count = samples
        left -= harness_queries(stage, count)
        assert left >= 0


def test_queries_are_shared_evenly() -> None:
    steps = [("square", 10), ("rays", 10), ("square", 5), ("rays", 5)]
    reserved = sum(harness_queries(stage, count) for stage, count in steps)
    both = {"square", "rays"}
    assert allowance(reserved + 300, steps, both, 10) == 10
    assert allowance(reserved + 300, steps, both, 5) == 20  # where half have fallen, the others get their queries
    assert allowance(reserved - 1, steps, both, 10) == 0
    assert allowance(harness_queries("rays", 5) + 300, steps[3:], both, 1) == 300
