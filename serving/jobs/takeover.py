"""Taking over from workers that leave, or died for good.

A worker that leaves puts its workflows back into their queues. Those of one that died DBOS gives back to a worker of
the same name, which may never come. So every worker signs the workflows that it runs, again and again, and watches the
signatures of the others.
"""

import os
import platform
import time
from collections import defaultdict
from collections.abc import Mapping

from dbos import DBOS

BEATS = 12  # signatures, or looks, in the time after which a worker is given up: it must have missed them all

Signs = Mapping[str, frozenset[tuple[str, str]]]  # of each worker: its running workflows and their signatures


def keep_watch(takeover: float) -> None:
    """Sign this worker's workflows and take over those of workers silent for `takeover` seconds; does not return.

    Should a worker taken for dead be alive after all (it was suspended, or cut off), then DBOS refuses to record what
    it still finds, because the workflow has another owner now; and both would have found the same.
    """
    watch, count = Watch(), 0
    while True:
        time.sleep(takeover / BEATS)
        count += 1
        try:
            signs = _read()
            for identifier, _ in signs.get(DBOS.executor_id, ()):
                DBOS.update_workflow_attributes(
                    identifier, {"host": platform.node(), "pid": os.getpid(), "count": count}
                )
            for worker in watch.silent(signs):
                DBOS.logger.warning(f"Worker {worker} is silent: its shards go to other workers.")
                DBOS._recover_pending_workflows([worker])  # those still in its name: two that do so do no harm
        except Exception as error:  # a worker that stops signing would be taken for dead itself
            DBOS.logger.warning(f"Could not look after other workers: {error}")


def requeue(dbos: DBOS) -> None:
    """Put this worker's workflows back into their queues, where any worker may take them at once; then end at once."""
    for event in dbos.background_thread_stop_events:
        event.set()  # or this worker might take them itself
    DBOS._recover_pending_workflows([DBOS.executor_id])


class Watch:
    """Remembers how long each worker's signs have stayed the same.

    Time is counted in looks: neither clocks that differ nor a database that was away make a living worker seem dead.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[object, int]] = {}

    def silent(self, signs: Signs) -> list[str]:
        """Take a look; return the workers whose signs have not changed for `BEATS` looks."""
        seen: dict[str, tuple[object, int]] = {}
        for worker, sign in signs.items():
            before, looks = self._seen.get(worker, (None, 0))
            seen[worker] = (sign, looks + 1 if sign == before else 0)
        self._seen = seen
        return [worker for worker, (_, looks) in seen.items() if looks >= BEATS]


def _read() -> Signs:
    found = defaultdict[str, set[tuple[str, str]]](set)
    for workflow in DBOS.list_workflows(
        status="PENDING", app_version=DBOS.application_version, load_input=False, load_output=False
    ):
        found[workflow.executor_id or ""].add((workflow.workflow_id, str(workflow.attributes)))
    return {worker: frozenset(signs) for worker, signs in found.items()}
