"""Finds audits that have ended, however they did, and starts their deliveries: one to each receiver.

That an audit has ended, and that a delivery was started, is in the database; what is in the one and not in the other is
started. So it makes no difference who was killed when, whether a worker ended the audit or a server cancelled it, and
how many look: the id of a delivery is made of what it delivers.
"""

import time
from collections.abc import Iterable
from contextlib import suppress

from dbos import DBOSClient, WorkflowStatus

from f2at.serving.jobs.records import Records
from f2at.serving.problems import Problem
from f2at.serving.webhooks.deliveries import APPLICATION, BEGINNING, WORKFLOW, enqueue, name_try
from f2at.serving.webhooks.event import event, identify

_MARGIN = 600.0  # seconds that an end may be recorded later than others which came after it
_OLDEST = 7 * 86_400.0  # seconds; an end that was not seen for so long is no news any more


def begin(jobs: DBOSClient, receivers: Iterable[str]) -> dict[str, float]:
    """Since when each receiver is to hear of audits, in seconds, by name: since it was first named, or a week."""
    named = {f"{BEGINNING}/{receiver}": receiver for receiver in receivers}
    for identifier, receiver in named.items():
        enqueue(jobs, BEGINNING, identifier, receiver)
    found = jobs.list_workflows(workflow_ids=[*named], load_input=False, load_output=False)
    oldest = time.time() - _OLDEST
    # SQLite's clock, by which ends of audits are stamped, may know no more than seconds.
    return {named[status.workflow_id]: max(_seconds(status.created_at) - 1, oldest) for status in found}


class Outbox:
    """Starts deliveries of the audits in `records` to `receivers`.

    Args:
        records: the audits.
        receivers: since when each is to hear of them, by name, as `begin` returns it.
        source: of the events.
    """

    def __init__(self, records: Records, receivers: dict[str, float], source: str) -> None:
        self._records, self._receivers, self._source = records, receivers, source
        self._since = min(receivers.values())
        started = records.jobs.list_workflows(
            name=WORKFLOW, application_name=APPLICATION, load_input=False, load_output=False
        )
        self._started = {status.workflow_id for status in started}

    def sweep(self) -> None:
        """Start what is to be started now. Safe to call again after an error of the database."""
        ended = self._records.ended(self._since)
        seen = set[str]()
        for audit in ended:
            wanted = {
                name_try(identify(audit.workflow_id, _seconds(audit.created_at)), receiver, 0): receiver
                for receiver, since in self._receivers.items()
                if _seconds(audit.completed_at) >= since
            }
            seen |= wanted.keys()
            if missing := wanted.keys() - self._started:
                with suppress(Problem):  # it was deleted meanwhile
                    self._start(audit, {name: wanted[name] for name in missing})
                self._started |= missing
        self._started = seen
        self._since = max([self._since, *(_seconds(audit.completed_at) - _MARGIN for audit in ended)])

    def _start(self, audit: WorkflowStatus, deliveries: dict[str, str]) -> None:
        summary = self._records.get(audit.workflow_id)
        report = self._records.report(audit.workflow_id) if summary["state"] == "done" else None
        news = event(summary, report, self._source)
        for identifier, receiver in deliveries.items():
            enqueue(self._records.jobs, WORKFLOW, identifier, receiver, news, receiver, 0)


def _seconds(milliseconds: int | None) -> float:
    assert milliseconds is not None
    return milliseconds / 1000
