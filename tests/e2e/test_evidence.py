"""Evidence from a real service: its report names the command that repeats it, and a replay finds no difference."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from f2at.audit.provenance.harness import describe_harness
from f2at.audit.reports.report import deterministic_part
from f2at.audit.reports.schema import report_schema
from f2at.bundle.format import Bundle
from f2at.serving.access.keys import add_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
ATTACKS = [{"name": "fgsm"}, {"name": "pgd", "steps": 5, "step_size": 0.003, "as": "short"}]
REQUEST: dict[str, Any] = {"suite": "custom", "attacks": ATTACKS, "eps": "2/255", "samples": 30, "seed": 3}
CONTEXT = {"responsible_person": "A. Lovelace", "valid_until": "2027-06-30", "eps_rationale": "as in\nthe contract"}


def f2at(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "f2at", *map(str, arguments)]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_a_report_of_the_service_is_replayed_and_nothing_differs(
    start_server: "Callable[..., Server]", bundle: Bundle, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    scopes = {"all": ["audit", "examples"], "few": ["audit"]}
    tokens = {name: add_key(keys, name, granted) for name, granted in scopes.items()}
    server = start_server(F2AT_KEYS=str(keys))
    server.client.headers["Authorization"] = f"Bearer {tokens['all']}"
    identifier = server.submit(**REQUEST, context=CONTEXT)["id"]
    whole = server.finish(identifier)
    server.client.headers["Authorization"] = f"Bearer {tokens['few']}"
    copy = server.client.get(f"/audits/{identifier}/report").raise_for_status().json()
    page = server.client.get(f"/audits/{identifier}/report.html").text

    assert list(Draft202012Validator(report_schema()).iter_errors(whole)) == []
    assert {name: value for name, value in whole["context"].items() if value is not None} == CONTEXT
    assert "A. Lovelace" in page
    assert whole["request"] == {**whole["request"], **REQUEST}
    assert "context" not in whole["request"]
    mine = describe_harness()
    assert {name: whole["harness"][name] for name in mine} == mine
    text = json.dumps(whole)
    assert str(bundle.path) not in text
    assert str(server.folder) not in text

    for name, report in (("whole", whole), ("copy", copy)):  # the copy has no pictures
        (tmp_path / f"{name}.json").write_text(json.dumps(report))
        done = f2at(tmp_path, "replay", f"{name}.json", bundle.path, "--quiet")
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.startswith("nothing differs: all ")
        assert done.stdout.endswith("harness, processor and libraries are the same, too\n")
    assert copy["run"]["examples_withheld"] == len(whole["examples"]) > 0

    (model,) = whole["repeat"]["files"]
    assert model["digest"] == bundle.digest
    shutil.copytree(bundle.path, tmp_path / model["name"])
    words = shlex.split(whole["repeat"]["command"])
    assert words[0] == "f2at"
    done = f2at(tmp_path, *words[1:], "--quiet")
    assert done.returncode == 0, done.stderr
    again = json.loads((tmp_path / words[-1]).read_text())
    assert deterministic_part(again) == deterministic_part(whole)
    assert set(again["context"].values()) == {None}


def test_a_context_that_is_not_accepted_starts_no_audit(server: "Server") -> None:
    before = len(server.client.get("/audits").json()["audits"])
    answer = server.client.post("/audits", json={**REQUEST, "context": {"responsable_person": "A"}})
    assert answer.status_code == 422
    assert answer.json()["argument"] == "context.responsable_person"
    assert "did you mean responsible_person?" in answer.json()["detail"]
    assert len(server.client.get("/audits").json()["audits"]) == before
