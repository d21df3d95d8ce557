"""Which deliveries are started, on each kind of database; nothing is sent."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from dbos import DBOSClient, WorkflowStatus
from sqlalchemy import text

from f2at.serving.jobs.audits import Audits
from f2at.serving.jobs.database import server_engine
from f2at.serving.jobs.retention import purge
from f2at.serving.webhooks.deliveries import APPLICATION, WORKFLOW, count_by_outcome
from f2at.serving.webhooks.outbox import Outbox, begin

if TYPE_CHECKING:
    from tests.conftest import NewDatabase

DAY = 86_400


@pytest.fixture
def url(new_database: "NewDatabase") -> str:
    return new_database()


@pytest.fixture
def audits(url: str) -> Iterator[Audits]:
    store = Audits(url, "sha256:one", size=(8, 8), reference_images=9, max_audits=99, max_samples=9)
    yield store
    store.close()


def change(url: str, audit: str, column: str, value: str) -> None:
    """Change a column of the job engine's row of an audit."""
    engine = server_engine(url)
    table = "workflow_status" if url.startswith("sqlite") else "dbos.workflow_status"
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {table} SET {column} = {value} WHERE workflow_uuid = :id"), {"id": audit})
    engine.dispose()


def deliveries(jobs: DBOSClient) -> list[WorkflowStatus]:
    return jobs.list_workflows(name=WORKFLOW, application_name=APPLICATION)


def started(jobs: DBOSClient) -> list[tuple[str, str]]:
    """Audit and receiver of each delivery."""
    inputs = [status.input for status in deliveries(jobs)]
    return sorted((given["args"][0]["subject"], given["args"][1]) for given in inputs if given)


def cancel(audits: Audits, *keys: str) -> None:
    for key in keys:
        audits.submit({}, key)
        audits.cancel(key)


def outbox(audits: Audits, *receivers: str) -> Outbox:
    return Outbox(audits, begin(audits.jobs, receivers), "/audits")


def test_every_end_is_announced_once_to_every_receiver(audits: Audits) -> None:
    both = outbox(audits, "a", "b"), outbox(audits, "a", "b")  # as of two machines
    cancel(audits, "one")
    audits.submit({}, "running")
    for each in both:
        each.sweep()
        each.sweep()
    assert started(audits.jobs) == [("one", "a"), ("one", "b")]
    cancel(audits, "two")
    for each in (*both, outbox(audits, "b", "a")):  # and of one that is started anew
        each.sweep()
    assert started(audits.jobs) == [("one", "a"), ("one", "b"), ("two", "a"), ("two", "b")]
    event, *_ = next(status.input["args"] for status in deliveries(audits.jobs) if status.input)
    assert (event["type"], event["data"]["state"]) == ("f2at.audit.cancelled", "cancelled")
    assert event["data"]["links"]["self"] == f"/audits/{event['subject']}"
    assert count_by_outcome(audits.jobs) == {"delivered": 0, "waiting": 4, "failed": 0, "gone": 0}


def test_what_ended_while_nobody_looked_is_announced_after_all(audits: Audits) -> None:
    begin(audits.jobs, ["a"])  # as a server does at its start
    cancel(audits, "one")
    outbox(audits, "a").sweep()
    assert started(audits.jobs) == [("one", "a")]


def test_a_receiver_hears_of_nothing_that_ended_before_it_was_named(audits: Audits) -> None:
    begin(audits.jobs, ["a"])
    cancel(audits, "one")
    time.sleep(2.1)  # ends are stamped to the second
    outbox(audits, "a", "b").sweep()
    assert started(audits.jobs) == [("one", "a")]
    cancel(audits, "two")
    outbox(audits, "a", "b").sweep()
    assert started(audits.jobs) == [("one", "a"), ("two", "a"), ("two", "b")]


def test_an_end_that_is_recorded_late_is_seen(audits: Audits, url: str) -> None:
    """Of two ends, the first may be recorded after the second was seen."""
    begin(audits.jobs, ["a"])
    change(url, "webhook-beginning/a", "created_at", "created_at - 120000")
    box = outbox(audits, "a")
    cancel(audits, "first", "second")
    change(url, "first", "status", "'PENDING'")
    box.sweep()
    assert started(audits.jobs) == [("second", "a")]
    change(url, "first", "completed_at", "completed_at - 60000")
    change(url, "first", "status", "'CANCELLED'")
    box.sweep()
    assert started(audits.jobs) == [("first", "a"), ("second", "a")]


def test_another_audit_of_the_same_id_is_announced_again(audits: Audits) -> None:
    box = outbox(audits, "a")
    cancel(audits, "one")
    box.sweep()
    audits.jobs.delete_workflows(["one"])
    time.sleep(1.1)  # audits are stamped to the second
    cancel(audits, "one")
    box.sweep()
    assert started(audits.jobs) == [("one", "a"), ("one", "a")]


def test_what_ended_long_ago_is_no_news(audits: Audits, url: str) -> None:
    begin(audits.jobs, ["a"])
    cancel(audits, "old", "new")
    change(url, "webhook-beginning/a", "created_at", f"created_at - {90 * DAY * 1000}")
    change(url, "old", "completed_at", f"completed_at - {8 * DAY * 1000}")
    change(url, "new", "completed_at", f"completed_at - {6 * DAY * 1000}")
    outbox(audits, "a").sweep()
    assert started(audits.jobs) == [("new", "a")]


def test_a_purge_deletes_deliveries_that_have_ended_and_no_others(audits: Audits, url: str) -> None:
    box = outbox(audits, "a")
    cancel(audits, "one", "two")
    box.sweep()
    (first, second) = deliveries(audits.jobs)
    for days, left in ((3, [first, second]), (1, [second])):
        change(url, first.workflow_id, "status", "'SUCCESS'")
        change(url, first.workflow_id, "completed_at", f"{(time.time() - 2 * DAY) * 1000:.0f}")
        purge(audits.jobs, days=days)
        assert [status.workflow_id for status in deliveries(audits.jobs)] == [status.workflow_id for status in left]
