"""Deliveries in a real job engine, in this process, to real receivers."""

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer
from standardwebhooks import WebhookVerificationError

from f2at.serving.jobs.database import prepare_database, worker_engine
from f2at.serving.jobs.records import connect
from f2at.serving.webhooks import retries, sending
from f2at.serving.webhooks.addresses import networks
from f2at.serving.webhooks.deliveries import (
    APPLICATION,
    QUEUE,
    VERSION,
    WORKFLOW,
    count_by_outcome,
    enqueue,
    name_try,
)
from f2at.serving.webhooks.delivery import LOG, Sender, register
from f2at.serving.webhooks.event import event
from f2at.serving.webhooks.receivers import Receivers
from tests.receiver import SECRET, receiving, webhook_settings
from tests.serving.webhooks.test_event import AUDIT, REPORT

if TYPE_CHECKING:
    from tests.conftest import NewDatabase

OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
URLS: dict[str, str] = {}  # of the receivers, by name; each test adds its own


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(webhook_settings(tmp_path_factory.mktemp("secrets"))["F2AT_WEBHOOK_SECRET"])


@pytest.fixture(scope="module")
def jobs(new_database: "NewDatabase", secret: Path) -> Iterator[DBOSClient]:
    """A client of a database, with the job engine running the deliveries."""
    url = new_database()
    prepare_database(url)
    DBOS(
        config={
            "name": APPLICATION,
            "system_database_url": url,
            "system_database_engine": worker_engine(url),
            "serializer": DBOSPortableJSONSerializer(),
            "application_version": VERSION,
            "log_level": "CRITICAL",
        }
    )
    register(Sender(Receivers(URLS, secret, networks("127.0.0.0/8"))))
    DBOS.launch()
    DBOS.register_queue(QUEUE, partition_worker_concurrency=4, polling_interval_sec=0.05)
    with connect(url) as client:
        yield client
    DBOS.destroy(destroy_registry=True)


@pytest.fixture(autouse=True)
def _soon(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "PAUSES", (0.1, 0.2))
    caplog.set_level(logging.INFO, LOG.name)


def deliver(jobs: DBOSClient, receiver: str, url: str | None, audit: str = "one") -> dict[str, Any]:
    """Start a delivery, to a receiver of that name; return the event."""
    if url is not None:
        URLS[receiver] = url
    news = event({**AUDIT, "id": audit}, REPORT, "/audits")
    enqueue(jobs, WORKFLOW, name_try(news["id"], receiver, 0), receiver, news, receiver, 0)
    return news


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def outcomes(jobs: DBOSClient, receiver: str) -> list[object]:
    """What came of each try of the deliveries to a receiver."""
    found = jobs.list_workflows(name=WORKFLOW, application_name=APPLICATION, load_input=False)
    return [status.output for status in found if f"/{receiver}/" in status.workflow_id]


def said(caplog: pytest.LogCaptureFixture, port: int) -> list[str]:
    """What was logged of the receiver at a port of this machine."""
    return [line for line in caplog.messages if f"to http://127.0.0.1:{port}: " in line]


def test_what_is_not_taken_is_sent_again_and_is_the_same(jobs: DBOSClient, caplog: pytest.LogCaptureFixture) -> None:
    with receiving(500, 503) as receiver:
        news = deliver(jobs, "fails-twice", receiver.url)
        requests = receiver.wait(3)
        wait_for(lambda: outcomes(jobs, "fails-twice") == ["retried", "retried", "delivered"])
    assert [request.event().get_id() for request in requests] == [news["id"]] * 3
    assert len({request.headers["webhook-id"] for request in requests}) == 1
    assert len({request.body for request in requests}) == 1
    where = f"Webhook of audit one to http://127.0.0.1:{receiver.server_port}"  # and no more of the URL
    assert [line.partition(";")[0] for line in said(caplog, receiver.server_port)] == [
        f"{where}: it answered 500",
        f"{where}: it answered 503",
        f"{where}: delivered, it answered 204.",
    ]


