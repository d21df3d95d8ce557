"""What Linux tells of processes, as in proc(5)."""

import os
from contextlib import suppress
from pathlib import Path


def running(pid: int) -> bool:
    """Whether any thread of a process has not ended; the first may end before the others."""
    return bool(states(pid) - {"X", "Z"})


def states(pid: int) -> set[str]:
    """Those of its threads, a letter each."""
    found = set()
    for file in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # it ended just now
            found.add(_fields(file)[0])
    return found


def processor_seconds(pid: int) -> float:
    """What it has spent so far."""
    fields = _fields(Path(f"/proc/{pid}/stat"))
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _fields(file: Path) -> list[str]:
    """From the state on; the name before it may have any characters."""
    return file.read_text().rpartition(")")[2].split()
