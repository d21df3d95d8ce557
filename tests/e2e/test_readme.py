"""README.md from top to bottom: every command in it, as printed, in a separate folder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import f2at
from f2at.images.png import png
from f2at.serving.process.launch import RunningServer, free_port, launch
from tests.readme import blocks
from tests.user import REPOSITORY, TINY, environment

ADDRESS = "127.0.0.1:3000"
# The recipe that stands in for configs/digits.toml, so that training takes seconds.
RECIPE = f"""{TINY}[method]
name = "f2at"
[attack]
eps = "32/255"
steps = 2
[optimizer]
epochs = 2
"""


class Shell:
    """Runs shell blocks where `f2at` is this checkout's command, with a server's port in place of 3000."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.folder = folder
        (folder / "bin").mkdir()
        command = folder / "bin" / "f2at"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m f2at "$@"\n')
        command.chmod(0o755)
        self.environment = {
            **environment(folder),
            "PATH": f"{command.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def command(self, block: str) -> list[str]:
        """The command that runs a block; `serve` gets the port, and `curl` fails if the answer is an error."""
        text = block.replace(ADDRESS, self.address).replace("curl ", "curl --silent --show-error --fail-with-body ")
        text = text.replace("f2at serve bundles/digits", f"exec f2at serve bundles/digits --port {self.port}")
        return ["bash", "-ec", text]

    def run(self, block: str, codes: tuple[int, ...] = (0,)) -> None:
        """Run a block to its end."""
        done = subprocess.run(self.command(block), cwd=self.folder, env=self.environment, check=False, timeout=300)
        assert done.returncode in codes

    def serve(self, block: str) -> RunningServer:
        """Start the block that serves."""
        return launch(self.command(block), cwd=self.folder, environment=self.environment, port=self.port)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    folder = tmp_path_factory.mktemp("readme")
    (folder / "configs").mkdir()
    (folder / "configs" / "digits.toml").write_text(RECIPE)
    (folder / "digit.png").write_bytes(png(np.zeros((8, 8, 3), np.uint8)))
    shell = Shell(folder)
    for title in ("Train", "Export"):
        shell.run("".join(blocks("sh", title=title)))
    return shell


@pytest.fixture
def served(shell: Shell) -> Iterator[Shell]:
    """While the block that serves runs."""
    with shell.serve(blocks("sh", title="Serve")[0]):
        yield shell


def test_it_is_read_in_five_minutes() -> None:
    assert len((REPOSITORY / "README.md").read_text().split()) <= 5 * 210


def test_there_are_no_commands_but_these() -> None:
    """What the other tests run is all there is."""
    titles = ("Two commands", "Train", "Export", "Audit", "Serve")
    assert blocks("sh") == [block for title in titles for block in blocks("sh", title=title)]
    assert len(blocks("python")) == 1  # which runs in tests/test_wheel.py


def test_make_knows_the_two_commands() -> None:
    words = [line.split("#")[0].split() for line in blocks("sh", title="Two commands")[0].splitlines()]
    assert words == [["make", "demo"], ["make", "test"]]
    for command in words:
        subprocess.run([*command, "--dry-run"], cwd=REPOSITORY, check=True, capture_output=True, timeout=30)


@pytest.mark.slow
def test_train_export_audit(shell: Shell) -> None:
    *audits, gate = blocks("sh", title="Audit")[0].splitlines()
    shell.run("\n".join(audits))
    shell.run(gate, codes=(3, 4))  # a network of two epochs is not robust
    bundle = f2at.load_bundle(shell.folder / "bundles" / "digits")
    for name in ("report", "gate"):
        assert f2at.read_report(shell.folder / f"{name}.json")["model"]["digest"] == bundle.digest
        assert (shell.folder / f"{name}.html").is_file()


@pytest.mark.slow
def test_serve(served: Shell) -> None:
    served.run(blocks("sh", title="Serve")[1])
    with f2at.Client(f"http://{served.address}") as client:
        (audit,) = client.audits()
        assert client.wait(audit.id, timeout=120).state == "done"
