import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from dbos import DBOSClient, DBOSPortableJSONSerializer, WorkflowStatus

from f2at.audit import Audit, AuditRequest, run_audit
from f2at.audit.opening.bundle import open_model
from f2at.audit.reports.compare import compare_reports
from f2at.audit.reports.report import deterministic_part
from f2at.bundle.format import CLASSIFIER, GRADIENT, Bundle, write_bundle
from f2at.images.sets.base import in_memory
from f2at.serving.jobs.audits import Audits
from f2at.serving.jobs.records import APPLICATION, FINISHED, WORKFLOW
from f2at.serving.jobs.workflows import SHARD
from tests.processes import processor_seconds, states

if TYPE_CHECKING:
    from tests.conftest import NewDatabase
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow

SHORT: dict[str, Any] = {"eps": "1/255", "samples": 25}
LONG: dict[str, Any] = {"eps": "1/255", "samples": 125}
LIGHT: dict[str, Any] = {"suite": "custom", "attacks": [{"name": "fgsm"}], "samples": 75}


def numbers(report: dict[str, Any]) -> str:
    return json.dumps(deterministic_part(report), sort_keys=True)


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def undisturbed(server: "Server") -> str:
    """The numbers of the LONG audit when nothing goes wrong."""
    return numbers(server.finish(server.submit(**LONG)["id"]))


@pytest.fixture(scope="session")
def offline(bundle: Bundle) -> str:
    """The numbers of the LIGHT audit without a server, a worker or a database."""
    model = open_model(bundle, threads=1)
    audit = Audit(
        model.target,
        in_memory(*bundle.reference()),
        AuditRequest(**LIGHT),
        classes=model.classes,
        model=model.description,
        environment=model.environment,
    )
    return numbers(audit.report(run_audit(audit)))


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
        (b"[" * 50_000, 400),
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
    audit = server.submit(**{**LONG, "suite": "adaptive", "samples": 200})
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
    other = Audits(url, "sha256:other", size=(8, 8), reference_images=200, max_audits=9, max_samples=200)
    audit, _ = other.submit(SHORT, "of-another-model")
    other.close()
    server.finish(server.submit(**SHORT)["id"])  # submitted later, and not held up
    waiting = server.audit(audit["id"])
    assert (waiting["state"], waiting["model"]) == ("queued", "sha256:other")
    assert "another model" in waiting["detail"]
    server.client.delete(f"/audits/{audit['id']}").raise_for_status()


def test_what_audits_found_is_side_by_side(server: "Server", bundle: Bundle) -> None:
    audit = server.submit(**SHORT, threats=["jpeg:quality=50"])
    report = server.finish(audit["id"])
    first = server.client.get("/leaderboard?limit=1").json()
    (row,) = first["rows"]
    older = server.client.get(first["links"]["next"]).raise_for_status().json()["rows"] if first["links"] else []
    assert row not in older
    assert (row["audit"], row["model"], row["suite"], row["eps"]) == (audit["id"], bundle.digest, "quick", "1/255")
    for name in ("clean", "robust", "worst_case"):
        assert row[name] == report[name]
    assert row["threats"] == {"jpeg:quality=50": report["threats"][0]["robust"]}
    assert server.client.get(row["links"]["report"]).status_code == 200
    last = server.client.get("/model").json()["last_audit"]  # of other tests one may have finished since
    assert last == row or last["finished"] > row["finished"]
    assert last in server.client.get(f"/leaderboard?limit=200&model={bundle.digest}").json()["rows"]
    assert server.client.get("/leaderboard?suite=paper").json()["rows"] == []
    for query in ("suite=x", "state=over", "state=done", "model=x", "since=x", "limit=0"):
        answer = server.client.get(f"/leaderboard?{query}")
        assert (answer.status_code, answer.json()["argument"]) == (422, query.partition("=")[0])


