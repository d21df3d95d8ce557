"""Threads of OpenMP sleep while they wait, from when PyTorch is loaded, unless the user wants otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from f2at.__main__ import main

REPOSITORY = Path(__file__).parents[1]


def displayed(arguments: list[str]) -> set[str]:
    """What OpenMP's libraries say of their wait policy when they are loaded."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=120,
        env={**environment, "OMP_DISPLAY_ENV": "TRUE", "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    return {line.split("=")[1].strip(" '") for line in done.stderr.splitlines() if "OMP_WAIT_POLICY" in line}


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have another OpenMP")
def test_threads_sleep_while_they_wait() -> None:
    assert displayed(["-m", "f2at", "train", "--help"]) == {"PASSIVE"}
    assert displayed(["-c", "import benchmarks.common, torch"]) == {"PASSIVE"}


@pytest.mark.parametrize(("own", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_a_value_of_the_user_s_own_stays(monkeypatch: pytest.MonkeyPatch, own: str | None, expected: str) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY") if own is None else monkeypatch.setenv("OMP_WAIT_POLICY", own)
    assert main(["--version"]) == 0
    assert os.environ["OMP_WAIT_POLICY"] == expected


def test_tests_do_likewise() -> None:
    assert os.environ["OMP_WAIT_POLICY"]
