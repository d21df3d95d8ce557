"""Taking over the work of processes that stop or crash, audits above all.

A worker that stops requeues its workflows. If it crashed, DBOS returns its workflows only to a worker of the same name,
which may never start. So every worker regularly stamps the workflows that it runs with a heartbeat, and watches the
heartbeats of the others.
"""

import os
import platform
import threading
import time
from collections import defaultdict
from collections.abc import Mapping

from dbos import DBOS

BEATS = 12  # heartbeats per takeover time; a worker that missed them all is given up
_TAKING = 1.0  # seconds that it may take to take a workflow from a queue

# Of each worker: its running workflows and their latest heartbeats.
Heartbeats = Mapping[str, frozenset[tuple[str, str]]]


def watch_workers(takeover: float) -> None:
    """Send heartbeats and requeue the work of workers silent for `takeover` seconds; does not return.

    If a worker that was given up is alive after all (it was suspended or cut off), DBOS refuses to record its further
    results, because the workflow has another owner now; both would compute the same results anyway.
    """
    watch, count = Watch(), 0
    while True:
        time.sleep(takeover / BEATS)
        count += 1
        try:
            heartbeats = _read()
            for identifier, _ in heartbeats.get(DBOS.executor_id, ()):
                DBOS.update_workflow_attributes(
                    identifier, {"host": platform.node(), "pid": os.getpid(), "count": count}
                )
            for worker in watch.silent(heartbeats):
                DBOS.logger.warning(f"Worker {worker} is silent; requeueing its work.")
                DBOS._recover_pending_workflows([worker])  # only those it still owns: two may do so at once
        except Exception as error:  # without heartbeats this worker would be given up itself
            DBOS.logger.warning(f"Could not check on the other workers: {error}")


def requeue(dbos: DBOS) -> None:
    """Requeue this worker's workflows, for any worker to take at once; the caller must exit right afterwards."""
    for event in dbos.background_thread_stop_events:
        event.set()  # otherwise this worker might take them again
    for thread in threading.enumerate():
        if thread.name.startswith("queue-worker-"):  # which may be taking one just now
            thread.join(_TAKING)
    DBOS._recover_pending_workflows([DBOS.executor_id])


class Watch:
    """Tracks for how long each worker's heartbeats have not changed.

    Time is counted in polls, so that neither clock skew nor a database outage makes a running worker seem dead.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[object, int]] = {}

    def silent(self, heartbeats: Heartbeats) -> list[str]:
        """Count one poll; return the workers whose heartbeats have not changed for `BEATS` polls."""
        seen: dict[str, tuple[object, int]] = {}
        for worker, beats in heartbeats.items():
            before, polls = self._seen.get(worker, (None, 0))
            seen[worker] = (beats, polls + 1 if beats == before else 0)
        self._seen = seen
        return [worker for worker, (_, polls) in seen.items() if polls >= BEATS]


def _read() -> Heartbeats:
    found = defaultdict[str, set[tuple[str, str]]](set)
    for workflow in DBOS.list_workflows(
        status="PENDING", app_version=DBOS.application_version, load_input=False, load_output=False
    ):
        found[workflow.executor_id or ""].add((workflow.workflow_id, str(workflow.attributes)))
    return {worker: frozenset(heartbeats) for worker, heartbeats in found.items()}
