"""What every command has in common: how its line is read, and how a mistake in it is answered."""

import argparse
import difflib
import shlex
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn


def suggestion(word: str, accepted: Iterable[str], prefix: str = "") -> str:
    """`; did you mean NAME?` for the accepted name nearest to `word`, or nothing where none is near."""
    near = difflib.get_close_matches(word, list(accepted), n=1, cutoff=0.6)
    return f"; did you mean {prefix}{near[0]}?" if near else ""


def first_line(error: BaseException) -> str:
    """What an error of somebody's code says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def shortened(names: Sequence[str], most: int) -> str:
    """The first names with commas between them, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def next_step(command: str, *arguments: object) -> str:
    """The line by which a command names the one to run next, quoted so that a shell takes it as it is printed."""
    return f"next: f2at {shlex.join([command, *map(str, arguments)])}"


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations and answers a mistake in one line, with the nearest right flag.

    intermixed: whether an argument that may be left out may also come after options.
    """

    def __init__(self, *, intermixed: bool = False, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})
        self._read = self.parse_known_intermixed_args if intermixed else self.parse_known_args

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """As argparse does; what is left over is an error that names the nearest flag."""
        options, left = self._read(args, namespace)
        if left:
            flags = [text for action in self._actions for text in action.option_strings]
            self.error(f"unrecognized arguments: {' '.join(left)}{suggestion(left[0].partition('=')[0], flags)}")
        return options

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line and exit with status 2."""
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help)\n")
