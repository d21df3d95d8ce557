"""A process and all that it started, however deep and whatever became of what lies between: known and ended as one.

Some servers start processes in sessions of their own, and some end without ending those. On Linux, members are known by
a variable that they inherit, and by the session that the first one leads; elsewhere, by that one's process group.

Run as a program (with nothing but the standard library, so that it starts at once), this ends a family as soon as
whoever started it is gone, even by SIGKILL.
"""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

VARIABLE = "F2AT_FAMILY"
_GRACE = 10.0  # seconds that members get to end by themselves once the first has, and after SIGTERM
_POLL = 0.05
_PROCESSES = Path("/proc/self").exists() and Path("/proc")


class Family:
    """Starts a command, and ends it with all that it has started; `process` is the first of them.

    Args:
        command: program and arguments.
        environment: all variables; None: those of this process.
        cwd: the folder to start in; None: the current one.
        output: where standard output and error go.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str] | None, cwd: Path | None, output: IO[bytes]
    ) -> None:
        token = secrets.token_hex(8)
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**(os.environ if environment is None else environment), VARIABLE: token},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        self._name = self.process.pid, token
        try:
            self._guard = subprocess.Popen(  # ends them when its standard input does, which is when this process does
                [sys.executable, "-I", "-S", __file__, *map(str, (*self._name, _GRACE))],
                stdin=subprocess.PIPE,
                env={},
                start_new_session=True,
            )
        except BaseException:
            end(*self._name, grace=0)
            self.process.wait()
            raise

    def pids(self) -> list[int]:
        """The ids of its processes that are running; see `members`."""
        return members(*self._name)

    def stop(self, number: int, patience: float) -> bool:
        """Send the first member a signal, and kill what is left `patience` seconds later, or a while after its end.

        Returns:
            Whether all ended without being killed.
        """
        self.process.send_signal(number)  # does nothing if it has already exited
        deadline = time.monotonic() + patience
        try:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
            return await_end(*self._name, deadline=min(deadline, time.monotonic() + _GRACE))
        finally:
            end(*self._name, grace=0)
            self.process.wait()
            self._guard.communicate()


def members(leader: int, token: str) -> list[int]:
    """The processes of a family that are running; on systems without /proc, `leader` for the whole of its group."""
    if not _PROCESSES:
        try:
            os.killpg(leader, 0)
        except OSError:
            return []
        return [leader]
    mark = f"{VARIABLE}={token}".encode()
    found = []
    for folder in _PROCESSES.iterdir():
        with suppress(OSError, ValueError):  # no process, or one that has just ended
            pid = int(folder.name)
            if _belongs(folder / "task", leader, mark):
                found.append(pid)
    return found


def _belongs(threads: Path, leader: int, mark: bytes) -> bool:
    """Whether a process is running and of the family, as any thread of it says that has not ended.

    The first thread may end before the others, which then still hold the process's locks and ports.
    """
    for thread in threads.iterdir():
        with suppress(OSError):  # has just ended, or is another user's
            state, _, _, session, *_ = (thread / "stat").read_bytes().rpartition(b")")[2].split()
            if state not in b"ZX":
                return int(session) == leader or mark in (thread / "environ").read_bytes().split(b"\0")
    return False


def await_end(leader: int, token: str, *, deadline: float) -> bool:
    """Wait until no member is left; return whether that was before `deadline`, of the monotonic clock."""
    while members(leader, token):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def end(leader: int, token: str, *, grace: float) -> None:
    """End all members: with SIGTERM, if they get any grace, and with SIGKILL."""
    if grace:
        _signal(leader, token, signal.SIGTERM)
        await_end(leader, token, deadline=time.monotonic() + grace)
    while _signal(leader, token, signal.SIGKILL):  # those as well that were started meanwhile
        time.sleep(_POLL)


def _signal(leader: int, token: str, number: int) -> list[int]:
    found = members(leader, token)
    for pid in found:
        with suppress(ProcessLookupError):
            (os.kill if _PROCESSES else os.killpg)(pid, number)
    return found


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end(int(sys.argv[1]), sys.argv[2], grace=float(sys.argv[3]))
