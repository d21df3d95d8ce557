"""The most that an audit may cost, known before it runs: evaluations of the model, and seconds by its pace."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from f2at.attacks.attack import Attack
from f2at.audit.corruptions import CORRUPTIONS as NATURAL
from f2at.audit.probe import COMPARED
from f2at.audit.request import AuditRequest
from f2at.audit.stages import CLEAN, CORRUPTIONS, CURVE, HALVINGS, ITERATIONS
from f2at.audit.steps import SHARD_SIZE
from f2at.audit.suites import QUICK, Probes, checked
from f2at.audit.threats.base import Tier

_RADII = 4  # of the curve, that a sample is tried at as a rule
_HARNESS = 3  # forward passes of each clean image for the harness itself
_JUDGED = 2 + HALVINGS  # forward passes of an adversarial image, judged with and without rounding, and walked back
_GRADIENT = 3.0  # forward passes that a gradient takes, as a rule


class Cost(NamedTuple):
    """Evaluations of single images."""

    forwards: int
    gradients: int


class Pace(NamedTuple):
    """Seconds that a model takes for one image of a small batch: for its answer, and for a gradient."""

    forward: float
    gradient: float

    def seconds(self, cost: Cost) -> float:
        """What so many evaluations take."""
        return cost.forwards * self.forward + cost.gradients * self.gradient


def most_evaluations(request: AuditRequest, samples: int) -> int:
    """The most evaluations of a model, forward and gradient, that the attacks of `request` take on so many samples.

    As if no attack ever succeeded, and the model had as many classes as an attack may be aimed at. What the audit
    measures besides, on a hundred samples at most, is not in it.
    """
    suite = request.chosen_suite
    attacked = {every: sum(checked(p, every) for p in range(samples)) for every in {1, *suite.every.values()}}
    ball = sum(attack.most_per_sample * attacked[suite.every.get(attack.name, 1)] for attack in suite.attacks)
    tier = Tier(quick=request.suite == QUICK)
    threats, shards = [threat.most(tier) for threat in request.chosen_threats], math.ceil(samples / SHARD_SIZE)
    return request.samples_per_gradient * (ball + sum(t.image * samples + t.shard * shards for t in threats))


def attack_cost(attack: Attack, samples: int) -> Cost:
    """The most that an attack takes on so many samples: gradients, or answers alone."""
    most = samples * attack.most_per_sample
    return Cost(most, 0) if attack.knowledge == "black-box" else Cost(0, most)


def measurement_cost(stage: str, samples: int, followed: int, probes: Probes) -> Cost:
    """About the most that what is measured beside the attacks takes, on so many samples of which some are followed."""
    if stage == CLEAN:
        attacks = [attack for attack in (probes.single_step, probes.iterative) if attack]
        compared = sum(attack.most_per_sample for attack in attacks) * min(samples, COMPARED)
        return Cost(_HARNESS * samples, compared + (2 * samples if attacks else 0))
    if stage == ITERATIONS:
        runs = [attack for attack in (probes.iterations, probes.confidences) if attack]
        return Cost(0, followed * sum(attack.most_per_sample for attack in runs))
    if stage == CURVE:
        return attack_cost(probes.curve, followed * _RADII)
    return Cost(samples * len(NATURAL), 0)


def harness_queries(stage: str, samples: int) -> int:
    """The most answers that a step takes for the harness itself, gradients and the curve aside."""
    per_sample = {CLEAN: _HARNESS, ITERATIONS: 0, CURVE: 0, CORRUPTIONS: len(NATURAL)}
    return samples * per_sample.get(stage, _JUDGED)


def observed_pace(seconds: float, cost: Cost) -> Pace | None:
    """The pace at which so many evaluations took so long; None before there are any."""
    passes = cost.forwards + _GRADIENT * cost.gradients
    return Pace(seconds / passes, _GRADIENT * seconds / passes) if passes else None


def measure_pace(forward: Callable[[], Any], gradient: Callable[[], Any] | None, images: int) -> Pace:
    """Time two functions that evaluate so many images each: the better of two runs, after one to warm up."""

    def seconds(evaluate: Callable[[], Any]) -> float:
        taken = []
        for _ in range(3):
            started = time.perf_counter()
            evaluate()
            taken.append(time.perf_counter() - started)
        return min(taken[1:]) / images

    return Pace(seconds(forward), seconds(gradient) if gradient else 0.0)
