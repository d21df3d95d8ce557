"""The process that runs audits: one workflow per audit, one durable step per stage and shard.

It may be killed at any moment. Finished steps are in the database, so the next worker of the same version goes on
with the step after them and ends with the numbers an undisturbed run gives.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer
from dbos import error as dbos_error

from attacks.audit import Audit, AuditRequest, Step
from attacks.audit.stages import surviving
from attacks.onnx_target import OnnxTarget
from export.bundle import CLASSIFIER, GRADIENT, Bundle
from export.runtime import active_provider, create_session
from serving.audits import APPLICATION, PROGRESS, QUEUE, WORKFLOW, application_version, prepare_database
from serving.settings import Settings

_RECOVERIES = 10  # an audit that takes its worker down this often is given up
_CHECK_INTERVAL = 0.5  # seconds between looks at whether the audit was cancelled


def run_worker(bundle: Bundle, settings: Settings, *, supervised: bool) -> None:
    """Run audits of `bundle` until SIGTERM or SIGINT, or, if supervised, until standard input closes.

    Args:
        bundle: the model; audits of other models are left alone.
        settings: where the database is, and how many threads to use.
        supervised: a server started this process and holds the other end of standard input.
    """
    os.nice(19)  # predictions come first
    if supervised:
        threading.Thread(target=_leave_with_supervisor, daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))  # nothing to tidy up: what is finished is in the database

    prepare_database(settings.database_url)
    config: DBOSConfig = {
        "name": APPLICATION,
        "system_database_url": settings.database_url,
        "serializer": DBOSPortableJSONSerializer(),
        "application_version": application_version(bundle.digest),
        # DBOS gives a restarted executor its own unfinished workflows back, so the name must outlive the process and
        # be nobody else's: it is kept beside the lock that only one worker holds.
        "executor_id": _identity(settings.state / "executor-id"),
        "log_level": "WARNING",
        "run_migrations": False,
    }
    DBOS(config=config)
    logging.getLogger("dbos").addFilter(_is_news)
    DBOS.workflow(name=WORKFLOW, max_recovery_attempts=_RECOVERIES)(_workflow(bundle, settings))
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=1, polling_interval_sec=0.5, on_conflict="always_update")
    print(f"audit worker: {bundle.digest} ({os.getpid()})", flush=True)
    threading.Event().wait()


def _workflow(bundle: Bundle, settings: Settings) -> Callable[[dict[str, Any], str], dict[str, Any]]:
    threads = settings.audit_threads
    classifier = create_session(bundle.files[CLASSIFIER], threads=threads)
    gradient = create_session(bundle.files[GRADIENT], threads=threads)
    images, labels = bundle.reference()

    def audit(request: dict[str, Any], digest: str) -> dict[str, Any]:
        if digest != bundle.digest:
            raise ValueError(f"this audit is of model {digest}, this worker has {bundle.digest}")
        plan = Audit(
            OnnxTarget(classifier, gradient),
            images,
            labels,
            AuditRequest.from_dict(request),
            classes=bundle.classes,
            model={"digest": bundle.digest, "manifest": dict(bundle.manifest)},
            environment={"provider": active_provider(classifier), "gradient_provider": active_provider(gradient)},
        )
        identifier = DBOS.workflow_id
        assert identifier is not None
        heartbeat = _heartbeat(identifier)

        def run(step: Step, previous: list[dict[str, Any]]) -> dict[str, Any]:
            # As it will be read back from the database, so that a resumed audit sees what an undisturbed one saw.
            result: dict[str, Any] = json.loads(json.dumps(plan.run(step, previous, heartbeat)))
            return result

        results: list[dict[str, Any]] = []
        DBOS.set_event(PROGRESS, progress(plan.steps, results))
        for step in plan.steps:
            previous = [result for result in results if result["shard"] == step.shard]
            results.append(DBOS.run_step({"name": f"{step.stage}/{step.shard}"}, run, step, previous))
            DBOS.set_event(PROGRESS, progress(plan.steps, results))
        # As a step, because DBOS stores what a workflow learns of its status, and a status is not JSON.
        created = DBOS.run_step({"name": "created"}, _created, identifier)
        return plan.report(results, id=identifier, created=created, finished=_utc(time.time()))

    return audit


def progress(steps: Sequence[Step], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How far an audit is, and its numbers so far, from the `results` of the first steps of the plan.

    Returns `done` and `total` steps, and for each stage its `shards` done of `total`, the `samples` in them and how
    many of those are still `robust` after it (for "clean": classified correctly).
    """
    stages: dict[str, dict[str, Any]] = {}
    for step in steps:
        entry = stages.setdefault(step.stage, {"stage": step.stage, "shards": 0, "total": 0, "samples": 0, "robust": 0})
        entry["total"] += 1
    shard: list[dict[str, Any]] = []
    for result in results:
        shard = [*shard, result] if shard and shard[0]["shard"] == result["shard"] else [result]
        entry = stages[result["stage"]]
        entry["shards"] += 1
        entry["samples"] += len(shard[0]["attempted"])
        entry["robust"] += len(surviving(shard))
    return {"done": len(results), "total": len(steps), "stages": list(stages.values())}


def _heartbeat(identifier: str) -> Callable[[int], None]:
    """A function to call often; it raises within half a second or so of the audit's being cancelled."""
    last = time.monotonic()

    def beat(_: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > _CHECK_INTERVAL:
            last = now
            status = DBOS.get_workflow_status(identifier)
            if status is None or status.status != "PENDING":
                raise dbos_error.DBOSWorkflowCancelledError(f"audit {identifier} was cancelled")

    return beat


def _created(identifier: str) -> str:
    status = DBOS.get_workflow_status(identifier)
    assert status is not None
    assert status.created_at is not None
    return _utc(status.created_at / 1000)


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _is_news(record: logging.LogRecord) -> bool:
    """DBOS reports a cancelled workflow as an error with a traceback; it is what somebody asked for."""
    return not (record.exc_info and isinstance(record.exc_info[1], dbos_error.DBOSAwaitedWorkflowCancelledError))


def _identity(path: Path) -> str:
    if not path.exists():
        path.write_text(str(uuid4()))
    return path.read_text()


def _leave_with_supervisor() -> None:
    sys.stdin.buffer.read()
    os._exit(0)
