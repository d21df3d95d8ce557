"""An audit as workflows of the job engine: a parent, and a child for each shard of its samples.

    audit    enqueues its shards, waits for them and builds the report; it computes next to nothing
    shard    runs the steps of one shard and stores each result in the database as soon as it is there

A worker runs one of each at a time, so the workers of a deployment share the shards of an audit, first come, first
served. Any of them may be killed at any moment: recorded results stay, an interrupted step is run again, and no number
in the report changes.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from dbos import DBOS, SetWorkflowID, WorkflowStatus
from dbos import error as dbos_error

from f2at.audit import Audit, Step
from f2at.audit.provenance.context import Context
from f2at.audit.stages import surviving
from f2at.command_line import first_line
from f2at.serving.jobs.figures import figures
from f2at.serving.jobs.forecast import Forecast
from f2at.serving.jobs.records import FIGURES, PROGRESS, REPORT, WORKFLOW

SHARD = "shard"
SHARDS = "shards"  # the queue
DATA = "data"  # name of the step that finds the digest of the images
WORKING = "working"  # name of the event with what a shard's worker is doing
_RECOVERIES = 10  # a shard that crashes its worker this often is given up
_POLL = 0.25  # seconds between polls of an audit's shards
_LONGEST_POLL = 5.0  # the same, where polling is slow: many shards, or a database outage
_CHECK = 0.5  # seconds between checks whether the audit was cancelled
_PAUSES = (1.0, 5.0, 25.0)  # seconds between tries to write a report to where it is kept besides
_TELL = 2.0  # seconds between events within a step

_LOG = logging.getLogger("f2at.worker")

Result = dict[str, Any]
Archive = Callable[[str, Result], None]
# Of the audit's id, a request, the model's digest, where the data lies, and the digest that it must have.
OpenAudit = Callable[[str, dict[str, Any], str, str | None, str | None], Audit]


class AuditError(RuntimeError):
    """A shard failed, and the audit with it; the message is the reason."""


def register(open_audit: OpenAudit, *, max_seconds: float = math.inf, archive: Archive | None = None) -> None:
    """Register both workflows with DBOS.

    Args:
        open_audit: returns the plan for an audit's id, a request, a model's digest, a location of data (None: the
            model's own) and the digest that the data must have (None: any).
        max_seconds: limit on the work on one audit, summed over workers; time without a worker does not count.
        archive: is given the id and the report of each audit that is done.
    """

    @DBOS.workflow(name=SHARD, max_recovery_attempts=_RECOVERIES)
    def shard(
        request: dict[str, Any], digest: str, number: int, data: str | None = None, expected: str | None = None
    ) -> None:
        plan = open_audit(_own_id().rpartition("/")[0], request, digest, data, expected)
        heartbeat = _heartbeat(_own_id())

        def run(step: Step, previous: list[Result]) -> Result:
            # Converted as if read back from the database, so that resumed and uninterrupted shards see the same values.
            beat = _telling(step, _until_spent(max_seconds, _worked(previous), heartbeat))
            result: Result = json.loads(json.dumps(plan.run(step, previous, beat)))
            return result

        results: list[Result] = []
        for step in plan.shards[number]:
            results.append(DBOS.run_step({"name": step.stage}, run, step, results))

    # Restarting the parent costs nothing, so its restarts are not limited.
    @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)
    def audit(
        request: dict[str, Any],
        digest: str,
        by: str | None = None,  # noqa: ARG001 (shown in lists)
        context: dict[str, Any] | None = None,
        data: str | None = None,
    ) -> None:
        identifier = _own_id()
        # Recorded, so that neither shards nor a worker that takes over attack other images than these.
        expected = DBOS.run_step({"name": DATA}, lambda: open_audit(identifier, request, digest, data, None).digest)
        plan = open_audit(identifier, request, digest, data, expected)
        # The id of an audit has no slash, so no audit can have the id of a shard.
        shards = [f"{identifier}/{number}" for number in range(len(plan.shards))]
        for number, child in enumerate(shards):
            with SetWorkflowID(child):
                DBOS.enqueue_workflow(SHARDS, shard, request, digest, number, data, expected)
        # Not returned as well: the step's result is stored already, and reports with pictures fill the database.
        said = Context(**(context or {}))
        report = DBOS.run_step({"name": REPORT}, _report, plan, identifier, shards, max_seconds, said)
        if archive is not None:
            DBOS.run_step({"name": "archive"}, _archive, archive, identifier, report)


def progress(steps: Iterable[Step], shards: Iterable[Sequence[Result]]) -> dict[str, Any]:
    """The progress of an audit and its numbers so far, from the results of the first steps of each of its `shards`.

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


def _report(
    plan: Audit, identifier: str, shards: Sequence[str], max_seconds: float, context: Context
) -> dict[str, Any]:
    """Wait for the shards, publish progress, and return the report.

    A step, so that DBOS does not record every poll. It takes everything from the database, so it may be interrupted and
    run again; each run reads each result once.
    """
    heartbeat = _heartbeat(identifier)
    results: dict[str, list[Result]] = {child: [] for child in shards}
    waiting, forecast, published = set(shards), Forecast(plan), None
    status = DBOS.get_workflow_status(identifier)
    assert status is not None
    assert status.created_at is not None
    # The engine stamps it anew when a worker takes the audit over, so what was told first stays.
    told = DBOS.get_event(identifier, PROGRESS, timeout_seconds=0) or {}
    first = told.get("started") or (status.dequeued_at and status.dequeued_at / 1000)
    began = {"started": first} if first else {}
    while waiting:
        started = time.monotonic()
        heartbeat(0)
        children = DBOS.list_workflows(workflow_ids=sorted(waiting), load_input=False, load_output=False)
        for child in children:
            if child.recovery_attempts:  # a worker has taken it, now or before a restart
                found = results[child.workflow_id]
                steps = DBOS.list_workflow_steps(child.workflow_id, offset=len(found))
                found += [step["output"] for step in steps if step["output"] is not None]
        working = {
            shards.index(child.workflow_id): DBOS.get_event(child.workflow_id, WORKING, timeout_seconds=0)
            for child in children
            if child.status == "PENDING" and child.recovery_attempts
        }
        news = sum(map(len, results.values())), working
        if news != published:
            published = news
            expected = forecast.of(list(results.values()), working)
            about = {"accuracy": plan.accuracy, "pace": forecast.pace, **began}
            DBOS.set_event(PROGRESS, progress(plan.steps, results.values()) | expected | about)
        _stop_at_failure(children, waiting)
        if sum(map(_worked, results.values())) > max_seconds:
            DBOS.cancel_workflows(list(waiting))
            raise _too_long(max_seconds)
        waiting -= {child.workflow_id for child in children if child.status == "SUCCESS"}
        if waiting:
            # Polling stays cheap, however many shards there are.
            time.sleep(min(max(_POLL, 20 * (time.monotonic() - started)), _LONGEST_POLL))
    report = plan.report(
        [result for found in results.values() for result in found],
        context=context,
        id=identifier,
        created=_utc(status.created_at / 1000),
        finished=_utc(time.time()),
    )
    DBOS.set_event(FIGURES, figures(report))
    return report


def _archive(archive: Archive, identifier: str, report: dict[str, Any]) -> None:
    """Give a report away, in several tries; without success the audit is done all the same, since clients have it."""
    for pause in (*_PAUSES, None):
        try:
            archive(identifier, report)
        except Exception as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
            _LOG.warning("The report of audit %s was not written to F2AT_REPORTS: %s", identifier, reason)
        else:
            return
        if pause is not None:
            time.sleep(pause)


def _stop_at_failure(children: Iterable[WorkflowStatus], waiting: Iterable[str]) -> None:
    """If a shard failed, stop the others and raise its error."""
    failed = [child for child in children if child.status not in ("ENQUEUED", "PENDING", "SUCCESS")]
    if not failed:
        return
    DBOS.cancel_workflows(list(waiting))
    # After a restart the others are listed as cancelled; the reason is in the one that is not.
    first = min(failed, key=lambda child: child.status == "CANCELLED")
    if first.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        raise AuditError("the worker crashed too often while running it")
    raise AuditError(str(DBOS.list_workflows(workflow_ids=[first.workflow_id])[0].error or "it was cancelled in part"))


def _heartbeat(identifier: str) -> Callable[[int], None]:
    """A function to call often; it raises within about half a second after a workflow is cancelled or taken over."""
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
    """Like `beat`, but raises once `worked` plus the seconds from now on exceed `max_seconds`."""
    end = time.monotonic() + max_seconds - worked

    def watched(samples: int) -> None:
        beat(samples)
        if time.monotonic() > end:
            raise _too_long(max_seconds)

    return watched


def _telling(step: Step, beat: Callable[[int], None]) -> Callable[[int], None]:
    """Like `beat`, and tells every few seconds how far the step is."""
    began = told = time.monotonic()
    evaluated = 0

    def telling(samples: int) -> None:
        nonlocal told, evaluated
        beat(samples)
        evaluated += samples
        now = time.monotonic()
        if now - told > _TELL:
            told = now
            DBOS.set_event(WORKING, {"place": step.place, "evaluated": evaluated, "seconds": now - began})

    return telling


def _worked(results: Iterable[Result]) -> float:
    return sum(float(result["seconds"]) for result in results)


def _too_long(max_seconds: float) -> AuditError:
    return AuditError(f"it took more than {max_seconds:g} s of work, the limit set by F2AT_MAX_AUDIT_SECONDS")


def _own_id() -> str:
    identifier = DBOS.workflow_id
    assert identifier is not None
    return identifier


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