def test_two_audits_are_compared(server: "Server") -> None:
    one, other = (
        server.submit(**{**SHORT, "eps": eps, "seed": seed})["id"] for eps, seed in (("1/255", 0), ("1/255", 1))
    )
    wide = server.submit(**{**SHORT, "eps": "2/255"})["id"]
    reports = [server.finish(identifier) for identifier in (one, other, wide)]
    found = server.client.get(f"/compare?baseline={one}&candidate={other}").json()
    assert found == json.loads(json.dumps(compare_reports(*reports[:2])))
    page = server.client.get(f"/compare.html?baseline={one}&candidate={other}")
    assert "Two audits compared" in page.text
    for query, status, argument in (
        (f"baseline={one}", 422, "candidate"),
        (f"baseline={one}&candidate={wide}", 422, "candidate"),
        (f"baseline=no&candidate={one}", 404, "baseline"),
        (f"baseline={one}&candidate=no", 404, "candidate"),
    ):
        for path in ("/compare", "/compare.html"):
            answer = server.client.get(f"{path}?{query}")
            assert (answer.status_code, answer.json()["argument"]) == (status, argument)


def test_audits_are_removed_and_listed_by_state(server: "Server") -> None:
    identifier = server.submit(**LONG)["id"]
    wait_for(lambda: server.audit(identifier)["progress"])
    started, created = (server.audit(identifier)[name] for name in ("started", "created"))
    assert server.client.delete(f"/audits/{identifier}?purge=true").status_code == 409
    assert server.client.delete(f"/audits/{identifier}").json()["state"] == "cancelled"
    assert server.audit(identifier)["started"] == started  # what was known stays known
    listed = server.client.get(f"/audits?state=cancelled,failed&limit=200&since={int(created)}").json()["audits"]
    assert identifier in [audit["id"] for audit in listed]
    wait_for(lambda: server.client.delete(f"/audits/{identifier}?purge=true").status_code == 204)
    assert server.client.get(f"/audits/{identifier}").status_code == 404


def test_the_list_names_the_next_part_and_checks_what_is_asked(server: "Server") -> None:
    for _ in range(3):
        identifier = server.submit(**SHORT)["id"]
        server.client.delete(f"/audits/{identifier}")
    everything = [audit["id"] for audit in server.client.get("/audits?limit=200").json()["audits"]]
    path, parts = "/audits?limit=2", list[str]()
    while path:
        body = server.client.get(path).raise_for_status().json()
        assert len(body["audits"]) <= 2
        parts += [audit["id"] for audit in body["audits"]]
        path = body["links"].get("next", "")
    assert parts == everything
    links = server.client.get("/audits?state=cancelled&suite=quick&limit=2").json()["links"]
    assert links["next"] == "/audits?state=cancelled&suite=quick&limit=2&offset=2"
    for query in ("limit=0", "limit=201", "offset=-1", "limit=x", "limit=", "offset=1e3", f"offset={10**30}"):
        refused = server.client.get(f"/audits?{query}")
        assert refused.status_code == 422
        assert refused.json()["argument"] == query.partition("=")[0]


def test_a_worker_may_run_on_its_own(narrow_server: "Server") -> None:
    for audit in narrow_server.client.get("/audits").json()["audits"]:
        narrow_server.client.delete(f"/audits/{audit['id']}").raise_for_status()
    identifier = narrow_server.submit(**SHORT)["id"]
    worker = subprocess.Popen([sys.executable, "-m", "f2at", "worker"], env=narrow_server.environment)
    try:
        assert narrow_server.finish(identifier)["clean"]["n"] == SHORT["samples"]
    finally:
        worker.terminate()
        status = worker.wait(30)
    assert status == 0


@pytest.fixture(scope="session")
def rename(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], Bundle]:
    """Makes a second model of the same graphs, with these names for its classes."""

    def make(classes: list[str]) -> Bundle:
        manifest = {**bundle.manifest, "classes": classes, "note": "another"}
        images, labels = bundle.reference()
        return write_bundle(
            tmp_path_factory.mktemp("bundles") / "other",
            manifest=manifest,
            classifier=bundle.files[CLASSIFIER],
            gradient=bundle.files[GRADIENT],
            images=images,
            labels=labels,
        )

    return make


