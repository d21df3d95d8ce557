"""What an audit is made of and what that costs, known from the request and the shape of the images alone."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from f2at.attacks.attack import Attack
from f2at.audit.checks import tier_of
from f2at.audit.cost import Cost, attack_cost, measurement_cost
from f2at.audit.request import AuditRequest
from f2at.audit.stages import CLEAN, CORRUPTIONS, CURVE, ITERATIONS, STAGES, correct, leads, surviving
from f2at.audit.steps import SHARD_SIZE
from f2at.audit.suites import Probes, Suite, chosen, probes
from f2at.audit.threats.base import Shape, Tier
from f2at.audit.threats.stages import ThreatStage, threat_stages


@dataclass(frozen=True, kw_only=True)
class Outline:
    """The stages that every shard goes through, in order, and whom each of them takes on.

    Attributes:
        request: what is asked for.
        suite: its attacks.
        samples: how many images there are.
        followed: places of the images that are followed beyond the suite.
        probes: run besides the suite.
        tier: how the threats are gone about.
        threats: their stages, by name.
        stages: the names of all.
    """

    request: AuditRequest
    suite: Suite
    samples: int
    followed: range
    probes: Probes
    tier: Tier
    threats: Mapping[str, ThreatStage]
    stages: tuple[str, ...]

    @classmethod
    def of(
        cls, request: AuditRequest, samples: int, shape: Shape, *, gradients: bool = True, scores: bool = True
    ) -> Self:
        """That of a request for so many images, (H, W, 3), of a model that has gradients and scores or not.

        Raises:
            ValueError: these images leave nothing to a threat, or such a model has no attack for it.
        """
        suite, tier = request.chosen_suite, tier_of(request, gradients=gradients, scores=scores)
        added = threat_stages(request.chosen_threats, tier, shape, samples=samples, curve=request.curve)
        threats = {stage.name: stage for stage in added}
        measured = (ITERATIONS, *((CURVE,) if request.curve else ()), CORRUPTIONS)
        return cls(
            request=request,
            suite=suite,
            samples=samples,
            followed=range(0, samples, math.ceil(samples / suite.followed)),
            probes=probes(suite, norm=request.norm, gradients=gradients, scores=scores),
            tier=tier,
            threats=threats,
            stages=(CLEAN, *(attack.name for attack in suite.attacks), *measured, *threats),
        )

    @property
    def shards(self) -> Iterator[range]:
        """The places of the images of each shard."""
        return (range(i, min(i + SHARD_SIZE, self.samples)) for i in range(0, self.samples, SHARD_SIZE))

    @property
    def cost(self) -> Cost:
        """About the most evaluations that the whole audit takes: as if no image fell."""
        every = [self.stage_cost(stage, shard) for shard in self.shards for stage in self.stages]
        return Cost(sum(cost.forwards for cost in every), sum(cost.gradients for cost in every))

    def attack(self, stage: str) -> Attack | None:
        """The attack of the suite that a stage is of, if it is one."""
        if stage in STAGES:
            return None
        return next((attack for attack in self.suite.attacks if attack.name == stage), None)

    def attacked(self, attack: Attack, shard: Sequence[int], previous: Sequence[Mapping[str, Any]]) -> list[int]:
        """Those of a shard's samples that an attack takes on; with no results yet, those that it may."""
        if previous:
            shard = correct(previous) if attack.name in self.suite.alone else surviving(previous)
        return chosen(shard, self.suite.every.get(attack.name, 1), leads(previous))

    def of_followed(self, shard: Sequence[int]) -> list[int]:
        """Those of a shard's samples that are followed."""
        return [place for place in shard if place in self.followed]

    def stage_cost(self, stage: str, shard: Sequence[int]) -> Cost:
        """About the most evaluations that a stage takes on a shard of which no result is known."""
        if stage in STAGES:
            return self.drawn(measurement_cost(stage, len(shard), len(self.of_followed(shard)), self.probes))
        if stage in self.threats:
            return self.drawn(self.threats[stage].cost(len(shard), len(self.of_followed(shard))))
        attack = self.attack(stage)
        assert attack is not None
        return self.drawn(attack_cost(attack, len(self.attacked(attack, shard, ()))))

    def drawn(self, cost: Cost) -> Cost:
        """With the evaluations that stand for one, where a model answers at random."""
        request = self.request
        return Cost(
            cost.forwards * max(request.samples_per_gradient, request.draws),
            cost.gradients * request.samples_per_gradient,
        )
