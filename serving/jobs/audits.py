"""Audits as durable jobs, as the server sees them: submit, read, cancel. `f2at.serving.jobs.worker` does the work.

An audit is a DBOS workflow in the deployment's database; its id is made of the name of the caller's API key and the
Idempotency-Key. Nothing here runs an attack, and nothing is pickled.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from copy import copy
from typing import Any, Self
from uuid import uuid4

from dbos import WorkflowStatus
from dbos import error as dbos_error

from f2at.arguments import NAME
from f2at.audit.cost import Pace, most_evaluations
from f2at.audit.outline import Outline
from f2at.audit.request import AuditRequest
from f2at.serving.jobs.admission import read_context, read_request
from f2at.serving.jobs.database import prepare_database
from f2at.serving.jobs.health import Health
from f2at.serving.jobs.places import read_data
from f2at.serving.jobs.records import ENDED, FINISHED, PROGRESS, WORKFLOW, Arguments, Records, connect
from f2at.serving.jobs.turns import Turns
from f2at.serving.jobs.version import application_version
from f2at.serving.problems import Problem

QUEUE = "audits"
_LATEST = 20  # audits among which one is looked for that knows the pace of the model


class Audits(Records):
    """The audits of one database, for the model `digest`; `surrogate` is that of the model for transfer attacks.

    size: (H, W) of the model's images.
    places: where labelled images may lie that a request names.
    """

    version: str

    def __init__(
        self,
        url: str,
        digest: str,
        *,
        size: tuple[int, int],
        reference_images: int,
        max_audits: int,
        max_samples: int,
        max_audits_per_key: int | None = None,
        max_evaluations: int | None = None,
        surrogate: str | None = None,
        places: Sequence[str] = (),
    ) -> None:
        prepare_database(url)
        self._connection = ExitStack()
        super().__init__(self._connection.enter_context(connect(url)))
        self.digest = digest
        self.surrogate = surrogate
        self._size = size
        self.version = application_version(digest, surrogate)
        self.max_audits = max_audits
        self._max_audits_per_key = max_audits_per_key
        self.max_samples = min(max_samples, reference_images)
        self._most_samples = max_samples
        self._max_evaluations = max_evaluations
        self._places = places
        self._turns = Turns(url)
        self._connection.callback(self._turns.close)
        self.health = Health(url)
        self._connection.callback(self.health.close)

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def of_model(self, digest: str, *, reference_images: int) -> Self:
        """The same audits, but new ones are of another model. The connections are shared."""
        other = copy(self)
        other.digest = digest
        other.version = application_version(digest, self.surrogate)
        other.max_samples = min(self._most_samples, reference_images)
        return other

    def submit(self, values: dict[str, Any], key: str | None, by: str | None = None) -> tuple[dict[str, Any], bool]:
        """Queue an audit; return it and whether it is new. The same caller, key and request give the same audit.

        Args:
            values: the request, under "data" where its images lie, and under "context" what its owner says of it.
            key: the Idempotency-Key; each caller has its own.
            by: name of the caller's API key; stored with the audit.

        Raises:
            Problem: 400 an invalid key, 409 a key that was used for another request, 422 an invalid request, 429 a full
                queue, or one that holds the caller's share.
        """
        if key is not None and not NAME.fullmatch(key):
            raise Problem(
                400,
                "invalid-argument",
                "Idempotency-Key must be 1 to 64 letters, digits, dots, dashes or underscores.",
                argument="Idempotency-Key",
                accepted=NAME.pattern,
                received=key[:80],
            )
        accepted, data, context = self._accepted(values)
        request = accepted.model_dump()
        identifier = str(uuid4()) if key is None else _identifier(key, by)
        if key is not None and (existing := self._find(identifier)):
            return self._same(existing, key, (request, data, context)), False
        try:
            with self._turns.take():  # otherwise several would find room for one more
                self._check_room(by)
                self.jobs.enqueue(
                    {
                        "workflow_name": WORKFLOW,
                        "queue_name": QUEUE,
                        "workflow_id": identifier,
                        "workflow_id_reuse_policy": "reject",
                        "app_version": self.version,
                    },
                    request,
                    self.digest,
                    by,
                    context,
                    data,
                )
        except dbos_error.DBOSWorkflowIDInUseError:  # another request with this key came first
            assert key is not None
            return self._same(self._status(identifier), key, (request, data, context)), False
        return self.get(identifier), True

    def estimate(self, values: dict[str, Any]) -> dict[str, Any]:
        """What an audit would take that `submit` is asked for with the same values; nothing is started.

        Returns:
            `most_evaluations`, as F2AT_MAX_EVALUATIONS counts them, and `most_seconds`, about the most that one worker
            takes; None before an audit of this model has run here.

        Raises:
            Problem: 422 an invalid request.
        """
        request, _, _ = self._accepted(values)
        assert request.samples is not None
        pace = self._pace()
        cost = Outline.of(request, request.samples, (*self._size, 3)).cost
        return {
            "most_evaluations": most_evaluations(request, request.samples),
            "most_seconds": None if pace is None else round(pace.seconds(cost), 1),
        }

    def cancel(self, identifier: str) -> dict[str, Any]:
        """Stop an audit: at once if it is queued, within a second or so if it runs; 409 if it has ended already."""
        if self._status(identifier).status != "CANCELLED":
            self.jobs.cancel_workflow(identifier, cancel_children=True)
        audit = self.get(identifier)
        if audit["state"] != "cancelled":
            raise Problem(
                409,
                "audit-finished",
                f"Audit {identifier} is {audit['state']}: there is nothing to cancel.",
                argument="id",
                accepted="an audit that is queued or running",
                received=audit["state"],
                state=audit["state"],
            )
        return audit

    def remove(self, identifier: str, owner: str | None) -> None:
        """Remove an audit that has ended, with its report and every step; its Idempotency-Key is free again.

        Args:
            identifier: its id.
            owner: name of the API key that asks, which must be the one that started it; None: anyone's will do.

        Raises:
            Problem: 404 there is none, 403 somebody else started it, 409 it has not ended.
        """
        audit = self.get(identifier)
        if owner is not None and audit["by"] != owner:
            raise Problem(
                403,
                "scope-required",
                f"Audit {identifier} was not started by the key {owner!r}, and this key lacks the scope 'admin'.",
                argument="Authorization",
                accepted="the key that started it, or the scope admin",
                received=owner,
            )
        if audit["state"] not in FINISHED:
            raise Problem(
                409,
                "audit-not-finished",
                f"Audit {identifier} is {audit['state']}: cancel it first.",
                argument="id",
                accepted="an audit that has ended",
                received=audit["state"],
                state=audit["state"],
            )
        self.jobs.delete_workflows([identifier], delete_children=True)

    def _accepted(self, values: dict[str, Any]) -> tuple[AuditRequest, str | None, dict[str, Any] | None]:
        """What is asked for, on which data, and what its owner says of it; 422 if this server does not take it."""
        context, data = read_context(values.get("context")), read_data(values.get("data"), self._places)
        request = read_request(
            {name: value for name, value in values.items() if name not in ("context", "data")},
            max_samples=self.max_samples if data is None else self._most_samples,
            all_known=data is None,
            max_evaluations=self._max_evaluations,
            surrogate=self.surrogate is not None,
            size=self._size,
        )
        return request, data, context

    def _pace(self) -> Pace | None:
        """That of the model, by the newest audit that knows it; of this version, which other code may not be like."""
        begun = self.jobs.list_workflows(
            name=WORKFLOW,
            status=["PENDING", *ENDED],
            app_version=self.version,
            limit=_LATEST,
            sort_desc=True,
            load_input=False,
            load_output=False,
        )
        for status in begun:
            told = self.jobs.get_event(status.workflow_id, PROGRESS, timeout_seconds=0) or {}
            if told.get("pace"):
                return Pace(*told["pace"])
        return None

    def _same(self, status: WorkflowStatus, key: str, asked: tuple[Any, Any, Any]) -> dict[str, Any]:
        """The audit that has the key, if it was asked for with the same request, data and context."""
        before = Arguments.of(status)
        if (before.request, before.data, before.context) != asked:  # whatever the model: a retry may follow a swap
            raise Problem(
                409,
                "idempotency-key-reused",
                f"The Idempotency-Key {key} belongs to another request; choose a new key.",
                argument="Idempotency-Key",
                accepted="a new key, or the request that used this key first",
                received=key,
            )
        return self._view(status)

    def _check_room(self, by: str | None) -> None:
        """Refuse another audit if there are as many as there may be, in all or of the API key named `by`."""
        active = self.jobs.list_workflows(
            name=WORKFLOW, status=["ENQUEUED", "PENDING"], app_version=self.version, load_output=False
        )
        limits = [(self.max_audits, len(active), "")]
        if by is not None and self._max_audits_per_key is not None:
            own = sum(Arguments.of(status).by == by for status in active)
            limits.append((self._max_audits_per_key, own, f" of the key {by!r}"))
        for most, waiting, whose in limits:
            if waiting >= most:
                raise Problem(
                    429,
                    "too-many-audits",
                    f"{most} audits{whose} are queued or running; wait until one ends, or cancel one.",
                    argument="audits",
                    accepted=f"at most {most} audits{whose} at once",
                    received=f"one more than {waiting}",
                    headers={"Retry-After": "30"},
                )


def _identifier(key: str, by: str | None) -> str:
    """The id of the audit that the API key named `by` starts with an Idempotency-Key; no two callers share one."""
    return key if by is None else f"{by}:{key}"  # no name has a colon
