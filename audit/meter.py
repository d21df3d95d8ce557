"""How far an audit is, and how long it has still to go."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from f2at.audit.cost import Pace
from f2at.audit.plan import Audit, Step


class Meter:
    """Follows an audit step by step and evaluation by evaluation.

    A step that has not run yet is taken to last as long as its stage did on the shards before, and on the first shard
    as long as it would if no further sample fell. So the estimate falls faster than the clock, not slower.

    Args:
        audit: the plan.
        pace: of its model.

    Attributes:
        step: the one that is running.
        show: called at every step and every evaluation.
    """

    def __init__(self, audit: Audit, pace: Pace) -> None:
        self._audit, self._pace = audit, pace
        self._planned = {step: pace.seconds(audit.cost(step)) for step in audit.steps}
        self._taken: dict[str, list[float]] = {}
        self._worked = 0.0  # seconds, in steps that are done
        self._share = 0.0  # of the step that is running, which is done
        self.step: Step | None = None
        self.show: Callable[[], object] = lambda: None

    def begin(self, step: Step, previous: Sequence[Mapping[str, Any]]) -> None:
        """A step begins, after those of its shard whose results these are."""
        self.step, self._share = step, 0.0
        for later in self._audit.shards[step.shard][step.place :]:
            self._planned[later] = self._pace.seconds(self._audit.cost(later, previous))
        cost = self._audit.cost(step, previous)
        self._one = 1 / max(1, cost.forwards + cost.gradients)
        self.show()

    def beat(self, images: int) -> None:
        """So many images are evaluated next; for `Audit.run`."""
        self._share = min(1.0, self._share + images * self._one)
        self.show()

    def end(self, step: Step, seconds: float) -> None:
        """A step is done, now or by an earlier run, and took so long."""
        del self._planned[step]
        self._taken.setdefault(step.stage, []).append(seconds)
        self._worked, self._share, self.step = self._worked + seconds, 0.0, None
        self.show()

    @property
    def seconds_left(self) -> float:
        """About how long it will still take."""
        total = 0.0
        for step, planned in self._planned.items():
            taken = self._taken.get(step.stage)
            expected = planned if taken is None else fmean(taken)
            total += expected * (1 - self._share) if step == self.step else expected
        return total

    @property
    def share(self) -> float:
        """How much of the work is done, from 0 to 1."""
        running = self._planned.get(self.step, 0.0) * self._share if self.step else 0.0
        done, left = self._worked + running, self.seconds_left
        return done / (done + left) if done + left else 1.0
