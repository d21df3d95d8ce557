"""One submission at a time, over every process that uses the database, so that a count of audits stays true."""

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy import Engine, text

from f2at.serving.jobs import database
from f2at.serving.jobs.database import DatabaseUnavailableError, server_engine, sqlite_path
from f2at.serving.process.files import acquire_lock

_POLL = 0.01  # seconds between tries
_NUMBER = 0xF2A7  # of the lock in PostgreSQL; any number that nothing else in the database uses


class Turns:
    """Turns at one database: `take` waits for one. They end when their process does, however it ends.

    With PostgreSQL, of servers on several machines; with SQLite, whose file is on one machine, of its processes.
    """

    def __init__(self, url: str) -> None:
        self._path = sqlite_path(url)
        # Connections of their own: submissions that wait must not keep the one that has the turn from the database.
        self._engine = None if self._path else server_engine(url, connections=1)

    def close(self) -> None:
        """Close the connection."""
        if self._engine is not None:
            self._engine.dispose()

    def take(self) -> AbstractContextManager[None]:
        """The turn, for as long as the block lasts.

        Raises:
            DatabaseUnavailableError: after `database.PATIENCE` seconds; or SQLAlchemy's TimeoutError.
        """
        if self._engine is not None:
            return _in_postgresql(self._engine)
        assert self._path is not None
        return _beside(self._path)


@contextmanager
def _in_postgresql(engine: Engine) -> Iterator[None]:
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _NUMBER})
        yield


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    deadline = time.monotonic() + database.PATIENCE
    place = path.with_name(f".{path.name}.turn")
    while (lock := acquire_lock(place)) is None:
        if time.monotonic() > deadline:
            raise DatabaseUnavailableError("too many submissions are waiting for it")
        time.sleep(_POLL)
    try:
        yield
    finally:
        os.close(lock)
