"""What is started is ended: a server whose child starts a grandchild, each in another way to outlive its parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from f2at.serving.process import family
from f2at.serving.process.launch import LaunchError, launch
from tests.processes import running

REPOSITORY = Path(__file__).parents[3]
# Starts a child in its session, which starts one in a session of its own; neither ends with it.
SERVER = """
import os, pathlib, signal, subprocess, sys, time
folder, depth = pathlib.Path(sys.argv[1]), int(sys.argv[2])
if depth:
    subprocess.Popen([sys.executable, "-c", sys.argv[3], str(folder), str(depth - 1), sys.argv[3]],
                     start_new_session=depth == 1)
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
(folder / str(os.getpid())).touch()
time.sleep(60)
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Starts three processes, which each leave a file in a folder, named by their id."""
    monkeypatch.setattr(family, "_GRACE", 0.2)
    (tmp_path / "pids").mkdir()
    yield [sys.executable, "-c", SERVER, str(tmp_path / "pids"), "2", SERVER]
    assert len(pids(tmp_path)) == 3
    for pid in pids(tmp_path):
        assert not running(pid)


def first_state(pid: int) -> str:
    """Of the first thread of a process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def pids(folder: Path) -> list[int]:
    return [int(path.name) for path in (folder / "pids").iterdir()]


def test_what_a_server_leaves_running_is_ended(command: list[str], tmp_path: Path) -> None:
    with launch(command, ready=lambda _: len(pids(tmp_path)) == 3) as server:
        assert all(map(running, pids(tmp_path)))
        assert not server.stop()  # a signal to the first alone was not enough


def test_it_is_ended_when_the_server_had_gone_before(command: list[str], tmp_path: Path) -> None:
    server = launch(command, ready=lambda _: len(pids(tmp_path)) == 3)
    server.process.kill()
    server.process.wait()
    assert len(list(filter(running, pids(tmp_path)))) == 2
    assert not server.stop()


@pytest.mark.parametrize("error", [LaunchError, KeyboardInterrupt])
def test_it_is_ended_when_the_start_fails_or_is_interrupted(
    error: type[BaseException], command: list[str], tmp_path: Path
) -> None:
    def ready(_: object) -> bool:
        if len(pids(tmp_path)) == 3:
            raise error
        return False

    with pytest.raises(error):
        launch(command, ready=ready)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_is_ended_when_whoever_started_it_is_killed(number: int, command: list[str], tmp_path: Path) -> None:
    code = (
        "import sys, time; from f2at.serving.process import family; from f2at.serving.process.launch import launch\n"
        "family._GRACE = 0.2; launch(sys.argv[1:], ready=None)\ntime.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen([sys.executable, "-c", code, *command], env=environment) as launcher:
        deadline = time.monotonic() + 30
        while len(pids(tmp_path)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        launcher.send_signal(number)
    deadline = time.monotonic() + 30
    while any(map(running, pids(tmp_path))) and time.monotonic() < deadline:
        time.sleep(0.05)


def test_without_proc_the_group_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "_PROCESSES", None)
    monkeypatch.setattr(family, "_GRACE", 0.2)
    (tmp_path / "pids").mkdir()
    code = SERVER.replace("start_new_session=depth == 1", "")
    server = launch(
        [sys.executable, "-c", code, str(tmp_path / "pids"), "1", code], ready=lambda _: len(pids(tmp_path)) == 2
    )
    assert not server.stop()
    assert not any(map(running, pids(tmp_path)))


def test_a_process_whose_first_thread_has_ended_is_running_still(tmp_path: Path) -> None:
    code = (
        "import ctypes, threading, time\n"
        "threading.Thread(target=time.sleep, args=[60]).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    with (tmp_path / "log").open("wb") as log:
        lone = family.Family([sys.executable, "-c", code], environment=None, cwd=None, output=log)
    pid = lone.process.pid
    try:
        deadline = time.monotonic() + 30
        while (state := first_state(pid)) != "Z" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert state == "Z"
        assert running(pid)
        assert lone.pids() == [pid]
    finally:
        assert lone.stop(signal.SIGTERM, 30)
    assert not running(pid)


def test_one_that_cannot_be_guarded_is_ended_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(sys, "executable", "/nowhere")
    begun = time.monotonic()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        launch(command)
    assert time.monotonic() - begun < 10  # waited for its end, not for its sleep
