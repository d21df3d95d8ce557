"""Faults that a deployment must survive: databases that are locked, full or unreachable, and killed processes."""

import json
import random
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import create_engine, make_url, text

from benchmarks.faults import VICTIMS, Deployment, run, wait_for
from f2at.audit import AuditRequest, run_audit
from f2at.audit.opening.bundle import open_model
from f2at.audit.reports.report import deterministic_part
from f2at.bundle.format import Bundle
from f2at.images.sets.base import in_memory

if TYPE_CHECKING:
    from tests.conftest import NewDatabase, Outage
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow

REQUEST: dict[str, Any] = {"eps": "1/255", "samples": 200}


@contextmanager
def full_disk(server: "Server") -> Iterator[None]:
    """No process of the server can write to any file; this needs no root, and is a real error to the database."""
    family = server.processes()
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in family}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    yield
    assert server.processes() == family  # no process was restarted
    for pid, limit in limits.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)


@contextmanager
def away(url: str) -> Iterator[None]:
    """PostgreSQL closes every connection to the database, and accepts no new ones."""
    location = make_url(url).set(drivername="postgresql+psycopg")
    engine = create_engine(location.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {location.database} ALLOW_CONNECTIONS false"))
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
            {"name": location.database},
        )
        yield
        connection.execute(text(f"ALTER DATABASE {location.database} ALLOW_CONNECTIONS true"))
    engine.dispose()


def test_an_outage_of_the_database_is_waited_out(
    start_server: Callable[..., "Server"], bundle: Bundle, new_database: "NewDatabase", locked: "Outage"
) -> None:
    url = new_database()
    server = start_server(F2AT_DATABASE_URL=url, F2AT_TAKEOVER="12")  # so the worker writes once per second
    outages: dict[str, Callable[[], AbstractContextManager[None]]] = {"locked": lambda: locked(url)}
    if url.startswith("sqlite"):
        outages["full"] = lambda: full_disk(server)
    else:
        outages["away"] = lambda: away(url)

    server.submit("patient", **REQUEST)
    events: list[str] = []

    def listen() -> None:
        with httpx.stream("GET", f"{server.url}/audits/patient/events", timeout=120) as stream:
            events.extend(line for line in stream.iter_lines() if line.startswith("data: "))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    server.wait_for_step("patient", 1)
    for name, outage in outages.items():
        request: dict[str, Any] = {"json": {**REQUEST, "samples": 1}, "headers": {"Idempotency-Key": name}}
        with outage():
            started = time.monotonic()
            refused = server.client.post("/audits", **request)
            assert time.monotonic() - started < 20
            assert refused.status_code == 503, (name, refused.text)
            assert int(refused.headers["retry-after"]) > 0
            assert refused.json()["type"].endswith("database-unavailable")
            assert server.client.get("/audits/patient").status_code in (200, 503)
            images, labels = bundle.reference()
            assert server.predict(images[0])["index"] == labels[0]  # predictions need no database
            time.sleep(3)  # so that the worker also gets the error
        assert server.client.post("/audits", **request).status_code == 202
    model = open_model(bundle, threads=1)
    plan = model.audit(in_memory(*bundle.reference()), AuditRequest(**REQUEST))
    report, undisturbed = server.finish("patient", seconds=300), plan.report(run_audit(plan))
    assert deterministic_part(report) == deterministic_part(undisturbed)
    listener.join(30)
    assert json.loads(events[-1].removeprefix("data: "))["state"] == "done"  # the stream survived it all
    for name in outages:
        assert server.finish(name)["clean"]["n"] == 1
    server.stop()


def test_a_database_file_that_is_gone_is_said_and_audits_are_refused(start_server: Callable[..., "Server"]) -> None:
    server = start_server(F2AT_WORKER="off")
    server.submit("kept", **REQUEST)
    path = server.folder / "state" / "audits.sqlite"
    aside = path.rename(path.with_name("aside"))
    refused = server.client.post("/audits", json=REQUEST)
    assert (refused.status_code, refused.json()["title"]) == (503, "Database unavailable")
    assert "was deleted while the server was running" in refused.json()["detail"]
    ready = server.client.get("/readyz")
    assert (ready.status_code, ready.json()["title"]) == (503, "Database lost")
    assert server.client.get("/livez").status_code == 200
    assert "\nf2at_database_up 0.0\n" in server.client.get("/metrics").text
    aside.rename(path)
    assert server.client.get("/readyz").status_code == 200
    assert server.audit("kept")["state"] == "queued"
    server.stop()


def test_a_server_ends_with_its_main_process_even_before_it_is_ready(bundle: Bundle, tmp_path: Path) -> None:
    deployment = Deployment(bundle.path, tmp_path, {"OMP_NUM_THREADS": "1"})
    try:
        wait_for(lambda: "server process" in deployment.pids(), 60, "there is a server process")
        assert deployment.kill("arbiter")  # waits until nothing is left, and starts another
        deployment.wait("the next server starts")
    finally:
        deployment.stop()


def test_no_audit_notices_that_processes_are_killed(bundle: Bundle, tmp_path: Path) -> None:
    seed = 2
    draw = random.Random(seed)
    assert {(draw.uniform(0, 1), draw.choice(VICTIMS))[1] for _ in range(3)} == set(VICTIMS)
    outcome = run(bundle.path, REQUEST, tmp_path, kills=3, seed=seed, pause=3, environment={"OMP_NUM_THREADS": "1"})
    assert set(outcome.kills) == set(VICTIMS)
    assert outcome.audits
