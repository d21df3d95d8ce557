"""An audit from its first step to its report: what is kept on the way, how far it is, and the time it took."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from f2at.audit.journal import Journal
from f2at.audit.meter import Meter
from f2at.audit.plan import Audit, Heartbeat
from f2at.audit.provenance.context import Context
from f2at.audit.steps import Step


def perform(
    audit: Audit,
    *,
    progress: Callable[[Step], object] | None = None,
    journal: Journal | None = None,
    meter: Meter | None = None,
    context: Context | None = None,
) -> dict[str, Any]:
    """Run every step that is left and return the report.

    Args:
        audit: the plan.
        progress: called after each step.
        journal: has the steps of an earlier run that was interrupted, and is given those of this one.
        meter: is told of every step and every evaluation.
        context: what its owner says of the model and the audit.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    results = run_audit(audit, progress=progress, journal=journal, meter=meter)
    return audit.report(
        results,
        context=context,
        started=started.isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        wall_seconds=round(time.perf_counter() - clock, 3),
    )


def run_audit(
    audit: Audit,
    *,
    progress: Callable[[Step], object] | None = None,
    heartbeat: Heartbeat | None = None,
    journal: Journal | None = None,
    meter: Meter | None = None,
) -> list[dict[str, Any]]:
    """Run every step in order and return the results; see `perform`. `heartbeat` is that of `Audit.run`."""
    results: list[dict[str, Any]] = []
    for shard in audit.shards:
        previous: list[dict[str, Any]] = []
        for step in shard:
            found = None if journal is None else journal.find(step)
            if found is None:
                if meter:
                    meter.begin(step, previous)
                found = audit.run(step, previous, heartbeat or (meter.beat if meter else None))
                if journal is not None:
                    journal.keep(found)
            else:
                audit.remember(found)
            if meter:
                meter.end(step, found["seconds"])
            previous.append(found)
            if progress is not None:
                progress(step)
        results += previous
    return results
