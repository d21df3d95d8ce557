"""What an audit is to the job engine: a parent workflow, and a child for each shard of its samples.

    audit    enqueues its shards, follows them to the end, adds up the report; it computes next to nothing
    shard    runs the steps of one shard and leaves each result in the database as soon as it has it

A worker runs one of each at a time, so the workers of a deployment share the shards of an audit, first come, first
served. Any of them may be killed at any moment: what is recorded stays, a step that was under way is run again, and
neither changes a number in the report.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from dbos import DBOS, SetWorkflowID, WorkflowStatus
from dbos import error as dbos_error

from f2at.audit import Audit, Step
from f2at.audit.stages import surviving
from f2at.serving.jobs.audits import PROGRESS, REPORT, WORKFLOW

SHARD = "shard"
SHARDS = "shards"  # the queue
_RECOVERIES = 10  # a shard that takes its worker down this often is given up
_LOOK = 0.25  # seconds between looks at the shards of an audit
_LONGEST_LOOK = 5.0  # the same, where looking takes long: with many shards, or after the database was away
_CHECK = 0.5  # seconds between looks at whether the audit was cancelled

Result = dict[str, Any]
OpenAudit = Callable[[dict[str, Any], str], Audit]


class AuditError(RuntimeError):
    """A shard failed, and the audit with it; the message is the reason."""


def register(open_audit: OpenAudit, *, max_seconds: float = math.inf) -> None:
    """Make both workflows known to DBOS.

    Args:
        open_audit: gives the plan for a request and a model's digest.
        max_seconds: of work on one audit, whoever does it; the time that no worker was there does not count.
    """

    @DBOS.workflow(name=SHARD, max_recovery_attempts=_RECOVERIES)
    def shard(request: dict[str, Any], digest: str, number: int) -> None:
        plan = open_audit(request, digest)
        heartbeat = _heartbeat(_own_id())

        def run(step: Step, previous: list[Result]) -> Result:
            # As it will be read back from the database, so that a resumed shard sees what an undisturbed one saw.
            beat = _until_spent(max_seconds, _worked(previous), heartbeat)
            result: Result = json.loads(json.dumps(plan.run(step, previous, beat)))
            return result

        results: list[Result] = []
        for step in plan.shards[number]:
            results.append(DBOS.run_step({"name": step.stage}, run, step, results))

    # Restarts cost the parent nothing, so they are not counted against it.
    @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)
    def audit(request: dict[str, Any], digest: str, by: str | None = None) -> None:  # noqa: ARG001 (read in lists)
        plan, identifier = open_audit(request, digest), _own_id()
        # No Idempotency-Key has a slash in it, so no audit can be called what a shard is.
        shards = [f"{identifier}/{number}" for number in range(len(plan.shards))]
        for number, child in enumerate(shards):
            with SetWorkflowID(child):
                DBOS.enqueue_workflow(SHARDS, shard, request, digest, number)
        # Not returned as well: a step's result is kept, and reports with their pictures are what fills the database.
        DBOS.run_step({"name": REPORT}, _report, plan, identifier, shards, max_seconds)


def progress(steps: Iterable[Step], shards: Iterable[Sequence[Result]]) -> dict[str, Any]:
    """How far an audit is, and its numbers so far, from the results of the first steps of each of its `shards`.

    Returns `done` and `total` steps, and for each stage its `shards` done of `total`, the `samples` in them and how
    many of those are still `robust` after it (for "clean": classified correctly).
    """
    stages: dict[str, dict[str, Any]] = {}
    for step in steps:
        entry = stages.setdefault(step.stage, {"stage": step.stage, "shards": 0, "total": 0, "samples": 0, "robust": 0})
        entry["total"] += 1
    for results in shards:
        for done, result in enumerate(results, start=1):
            entry = stages[result["stage"]]
            entry["shards"] += 1
            entry["samples"] += len(results[0]["attempted"])
            entry["robust"] += len(surviving(results[:done]))
    every = stages.values()
    done, total = (sum(entry[key] for entry in every) for key in ("shards", "total"))
    return {"done": done, "total": total, "stages": list(every)}


def _report(plan: Audit, identifier: str, shards: Sequence[str], max_seconds: float) -> dict[str, Any]:
    """Follow the shards to their end, publishing progress, and return the report.

    A step, so that nothing seen on the way is recorded. All it knows comes from the database, so it may be cut off
    and run again: each result is read once a run.
    """
    heartbeat = _heartbeat(identifier)
    results: dict[str, list[Result]] = {child: [] for child in shards}
    waiting, published = set(shards), -1
    while waiting:
        started = time.monotonic()
        heartbeat(0)
        children = DBOS.list_workflows(workflow_ids=sorted(waiting), load_input=False, load_output=False)
        for child in children:
            if child.recovery_attempts:  # it was given to a worker, now or before a restart
                found = results[child.workflow_id]
                steps = DBOS.list_workflow_steps(child.workflow_id, offset=len(found))
                found += [step["output"] for step in steps if step["output"] is not None]
        if sum(map(len, results.values())) > published:
            published = sum(map(len, results.values()))
            DBOS.set_event(PROGRESS, progress(plan.steps, results.values()))
        _stop_at_failure(children, waiting)
        if sum(map(_worked, results.values())) > max_seconds:
            DBOS.cancel_workflows(list(waiting))
            raise _too_long(max_seconds)
        waiting -= {child.workflow_id for child in children if child.status == "SUCCESS"}
        if waiting:
            # Looking stays cheap, however many shards.
            time.sleep(min(max(_LOOK, 20 * (time.monotonic() - started)), _LONGEST_LOOK))
    status = DBOS.get_workflow_status(identifier)
    assert status is not None
    assert status.created_at is not None
    return plan.report(
        [result for found in results.values() for result in found],
        id=identifier,
        created=_utc(status.created_at / 1000),
        finished=_utc(time.time()),
    )


def _stop_at_failure(children: Iterable[WorkflowStatus], waiting: Iterable[str]) -> None:
    """If a shard failed, stop the others and raise its error."""
    failed = [child for child in children if child.status not in ("ENQUEUED", "PENDING", "SUCCESS")]
    if not failed:
        return
    DBOS.cancel_workflows(list(waiting))
    # After a restart the others are there as cancelled: the reason is in the one that was not.
    first = min(failed, key=lambda child: child.status == "CANCELLED")
    if first.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        raise AuditError("the worker died too often while running it")
    raise AuditError(str(DBOS.list_workflows(workflow_ids=[first.workflow_id])[0].error or "it was cancelled in part"))


def _heartbeat(identifier: str) -> Callable[[int], None]:
    """A function to call often; it raises within half a second or so of a workflow's being cancelled or handed on."""
    last = time.monotonic()

    def beat(_: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > _CHECK:
            last = now
            status = DBOS.get_workflow_status(identifier)
            if status is None or (status.status, status.executor_id) != ("PENDING", DBOS.executor_id):
                raise dbos_error.DBOSWorkflowCancelledError(f"{identifier} was cancelled")

    return beat


def _until_spent(max_seconds: float, worked: float, beat: Callable[[int], None]) -> Callable[[int], None]:
    """As `beat`, but it raises once `worked` and the seconds from now on are more than `max_seconds`."""
    end = time.monotonic() + max_seconds - worked

    def watched(samples: int) -> None:
        beat(samples)
        if time.monotonic() > end:
            raise _too_long(max_seconds)

    return watched


def _worked(results: Iterable[Result]) -> float:
    return sum(float(result["seconds"]) for result in results)


def _too_long(max_seconds: float) -> AuditError:
    return AuditError(f"it took longer than {max_seconds:g} s of work, which is what F2AT_MAX_AUDIT_SECONDS allows")


def _own_id() -> str:
    identifier = DBOS.workflow_id
    assert identifier is not None
    return identifier


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
