"""Webhooks of real servers and workers, on both databases, to a real receiver; processes are killed in between."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from f2at.bundle.format import Bundle
from f2at.serving.jobs.audits import Audits
from f2at.serving.process.launch import free_port
from tests.receiver import Request, receiving, webhook_settings

if TYPE_CHECKING:
    from tests.conftest import NewDatabase
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow

SHORT: dict[str, Any] = {"eps": "1/255", "samples": 5}
LONG: dict[str, Any] = {"eps": "1/255", "samples": 200}


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.05)


def summary(request: Request) -> dict[str, Any]:
    """An audit as the event has it; the figures are beside it."""
    return {name: value for name, value in request.data.items() if name not in ("clean", "robust", "verdict")}


def count(server: "Server") -> dict[str, float]:
    families = text_string_to_metric_families(server.client.get("/metrics").text)
    return {s.labels["outcome"]: s.value for f in families for s in f.samples if s.name == "f2at_webhooks" and s.value}


def sender(server: "Server") -> int:
    """The process id of what sends webhooks."""
    wait_for(lambda: len(_senders(server)) == 1)
    return _senders(server)[0]


def _senders(server: "Server") -> list[int]:
    return [pid for pid in server.processes() if b"\0webhooks\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_every_kind_of_end_is_announced_as_the_service_tells_it(
    start_server: Callable[..., "Server"], new_database: "NewDatabase", tmp_path: Path
) -> None:
    with receiving(500, 503) as receiver:
        settings = webhook_settings(tmp_path, receiver.url)
        server = start_server(
            F2AT_DATABASE_URL=new_database(),
            F2AT_WEBHOOK_SOURCE="https://models.example",
            **settings,
        )
        server.submit("stopped", **LONG)
        server.client.delete("/audits/stopped")
        stopped = receiver.wait(3)
        report = server.finish(server.submit("done", min_robust_accuracy=0.1, **SHORT)["id"])
        [done] = receiver.wait(4)[3:]

        assert [request.event().get_type() for request in stopped] == ["f2at.audit.cancelled"] * 3
        assert len({request.event().get_id() for request in stopped}) == 1
        first, second = (later.time - earlier.time for earlier, later in pairwise(stopped))
        assert 1.6 <= first < second  # pauses grow
        assert second >= 8

        event = done.event()
        assert (event.get_type(), event.get_subject()) == ("f2at.audit.completed", "done")
        assert event.get_source() == "https://models.example"
        for request in (stopped[-1], done):
            assert summary(request) == server.audit(request.data["id"])
        assert {name: done.data[name] for name in ("clean", "robust", "verdict")} == {
            name: report[name] for name in ("clean", "robust", "verdict")
        }
        assert done.data["verdict"]["outcome"] is not None
        assert server.client.get(done.data["links"]["report"]).json() == report
        wait_for(lambda: count(server) == {"delivered": 2})
        time.sleep(3)
        assert len(receiver.requests) == 4  # once taken, no more
        server.stop()


def test_a_failed_audit_is_announced(start_server: Callable[..., "Server"], tmp_path: Path) -> None:
    with receiving() as receiver:
        server = start_server(F2AT_MAX_AUDIT_SECONDS="1", **webhook_settings(tmp_path, receiver.url))
        server.submit("failing", suite="standard", **LONG)
        [request] = receiver.wait(1, 120)
        assert request.event().get_type() == "f2at.audit.failed"
        assert request.data["error"].startswith("it took more than 1 s of work")
        assert summary(request) == server.audit("failing")
        server.stop()


def test_a_server_without_a_worker_sends_them_as_well(start_server: Callable[..., "Server"], tmp_path: Path) -> None:
    with receiving() as receiver:
        server = start_server(F2AT_WORKER="off", **webhook_settings(tmp_path, receiver.url))
        server.submit("queued", **SHORT)
        server.client.delete("/audits/queued")  # before anything that sends has started
        assert receiver.wait(1)[0].event().get_type() == "f2at.audit.cancelled"
        assert server.workers() == []
        server.stop()


def test_kill_9_between_the_end_of_an_audit_and_its_webhook(
    start_server: Callable[..., "Server"], new_database: "NewDatabase", tmp_path: Path
) -> None:
    """Of what sends it, before it has seen the end; then of the whole server, while the delivery waits for its try."""
    port = free_port()
    server = start_server(
        F2AT_DATABASE_URL=new_database(), **webhook_settings(tmp_path, f"http://127.0.0.1:{port}/hook")
    )
    wait_for(lambda: "Sending webhooks to" in server.text())
    os.kill(sender(server), signal.SIGSTOP)
    report = server.finish(server.submit("survives", **SHORT)["id"])
    os.kill(sender(server), signal.SIGKILL)
    wait_for(lambda: "Webhook of audit survives" in server.text())  # of the next one; nobody listens yet
    wait_for(lambda: count(server) == {"waiting": 1})

    server.stop(signal.SIGKILL)
    with receiving(port=port) as receiver:
        server.start()
        [request] = receiver.wait(1)
        assert request.event().get_subject() == "survives"
        assert request.data["robust"] == report["robust"]
        wait_for(lambda: count(server) == {"delivered": 1})
        server.submit("stopped", **LONG)
        server.client.delete("/audits/stopped")
        assert receiver.wait(2)[1].event().get_subject() == "stopped"
        server.stop()
        assert len(receiver.requests) == 2


@contextmanager
def process(folder: Path, settings: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`f2at webhooks`, by hand."""
    with (folder / "log").open("ab") as log:
        sending = subprocess.Popen(
            [sys.executable, "-m", "f2at", "webhooks"], env=os.environ | settings, stdout=log, stderr=log
        )
    try:
        yield sending
    finally:
        sending.kill()
        sending.wait()


