"""The commands as a user sees them: errors in one line, no traceback, a non-zero status."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from f2at.bundle.format import Bundle

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
SERVE = ["bentoml", "serve", "f2at.serving.service:RobustClassifier"]


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def command(*arguments: str, cwd: Path = REPOSITORY, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith("F2AT_")}
        env |= {"BENTOML_HOME": str(tmp_path / "bentoml")}
        env |= {"F2AT_STATE": str(tmp_path / "state"), "PYTHONPATH": "", **environment}
        return subprocess.run(
            [sys.executable, "-m", *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=60
        )

    return command


def refused(done: subprocess.CompletedProcess[str], reason: str) -> None:
    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.fixture
def tampered(bundle: Bundle, tmp_path: Path) -> Path:
    folder = tmp_path / "tampered"
    shutil.copytree(bundle.path, folder)
    data = bytearray((folder / "classifier.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "classifier.onnx").write_bytes(data)
    return folder


def test_help_names_the_commands(run: Run) -> None:
    done = run("f2at", "--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("serve", "worker", "pin"))


@pytest.mark.parametrize("command", [["f2at", "serve"], ["f2at", "pin"]])
def test_a_tampered_bundle_is_refused(run: Run, tampered: Path, command: list[str]) -> None:
    refused(run(*command, str(tampered)), "sha256")


def test_bentoml_serve_refuses_a_tampered_bundle(run: Run, tampered: Path) -> None:
    refused(run(*SERVE, F2AT_BUNDLE=str(tampered)), "sha256")


def test_bentoml_serve_needs_a_bundle(run: Run) -> None:
    refused(run(*SERVE), "F2AT_BUNDLE")


def test_settings_are_checked(run: Run, bundle: Bundle) -> None:
    refused(run(*SERVE, F2AT_BUNDLE=str(bundle.path), F2AT_MAX_BODY="lots"), "F2AT_MAX_BODY")
    refused(run("f2at", "serve", str(bundle.path), F2AT_WORKER="perhaps"), "F2AT_WORKER")
    nowhere = "postgresql://user:secret@127.0.0.1:1/audits"
    without_database = run(*SERVE, F2AT_BUNDLE=str(bundle.path), F2AT_DATABASE_URL=nowhere)
    refused(without_database, "F2AT_DATABASE_URL")
    assert "secret" not in without_database.stdout + without_database.stderr


def test_a_port_that_is_taken(run: Run, bundle: Bundle) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused(run("f2at", "serve", str(bundle.path), "--port", port), "in use")
    refused(run("f2at", "serve", str(bundle.path), "--port", "70000"), "port")


def test_one_worker_a_state_folder(run: Run, server: "Server", bundle: Bundle) -> None:
    refused(
        run("f2at", "worker", F2AT_BUNDLE=str(bundle.path), F2AT_STATE=server.environment["F2AT_STATE"]),
        "worker",
    )


def test_a_built_bento_serves_its_bundle_without_torch(
    run: Run, start_server: Callable[..., "Server"], bundle: Bundle, tmp_path: Path
) -> None:
    assert "contains " + bundle.digest in run("f2at", "pin", str(bundle.path)).stdout
    subprocess.run([sys.executable, "-m", "hatchling", "build", "--target", "wheel"], cwd=REPOSITORY, check=True)
    built = run("bentoml", "build", "--output", "tag")
    assert built.returncode == 0, built.stderr
    tag = built.stdout.strip().rpartition("__tag__:")[2]
    carried = {path.name for path in (tmp_path / "bentoml" / "bentos").rglob("wheels/*")}
    assert {name.partition("-")[0] for name in carried} == {"f2at"}

    # Every process of the server starts with an import hook that refuses what only training may use.
    (tmp_path / "sitecustomize.py").write_text(_BLOCKER)
    environment = {"PYTHONPATH": str(tmp_path), "BENTOML_HOME": str(tmp_path / "bentoml"), "F2AT_BUNDLE": ""}
    blocked = subprocess.run([sys.executable, "-c", "import torch"], env={**os.environ, **environment}, stderr=-1)
    assert b"while serving" in blocked.stderr
    server = start_server(target=tag, cwd=tmp_path, **environment)
    images, labels = bundle.reference()
    answer = server.predict(images[0])
    assert (answer["model"], answer["index"]) == (bundle.digest, labels[0])
    audit = server.submit(eps="1/255", samples=4)
    assert server.finish(audit["id"])["model"]["digest"] == bundle.digest
    assert server.client.get(f"/audits/{audit['id']}/report.html").status_code == 200
    assert "while serving" not in server.text()
    server.stop()


_BLOCKER = """
import sys

BANNED = {"torch", "torchvision", "lightning", "safetensors", "onnxscript", "sklearn"}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BANNED:
            raise ImportError(f"{name} must not be imported while serving")

sys.meta_path.insert(0, Blocker())
"""
