"""The audit: a fixed plan of short steps over shards of samples, and the report they add up to.

    audit = Audit(target, in_memory(images, labels), AuditRequest(eps="32/255"), classes=names)
    results = []
    for step in audit.steps:                        # any order of shards, any number of workers
        earlier = [r for r in results if r["shard"] == step.shard]
        results.append(audit.run(step, earlier))
    report = audit.report(results)

`f2at.audit.perform.run_audit` is that loop. Results and report are JSON values and, times aside, depend on the request
alone.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from f2at.attacks.target import Target, has_gradients, has_scores
from f2at.audit.budget import Budget
from f2at.audit.checks import check_data, check_models
from f2at.audit.cost import Cost, Pace, attack_cost, measure_pace
from f2at.audit.outline import Outline
from f2at.audit.probe import REPEAT_TOLERANCE, drift_of
from f2at.audit.provenance.context import Context
from f2at.audit.provenance.harness import describe_environment, describe_harness
from f2at.audit.provenance.repetition import Origin, describe_repetition
from f2at.audit.reports.report import build_report
from f2at.audit.request import AuditRequest
from f2at.audit.stages import (
    CLEAN,
    CORRUPTIONS,
    CURVE,
    ITERATIONS,
    Ball,
    Shard,
    run_attack,
    run_clean,
    run_corruptions,
    run_curve,
    run_iterations,
)
from f2at.audit.steps import SHARD_SIZE, Step, drawn, in_order
from f2at.audit.subject import Subject, ToTarget
from f2at.audit.suites import accuracy_name
from f2at.audit.threats.stages import Work
from f2at.images.pixels import Images, Labels, to_inputs
from f2at.images.sets.base import LabelledSet

Heartbeat = Callable[[int], None]


class Audit:
    """A deterministic plan for one request against one model.

    Args:
        target: the model under attack. Its ``logits`` must be those of the deployed classifier: they decide.
        data: the labelled images to draw samples from, at the model's size; only those that are drawn are kept.
        request: what to do.
        classes: a name for each output of the model.
        model: JSON description of the model for the report (digest, manifest); copied into it as it is.
        environment: JSON values to go with every step, such as the execution provider; versions are added.
        to_target: moves a numpy array to the target's library and device; for a target that is not numpy's.
        surrogate: another model of the same classes and image size, for suites with transfer attacks.
        surrogate_model: JSON description of it for the report.
        origin: what a command line calls all of these; None where they are objects of somebody's program.

    Raises:
        ValueError: images, labels, classes, models and request do not fit together.

    Attributes:
        steps: the whole plan, shard after shard.
        shards: the same steps, grouped; ``shards[i]`` are those of shard ``i``, in the order they must run.
    """

    steps: tuple[Step, ...]
    shards: tuple[tuple[Step, ...], ...]

    def __init__(
        self,
        target: Target,
        data: LabelledSet,
        request: AuditRequest,
        *,
        classes: Sequence[str],
        model: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        to_target: ToTarget = np.asarray,
        surrogate: Target | None = None,
        surrogate_model: Mapping[str, Any] | None = None,
        origin: Origin | None = None,
    ) -> None:
        check_data(data, request, classes, target)
        check_models(request, target, surrogate)
        self.request = request
        self.classes = tuple(classes)
        self._target, self._surrogate, self._to_target = target, surrogate, to_target
        self._surrogate_model = None if surrogate is None else dict(surrogate_model or {})
        self._model = dict(model or {})
        self._origin = origin
        self._environment = {**describe_environment(), **(environment or {})}
        self._harness = describe_harness()
        self._data = {"set_size": len(data), "sha256": data.digest(), "shard_size": SHARD_SIZE}

        self._indices = drawn(request, len(data))
        n = len(self._indices)
        self._drawn = data.drawn(self._indices)
        self._labels = self._drawn.labels
        assert data.size is not None
        self._shape = (*data.size, 3)
        self._latest: Shard | None = None  # all of whose steps are on the same images
        self._outline = outline = Outline.of(
            request, n, self._shape, gradients=has_gradients(target), scores=has_scores(target)
        )
        self._suite, self._probes, self._curve_positions = outline.suite, outline.probes, outline.followed
        self._threats, stages = outline.threats, outline.stages
        depth = len(stages)
        self.steps = tuple(
            Step(index, shard=index // depth, place=index % depth, stage=stages[index % depth])
            for index in range(math.ceil(n / SHARD_SIZE) * depth)
        )
        self.shards = tuple(self.steps[i : i + depth] for i in range(0, len(self.steps), depth))
        planned = [(step.stage, len(self._positions(step.shard))) for step in self.steps]
        self._budget = Budget(target, self._suite.attacks, planned)
        self._budget.check(request, n)

    def run(
        self, step: Step, previous: Sequence[Mapping[str, Any]], heartbeat: Heartbeat | None = None
    ) -> dict[str, Any]:
        """Run one step.

        Args:
            step: one of `steps`.
            previous: results of all earlier steps of the same shard, in any order.
            heartbeat: called before every evaluation of the model with the number of images in it; it may
                raise, which ends the step.

        Returns:
            The step's result, JSON values only.

        Raises:
            ValueError: `previous` is not the results of the earlier steps of this shard.
        """
        if step not in self.steps:
            raise ValueError(f"step must be one of this audit's; got {step}")
        previous = in_order(previous, self.shards[step.shard][: step.place])
        started, sent = time.perf_counter(), self._budget.sent
        request = self.request
        subject = Subject(
            self._target,
            self._to_target,
            heartbeat,
            self._surrogate,
            samples=request.samples_per_gradient,
            draws=request.draws,
        )
        shard, ball = self._shard(step.shard), Ball(self.request.effective_eps, self.request.norm)
        positions = shard.positions.tolist()
        followed = shard.at(self._followed(positions))
        shown = math.ceil(self.request.examples / len(self.shards))
        # One generator for each step: neither the order of shards nor a resumption changes what it draws.
        rng = np.random.default_rng(np.random.SeedSequence([self.request.seed, 1 + step.place, step.shard]))
        told = self._told(shard, previous)
        if step.stage == CLEAN:
            outcome = run_clean(subject, shard, ball, self._probes, rng) | told
        elif step.stage == ITERATIONS:
            outcome = run_iterations(subject, followed, previous, ball, self._probes, rng)
        elif step.stage == CURVE:
            outcome = run_curve(subject, followed, previous, ball, self._probes.curve, rng)
        elif step.stage == CORRUPTIONS:
            outcome = run_corruptions(subject, shard, ball, rng)
        elif step.stage in self._threats:
            work = Work(
                subject=subject,
                shard=shard,
                followed=followed,
                others=partial(self._others, step.shard),
                previous=previous,
                rng=rng,
                shown=shown,
            )
            outcome = self._threats[step.stage].run(work)
        else:
            attack = self._suite.attacks[step.place - 1]
            attacked = self._outline.attacked(attack, positions, previous)
            attack, allowed = self._budget.share(step.index, attack, len(attacked))
            outcome = run_attack(subject, shard.at([] if allowed == 0 else attacked), ball, attack, rng, shown)
            outcome |= {} if allowed is None else {"allowed": allowed}
        return {
            "shard": step.shard,
            "stage": step.stage,
            **outcome,
            **subject.costs,
            **self._budget.since(sent),
            "seconds": round(time.perf_counter() - started, 3),
            "environment": self._environment,
        }

    def remember(self, result: Mapping[str, Any]) -> None:
        """A step was done by an earlier run: what it sent counts, where queries are counted."""
        self._budget.remember(result)

    def report(
        self,
        results: Sequence[Mapping[str, Any]],
        *,
        examples: bool = True,
        context: Context | None = None,
        **run: Any,
    ) -> dict[str, Any]:
        """Add up the results of all steps.

        Args:
            results: one result for each of `steps`, in any order.
            examples: False leaves the pictures out.
            context: what its owner says of the model and the audit.
            run: JSON values kept under "run" (id, requester, started, finished, ...).

        Returns:
            The report, JSON values only. `f2at.audit.reports.report.deterministic_part` drops what differs from run to
            run.

        Raises:
            ValueError: a step's result is missing, or there is one too many.
        """
        results = in_order(results, self.steps)
        return build_report(
            self.request,
            probes=self._probes,
            threat_stages=tuple(self._threats.values()),
            tier=self._outline.tier,
            results=results,
            indices=self._indices.tolist(),
            labels=self._labels.tolist(),
            curve_positions=self._curve_positions,
            classes=self.classes,
            shape=self._shape,
            data=self._data | _contents(results),
            model=self._model,
            surrogate=self._surrogate_model,
            context=context or Context(),
            harness=self._harness,
            repeat=describe_repetition(
                self._origin, self.request, model=self._model, data=self._data, surrogate=self._surrogate_model
            ),
            run=run | self._budget.describe(),
            scores=has_scores(self._target),
            examples=examples,
        )

    def cost(self, step: Step, previous: Sequence[Mapping[str, Any]] = ()) -> Cost:
        """About the most evaluations that a step takes; the more of its shard's results are known, the closer."""
        positions, attack = self._positions(step.shard).tolist(), self._outline.attack(step.stage)
        if attack is None:
            return self._outline.stage_cost(step.stage, positions)
        attacked = len(self._outline.attacked(attack, positions, previous))
        return self._outline.drawn(attack_cost(self._budget.share(step.index, attack, attacked)[0], attacked))

    def measure(self, images: int = 2) -> Pace:
        """The model's pace, on the first images of the audit."""
        subject = Subject(self._target, self._to_target, None)
        few, labels = self._first(images), self._labels[:images]
        return measure_pace(
            lambda: subject.scores(few, labels),
            (lambda: subject.gradients(few, labels, "margin")) if has_gradients(self._target) else None,
            len(few),
        )

    def wavers(self, images: int = 8, repeats: int = 4) -> bool:
        """Whether the model answers the first images differently when it is asked again, a few times."""
        subject = Subject(self._target, self._to_target, None)
        inputs = to_inputs(self._first(images))
        first = subject.logits(inputs)
        return any(drift_of(first, subject.logits(inputs)) > REPEAT_TOLERANCE for _ in range(repeats))

    @property
    def accuracy(self) -> str:
        """What its accuracy under attack is called."""
        return accuracy_name(attack.knowledge for attack in self._suite.attacks)

    @property
    def fingerprint(self) -> str:
        """sha256 of everything that decides the results: request, models, data, and the code of this package."""
        parts = [self._harness["digest"], self.request.model_dump(), self._model, self._surrogate_model, self._data]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("ascii")).hexdigest()

    @property
    def digest(self) -> str:
        """Of the data, as in the report."""
        return str(self._data["sha256"])

    def _followed(self, positions: Sequence[int]) -> list[int]:
        """Those of a shard's samples that are followed beyond the suite."""
        return self._outline.of_followed(positions)

    def _positions(self, shard: int) -> Labels:
        return np.arange(shard * SHARD_SIZE, min((shard + 1) * SHARD_SIZE, len(self._labels)))

    def _told(self, shard: Shard, previous: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Of a set whose digest is not over what is in the images, the digest of these, which must not change."""
        if self._drawn.contents:
            return {}
        digest = hashlib.sha256(shard.images.tobytes()).hexdigest()
        if previous and previous[0]["sha256"] != digest:
            raise ValueError("data changed while the audit ran: other pictures have the same names")
        return {"sha256": digest}

    def _first(self, count: int) -> Images:
        return self._drawn.read(range(min(count, len(self._labels))))

    def _shard(self, number: int) -> Shard:
        positions, latest = self._positions(number), self._latest
        if latest is None or latest.positions[0] != positions[0]:
            latest = self._latest = self._part(positions)
        return latest

    def _others(self, number: int, count: int) -> Shard:
        """So many samples that come after a shard, as if the first came after the last; all others at most."""
        n, own = len(self._labels), self._positions(number)
        return self._part(np.sort((own[-1] + 1 + np.arange(min(count, n - len(own)))) % n))

    def _part(self, positions: Labels) -> Shard:
        return Shard(positions, self._drawn.read(positions), self._labels[positions])


def _contents(results: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The digest of the images that were drawn, where that of the set is not over what is in them."""
    digests = [result["sha256"] for result in results if "sha256" in result]
    if not digests:
        return {}
    return {"drawn_sha256": hashlib.sha256("".join(digests).encode("ascii")).hexdigest()}
