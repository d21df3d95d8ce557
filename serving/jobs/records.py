"""What the job engine has recorded of an audit, in this service's terms."""

from typing import Any, NamedTuple

from dbos import WorkflowStatus

STATES = {"ENQUEUED": "queued", "PENDING": "running", "SUCCESS": "done", "CANCELLED": "cancelled"}
FINISHED = ("done", "failed", "cancelled")


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


def state_of(status: WorkflowStatus) -> str:
    """queued, running, done, failed or cancelled."""
    return STATES.get(status.status, "failed")


def seconds(milliseconds: int | None) -> float | None:
    """A time of the job engine's as this service says it."""
    return None if milliseconds is None else milliseconds / 1000
