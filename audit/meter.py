"""How far an audit is, and how long it has still to go."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from f2at.audit.cost import Pace
from f2at.audit.plan import Audit
from f2at.audit.steps import Step


class Meter:
    """Follows an audit step by step and evaluation by evaluation.

    A step that has not run yet is taken to last as long as its stage did on the shards before, and on the first shard
    as long as it would if no further sample fell. So the estimate falls faster than the clock, not slower.

    Args:
        audit: the plan.
        pace: of its model.

    Attributes:
        pace: may be set to a better one at any time.
        step: the one that began last, while it runs.
        show: called at every step and every evaluation.
    """

    def __init__(self, audit: Audit, pace: Pace) -> None:
        self.pace = pace
        self._audit = audit
        self._costs = {step: audit.cost(step) for step in audit.steps}  # of those that are not done
        self._evaluated: dict[Step, int] = {}  # images, in the steps that run
        self._taken: dict[str, list[float]] = {}
        self._worked = 0.0  # seconds, in steps that are done
        self.step: Step | None = None
        self.show: Callable[[], object] = lambda: None

    def begin(self, step: Step, previous: Sequence[Mapping[str, Any]]) -> None:
        """A step begins, after those of its shard whose results these are."""
        for later in self._audit.shards[step.shard][step.place :]:
            self._costs[later] = self._audit.cost(later, previous)
        self.step, self._evaluated[step] = step, 0
        self.show()

    def beat(self, images: int) -> None:
        """So many images are evaluated next, in the step that began last; for `Audit.run`."""
        assert self.step is not None
        self.reach(self.step, self._evaluated[self.step] + images)

    def reach(self, step: Step, images: int) -> None:
        """So many images have been evaluated in a step that runs, here or elsewhere."""
        self._evaluated[step] = images
        self.show()

    def end(self, step: Step, seconds: float) -> None:
        """A step is done, now or by an earlier run, and took so long."""
        del self._costs[step]
        self._evaluated.pop(step, None)
        self._taken.setdefault(step.stage, []).append(seconds)
        self._worked, self.step = self._worked + seconds, None
        self.show()

    @property
    def seconds_left(self) -> float:
        """About how long it will still take, if the steps run one after the other."""
        return sum(self._expected(step) * (1 - self._share(step)) for step in self._costs)

    @property
    def share(self) -> float:
        """How much of the work is done, from 0 to 1."""
        done = self._worked + sum(self._expected(step) * self._share(step) for step in self._evaluated)
        left = self.seconds_left
        return done / (done + left) if done + left else float(not self._costs)

    def _expected(self, step: Step) -> float:
        """Seconds that a step takes, in all."""
        taken = self._taken.get(step.stage)
        return self.pace.seconds(self._costs[step]) if taken is None else fmean(taken)

    def _share(self, step: Step) -> float:
        """How much of a step is done, from 0 to 1."""
        evaluated = self._evaluated.get(step, 0)
        return min(1.0, evaluated / sum(self._costs[step])) if evaluated and sum(self._costs[step]) else 0.0