def test_the_process_that_sends_may_be_one_of_its_own_and_be_killed_at_any_time(
    new_database: "NewDatabase", tmp_path: Path
) -> None:
    """It holds its answer back until the process is gone, so that it cannot know that it was taken: it sends again."""
    url = new_database()
    audits = Audits(url, "sha256:one", size=(8, 8), reference_images=200, max_audits=9, max_samples=200)
    sending: subprocess.Popen[bytes]

    def kill(number: int) -> Callable[[Any], None]:
        def answer(handler: Any) -> None:
            sending.send_signal(number)
            sending.wait()
            handler.close_connection = True

        return answer

    with receiving(kill(signal.SIGKILL), kill(signal.SIGTERM)) as receiver:
        settings = webhook_settings(tmp_path, receiver.url) | {
            "F2AT_DATABASE_URL": url,
            "F2AT_STATE": str(tmp_path / "state"),
        }
        for number in range(3):
            with process(tmp_path, settings) as sending:
                if number == 0:
                    wait_for(lambda: "Sending webhooks" in (tmp_path / "log").read_text())
                    audits.submit({}, "one")
                    audits.cancel("one")
                receiver.wait(number + 1)
                if number < 2:
                    sending.wait(30)
                else:
                    wait_for(lambda: "delivered, it answered 204" in (tmp_path / "log").read_text())
                    time.sleep(2)
        assert len(receiver.requests) == 3
        assert len({request.event().get_id() for request in receiver.requests}) == 1
    audits.close()


def test_another_process_takes_over_from_one_that_is_gone(new_database: "NewDatabase", tmp_path: Path) -> None:
    url, held = new_database(), threading.Event()
    audits = Audits(url, "sha256:one", size=(8, 8), reference_images=200, max_audits=9, max_samples=200)
    with receiving(lambda _: held.wait(60)) as receiver:
        settings = webhook_settings(tmp_path, receiver.url) | {"F2AT_DATABASE_URL": url, "F2AT_TAKEOVER": "2"}
        with process(tmp_path, settings | {"F2AT_STATE": str(tmp_path / "one")}) as first:
            wait_for(lambda: "Sending webhooks" in (tmp_path / "log").read_text())
            audits.submit({}, "one")
            audits.cancel("one")
            receiver.wait(1)
            with process(tmp_path, settings | {"F2AT_STATE": str(tmp_path / "other")}):
                first.kill()
                held.set()
                first_try, second_try = receiver.wait(2)
        assert first_try.event().get_id() == second_try.event().get_id()
    audits.close()


def test_settings_that_cannot_work_are_refused_at_the_start(bundle: Bundle, tmp_path: Path) -> None:
    settings = os.environ | webhook_settings(tmp_path, "http://10.0.0.1/T0P53CR3T") | {"F2AT_STATE": str(tmp_path)}
    for command in (["serve", str(bundle.path), "--port", str(free_port())], ["webhooks"]):
        run = subprocess.run(
            [sys.executable, "-m", "f2at", *command], env=settings, capture_output=True, text=True, timeout=60
        )
        assert run.returncode == 2
        last = run.stderr.splitlines()[-1]
        assert last.startswith(f"f2at {command[0]}: F2AT_WEBHOOK_URLS must be URLs of public addresses")
        assert "T0P53CR3T" not in run.stderr
