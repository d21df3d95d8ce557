"""Signed bundles and reports, with the commands that an operator types and real servers."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from f2at.bundle.format import MODEL_SIGNATURE, SIGNATURE, Bundle
from tests.keys import Keys, curve, make_keys

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def curve_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"), kind=curve("P-256"))


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
    for name in ("report", "report.sig", "report.intoto.json"):
        path = tmp_path / {"report": "report.json", "report.sig": "report.json.sig"}.get(name, name)
        path.write_bytes(server.client.get(f"/audits/{identifier}/{name}").raise_for_status().content)
    verified = python("f2at", "verify", report, "--public-key", keys.public, "--model", folder)
    assert (verified.returncode, verified.stdout.count("verified")) == (0, 2), verified.stderr
    report.write_bytes(report.read_bytes().replace(b'"robust"', b'"Robust"', 1))
    refused = python("f2at", "verify", report, "--public-key", keys.public)
    assert (refused.returncode, "not of this content" in refused.stderr) == (2, True)
    server.stop()


def test_a_bundle_in_the_format_of_model_signing_is_served_and_swapped_in(
    bundle: Bundle, other_bundle: Bundle, curve_keys: Keys, tmp_path: Path, start_server: Callable[..., "Server"]
) -> None:
    """What its own command signs, as well as what ours does; nothing else."""
    bundles = tmp_path / "bundles"
    for name, source in (("first", bundle), *((name, other_bundle) for name in ("second", "bare", "false", "more"))):
        shutil.copytree(source.path, bundles / name)
    (bundles / "first" / "README.md").write_text("A card, which is signed as well.\n")
    sign = ["sign", "key", bundles / "first", "--signature", bundles / "first" / MODEL_SIGNATURE]
    assert python("model_signing", *sign, "--private_key", curve_keys.private).returncode == 0
    for name in ("second", "more"):
        signed = python("f2at", "sign", bundles / name, "--key", curve_keys.private, "--format", "oms")
        assert signed.returncode == 0, signed.stderr
    shutil.copy(bundles / "first" / MODEL_SIGNATURE, bundles / "false")
    (bundles / "more" / "extra.bin").write_bytes(b"")

    settings = {"F2AT_BUNDLE": str(bundles / "first"), "F2AT_BUNDLES": str(bundles)}
    server = start_server(**settings, F2AT_PUBLIC_KEY=str(curve_keys.public))
    assert server.client.get("/model").json()["digest"] == bundle.digest
    reasons = {"bare": "not signed", "false": "of another manifest.json", "more": "extra.bin was not signed"}
    for name, reason in reasons.items():
        refused = server.client.post("/model", json={"bundle": name})
        assert (refused.status_code, reason in refused.json()["detail"]) == (422, True), refused.text
    assert server.client.post("/model", json={"bundle": "second"}).status_code == 200
    assert server.client.get("/model").json()["digest"] == other_bundle.digest
    server.finish(server.submit(eps="1/255", samples=4)["id"])  # by a worker that trusts the copy as well
    server.stop()
    server.start()  # with the model that was served last
    assert server.client.get("/model").json()["digest"] == other_bundle.digest
    server.stop()

    (bundles / "first" / MODEL_SIGNATURE).write_bytes((bundles / "second" / MODEL_SIGNATURE).read_bytes())
    environment = {"F2AT_PUBLIC_KEY": str(curve_keys.public), "F2AT_STATE": str(tmp_path / "state")}
    done = python("f2at", "serve", bundles / "first", **environment)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "of another manifest.json" in done.stderr


@pytest.mark.parametrize(("form", "name"), [("f2at", SIGNATURE), ("oms", MODEL_SIGNATURE)])
def test_a_pinned_bundle_keeps_its_signature(
    form: str, name: str, bundle: Bundle, curve_keys: Keys, tmp_path: Path
) -> None:
    folder, home = tmp_path / "signed", tmp_path / "bentoml"
    shutil.copytree(bundle.path, folder)
    environment = {"BENTOML_HOME": str(home)}
    assert python("f2at", "pin", folder, **environment).returncode == 0
    python("f2at", "sign", folder, "--key", curve_keys.private, "--format", form)
    assert python("f2at", "pin", folder, **environment).returncode == 0  # the same digest, but signed now
    (pinned,) = home.rglob(name)
    assert python("f2at", "verify", pinned.parent, "--public-key", curve_keys.public).returncode == 0


@pytest.mark.parametrize("name", ["report.sig", "report.intoto.json"])
def test_a_server_without_a_key_says_so(name: str, server: "Server") -> None:
    answer = server.client.get(f"/audits/none/{name}")
    assert answer.status_code == 404
    assert "F2AT_SIGNING_KEY" in answer.json()["detail"]
