"""Whether audits can be stored now: the file of SQLite is still the one that was opened, and there is room to write."""

import os
import tempfile
from pathlib import Path

from sqlalchemy import text

from f2at.serving.jobs.database import DatabaseUnavailableError, SqliteFile, server_engine, sqlite_path

_ROOM = 1 << 16  # bytes; a submission takes less


class Health:
    """Looks at the database of audits as a server uses it; methods block on it, as those of `Audits` do."""

    def __init__(self, url: str) -> None:
        path = sqlite_path(url)
        self._file = SqliteFile(path) if path else None
        self._engine = server_engine(url, connections=1)

    def close(self) -> None:
        """Close the connection."""
        self._engine.dispose()

    @property
    def lost(self) -> str | None:
        """Why the database needs a person: its file was deleted or replaced. None if it was not. Cheap."""
        return self._file.lost if self._file else None

    def check(self) -> None:
        """Write to the database, as little as possible.

        Raises:
            DatabaseUnavailableError: that failed; or SQLAlchemy's TimeoutError.
        """
        with self._engine.begin() as connection:
            if self._file is None:
                connection.execute(text("SELECT txid_current()"))  # fails if it is read-only; its commit is written
                return
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()  # not used by anyone
            connection.exec_driver_sql(f"PRAGMA user_version = {(version + 1) % 2}")
        _check_room(self._file.path.parent)


def _check_room(folder: Path) -> None:
    """Refuse a disk that is nearly full: so small a write as that above may still go where another has been."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, _ROOM)
    except OSError as error:
        raise DatabaseUnavailableError(f"there is no room for it: {error.strerror}") from error
