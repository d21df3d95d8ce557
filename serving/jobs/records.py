"""The audits of a database, read: by servers, and by the process that announces those that have ended."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from dbos import DBOSClient, DBOSPortableJSONSerializer, WorkflowStatus

from f2at.arguments import NAME
from f2at.serving.jobs.database import server_engine
from f2at.serving.problems import Problem

APPLICATION = "f2at"
WORKFLOW = "audit"
PROGRESS = "progress"  # name of the event with an audit's progress
REPORT = "report"  # name of the last step, whose result is the report
FINISHED = ("done", "failed", "cancelled")
ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]  # the same, as the job engine says it
# The id of any audit, as `Audits.submit` makes it. A shard's has a slash besides, so that no request can name one.
_IDENTIFIER = re.compile(f"(?:{NAME.pattern}:)?{NAME.pattern}")
_STATES = {"ENQUEUED": "queued", "PENDING": "running", "SUCCESS": "done", "CANCELLED": "cancelled"}


class Arguments(NamedTuple):
    """What an audit was started with; earlier versions recorded neither caller nor context."""

    request: dict[str, Any]
    model: str  # digest
    by: str | None = None
    context: dict[str, Any] | None = None

    @classmethod
    def of(cls, status: WorkflowStatus) -> "Arguments":
        """Those of a workflow."""
        assert status.input is not None
        return cls(*status.input["args"])


@contextmanager
def connect(url: str) -> Iterator[DBOSClient]:
    """A client of the job engine that fails after a few seconds instead of waiting for the database."""
    engine = server_engine(url)
    client = DBOSClient(
        system_database_engine=engine,
        serializer=DBOSPortableJSONSerializer(),
        application_name=APPLICATION,
        retry_connection_errors=False,
    )
    try:
        yield client
    finally:
        client.destroy()
        engine.dispose()


class Records:
    """The audits that a client of the job engine finds.

    Methods block on the database: call them in a thread. After a few seconds without it they raise
    DatabaseUnavailableError, or SQLAlchemy's TimeoutError if every connection is in use.
    """

    version: str | None = None  # of the audits that are submitted here; None: there are none

    def __init__(self, jobs: DBOSClient) -> None:
        self.jobs = jobs

    def get(self, identifier: str) -> dict[str, Any]:
        """The audit `identifier`; 404 if there is none."""
        return self._view(self._status(identifier))

    def list(self, limit: int = 50, offset: int = 0) -> list[dict[str, Any]]:
        """Up to `limit` audits, newest first, after skipping `offset`."""
        found = self.jobs.list_workflows(name=WORKFLOW, limit=limit, offset=offset, sort_desc=True, load_output=False)
        return [self._view(status) for status in found]

    def count_by_state(self) -> dict[str, int]:
        """The number of audits in each state, over all models."""
        found = self.jobs.list_workflows(name=WORKFLOW, load_input=False, load_output=False)
        return dict.fromkeys([*_STATES.values(), "failed"], 0) | Counter(map(_state, found))

    def last_done(self, among: int = 200) -> dict[str, str]:
        """For each model, by digest, the id of the audit that finished last, among the newest `among` audits."""
        found = self.jobs.list_workflows(
            name=WORKFLOW, status="SUCCESS", limit=among, sort_desc=True, load_output=False
        )
        return {
            Arguments.of(status).model: status.workflow_id
            for status in sorted(found, key=lambda s: s.completed_at or 0)
        }

    def ended(self, since: float) -> Sequence[WorkflowStatus]:
        """The audits that have ended since this time, in seconds; without their requests and results."""
        return self.jobs.list_workflows(
            name=WORKFLOW,
            status=ENDED,
            completed_after=datetime.fromtimestamp(since, UTC).isoformat(),
            load_input=False,
            load_output=False,
        )

    def report(self, identifier: str) -> dict[str, Any]:
        """The report of a finished audit; 409 if it has no report, or not yet."""
        status = self._status(identifier)
        if status.status != "SUCCESS":
            state = _state(status)
            detail = f"Audit {identifier} is {state}: " + (
                "it has no report." if state in FINISHED else "its report is not ready yet."
            )
            raise Problem(
                409,
                "report-not-ready",
                detail,
                argument="id",
                accepted="an audit that is done",
                received=state,
                state=state,
            )
        steps = self.jobs.list_workflow_steps(identifier)
        report = next(step["output"] for step in steps if step["function_name"] == REPORT)
        assert isinstance(report, dict)
        return report

    def unfinished_versions(self) -> set[str | None]:
        """The application versions of the audits that have not ended."""
        active = self.jobs.list_workflows(
            name=WORKFLOW, status=["ENQUEUED", "PENDING"], load_input=False, load_output=False
        )
        return {status.app_version for status in active}

    def _find(self, identifier: str, *, load_output: bool = False) -> WorkflowStatus | None:
        if not _IDENTIFIER.fullmatch(identifier):  # a database may not even take it: PostgreSQL refuses NUL
            return None
        found = self.jobs.list_workflows(workflow_ids=[identifier], name=WORKFLOW, load_output=load_output)
        return found[0] if found else None

    def _status(self, identifier: str, *, load_output: bool = False) -> WorkflowStatus:
        status = self._find(identifier, load_output=load_output)
        if status is None:
            raise Problem(
                404,
                "no-such-audit",
                f"There is no audit {identifier[:130]!r}; GET /audits lists them.",
                argument="id",
                accepted="the id of an audit in GET /audits",
                received=identifier[:130],
            )
        return status

    def _view(self, status: WorkflowStatus) -> dict[str, Any]:
        arguments = Arguments.of(status)
        audit = {
            "id": status.workflow_id,
            "state": _state(status),
            "model": arguments.model,
            "by": arguments.by,
            "request": arguments.request,
            "created": _seconds(status.created_at),
            "started": _seconds(status.dequeued_at),
            "finished": _seconds(status.completed_at),
            "progress": self.jobs.get_event(status.workflow_id, PROGRESS, timeout_seconds=0),
        }
        if audit["state"] == "failed":
            error = self._status(status.workflow_id, load_output=True).error
            audit["error"] = str(error) if error else "the worker crashed too often while running it"
        if audit["state"] == "queued" and status.app_version != self.version:
            audit["detail"] = "Submitted for another model or other code; waiting for a worker of that version."
        return audit


def _state(status: WorkflowStatus) -> str:
    return _STATES.get(status.status, "failed")


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
