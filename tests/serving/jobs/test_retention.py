from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from f2at.__main__ import main
from f2at.serving.jobs.audits import Audits
from f2at.serving.jobs.database import server_engine
from f2at.serving.jobs.records import connect
from f2at.serving.jobs.retention import purge

if TYPE_CHECKING:
    from tests.conftest import NewDatabase

DAY = 86_400_000  # milliseconds


@pytest.fixture
def url(new_database: "NewDatabase") -> str:
    return new_database()


@pytest.fixture
def audits(url: str) -> Iterator[Audits]:
    """Audits that ended 0, 1, ... 24 days (and a minute) ago, and one that has not ended."""
    store = Audits(url, "sha256:one", size=(8, 8), reference_images=50, max_audits=30, max_samples=40)
    engine = server_engine(url)
    table = "workflow_status" if url.startswith("sqlite") else "dbos.workflow_status"
    for days in range(25):
        store.submit({}, f"{days}-days-ago")
        store.cancel(f"{days}-days-ago")
        with engine.begin() as connection:
            connection.execute(
                text(f"UPDATE {table} SET completed_at = completed_at - :age WHERE workflow_uuid = :id"),
                {"age": days * DAY + 60_000, "id": f"{days}-days-ago"},
            )
    engine.dispose()
    store.submit({}, "waiting")
    yield store
    store.close()


def left(audits: Audits) -> set[str]:
    return {audit["id"] for audit in audits.list(limit=100)}


def test_old_audits_go_and_the_others_stay(url: str, audits: Audits) -> None:
    with connect(url) as jobs:
        assert purge(jobs, days=3) == 22
        assert left(audits) == {"0-days-ago", "1-days-ago", "2-days-ago", "waiting"}
        assert purge(jobs, days=3) == 0
        assert audits.submit({"seed": 1}, "24-days-ago")[1]  # its key is free again
        assert purge(jobs, days=0) == 3
    assert left(audits) == {"waiting", "24-days-ago"}


def test_the_command(
    url: str, audits: Audits, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("F2AT_DATABASE_URL", url)
    assert main(["purge", "--days", "24"]) == 0
    assert capsys.readouterr().out == "deleted 1 audit that ended more than 24 days ago\n"
    assert len(left(audits)) == 25
    with pytest.raises(SystemExit):
        main(["purge", "--days", "-1"])
    assert "invalid" in capsys.readouterr().err