def test_transfer_attacks_follow_the_surrogate(
    start_server: Callable[..., "Server"], bundle: Bundle, rename: Callable[[list[str]], Bundle]
) -> None:
    second = rename(list(bundle.classes))
    server = start_server(F2AT_SURROGATE=str(second.path))
    assert "transfer" in server.client.get("/model").json()["suites"]
    attack = {"name": "transfer-pgd", "steps": 3}
    report = server.finish(server.submit(suite="custom", attacks=[attack], samples=25)["id"])
    assert report["surrogate"]["digest"] == second.digest != bundle.digest
    assert [attack["on"] for attack in report["attacks"]] == ["surrogate"]
    server.stop()


def test_without_a_surrogate_transfer_attacks_are_refused(server: "Server") -> None:
    assert "transfer" not in server.client.get("/model").json()["suites"]
    response = server.client.post("/audits", json={"suite": "transfer"})
    assert response.status_code == 422
    assert "F2AT_SURROGATE" in response.json()["detail"]


def test_a_surrogate_of_other_classes_is_refused(
    bundle: Bundle, rename: Callable[[list[str]], Bundle], tmp_path: Path
) -> None:
    other = rename([f"other {k}" for k in range(10)])
    folders = {"F2AT_BUNDLE": bundle.path, "F2AT_SURROGATE": other.path, "F2AT_STATE": tmp_path}
    worker = subprocess.run(
        [sys.executable, "-m", "f2at", "worker"],
        env=os.environ | {name: str(path) for name, path in folders.items()},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert worker.returncode == 2
    assert worker.stderr.startswith("f2at worker: F2AT_SURROGATE must have the classes of the bundle")


class Fleet:
    """Workers on one database, each with its own state folder, as on separate machines; no server."""

    def __init__(self, url: str, bundle: Bundle, folder: Path) -> None:
        self.url, self.bundle, self.folder = url, bundle, folder
        self.audits = Audits(url, bundle.digest, size=(8, 8), reference_images=200, max_audits=9, max_samples=200)
        self.workers: dict[str, subprocess.Popen[bytes]] = {}  # by their name in the job engine

    def add(self) -> None:
        """Start another worker and wait until it is ready."""
        state = self.folder / f"worker-{len(self.workers)}"
        environment = {"F2AT_BUNDLE": self.bundle.path, "F2AT_STATE": state, "F2AT_DATABASE_URL": self.url}
        worker = subprocess.Popen(
            [sys.executable, "-m", "f2at", "worker"],
            env=os.environ
            | {name: str(value) for name, value in environment.items()}
            | {"F2AT_TAKEOVER": "3", "F2AT_AUDIT_THREADS": "1", "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
        )
        assert worker.stdout is not None
        assert b"The audit worker is ready" in worker.stdout.readline()
        self.workers[(state / "executor-id").read_text()] = worker

    def workflows(self, name: str, identifier: str) -> list[WorkflowStatus]:
        """The rows of an audit (its parent or its shards) as the job engine has them."""
        client = DBOSClient(
            system_database_url=self.url, serializer=DBOSPortableJSONSerializer(), application_name=APPLICATION
        )
        mine = {"workflow_ids": [identifier]} if name == WORKFLOW else {"parent_workflow_id": identifier}
        found = client.list_workflows(name=name, **mine)
        client.destroy()
        return found

    def finish(self, identifier: str) -> dict[str, Any]:
        """Wait for the report of an audit."""
        wait_for(lambda: self.audits.get(identifier)["state"] in FINISHED, seconds=240)
        return self.audits.report(identifier)

    def stop(self) -> None:
        """Stop the workers."""
        for worker in self.workers.values():
            worker.kill()
            worker.wait()
            assert worker.stdout is not None
            worker.stdout.close()
        self.audits.close()


@pytest.fixture
def fleet(new_database: "NewDatabase", bundle: Bundle, tmp_path: Path) -> Iterator[Fleet]:
    """Two workers."""
    fleet = Fleet(new_database(), bundle, tmp_path)
    try:
        fleet.add()
        fleet.add()
        yield fleet
    finally:
        fleet.stop()


def test_two_workers_share_an_audit(fleet: Fleet, offline: str) -> None:
    identifier = fleet.audits.submit(LIGHT, None)[0]["id"]
    assert numbers(fleet.finish(identifier)) == offline
    shards = fleet.workflows(SHARD, identifier)
    assert [shard.status for shard in shards] == ["SUCCESS"] * 3
    assert {shard.executor_id for shard in shards} == set(fleet.workers)
    assert [shard.recovery_attempts for shard in shards] == [1] * 3  # nothing was done twice


def test_the_shards_of_a_worker_that_never_comes_back_are_taken_over(fleet: Fleet, offline: str) -> None:
    identifier = fleet.audits.submit(LIGHT, None)[0]["id"]
    wait_for(lambda: {shard.executor_id for shard in fleet.workflows(SHARD, identifier)} >= set(fleet.workers))
    lost = fleet.workflows(WORKFLOW, identifier)[0].executor_id
    assert lost is not None
    fleet.workers[lost].kill()
    fleet.workers[lost].wait()

    def everything() -> list[WorkflowStatus]:
        return [*fleet.workflows(WORKFLOW, identifier), *fleet.workflows(SHARD, identifier)]

    left = {w.workflow_id for w in everything() if (w.status, w.executor_id) == ("PENDING", lost)}
    assert identifier in left  # the audit itself, and most often a shard
    assert numbers(fleet.finish(identifier)) == offline
    assert {w.workflow_id for w in everything() if w.recovery_attempts == 2} == left


def test_cancelling_reaches_the_shards_of_every_worker(fleet: Fleet) -> None:
    identifier = fleet.audits.submit({**LIGHT, "samples": 200}, None)[0]["id"]
    wait_for(lambda: {shard.executor_id for shard in fleet.workflows(SHARD, identifier)} >= set(fleet.workers))
    fleet.audits.cancel(identifier)
    assert {shard.status for shard in fleet.workflows(SHARD, identifier)} <= {"CANCELLED", "SUCCESS"}
    time.sleep(1.5)
    before = [processor_seconds(worker.pid) for worker in fleet.workers.values()]
    time.sleep(2)
    after = [processor_seconds(worker.pid) for worker in fleet.workers.values()]
    assert sum(after) - sum(before) < 1


def suspend(worker: subprocess.Popen[bytes], url: str) -> None:
    """Suspend a worker, but not while it holds SQLite's only lock: no process could write until it is resumed."""
    worker.send_signal(signal.SIGSTOP)
    wait_for(lambda: states(worker.pid) == {"T"})  # on a busy machine, a worker's threads run on for a while
    if url.startswith("sqlite:///"):
        try:
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=2)) as database:
                database.execute("BEGIN IMMEDIATE")
                database.rollback()
        except sqlite3.OperationalError:
            worker.send_signal(signal.SIGCONT)
            time.sleep(0.1)
            suspend(worker, url)


def test_a_worker_taken_for_dead_does_no_harm(fleet: Fleet, offline: str) -> None:
    identifier = fleet.audits.submit(LIGHT, None)[0]["id"]
    wait_for(lambda: {shard.executor_id for shard in fleet.workflows(SHARD, identifier)} >= set(fleet.workers))
    suspended = fleet.workers[fleet.workflows(WORKFLOW, identifier)[0].executor_id or ""]
    suspend(suspended, fleet.url)
    assert numbers(fleet.finish(identifier)) == offline
    suspended.send_signal(signal.SIGCONT)
    again = fleet.audits.submit(LIGHT, None)[0]["id"]  # and both resume
    assert numbers(fleet.finish(again)) == offline
    assert {shard.executor_id for shard in fleet.workflows(SHARD, again)} == set(fleet.workers)
