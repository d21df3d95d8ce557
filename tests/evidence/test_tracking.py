"""Reports on a real MLflow tracking server, read back by MLflow's client."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from f2at.__main__ import main
from tests.evidence.grey import grey_report

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address; figures are in SQLite, artifacts in a folder of its own, which clients reach through it alone."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = [
        "--backend-store-uri",
        f"sqlite:///{folder}/runs.sqlite",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    own = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *command, *stores], cwd=folder, env=own, stdout=log, stderr=log, start_new_session=True
        )
        try:
            address = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 300
            while not healthy(address):
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.2)
            yield address
        finally:
            os.killpg(process.pid, 15)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()


def healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def client(server: str) -> "MlflowClient":
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
    return MlflowClient(server)


def log(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The command, and the run that it names."""
    capsys.readouterr()
    assert main(["log-mlflow", *map(str, arguments)]) == 0
    found = re.search(r"to run ([0-9a-f]{32})\n", capsys.readouterr().out)
    assert found
    return found[1]


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line with which the command refuses these arguments."""
    capsys.readouterr()
    assert main(["log-mlflow", *map(str, arguments)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def test_a_new_run_has_the_figures_the_digests_and_the_files(
    server: str,
    client: "MlflowClient",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    report = grey_report(tmp_path / "report.json", min_robust_accuracy=0.9)
    (tmp_path / "report.json.sig").write_bytes(b"a signature")
    (tmp_path / "report.intoto.json").write_bytes(b"a statement")
    given = [tmp_path / "report.json", "--experiment", "grey", "--run-name", "the first"]
    run = client.get_run(log(capsys, *given))

    assert (run.info.status, run.info.run_name) == ("FINISHED", "the first")
    assert client.get_experiment(run.info.experiment_id).name == "grey"
    assert run.data.metrics["audit/clean_accuracy"] == 1
    assert run.data.metrics["audit/accuracy_under_attack"] == 12 / 36
    assert run.data.metrics["audit/accuracy_under_attack_low"] == report["robust"]["low"]
    assert run.data.metrics["audit/attacks/fgsm"] == 12 / 36
    assert run.data.metrics["audit/flags_raised"] == 0
    assert run.data.params["audit/eps"] == "8/255"
    assert run.data.params["audit/min_robust_accuracy"] == "0.9"
    assert run.data.tags["audit.data_sha256"] == report["data"]["sha256"]
    assert run.data.tags["audit.outcome"] == "fail"
    copies = tmp_path / "copies"
    copies.mkdir()
    for name in ("report.json", "report.html", "report.json.sig", "report.intoto.json"):
        there = Path(client.download_artifacts(run.info.run_id, f"audit/{name}", str(copies)))
        assert there.read_bytes() == (tmp_path / name).read_bytes()


def test_the_run_of_a_training_takes_several_reports_and_goes_on(
    server: str, client: "MlflowClient", tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = client.create_run("0", run_name="training").info.run_id
    for eps in (4, 8):
        grey_report(tmp_path / f"{eps}.json", eps=f"{eps}/255")
        given = ["--tracking-uri", server, "--run-id", training, "--prefix", f"eps {eps}"]
        assert log(capsys, tmp_path / f"{eps}.json", *given) == training
    run = client.get_run(training)
    assert run.info.status == "RUNNING"
    stand = {eps: run.data.metrics[f"eps {eps}/accuracy_under_attack"] for eps in (4, 8)}
    assert stand == {4: 24 / 36, 8: 12 / 36}


def test_what_mlflow_refuses_is_one_line(server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grey_report(tmp_path / "report.json")
    given = [tmp_path / "report.json", "--tracking-uri", server]
    said = refused(capsys, *given, "--run-id", "0" * 32)
    assert said.startswith("f2at log-mlflow: MLflow: RESOURCE_DOES_NOT_EXIST: ")
    said = refused(capsys, *given, "--run-id", "x", "--run-name", "y")
    assert said.startswith("f2at log-mlflow: run-id must be left out where run-name or experiment are given")


def test_an_address_that_mlflow_does_not_know_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grey_report(tmp_path / "report.json")
    assert "MLflow: " in refused(capsys, tmp_path / "report.json", "--tracking-uri", "bogus://x")


def test_a_server_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    grey_report(tmp_path / "report.json")
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        said = refused(capsys, tmp_path / "report.json", "--tracking-uri", address)
    assert said.startswith("f2at log-mlflow: MLflow: ")
