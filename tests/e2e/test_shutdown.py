"""A server that is told to stop, and clients that hold their connections."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from f2at.audit import AuditRequest, run_audit
from f2at.audit.opening.bundle import open_model
from f2at.audit.reports.report import deterministic_part
from f2at.bundle.format import Bundle
from f2at.images.png import png
from f2at.images.sets.base import in_memory
from f2at.serving.jobs.audits import Audits
from f2at.serving.jobs.records import connect

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow

AUDIT: dict[str, Any] = {"eps": "1/255", "samples": 200}
PNG = {"Content-Type": "image/png"}
PENDING = ("f2at_decodes_pending", "f2at_predictions_pending")


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.05)


def pending(server: "Server") -> float:
    """How many requests wait for a decode worker or for the model, or have them."""
    families = text_string_to_metric_families(server.client.get("/metrics").text)
    return sum(sample.value for family in families for sample in family.samples if sample.name in PENDING)


def begin(server: "Server", body: bytes, length: int) -> socket.socket:
    """A connection that has sent this much of a prediction request."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def test_a_stopped_server_loses_neither_predictions_nor_audits(
    start_server: Callable[..., "Server"], bundle: Bundle, tmp_path: Path
) -> None:
    server = start_server(F2AT_TAKEOVER="600", F2AT_RATE="0")
    server.submit("handed-back", **AUDIT)
    done = server.wait_for_step("handed-back", 2)["progress"]["done"]
    slow = png(np.zeros((2500, 2500, 3), np.uint8))  # to decode; small to send
    streamed = threading.Event()

    def listen() -> None:
        with httpx.stream("GET", f"{server.url}/audits/handed-back/events", timeout=60) as stream:
            list(stream.iter_lines())
        streamed.set()

    threading.Thread(target=listen, daemon=True).start()
    with ThreadPoolExecutor(6) as pool:
        answers: list[Future[httpx.Response]] = []

        def all_there() -> bool:
            return sum(answer.done() for answer in answers) + pending(server) >= len(answers)

        while not answers or pending(server) < 2:  # until the server has all of them, but has not answered all
            send = partial(httpx.post, f"{server.url}/predict", content=slow, headers=PNG, timeout=60)
            answers += [pool.submit(send) for _ in range(6)]
            wait_for(all_there)
        server.stop()  # within 30 seconds
        assert [answer.result().status_code for answer in answers] == [200] * len(answers)
    assert streamed.wait(1)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/livez")

    # The audit is back in the queue, so another worker takes it at once, without waiting for F2AT_TAKEOVER.
    url = f"sqlite:///{server.environment['F2AT_STATE']}/audits.sqlite"
    with connect(url) as client:
        assert client.list_workflows(status="PENDING") == []
        assert client.list_workflows(workflow_ids=["handed-back"])[0].status == "ENQUEUED"
    elsewhere = {**server.environment, "F2AT_STATE": str(tmp_path / "elsewhere"), "F2AT_DATABASE_URL": url}
    worker = subprocess.Popen([sys.executable, "-m", "f2at", "worker"], env=elsewhere)
    audits = Audits(url, bundle.digest, size=(8, 8), reference_images=200, max_audits=9, max_samples=200)
    try:
        wait_for(lambda: audits.get("handed-back")["state"] == "done", seconds=240)
        report = audits.report("handed-back")
        assert audits.get("handed-back")["progress"]["done"] > done
    finally:
        audits.close()
        worker.terminate()
        assert worker.wait(10) == 0
    audit = open_model(bundle, threads=1).audit(in_memory(*bundle.reference()), AuditRequest(**AUDIT))
    offline = audit.report(run_audit(audit))
    assert json.dumps(deterministic_part(report), sort_keys=True) == json.dumps(
        deterministic_part(offline), sort_keys=True
    )


def test_a_client_that_never_finishes_does_not_hold_the_server(start_server: Callable[..., "Server"]) -> None:
    server = start_server(F2AT_WORKER="off", F2AT_GRACE="2")
    family = server.processes()
    with begin(server, b"\x89PNG", 1000):
        server.client.get("/livez")
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(10)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family), seconds=5)
    assert "Requests were still open" in server.text()


def test_idle_and_slow_clients_keep_nobody_waiting(server: "Server", bundle: Bundle) -> None:
    image = png(bundle.reference()[0][0])
    with ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        slow = [stack.enter_context(begin(server, image[:10], len(image))) for _ in range(100)]
        for connection in slow:
            connection.sendall(image[10:11])
        times = []
        for _ in range(20):
            started = time.monotonic()
            httpx.post(f"{server.url}/predict", content=image, headers=PNG, timeout=10).raise_for_status()
            times.append(time.monotonic() - started)
        assert np.median(times) < 1
        for connection in slow:  # and they are answered as well, once their requests are complete
            connection.sendall(image[11:])
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
