import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from f2at.bundle.format import Bundle
from f2at.serving.jobs.audits import Audits
from f2at.serving.jobs.database import server_engine

pytestmark = pytest.mark.slow


def test_a_worker_deletes_what_is_older_than_f2at_keep_days(bundle: Bundle, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/audits.sqlite"
    audits = Audits(url, bundle.digest, size=(8, 8), reference_images=200, max_audits=9, max_samples=200)
    for key in ("old", "new"):
        audits.submit({}, key)
        audits.cancel(key)
    engine = server_engine(url)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE workflow_status SET completed_at = completed_at - 2 * 86400000 WHERE workflow_uuid = 'old'")
        )
    engine.dispose()
    settings = {"BUNDLE": bundle.path, "STATE": tmp_path, "DATABASE_URL": url, "KEEP_DAYS": 1, "AUDIT_THREADS": 1}
    worker = subprocess.Popen(
        [sys.executable, "-m", "f2at", "worker"],
        env=os.environ | {f"F2AT_{name}": str(value) for name, value in settings.items()} | {"OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
    )
    try:
        deadline = time.monotonic() + 60
        while len(audits.list()) == 2 and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        worker.terminate()
        worker.wait()
    assert [audit["id"] for audit in audits.list()] == ["new"]
    audits.close()
