"""A real server that requires API keys, route by route."""

import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from f2at.audit.reports.schema import report_schema
from f2at.bundle.format import Bundle
from f2at.serving.access.keys import SCOPES, add_key, revoke_key

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow

KEYS: dict[str, list[str]] = {**{scope: [scope] for scope in SCOPES}, "reader": ["audit", "examples"]}
OPEN = ["/", "/docs", "/docs.json", "/page/page.js", "/livez", "/readyz", "/metrics"]
# Method, path, the scope that opens it, and the status with that scope.
ROUTES = [
    ("POST", "/predict", "predict", 200),
    ("POST", "/predict_batch", "predict", 200),
    ("GET", "/model", "predict", 200),
    ("POST", "/model", "admin", 422),
    ("GET", "/model/samples", "examples", 200),
    ("POST", "/estimate", "audit", 422),
    ("GET", "/audits", "audit", 200),
    ("POST", "/audits", "audit", 422),
    ("GET", "/audits/audit:one", "audit", 200),
    ("DELETE", "/audits/audit:one", "audit", 409),
    ("GET", "/audits/audit:one/events", "audit", 200),
    ("GET", "/audits/audit:one/report", "audit", 200),
    ("GET", "/audits/audit:one/report.sig", "audit", 404),
    ("GET", "/audits/audit:one/report.intoto.json", "audit", 404),
    ("GET", "/audits/audit:one/report.html", "audit", 200),
]


class Keyed:
    """A server with keys, and an audit called "audit:one" that is done."""

    def __init__(self, server: "Server", path: Path, tokens: dict[str, str], image: bytes) -> None:
        self.server, self.path, self.tokens, self.image = server, path, tokens, image

    def call(self, method: str, path: str, token: str | None, **options: Any) -> httpx.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if path.startswith("/predict"):
            options["files"] = {"images" if path.endswith("batch") else "image": self.image}
        elif method == "POST":
            options.setdefault("json", {"nonsense": 1})
        return self.server.client.request(method, path, headers=headers, **options)


@pytest.fixture(scope="module")
def keyed(
    start_server: Callable[..., "Server"], bundle: Bundle, tmp_path_factory: pytest.TempPathFactory, png: bytes
) -> Keyed:
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    tokens = {name: add_key(path, name, scopes) for name, scopes in KEYS.items()}
    server = start_server(F2AT_KEYS=str(path), F2AT_MAX_EVALUATIONS="5000", F2AT_AUDIT_MEMORY="1024")
    keyed = Keyed(server, path, tokens, png)
    request = {"suite": "custom", "attacks": [{"name": "fgsm"}], "samples": 25, "eps": "32/255"}
    headers = {"Authorization": f"Bearer {tokens['audit']}", "Idempotency-Key": "one"}
    response = server.client.post("/audits", json=request, headers=headers)
    assert response.status_code == 202, response.text
    with server.client.stream("GET", "/audits/audit:one/events", headers=headers, timeout=120) as events:
        last = [line for line in events.iter_lines() if line.startswith("data:")][-1]
    assert '"state": "done"' in last, last
    return keyed


@pytest.fixture(scope="module")
def png(bundle: Bundle) -> bytes:
    import base64

    from f2at.images.png import base64_png

    return base64.b64decode(base64_png(bundle.reference()[0][0]))


@pytest.mark.parametrize(("method", "path", "scope", "status"), ROUTES)
def test_a_route_takes_a_key_with_its_scope(keyed: Keyed, method: str, path: str, scope: str, status: int) -> None:
    for token, challenge in ((None, "Bearer"), (keyed.tokens[scope] + "x", 'Bearer error="invalid_token"')):
        response = keyed.call(method, path, token)
        assert (response.status_code, response.json()["title"]) == (401, "Key required")
        assert response.headers["www-authenticate"] == challenge
        assert response.headers["content-type"] == "application/problem+json"
    other = next(name for name in SCOPES if name != scope)
    response = keyed.call(method, path, keyed.tokens[other])
    assert (response.status_code, response.json()["accepted"]) == (403, scope)
    response = keyed.call(method, path, keyed.tokens[scope])
    assert response.status_code == status, response.text


