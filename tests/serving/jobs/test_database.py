import json
import resource
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dbos._utils import retriable_sqlite_exception  # decides whether the job engine retries
from sqlalchemy.exc import OperationalError

from f2at.serving.jobs import database
from f2at.serving.jobs.audits import Audits
from f2at.serving.jobs.database import UNAVAILABLE, DatabaseUnavailableError, worker_engine

if TYPE_CHECKING:
    from tests.conftest import NewDatabase, Outage

DUMPS = Path(__file__).parent / "data"  # made by `sqlite3 FILE .dump` after three audits of one shard


def open_audits(url: str) -> Audits:
    return Audits(url, "sha256:new", size=(8, 8), reference_images=30, max_audits=9, max_samples=30)


def test_a_request_gives_up_on_a_locked_database_and_nothing_is_done_twice(
    new_database: "NewDatabase", locked: "Outage", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PATIENCE", 1.0)
    url = new_database()
    audits = open_audits(url)
    with locked(url):
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailableError):
            audits.submit({}, "key")
        assert time.monotonic() - started < 5
    audit, new = audits.submit({}, "key")
    assert (audit["state"], new) == ("queued", True)
    assert [audit["id"] for audit in audits.list()] == ["key"]
    audits.close()


def test_requests_that_wait_for_those_that_wait_give_up_too(
    new_database: "NewDatabase", locked: "Outage", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PATIENCE", 1.0)
    url = new_database()
    audits = open_audits(url)

    def submit(_: int) -> Exception | None:
        try:
            audits.submit({}, None)
        except UNAVAILABLE as error:
            return error
        return None

    with locked(url), ThreadPoolExecutor(25) as pool:
        started = time.monotonic()
        errors = list(pool.map(submit, range(25)))
        assert time.monotonic() - started < 10
    assert None not in errors
    assert audits.list() == []
    audits.close()


def test_the_job_engine_waits_for_room_on_the_disk(tmp_path: Path) -> None:
    engine = worker_engine(f"sqlite:///{tmp_path}/audits.sqlite")
    assert engine is not None
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 3")  # SQLite then reports a full disk
        connection.exec_driver_sql("CREATE TABLE reports (content)")
        with pytest.raises(OperationalError, match="database or disk is full") as caught:
            connection.exec_driver_sql("INSERT INTO reports VALUES (zeroblob(100000))")
        connection.rollback()
        connection.exec_driver_sql("PRAGMA max_page_count = 1000")
        connection.exec_driver_sql("INSERT INTO reports VALUES (zeroblob(100000))")
    engine.dispose()
    assert retriable_sqlite_exception(caught.value)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_deleted_or_replaced_is_noticed(tmp_path: Path, replaced: bool) -> None:
    path = tmp_path / "audits.sqlite"
    audits = open_audits(f"sqlite:///{path}")
    audits.submit({}, "before")
    worker = worker_engine(f"sqlite:///{path}")
    assert worker is not None
    with worker.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    assert audits.health.lost is None
    audits.health.check()
    aside = path.rename(tmp_path / "aside")
    if replaced:
        other = open_audits(f"sqlite:///{path}")
        other.submit({}, "other")
        other.close()
    reason = "replaced by another" if replaced else "deleted"
    assert reason in (audits.health.lost or "")
    for use in (lambda: audits.submit({}, "after"), lambda: audits.get("before"), audits.list, audits.health.check):
        with pytest.raises(DatabaseUnavailableError, match=f"audits.sqlite was {reason} while the server was running"):
            use()
    with pytest.raises(OperationalError) as caught:
        worker.connect()
    assert retriable_sqlite_exception(caught.value)  # it waits
    assert replaced or not path.exists()  # looking for it does not make a new one
    if not replaced:
        aside.rename(path)
        assert audits.health.lost is None
        assert [audit["id"] for audit in audits.list()] == ["before"]
        worker.connect().close()
    audits.close()


def test_a_disk_without_room_is_an_outage(tmp_path: Path) -> None:
    audits = open_audits(f"sqlite:///{tmp_path}/audits.sqlite")
    audits.health.check()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 15, limits[1]))  # what is written again stays possible
    try:
        with pytest.raises(DatabaseUnavailableError):
            audits.health.check()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    audits.health.check()
    audits.close()


def test_a_database_that_is_locked_or_cannot_be_written_is_unhealthy(
    new_database: "NewDatabase", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PATIENCE", 1.0)
    url = new_database()
    audits = open_audits(url)
    audits.health.check()
    assert audits.health.lost is None
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(DatabaseUnavailableError, match="busy"):
                audits.health.check()
    audits.close()


@pytest.mark.parametrize("dump", sorted(DUMPS.glob("*.sql")), ids=lambda dump: dump.stem)
def test_audits_of_an_older_job_engine_are_all_there(dump: Path, tmp_path: Path) -> None:
    path = tmp_path / "audits.sqlite"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(dump.read_text())
        (version,) = old.execute("SELECT version FROM dbos_migrations").fetchone()
        query = "SELECT output FROM operation_outputs WHERE workflow_uuid = 'done' AND function_name = 'report'"
        report = json.loads(old.execute(query).fetchone()[0])
    audits = open_audits(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as new:
        found = new.execute("SELECT version FROM dbos_migrations").fetchone()[0]
    assert found > version  # otherwise the dump proves nothing

    states = {audit["id"]: audit["state"] for audit in audits.list()}
    assert states == {"done": "done", "failed": "failed", "waiting": "queued"}
    assert audits.report("done") == report
    progress = audits.get("done")["progress"]
    assert progress["done"] == progress["total"] == 5
    assert audits.get("failed")["error"] == "the model is on fire"
    assert "waiting for a worker of that version" in audits.get("waiting")["detail"]
    assert audits.cancel("waiting")["state"] == "cancelled"
    assert audits.submit({}, "another")[1]
    audits.close()


def test_a_backup_of_a_database_in_use_is_whole(tmp_path: Path) -> None:
    path, copy = tmp_path / "audits.sqlite", tmp_path / "backup.sqlite"
    audits = open_audits(f"sqlite:///{path}")
    audits.submit({}, "before")
    with closing(sqlite3.connect(path)) as database:
        database.execute("VACUUM INTO ?", [str(copy)])  # as the README says to
    audits.submit({}, "after")
    audits.close()
    restored = open_audits(f"sqlite:///{copy}")
    assert [audit["id"] for audit in restored.list()] == ["before"]
    restored.close()
