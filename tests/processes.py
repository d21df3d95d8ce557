"""What Linux tells of processes, as in proc(5)."""

import os
from pathlib import Path


def running(pid: int) -> bool:
    """Whether a process is there, and has not ended."""
    try:
        return _fields(Path(f"/proc/{pid}/stat"))[0] != "Z"
    except OSError:
        return False


def states(pid: int) -> set[str]:
    """Those of its threads, a letter each."""
    return {_fields(file)[0] for file in Path(f"/proc/{pid}/task").glob("*/stat")}


def processor_seconds(pid: int) -> float:
    """What it has spent so far."""
    fields = _fields(Path(f"/proc/{pid}/stat"))
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _fields(file: Path) -> list[str]:
    """From the state on; the name before it may have any characters."""
    return file.read_text().rpartition(")")[2].split()
