"""Several models: a server for each, and one database, so that their audits stand side by side."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from f2at.bundle.format import Bundle

if TYPE_CHECKING:
    from tests.conftest import NewDatabase
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow
SHORT = {"suite": "quick", "eps": "1/255", "samples": 4, "curve": False}


def test_each_audits_its_own_and_shows_all(
    start_server: Callable[..., "Server"], bundle: Bundle, other_bundle: Bundle, new_database: "NewDatabase"
) -> None:
    url = new_database()
    first = start_server(F2AT_DATABASE_URL=url)
    second = start_server(F2AT_DATABASE_URL=url, F2AT_BUNDLE=str(other_bundle.path))
    ids = [server.submit(f"of-{name}", **SHORT)["id"] for name, server in (("first", first), ("second", second))]
    digests = [bundle.digest, other_bundle.digest]
    for server, identifier, digest in zip((first, second), ids, digests, strict=True):
        assert server.finish(identifier)["model"]["digest"] == digest
        assert server.client.get("/model").json()["last_audit"]["audit"] == identifier  # of this model
    for server in (first, second):
        rows = server.client.get("/leaderboard").raise_for_status().json()["rows"]
        assert {row["audit"]: row["model"] for row in rows} == dict(zip(ids, digests, strict=True))
        compared = server.client.get("/compare", params={"baseline": ids[0], "candidate": ids[1]})
        assert compared.status_code == 200, compared.text
    images, _ = bundle.reference()
    assert first.predict(images[0]) != second.predict(images[0])
    first.stop()
    second.stop()
