"""The audit: a fixed plan of short steps over shards of samples, and the report they add up to.

    audit = Audit(target, images, labels, AuditRequest(eps="32/255"), classes=names)
    results = []
    for step in audit.steps:                        # any order of shards, any number of workers
        earlier = [r for r in results if r["shard"] == step.shard]
        results.append(audit.run(step, earlier))
    report = audit.report(results)

`run_audit` is that loop. Results and report are JSON values and, times aside, depend on the request alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from attacks.request import AuditRequest

if TYPE_CHECKING:
    from attacks.target import Target

__all__ = ["Audit", "AuditRequest", "Step", "run_audit"]

SHARD_SIZE = 25
Heartbeat = Callable[[int], None]


@dataclass(frozen=True)
class Step:
    """One unit of work, seconds long: one stage of the suite on one shard of the samples."""

    index: int
    """Place in `Audit.steps`."""
    shard: int
    """From 0; the steps of a shard run in order, shards are independent of each other."""
    stage: str
    """"clean", the name of an attack, or "curve"."""


class Audit:
    """A deterministic plan for one request against one model.

    Args:
        target: the model under attack. Its ``logits`` must be those of the deployed classifier: they decide.
        images: uint8 (N, H, W, 3), the labelled images to draw samples from.
        labels: int64 (N,).
        request: what to do.
        classes: a name for each output of the model.
        model: JSON description of the model for the report (digest, manifest); copied into it as it is.

    Raises:
        ValueError: images, labels, classes and request do not fit together.

    Attributes:
        steps: the whole plan, shard after shard.
        shards: the same steps, grouped; ``shards[i]`` are those of shard ``i``, in the order they must run.
    """

    steps: tuple[Step, ...]
    shards: tuple[tuple[Step, ...], ...]

    def __init__(
        self,
        target: "Target",
        images: np.ndarray,
        labels: np.ndarray,
        request: AuditRequest,
        *,
        classes: Sequence[str],
        model: Mapping[str, Any] | None = None,
    ) -> None:
        raise NotImplementedError

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
        raise NotImplementedError

    def report(
        self, results: Sequence[Mapping[str, Any]], *, examples: bool = True, **context: Any
    ) -> dict[str, Any]:
        """Add up the results of all steps.

        Args:
            results: one result for each of `steps`, in any order.
            examples: False leaves the pictures out.
            context: JSON values kept under "run" (id, requester, created, provider, ...).

        Returns:
            The report, JSON values only; `attacks.report.deterministic_part` drops what differs between runs.
        """
        raise NotImplementedError


def run_audit(
    audit: Audit, *, progress: Callable[[Step], None] | None = None, heartbeat: Heartbeat | None = None
) -> list[dict[str, Any]]:
    """Run every step in order and return the results; ``progress`` is called after each step."""
    raise NotImplementedError
