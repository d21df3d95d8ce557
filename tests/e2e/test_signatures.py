"""Signed bundles and reports, with the commands that an operator types and real servers."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from f2at.bundle.format import SIGNATURE, Bundle

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]


class Keys(NamedTuple):
    private: Path
    public: Path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    keys = Keys(folder / "key.pem", folder / "key.pub.pem")
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", keys.private], check=True)
    subprocess.run(["openssl", "pkey", "-in", keys.private, "-pubout", "-out", keys.public], check=True)
    return keys


def python(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        cwd=REPOSITORY, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_what_is_not_signed_is_not_served(bundle: Bundle, keys: Keys, tmp_path: Path) -> None:
    environment = {"F2AT_PUBLIC_KEY": str(keys.public), "F2AT_STATE": str(tmp_path / "state")}
    environment |= {"BENTOML_HOME": str(tmp_path / "bentoml")}
    environment |= {"F2AT_BUNDLE": str(bundle.path)}
    for command in (
        ["bentoml", "serve", "f2at.serving.service:RobustClassifier"],
        ["f2at", "serve", bundle.path],
        ["f2at", "worker"],
    ):
        done = python(*command, **environment)
        assert done.returncode != 0
        assert "not signed" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_signed_bundle_is_served_and_its_reports_are_signed(
    bundle: Bundle, keys: Keys, tmp_path: Path, start_server: Callable[..., "Server"]
) -> None:
    folder = tmp_path / "signed"
    shutil.copytree(bundle.path, folder)
    assert python("f2at", "sign", folder, "--key", keys.private).returncode == 0
    server = start_server(F2AT_BUNDLE=str(folder), F2AT_PUBLIC_KEY=str(keys.public), F2AT_SIGNING_KEY=str(keys.private))
    assert server.client.get("/model").json()["digest"] == bundle.digest
    identifier = server.submit(eps="1/255", samples=4)["id"]
    server.finish(identifier)

    report = tmp_path / "report.json"
    for path, name in ((report, "report"), (Path(f"{report}.sig"), "report.sig")):
        path.write_bytes(server.client.get(f"/audits/{identifier}/{name}").raise_for_status().content)
    assert python("f2at", "verify", report, "--public-key", keys.public).returncode == 0
    report.write_bytes(report.read_bytes().replace(b'"robust"', b'"Robust"', 1))
    refused = python("f2at", "verify", report, "--public-key", keys.public)
    assert (refused.returncode, "not of this content" in refused.stderr) == (2, True)
    server.stop()


def test_a_pinned_bundle_keeps_its_signature(bundle: Bundle, keys: Keys, tmp_path: Path) -> None:
    folder, home = tmp_path / "signed", tmp_path / "bentoml"
    shutil.copytree(bundle.path, folder)
    environment = {"BENTOML_HOME": str(home)}
    assert python("f2at", "pin", folder, **environment).returncode == 0
    python("f2at", "sign", folder, "--key", keys.private)
    assert python("f2at", "pin", folder, **environment).returncode == 0  # the same digest, but signed now
    (pinned,) = home.rglob(SIGNATURE)
    assert python("f2at", "verify", pinned.parent, "--public-key", keys.public).returncode == 0


def test_a_server_without_a_key_says_so(server: "Server") -> None:
    answer = server.client.get("/audits/none/report.sig")
    assert answer.status_code == 404
    assert "F2AT_SIGNING_KEY" in answer.json()["detail"]
