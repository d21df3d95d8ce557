"""The line `next: f2at ...` that ends what a command prints works as it is printed; names with a space, too."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from f2at.serving.process.launch import launch
from tests.user import REPOSITORY, TINY, environment

RECIPE = f"""{TINY}reference = 40
[method]
name = "sat"
[attack]
eps = "32/255"
steps = 1
validation_steps = 1
test_steps = 1
[optimizer]
epochs = 1
"""
NEXT = re.compile(r"(?:^|; )next: (.+)$", re.MULTILINE)
# Tested below.
TELLING = {
    "f2at/command_line.py",
    "training/command.py",
    "training/critic.py",
    "export/command.py",
    "bundle/format.py",
}


class Folder:
    """Where a user runs one command after another."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = environment(path)

    def words(self, line: str) -> list[str]:
        """What a shell makes of a line, with this checkout's `f2at`."""
        command, *arguments = shlex.split(line)
        assert command == "f2at"
        return [sys.executable, "-m", "f2at", *arguments]

    def run(self, line: str, status: int = 0) -> list[str]:
        """Run a line, which must end with `status`; the lines that it says are next."""
        done = subprocess.run(
            self.words(line),
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == status, done.stderr
        return NEXT.findall(done.stdout + done.stderr)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = Folder(tmp_path_factory.mktemp("user"))
    (folder.path / "recipe.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def trained(folder: Folder) -> list[str]:
    """What comes after training."""
    return folder.run("f2at train --config recipe.toml --output 'runs/my digits'")


@pytest.mark.slow
def test_from_training_to_a_server(folder: Folder, trained: list[str]) -> None:
    (export,) = trained
    assert export == "f2at export 'runs/my digits' --output 'bundles/my digits'"
    assert folder.run("f2at audit 'runs/my digits' --output report.json", status=2) == [export]
    audit, serve = folder.run(export)
    assert folder.run(audit) == []
    assert (folder.path / "reports" / "my digits.html").is_file()
    with launch(
        [*folder.words(serve), "--port", "{port}"], cwd=folder.path, environment=folder.environment
    ) as server:  # as printed it listens on port 3000, which may be another's here
        assert httpx.get(f"{server.url}/model").json()["classes"] == list("0123456789")


@pytest.mark.slow
@pytest.mark.usefixtures("trained")
def test_from_critics_to_a_run_that_uses_them(folder: Folder) -> None:
    (train,) = folder.run("f2at critic 'runs/my digits' --planes 3 --epochs 1 --output 'my critic.safetensors'")
    (export,) = folder.run(train)
    assert export == "f2at export 'runs/my digits-f2at' --output 'bundles/my digits-f2at'"
    config = (folder.path / "runs" / "my digits-f2at" / "config.toml").read_text()
    assert 'estimator = "donsker-varadhan"' in config
    assert "planes = 3" in config


def test_what_the_demo_says_is_next_serves_its_model() -> None:
    (line,) = re.findall(r'print\(f?"next: (.+)"\)', (REPOSITORY / "demo.py").read_text())
    command, *arguments = shlex.split(line)
    words = [command, "--dry-run", "--directory", str(REPOSITORY), *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30)
    assert "bin/f2at serve bundles/demo-f2at\n" in done.stdout


def test_no_other_command_says_what_is_next() -> None:
    packages = ("f2at", "images", "models", "bundle", "attacks", "audit", "training", "export", "serving")
    files = [path for package in packages for path in (REPOSITORY / package).rglob("*.py")]
    printing = re.compile(r'next_step|("|\\n)next: ')
    telling = {path.relative_to(REPOSITORY).as_posix() for path in files if printing.search(path.read_text())}
    assert telling == TELLING