def test_pages_probes_and_documentation_are_open_and_the_rest_says_nothing(keyed: Keyed) -> None:
    for path in OPEN:
        assert keyed.call("GET", path, None).status_code == 200, path
    assert keyed.call("GET", "/no-such", None).status_code == 401
    assert keyed.call("GET", "/no-such", keyed.tokens["predict"]).status_code == 404


def test_pictures_take_a_scope_of_their_own(keyed: Keyed) -> None:
    def report(name: str) -> dict[str, Any]:
        response = keyed.call("GET", "/audits/audit:one/report", keyed.tokens[name])
        answer: dict[str, Any] = response.raise_for_status().json()
        return answer

    whole, copy = report("reader"), report("audit")
    assert whole["examples"]
    assert copy["examples"] == []
    assert copy["run"]["examples_withheld"] == len(whole["examples"])
    for shown in (whole, copy):
        Draft202012Validator(report_schema()).validate(shown)
    pages = {
        name: keyed.call("GET", "/audits/audit:one/report.html", keyed.tokens[name]).text
        for name in ("reader", "audit")
    }
    assert "data:image" in pages["reader"]
    assert "data:image" not in pages["audit"]
    assert "withheld" in pages["audit"]


def test_an_audit_that_would_cost_too_much_is_refused(keyed: Keyed) -> None:
    response = keyed.call("POST", "/audits", keyed.tokens["audit"], json={"suite": "standard", "samples": 25})
    assert response.status_code == 422
    assert "F2AT_MAX_EVALUATIONS" in response.json()["detail"]


def test_the_worker_has_the_memory_that_it_may_have(keyed: Keyed) -> None:
    limits = Path(f"/proc/{keyed.server.worker()}/limits").read_text()  # and under it, the audit has run
    assert re.search(rf"Max data size +{1024 << 20} +{1024 << 20} ", limits)


def test_a_revoked_key_is_refused_and_a_new_one_taken_without_a_restart(keyed: Keyed) -> None:
    token = add_key(keyed.path, "guest", ["predict"])
    assert keyed.call("GET", "/model", token).status_code == 200
    revoke_key(keyed.path, "guest")
    assert keyed.call("GET", "/model", token).status_code == 401
    assert keyed.call("GET", "/model", keyed.tokens["predict"]).status_code == 200


def test_a_server_refuses_to_start_with_keys_that_it_cannot_read(keyed: Keyed, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text("{}")
    command = [sys.executable, "-m", "bentoml", "serve", keyed.server.target, "--port", "0"]
    environment = {**keyed.server.environment, "F2AT_KEYS": str(path), "F2AT_STATE": str(tmp_path / "state")}
    done = subprocess.run(command, env=environment, cwd=keyed.server.cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "must be a JSON list of keys" in done.stderr + done.stdout


def test_no_key_is_in_the_log_the_database_or_an_answer(keyed: Keyed) -> None:
    wrong = "f2at_" + "w" * 43
    for token in (*keyed.tokens.values(), wrong):
        for method, path, _, _ in ROUTES:
            if method != "DELETE":
                assert token not in keyed.call(method, path, token).text
    log = keyed.server.text()
    assert re.search(r"/audits/audit:one", log)
    found = [file for file in keyed.server.folder.rglob("*") if file.is_file()]
    assert keyed.server.folder / "state" / "audits.sqlite" in found
    with sqlite3.connect(keyed.server.folder / "state" / "audits.sqlite") as database:
        dump = "\n".join(database.iterdump())
    assert "fgsm" in dump
    for token in (*keyed.tokens.values(), wrong):
        secret = token.removeprefix("f2at_")
        assert secret not in log
        assert secret not in dump
        for file in found:
            assert secret.encode() not in file.read_bytes(), file
