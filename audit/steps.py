"""What an audit is cut into: shards of its samples, and steps on each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f2at.audit.request import AuditRequest

SHARD_SIZE = 25


@dataclass(frozen=True)
class Step:
    """One unit of work, seconds long: one stage of the suite on one shard of the samples."""

    index: int
    """Place in `Audit.steps`."""
    shard: int
    """The steps of a shard run in order; shards are independent of each other."""
    place: int
    """Place in its shard."""
    stage: str
    """"clean", the name of an attack, "iterations", "curve", "corruptions", or a threat's: "THREAT/ATTACK"."""


def in_order(results: Sequence[Mapping[str, Any]], steps: Sequence[Step]) -> list[Mapping[str, Any]]:
    """The results in the order of the steps, exactly one each."""
    found = {(result["shard"], result["stage"]): result for result in results}
    wanted = [(step.shard, step.stage) for step in steps]
    if len(results) != len(steps) or found.keys() != set(wanted):
        missing = sorted(set(wanted) - found.keys())
        raise ValueError(
            f"results must be one for each of {len(steps)} steps; got {len(results)}, missing {missing[:5]}"
        )
    return [found[key] for key in wanted]


def drawn(request: AuditRequest, count: int) -> NDArray[np.int64]:
    """Which of `count` images an audit is of, in its order."""
    order = np.random.default_rng(np.random.SeedSequence([request.seed])).permutation(count)
    return order[: request.samples or count]
