import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from attacks.audit.report import deterministic_part
from export.bundle import Bundle
from serving.audits import Audits

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow

SHORT: dict[str, Any] = {"eps": "1/255", "samples": 25}
LONG: dict[str, Any] = {"eps": "1/255", "samples": 75}


def numbers(report: dict[str, Any]) -> str:
    return json.dumps(deterministic_part(report), sort_keys=True)


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="session")
def undisturbed(server: "Server") -> str:
    """The numbers of the LONG audit when nothing goes wrong."""
    return numbers(server.finish(server.submit(**LONG)["id"]))


def test_an_audit_from_request_to_report(server: "Server", bundle: Bundle) -> None:
    response = server.client.post("/audits", json=SHORT)
    assert response.status_code == 202
    audit = response.json()
    assert response.headers["location"] == f"/audits/{audit['id']}"
    assert audit["state"] in ("queued", "running")
    assert audit["model"] == bundle.digest
    not_yet = server.client.get(f"/audits/{audit['id']}/report")
    assert not_yet.status_code == 409
    assert not_yet.headers["content-type"] == "application/problem+json"

    seen = []
    with server.client.stream("GET", f"/audits/{audit['id']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data: "):
                seen.append(json.loads(line.removeprefix("data: ")))
    assert seen[-1]["state"] == "done"
    steps = [event["progress"]["done"] for event in seen if event["progress"]]
    assert steps == sorted(steps)
    assert steps[-1] == seen[-1]["progress"]["total"]

    report = server.finish(audit["id"])
    assert report["model"]["digest"] == bundle.digest
    assert report["clean"]["k"] == report["clean"]["n"] == 25
    robust = {stage["stage"]: stage["robust"] for stage in seen[-1]["progress"]["stages"]}
    assert robust["clean"] == 25
    assert robust["curve"] == report["robust"]["k"]
    page = server.client.get(f"/audits/{audit['id']}/report.html")
    assert page.status_code == 200
    assert bundle.digest.removeprefix("sha256:")[:12] in page.text
    assert audit["id"] in [row["id"] for row in server.client.get("/audits").json()["audits"]]


