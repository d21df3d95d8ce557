"""An audit from its first step to its report, with the time it took."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from f2at.audit.plan import Audit, Step, run_audit


def perform(audit: Audit, *, progress: Callable[[Step], object] | None = None) -> dict[str, Any]:
    """Run every step and return the report; ``progress`` is called after each step."""
    started, clock = datetime.now(UTC), time.perf_counter()
    results = run_audit(audit, progress=progress)
    return audit.report(
        results,
        started=started.isoformat(timespec="seconds"),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        wall_seconds=round(time.perf_counter() - clock, 3),
    )
