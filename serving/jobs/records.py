"""The audits of a database, read: by servers, and by the process that announces those that have ended."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, count, islice, takewhile
from typing import Any, NamedTuple

from dbos import DBOSClient, DBOSPortableJSONSerializer, WorkflowStatus

from f2at.arguments import NAME
from f2at.serving.answers import linked
from f2at.serving.jobs.database import server_engine
from f2at.serving.jobs.figures import figures
from f2at.serving.problems import Problem

APPLICATION = "f2at"
WORKFLOW = "audit"
PROGRESS = "progress"  # name of the event with an audit's progress
FIGURES = "figures"  # name of the event with the figures of its report
REPORT = "report"  # name of the last step, whose result is the report
FINISHED = ("done", "failed", "cancelled")
ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]  # the same, as the job engine says it
# The id of any audit, as `Audits.submit` makes it. A shard's has a slash besides, so that no request can name one.
_IDENTIFIER = re.compile(f"(?:{NAME.pattern}:)?{NAME.pattern}")
_STATES = {"ENQUEUED": "queued", "PENDING": "running", "SUCCESS": "done", "CANCELLED": "cancelled"}
STATES = (*_STATES.values(), "failed")
_FAILED = ["ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
_TOGETHER = 200  # audits that are looked through at once


class Arguments(NamedTuple):
    """What an audit was started with; earlier versions recorded neither caller, nor context, nor data."""

    request: dict[str, Any]
    model: str  # digest
    by: str | None = None
    context: dict[str, Any] | None = None
    data: str | None = None  # location of the images; None: the model's own

    @classmethod
    def of(cls, status: WorkflowStatus) -> "Arguments":
        """Those of a workflow."""
        assert status.input is not None
        return cls(*status.input["args"])


@dataclass(frozen=True)
class Filters:
    """Which audits a list is of; what is None, or empty, lets all pass.

    Attributes:
        states: theirs.
        suite: that was asked for.
        model: the digest of the model, or its beginning.
        since: the earliest time of creation, in seconds.
    """

    states: Sequence[str] = ()
    suite: str | None = None
    model: str | None = None
    since: float | None = None

    def passes(self, arguments: Arguments) -> bool:
        """Whether an audit that was started so is of the suite and the model."""
        suite = self.suite in (None, arguments.request["suite"])
        return suite and arguments.model.startswith(self.model or "")


EVERY = Filters()


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

    def figures(self, limit: int = 50, offset: int = 0, filters: Filters = EVERY) -> list[dict[str, Any]]:
        """What audits that are done found, as `f2at.serving.jobs.figures` has it, each with its id and links."""
        done = replace(filters, states=("done",))
        return [self._figures(status) for status in self._passing(done, offset, limit)]

    def list(self, limit: int = 50, offset: int = 0, filters: Filters = EVERY) -> list[dict[str, Any]]:
        """Up to `limit` audits, newest first, after skipping `offset`, of those that pass."""
        return [self._view(status) for status in self._passing(filters, offset, limit)]

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

    def _passing(self, filters: Filters, offset: int, limit: int) -> Iterator[WorkflowStatus]:
        """Up to `limit` of the audits that pass, newest first, after `offset` of them."""
        statuses = [name for name, state in _STATES.items() if state in filters.states]
        asked: dict[str, Any] = {"name": WORKFLOW, "sort_desc": True, "load_output": False}
        asked["status"] = [*statuses, *(_FAILED if "failed" in filters.states else [])] or None
        if filters.since is not None:
            asked["start_time"] = datetime.fromtimestamp(filters.since, UTC).isoformat()
        if filters.suite is None and filters.model is None:
            yield from self.jobs.list_workflows(limit=limit, offset=offset, **asked)
            return
        pages = (self.jobs.list_workflows(limit=_TOGETHER, offset=at, **asked) for at in count(0, _TOGETHER))
        every = chain.from_iterable(takewhile(bool, pages))
        passing = (status for status in every if filters.passes(Arguments.of(status)))
        yield from islice(passing, offset, offset + limit)

    def _figures(self, status: WorkflowStatus) -> dict[str, Any]:
        kept = self.jobs.get_event(status.workflow_id, FIGURES, timeout_seconds=0)
        if kept is None:  # of an audit by an earlier version
            kept = figures(self.report(status.workflow_id))
        arguments = Arguments.of(status)
        identifier = status.workflow_id
        return {
            "audit": identifier,
            "model": arguments.model,
            "by": arguments.by,
            **kept,
            "finished": _seconds(status.completed_at),
            "links": linked({"id": identifier, "state": _state(status)})["links"],
        }

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
        told = self.jobs.get_event(status.workflow_id, PROGRESS, timeout_seconds=0) or {}
        audit = {
            "id": status.workflow_id,
            "state": _state(status),
            "model": arguments.model,
            "by": arguments.by,
            "request": arguments.request,
            "data": arguments.data,
            "created": _seconds(status.created_at),
            # The engine forgets it at a cancellation, and stamps it anew when another worker takes the audit over.
            "started": told.get("started") or _seconds(status.dequeued_at),
            "finished": _seconds(status.completed_at),
            "progress": {key: value for key, value in told.items() if key not in ("started", "pace")} or None,
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
