"""A process that runs workflows of the job engine until it is told to stop, and then gives back what it was running."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Never
from uuid import uuid4

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer
from dbos import error as dbos_error

from f2at.serving.jobs.database import prepare_database, worker_engine
from f2at.serving.jobs.takeover import requeue, watch_workers
from f2at.serving.process import logs
from f2at.serving.settings import Settings

_REQUEUE_SECONDS = 4.0  # seconds to requeue workflows in; a supervisor waits a little longer


def run_executor(
    settings: Settings,
    *,
    application: str,
    version: str,
    register: Callable[[], None],
    queues: Mapping[str, Mapping[str, Any]],
    background: Sequence[Callable[[], None]],
    log: logging.Logger,
    ready: str,
    supervised: bool,
) -> Never:
    """Run workflows until SIGTERM or SIGINT, or, if supervised, until standard input closes.

    What is running is then requeued, and another process resumes it after the last finished step.

    Args:
        settings: where the database is.
        application: whose workflows; the job engine keeps those of several apart.
        version: of the application; workflows of other versions are left alone.
        register: registers the workflows.
        queues: the options of `DBOS.register_queue`, by the name of the queue.
        background: each called in a thread of its own; they need not return.
        log: gets the line that says it is ready.
        ready: that line.
        supervised: whether a server started this process and holds the other end of standard input.
    """
    if supervised:
        threading.Thread(target=_stop_with_supervisor, daemon=True).start()
    _on_exit_signal(lambda *_: os._exit(0))  # there is nothing to requeue yet

    prepare_database(settings.database_url)
    config: DBOSConfig = {
        "name": application,
        "system_database_url": settings.database_url,
        "system_database_engine": worker_engine(settings.database_url),
        "serializer": DBOSPortableJSONSerializer(),
        "application_version": version,
        # DBOS returns its unfinished workflows to a restarted executor, so the name must outlive the process and be
        # unique: it is stored in the state folder, on which only one process per application and version may run.
        "executor_id": _identity(settings.state / "executor-id"),
        "log_level": "WARNING",
        "run_migrations": False,
    }
    dbos = DBOS(config=config)
    logging.getLogger("dbos").addFilter(_is_unexpected)
    register()
    DBOS.launch()
    for queue, options in queues.items():
        DBOS.register_queue(queue, **options, on_conflict="always_update")
    for target in (lambda: watch_workers(settings.takeover), *background):
        threading.Thread(target=target, daemon=True).start()
    logging.basicConfig(stream=sys.stdout)
    log.setLevel(logging.INFO)
    logs.configure(settings.log_format)
    log.info(ready)
    signals: SimpleQueue[int] = SimpleQueue()  # safe to put into from a signal handler
    _on_exit_signal(lambda number, _: signals.put(number))
    told = None
    while told is None:  # waited for in pieces: a signal that comes just before a wait begins is seen only at its end
        with suppress(Empty):
            told = signals.get(timeout=1)
    threading.Timer(_REQUEUE_SECONDS, os._exit, [0]).start()  # even if the database hangs
    requeue(dbos)
    os._exit(0)  # finished steps are in the database; unfinished ones are dropped


def _on_exit_signal(handler: Callable[[int, FrameType | None], Any]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _is_unexpected(record: logging.LogRecord) -> bool:
    """False for DBOS's traceback of a cancelled workflow: it was cancelled on request."""
    return not (record.exc_info and isinstance(record.exc_info[1], dbos_error.DBOSAwaitedWorkflowCancelledError))


def _identity(path: Path) -> str:
    if not path.exists():
        draft = path.with_suffix(f".{os.getpid()}")  # linked when complete, in case the disk is full
        draft.write_text(str(uuid4()))
        with suppress(FileExistsError):  # several processes may start at once; they share the name
            os.link(draft, path)
        draft.unlink()
    return path.read_text()


def _stop_with_supervisor() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
