"""How far an audit is whose shards run elsewhere, and how long it has still to go."""

from collections.abc import Mapping, Sequence
from typing import Any

from f2at.audit import Audit
from f2at.audit.cost import Cost, Pace, observed_pace
from f2at.audit.meter import Meter


class Forecast:
    """Follows the shards of an audit by their results, and within a step by what their workers tell.

    Attributes:
        pace: of the model, as observed so far; None before there is one.
    """

    def __init__(self, plan: Audit) -> None:
        self._plan = plan
        self._meter = Meter(plan, Pace(0.0, 0.0))
        self._known = [0] * len(plan.shards)  # results of each shard
        self._seconds, self._cost = 0.0, Cost(0, 0)
        self.pace: Pace | None = None

    def of(
        self, shards: Sequence[Sequence[Mapping[str, Any]]], working: Mapping[int, Mapping[str, Any] | None]
    ) -> dict[str, Any]:
        """The `share` that is done, and `seconds_left` if the workers of now stay; None before there is a pace.

        Args:
            shards: the results of each, so far.
            working: for each shard that has a worker, what that told last: the place of its step, the images evaluated
                in it and the seconds it took for them.
        """
        for number, results in enumerate(shards):
            self._add(number, results)
        seconds, cost = self._seconds, self._cost
        for number, told in working.items():
            if told and told["place"] == self._known[number] < len(self._plan.shards[number]):
                step = self._plan.shards[number][told["place"]]
                self._meter.reach(step, told["evaluated"])
                seconds += told["seconds"]
                cost = _sum(cost, _part(self._plan.cost(step, shards[number]), told["evaluated"]))
        self.pace = observed_pace(seconds, cost)
        if self.pace is None:
            return {"share": None, "seconds_left": None}
        self._meter.pace = self.pace
        left = self._meter.seconds_left / max(1, len(working))
        return {"share": round(self._meter.share, 3), "seconds_left": round(left, 1)}

    def _add(self, number: int, results: Sequence[Mapping[str, Any]]) -> None:
        """Take in what is new of a shard."""
        steps = self._plan.shards[number]
        for place in range(self._known[number], len(results)):
            result = results[place]
            self._meter.end(steps[place], result["seconds"])
            spent = Cost(result["forward_evaluations"], result["gradient_evaluations"])
            if sum(spent):  # the harness's own are not counted
                self._seconds, self._cost = self._seconds + result["seconds"], _sum(self._cost, spent)
            if place + 1 < len(steps):
                self._meter.begin(steps[place + 1], results[: place + 1])
        self._known[number] = len(results)


def _part(cost: Cost, evaluated: int) -> Cost:
    """So many of a step's evaluations, of both kinds in proportion."""
    share = evaluated / max(1, sum(cost))
    return Cost(round(share * cost.forwards), round(share * cost.gradients))


def _sum(one: Cost, other: Cost) -> Cost:
    return Cost(one.forwards + other.forwards, one.gradients + other.gradients)
