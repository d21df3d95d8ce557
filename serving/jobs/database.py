"""The database that stores audits, SQLite or PostgreSQL: its tables, and what happens while it is unavailable.

A server gives up after a few seconds and answers with an error; a worker waits as long as it takes.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Never

from dbos import DBOS
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

PATIENCE = 5.0  # seconds that a request waits for the database
_LONG = 30.0  # seconds that a worker waits before it logs that and keeps waiting
_POOL = 10  # connections per server process


class DatabaseError(ValueError):
    """The database cannot be used at all; the message says why, in one line."""


class DatabaseUnavailableError(SQLAlchemyError):
    """The database is locked, full or unreachable at the moment; the message is the database's own."""


# What a server may get; the second, when all its connections are in use.
UNAVAILABLE = (DatabaseUnavailableError, PoolTimeoutError)


def prepare_database(url: str) -> None:
    """Create the tables, or migrate those of an older version.

    Raises:
        DatabaseError: it cannot be reached, or is not a database.
    """
    try:
        if path := sqlite_path(url):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with closing(sqlite3.connect(path, timeout=_LONG)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")  # readers then never wait for the worker's writes
        DBOS.migrate(url)
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:
        # Not the URL itself, which may contain a password.
        raise DatabaseError(
            f"the database of F2AT_DATABASE_URL cannot be used: {str(error).splitlines()[0]}"
        ) from error


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite database; None for PostgreSQL."""
    path = make_url(url).database if url.startswith("sqlite") else None
    return Path(path) if path else None


class SqliteFile:
    """The file of a database, to notice that it was deleted or replaced.

    Connections would go on with the old one, and everything written to it be gone after the next restart. Their open
    files keep the number of its inode from being used again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._first = self._now()

    @property
    def lost(self) -> str | None:
        """What happened to it; None if nothing did."""
        now = self._now()
        if self._first is None:  # the first connection creates it
            self._first = now
        if now == self._first:
            return None
        happened, remedy = ("deleted", "put it back or restart") if now is None else ("replaced by another", "restart")
        return f"its file {self.path.name} was {happened} while the server was running; {remedy} the server"

    def _now(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


def server_engine(url: str, *, connections: int = _POOL) -> Engine:
    """Connections for a server: an operation that waits longer than PATIENCE raises DatabaseUnavailableError."""
    if url.startswith("sqlite"):
        engine = _sqlite(url, patience=PATIENCE, connections=connections)
    else:
        milliseconds = round(PATIENCE * 1000)
        engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg"),
            connect_args={
                "application_name": "f2at",
                "connect_timeout": round(PATIENCE),
                "options": f"-c lock_timeout={milliseconds} -c idle_in_transaction_session_timeout={12 * milliseconds}",
            },
            **_pool(PATIENCE, connections),
        )

    if path := sqlite_path(url):

        def refuse(reason: str) -> Never:
            raise DatabaseUnavailableError(reason)

        _watch(engine, path, refuse)

    # The job engine would retry for ever while the request waits.
    @event.listens_for(engine, "handle_error")
    def give_up(context: ExceptionContext) -> None:
        error = context.original_exception
        if isinstance(context.sqlalchemy_exception, OperationalError) and not context.is_pre_ping:
            reason = (str(error).splitlines() or ["no reason given"])[0]
            raise DatabaseUnavailableError(reason.replace("is locked", "is busy")) from error

    return engine


def worker_engine(url: str) -> Engine | None:
    """Connections for a worker; None for PostgreSQL, where the job engine's own already wait out every failure."""
    if not url.startswith("sqlite"):
        return None
    engine = _sqlite(url, patience=_LONG)

    def wait_for_restart(reason: str) -> Never:
        raise OperationalError(None, None, _waiting(reason))

    path = sqlite_path(url)
    assert path is not None
    _watch(engine, path, wait_for_restart)

    # The job engine retries while SQLite is locked, but a full disk would fail the audit. It tests the error's text:
    @event.listens_for(engine, "handle_error")
    def wait_for_space(context: ExceptionContext) -> None:
        error = context.original_exception
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise OperationalError(context.statement, None, _waiting(error)) from error

    return engine


def _waiting(reason: object) -> sqlite3.OperationalError:
    return sqlite3.OperationalError(f"{reason} (waiting as if: database is locked)")


def _watch(engine: Engine, path: Path, refuse: Callable[[str], Never]) -> None:
    """Call `refuse` whenever the engine is used after its file was deleted or replaced, also for a new connection."""
    file = SqliteFile(path)

    @event.listens_for(engine, "do_connect")
    @event.listens_for(engine, "checkout")
    def check(*_: object) -> None:
        if reason := file.lost:
            refuse(reason)


def _sqlite(url: str, *, patience: float, connections: int = _POOL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": patience}, **_pool(patience, connections))

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = "IMMEDIATE"  # a transaction that writes takes the lock as it begins
        connection.execute("PRAGMA foreign_keys=ON")

    return engine


def _pool(patience: float, connections: int = _POOL) -> dict[str, Any]:
    return {"pool_size": connections, "max_overflow": 0, "pool_timeout": patience, "pool_pre_ping": True}