def test_one_that_is_never_taken_is_given_up_and_said_so(jobs: DBOSClient, caplog: pytest.LogCaptureFixture) -> None:
    before = count_by_outcome(jobs)
    with receiving(400, 302, 500) as receiver:
        deliver(jobs, "never", receiver.url, "lost")
        wait_for(lambda: outcomes(jobs, "never") == ["retried", "retried", "failed"])
        assert len(receiver.requests) == 3
    assert count_by_outcome(jobs)["failed"] > before["failed"]
    last = said(caplog, receiver.server_port)[-1]
    assert last.endswith("given up after 3 tries, it answered 500.")
    assert [record.levelname for record in caplog.records if record.getMessage() == last] == ["ERROR"]


@pytest.mark.slow
def test_retry_after_is_honoured(jobs: DBOSClient) -> None:
    with receiving(lambda handler: handler.answer(429, Retry_After="5")) as receiver:
        deliver(jobs, "busy", receiver.url)
        first, second = receiver.wait(2)
    assert second.time - first.time >= 5


def test_a_receiver_that_is_gone_is_left_alone(jobs: DBOSClient) -> None:
    before = count_by_outcome(jobs)
    with receiving(410) as receiver:
        deliver(jobs, "gone", receiver.url)
        wait_for(lambda: outcomes(jobs, "gone") == ["gone"])
        deliver(jobs, "gone", receiver.url, "another")
        wait_for(lambda: outcomes(jobs, "gone") == ["gone", "gone"])
        assert len(receiver.requests) == 1
    assert count_by_outcome(jobs)["gone"] == before["gone"] + 2


def test_secrets_are_replaced_under_way(jobs: DBOSClient, secret: Path) -> None:
    def change(secrets: str) -> Callable[[Any], None]:
        def answer(handler: Any) -> None:
            secret.write_text(secrets)
            handler.answer(500)

        return answer

    try:
        with receiving(change(f"{OTHER}\n{SECRET}"), change(OTHER)) as receiver:
            deliver(jobs, "rotates", receiver.url)
            old, both, new = receiver.wait(3)
    finally:
        secret.write_text(SECRET)
    assert old.event(SECRET).get_id() == both.event(SECRET).get_id()
    assert both.event(OTHER).get_id() == new.event(OTHER).get_id()
    for request, wrong in ((old, OTHER), (new, SECRET)):
        with pytest.raises(WebhookVerificationError):
            request.event(wrong)


def test_secrets_that_are_damaged_are_a_try_that_failed(jobs: DBOSClient, secret: Path) -> None:
    secret.write_text("nothing")
    with receiving() as receiver:
        deliver(jobs, "unsigned", receiver.url)
        time.sleep(1)
        assert receiver.requests == []
        secret.write_text(SECRET)
        receiver.wait(1)


@pytest.mark.slow
def test_receivers_that_hang_keep_no_other_waiting(jobs: DBOSClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "SECONDS", 5.0)

    def hang(_: Any) -> None:
        time.sleep(6)

    with receiving(*[hang] * 9) as hanging, receiving() as receiver:
        for number in range(9):
            deliver(jobs, "hangs", hanging.url, f"hanging-{number}")
        hanging.wait(4)
        begun = time.monotonic()
        deliver(jobs, "prompt", receiver.url)
        receiver.wait(1)
        assert time.monotonic() - begun < 4
        assert len(hanging.requests) == 4  # at once
        hanging.wait(9)


def test_a_receiver_that_is_not_named_is_not_sent_to_but_may_be_again(jobs: DBOSClient) -> None:
    """While settings change, a process that does not name it yet may take its delivery."""
    with receiving() as receiver:
        deliver(jobs, "new", None)
        wait_for(lambda: "retried" in outcomes(jobs, "new"))
        URLS["new"] = receiver.url
        receiver.wait(1)


def test_a_private_address_is_not_sent_to(jobs: DBOSClient, caplog: pytest.LogCaptureFixture) -> None:
    deliver(jobs, "private", "http://10.0.0.1/T0P53CR3T")
    wait_for(lambda: "10.0.0.1" in caplog.text)
    assert "10.0.0.1 is at 10.0.0.1, a private address" in caplog.text
    assert "T0P53CR3T" not in caplog.text