def test_the_same_key_is_the_same_audit(server: "Server") -> None:
    first = server.submit("the-key", **SHORT)
    again = server.client.post("/audits", json=SHORT, headers={"Idempotency-Key": "the-key"})
    assert again.status_code == 200
    assert again.json()["id"] == first["id"] == "the-key"
    other = server.client.post("/audits", json={**SHORT, "seed": 1}, headers={"Idempotency-Key": "the-key"})
    assert other.status_code == 409
    assert server.client.post("/audits", json=SHORT, headers={"Idempotency-Key": "a/b"}).status_code == 400
    server.client.delete("/audits/the-key")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b"[1]", 422),
        (b'{"epz": "8/255"}', 422),
        (b'{"eps": "1e999"}', 422),
        (b'{"samples": 201}', 422),
        (b'{"samples": -1}', 422),
        (b'{"suite": []}', 422),
    ],
)
def test_bad_requests_are_refused(server: "Server", body: bytes, status: int) -> None:
    response = server.client.post("/audits", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"


def test_other_sites_cannot_reach_audits(server: "Server") -> None:
    # A form of another site may send text/plain, but not JSON; a name pointed at 127.0.0.1 keeps its own Host.
    plain = server.client.post("/audits", content=b"{}", headers={"Content-Type": "text/plain"})
    assert plain.status_code == 415
    assert server.client.get("/audits", headers={"Host": "evil.example"}).status_code == 403
    forwarded = server.client.get("/audits", headers={"X-Forwarded-For": "192.0.2.1"})
    assert forwarded.status_code == 403
    assert server.client.get("/model", headers={"Host": "evil.example"}).status_code == 200


def test_cancelling_really_stops_the_work(server: "Server") -> None:
    audit = server.submit(**LONG)
    server.wait_for_step(audit["id"], 2)
    response = server.client.delete(f"/audits/{audit['id']}")
    assert response.json()["state"] == "cancelled"
    time.sleep(1.5)
    worker = server.worker()
    before, done = processor_seconds(worker), server.audit(audit["id"])["progress"]["done"]
    time.sleep(2)
    assert processor_seconds(worker) - before < 0.5
    assert server.audit(audit["id"])["progress"]["done"] == done
    assert server.audit(audit["id"])["state"] == "cancelled"
    assert server.client.get(f"/audits/{audit['id']}/report").status_code == 409
    assert server.client.delete(f"/audits/{audit['id']}").json()["state"] == "cancelled"
    server.finish(server.submit(**SHORT)["id"])  # and the worker is free for the next one


def test_predictions_go_on_during_an_audit(server: "Server", bundle: Bundle) -> None:
    audit = server.submit(**LONG)
    server.wait_for_step(audit["id"], 1)
    images, labels = bundle.reference()
    answers = [server.predict(image)["index"] for image in images[:50]]
    assert answers == labels[:50].tolist()
    assert server.audit(audit["id"])["state"] == "running"
    server.client.delete(f"/audits/{audit['id']}")


def test_a_full_queue_is_refused(narrow_server: "Server") -> None:
    narrow_server.submit(**SHORT)
    queued = narrow_server.submit(**SHORT)
    response = narrow_server.client.post("/audits", json=SHORT)
    assert response.status_code == 429
    assert response.headers["retry-after"]
    assert narrow_server.client.delete(f"/audits/{queued['id']}").json()["state"] == "cancelled"
    narrow_server.submit(**SHORT)


def test_a_killed_worker_resumes_to_the_same_numbers(server: "Server", undisturbed: str) -> None:
    audit = server.submit(**LONG)
    done = server.wait_for_step(audit["id"], 5)["progress"]["done"]
    os.kill(server.worker(), signal.SIGKILL)
    report = server.finish(audit["id"])
    assert server.audit(audit["id"])["progress"]["done"] > done
    assert numbers(report) == undisturbed


def test_a_stopped_and_a_killed_server_resume_to_the_same_numbers(
    start_server: Callable[..., "Server"], undisturbed: str
) -> None:
    server = start_server(BENTOML_CONFIG_OPTIONS="services.f2at.workers=2")
    server.submit("survivor", **LONG)
    ended = threading.Event()

    def listen() -> None:
        with httpx.stream("GET", f"{server.url}/audits/survivor/events", timeout=60) as stream:
            list(stream.iter_lines())
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    server.wait_for_step("survivor", 2)
    assert server.worker()  # one, although the server has two processes
    server.stop()
    assert ended.wait(1)  # an open stream does not hold up the stop, and ends properly

    server.start()
    server.wait_for_step("survivor", 6)
    server.stop(signal.SIGKILL)  # and wait until none of its processes is left
    server.start()
    assert server.audit("survivor")["progress"]["done"] >= 6
    assert numbers(server.finish("survivor")) == undisturbed
    server.stop()


def test_an_audit_waits_for_its_own_model(server: "Server") -> None:
    url = f"sqlite:///{server.environment['F2AT_STATE']}/audits.sqlite"
    other = Audits(url, "sha256:other", reference_images=200, max_audits=9, max_samples=200)
    audit, _ = other.submit(SHORT, "of-another-model")
    other.close()
    server.finish(server.submit(**SHORT)["id"])  # submitted later, and not held up
    waiting = server.audit(audit["id"])
    assert (waiting["state"], waiting["model"]) == ("queued", "sha256:other")
    assert "another model" in waiting["detail"]
    server.client.delete(f"/audits/{audit['id']}").raise_for_status()


def test_a_worker_may_run_on_its_own(narrow_server: "Server") -> None:
    for audit in narrow_server.client.get("/audits").json()["audits"]:
        narrow_server.client.delete(f"/audits/{audit['id']}").raise_for_status()
    identifier = narrow_server.submit(**SHORT)["id"]
    worker = subprocess.Popen([sys.executable, "-m", "serving", "worker"], env=narrow_server.environment)
    assert narrow_server.finish(identifier)["clean"]["n"] == SHORT["samples"]
    worker.terminate()
    assert worker.wait(5) == 0
