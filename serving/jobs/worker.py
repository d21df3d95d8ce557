"""The process that runs audits; the workflows themselves are in `f2at.serving.jobs.workflows`."""

import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any
from uuid import uuid4

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer
from dbos import error as dbos_error

from f2at.audit import Audit, AuditRequest
from f2at.audit.opening.bundle import open_model
from f2at.audit.opening.model import Model
from f2at.bundle.format import Bundle
from f2at.serving.jobs.audits import APPLICATION, QUEUE
from f2at.serving.jobs.database import prepare_database, worker_engine
from f2at.serving.jobs.retention import keep_purging
from f2at.serving.jobs.takeover import requeue, watch_workers
from f2at.serving.jobs.version import application_version
from f2at.serving.jobs.workflows import SHARDS, OpenAudit, register
from f2at.serving.process import logs
from f2at.serving.settings import Settings

_LOG = logging.getLogger("f2at.worker")
_REQUEUE_SECONDS = 4.0  # seconds to requeue audits in; a supervisor waits a little longer
_POLL = {QUEUE: 0.5, SHARDS: 0.2}  # seconds between polls of a queue; a shard waits half of it on average


def run_worker(bundle: Bundle, surrogate: Bundle | None, settings: Settings, *, supervised: bool) -> None:
    """Run audits of `bundle` until SIGTERM or SIGINT, or, if supervised, until standard input closes.

    A running audit is then requeued, and another worker resumes it after the last finished step.

    Args:
        bundle: the model; audits of other models are left alone.
        surrogate: the model whose gradients transfer attacks follow.
        settings: where the database is, and how many threads to use.
        supervised: whether a server started this process and holds the other end of standard input.
    """
    os.nice(19)  # predictions take precedence
    # A step that needs more fails with its audit, instead of exhausting the machine. Not RLIMIT_AS: runtimes reserve
    # far more address space than they use.
    if settings.audit_memory:
        resource.setrlimit(resource.RLIMIT_DATA, (settings.audit_memory << 20,) * 2)
    if supervised:
        threading.Thread(target=_stop_with_supervisor, daemon=True).start()
    _on_exit_signal(lambda *_: os._exit(0))  # there is nothing to requeue yet

    prepare_database(settings.database_url)
    config: DBOSConfig = {
        "name": APPLICATION,
        "system_database_url": settings.database_url,
        "system_database_engine": worker_engine(settings.database_url),
        "serializer": DBOSPortableJSONSerializer(),
        "application_version": application_version(bundle.digest, surrogate.digest if surrogate else None),
        # DBOS returns its unfinished workflows to a restarted executor, so the name must outlive the process and be
        # unique: it is stored in the state folder, on which only one worker per model may run.
        "executor_id": _identity(settings.state / "executor-id"),
        "log_level": "WARNING",
        "run_migrations": False,
    }
    dbos = DBOS(config=config)
    logging.getLogger("dbos").addFilter(_is_unexpected)
    register(_open_audit(bundle, surrogate, settings), max_seconds=settings.max_audit_seconds)
    DBOS.launch()
    for queue, seconds in _POLL.items():
        DBOS.register_queue(queue, worker_concurrency=1, polling_interval_sec=seconds, on_conflict="always_update")
    threading.Thread(target=watch_workers, args=[settings.takeover], daemon=True).start()
    if settings.keep_days:
        threading.Thread(target=keep_purging, args=[settings.keep_days], daemon=True).start()
    logging.basicConfig(stream=sys.stdout)
    _LOG.setLevel(logging.INFO)
    logs.configure(settings.log_format)
    _LOG.info("The audit worker is ready: %s.", bundle.digest)
    signals: SimpleQueue[int] = SimpleQueue()  # safe to put into from a signal handler
    _on_exit_signal(lambda number, _: signals.put(number))
    signals.get()
    threading.Timer(_REQUEUE_SECONDS, os._exit, [0]).start()  # even if the database hangs
    requeue(dbos)
    os._exit(0)  # finished steps are in the database; unfinished ones are dropped


def _on_exit_signal(handler: Callable[[int, FrameType | None], Any]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _open_audit(bundle: Bundle, surrogate: Bundle | None, settings: Settings) -> OpenAudit:
    model = open_model(bundle, threads=settings.audit_threads)

    @cache  # loaded on first use: few audits need it
    def load_second() -> Model | None:
        return open_model(surrogate, threads=settings.audit_threads) if surrogate else None

    def open_audit(values: dict[str, Any], digest: str) -> Audit:
        if digest != bundle.digest:
            raise ValueError(f"this audit is of model {digest}, but this worker has {bundle.digest}")
        request = AuditRequest(**values)
        surrogate_model = load_second() if request.chosen_suite.needs_surrogate else None
        return model.audit(None, request, surrogate=surrogate_model)

    return open_audit


def _is_unexpected(record: logging.LogRecord) -> bool:
    """False for DBOS's traceback of a cancelled workflow: it was cancelled on request."""
    return not (record.exc_info and isinstance(record.exc_info[1], dbos_error.DBOSAwaitedWorkflowCancelledError))


def _identity(path: Path) -> str:
    if not path.exists():
        draft = path.with_suffix(f".{os.getpid()}")  # linked when complete, in case the disk is full
        draft.write_text(str(uuid4()))
        with suppress(FileExistsError):  # workers of two models may start at once; they share the name
            os.link(draft, path)
        draft.unlink()
    return path.read_text()


def _stop_with_supervisor() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
