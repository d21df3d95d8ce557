"""What files are called, and files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write a file that takes the place of `path` when it is whole; what is left after an error is deleted.

    A process that is killed meanwhile leaves `.NAME.PID` behind.
    """
    draft = draft_of(path)
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def draft_of(path: Path) -> Path:
    """The file beside `path` that this process writes first."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def is_url(place: object) -> bool:
    """Whether something is named by a URL."""
    return isinstance(place, str) and "://" in place


def location(text: str) -> str | Path:
    """What a command line names: a URL, or a path."""
    return text if is_url(text) else Path(text)


def name_of(path: Path) -> str:
    """What a file or folder is called, without where it is; "." and ".." are called by their names."""
    return path.name if path.name not in ("", "..") else path.resolve().name
