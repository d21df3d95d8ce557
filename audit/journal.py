"""The finished steps of an audit, in a file, so that the same command goes on where it was interrupted."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from f2at.audit.plan import Audit
from f2at.audit.steps import Step


class Journal:
    """A file of JSON lines: what audit this is, then the result of every step that is done.

    Args:
        path: the file, made if it is not there; its folder must be.
        audit: the plan. Only its own steps are found again: those of the same request on the same model and data, by
            the same version.
        anew: drop what another audit left in the file.

    Raises:
        OSError: the file cannot be written.
        ValueError: it is the journal of another audit, or no journal at all.
    """

    def __init__(self, path: Path, audit: Audit, *, anew: bool = False) -> None:
        self._path = path
        head = {"audit": audit.fingerprint}
        with path.open("ab+") as file:  # fails now, rather than after minutes of work
            file.seek(0)
            # The last line of a run that was killed may be half a line.
            lines = [line for line in file.read().splitlines(keepends=True) if line.endswith(b"\n")]
            values = [_parse(line) for line in lines]
            if lines and values[0] != head:
                if not anew:
                    raise ValueError(f"{path} has the steps of another audit; finish that one, or delete the file")
                lines, values = [], []
            file.truncate(sum(map(len, lines)))
        self._results = {(result["shard"], result["stage"]): result for result in values[1:] if result}
        if not lines:
            self._write(head)

    def __len__(self) -> int:
        """How many steps are kept."""
        return len(self._results)

    def find(self, step: Step) -> dict[str, Any] | None:
        """The result of a step that is done."""
        return self._results.get((step.shard, step.stage))

    def keep(self, result: dict[str, Any]) -> None:
        """Add the result of a step."""
        with suppress(FileNotFoundError):  # deleted by another run of this audit, which was here first
            self._write(result)
        self._results[result["shard"], result["stage"]] = result

    def delete(self) -> None:
        """Remove the file, when the report has what it has."""
        self._path.unlink(missing_ok=True)

    def _write(self, value: Mapping[str, Any]) -> None:
        with open(self._path, "a", encoding="ascii", opener=_existing) as file:
            file.write(json.dumps(value) + "\n")


def _existing(path: str, flags: int) -> int:
    return os.open(path, flags & ~os.O_CREAT)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
