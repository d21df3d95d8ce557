"""A budget of queries, shared out over the steps of an audit so that all of it comes to its end."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from f2at.attacks.attack import Attack
from f2at.attacks.target import Target
from f2at.audit.cost import harness_queries
from f2at.audit.request import AuditRequest

Planned = Sequence[tuple[str, int]]  # stage and number of samples of each step, in order


class Budget:
    """What a target may still be asked, if it counts its queries; of any other nothing is counted, and any number left.

    Args:
        target: counts if it has `queries`, as `f2at.audit.endpoint.limits.Limits` is.
        attacks: of the suite; those that go by answers share what is left.
        planned: every step.
    """

    def __init__(self, target: Target, attacks: Sequence[Attack], planned: Planned) -> None:
        self._queries: Any = getattr(target, "queries", None)
        self._sharing = {attack.name for attack in attacks if attack.knowledge == "black-box"}
        self._planned = planned

    def check(self, request: AuditRequest, samples: int) -> None:
        """Raise ValueError unless the queries that are left are enough for one of each attack on each image."""
        left = self._left
        if left is None:
            return
        if request.curve:
            raise ValueError(
                "curve must be false (--no-curve) where queries are limited: the search for nearest errors would take "
                "most"
            )
        if request.random:
            raise ValueError("draws and samples_per_gradient must be 1 where queries are limited")
        if request.threats:
            raise ValueError("threats must be left out where queries are limited: they would take most")
        least = sum(harness_queries(stage, n) + n * (stage in self._sharing) for stage, n in self._planned)
        if left < least:
            raise ValueError(
                f"max_queries must leave at least {least} for {samples} images, of which attacks get one for each; "
                f"{left} are left: allow more queries, or take fewer images (--samples)"
            )

    def share(self, index: int, attack: Attack, samples: int) -> tuple[Attack, int | None]:
        """The attack of a step with the queries that it may take on each of so many samples, and their number.

        None: nothing bounds it but itself. 0: it must be left out.
        """
        left = self._left
        if left is None or attack.name not in self._sharing or not samples:
            return attack, None
        allowed = min(allowance(left, self._planned[index:], self._sharing, samples), attack.parameters["queries"])
        return attack.override(queries=max(1, allowed)), allowed

    @property
    def sent(self) -> int:
        """How many images the target was sent."""
        return 0 if self._queries is None else int(self._queries.sent)

    def since(self, sent: int) -> dict[str, int]:
        """What a step says that began when so many were sent."""
        return {} if self._queries is None else {"sent": self.sent - sent}

    def remember(self, result: Mapping[str, Any]) -> None:
        """Count what a step has sent that an earlier run did."""
        if self._queries is not None:
            self._queries.count(result.get("sent", 0))

    def describe(self) -> dict[str, Any]:
        """What a report says."""
        return {} if self._queries is None else {"queries": self._queries.describe()}

    @property
    def _left(self) -> int | None:
        return None if self._queries is None else self._queries.left


def allowance(left: int, steps: Sequence[tuple[str, int]], attacks: Collection[str], samples: int) -> int:
    """How many queries an attack may take for each sample, so that those after it may take as many.

    Args:
        left: queries that are left for everything.
        steps: stage and number of samples of this step and all after it.
        attacks: the stages among which the queries are shared, each on as many samples as there are at most.
        samples: of this step, which are attacked.
    """
    spare = left - sum(harness_queries(stage, count) for stage, count in steps)
    total = sum(count for stage, count in steps if stage in attacks)
    return max(0, spare * steps[0][1] // (total * samples))
