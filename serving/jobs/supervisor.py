"""Runs what works beside the server: an audit worker per model, and what sends webhooks.

One of each, however many processes the server has, and no orphans.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from f2at.serving.bento.environment import main_process, worker_environment
from f2at.serving.process.files import acquire_lock
from f2at.serving.settings import Settings

_LOG = logging.getLogger("bentoml.f2at")
_POLL = 0.5  # seconds between checks of the processes
_LONGEST_BACKOFF = 30.0
_PATIENCE = 5.0  # seconds that a process gets to stop before it is killed


def worker_lock(state: Path, digest: str) -> Path:
    """The file whose lock is held by a model's only worker on this state folder."""
    return state / f"worker-{digest.removeprefix('sha256:')[:16]}.lock"


def webhooks_lock(state: Path) -> Path:
    """The file whose lock is held by the only process on this state folder that sends webhooks."""
    return state / "webhooks.lock"


class Task(NamedTuple):
    """What a process beside the server is for."""

    command: str  # of f2at
    lock: Path
    bundle: Path | None = None  # of the audits that it runs

    @property
    def name(self) -> str:
        """What logs call it."""
        return "audit worker" if self.bundle else "process that sends webhooks"


class Supervisor:
    """A thread that keeps one `f2at worker` per model running, and `f2at webhooks`, while this process runs.

    Every server process has one. The one that acquires a task's lock starts its process, which inherits the lock; if
    that server process exits, another takes over. What was started holds the reading end of a pipe from its supervisor:
    the pipe closes when the server process exits, even after kill -9, and it then stops.

    Args:
        settings: of the server.
        models: returns the folders of the bundles that need a worker, each named by its digest.
    """

    def __init__(self, settings: Settings, models: Callable[[], Sequence[Path]]) -> None:
        self._settings = settings
        self._models = models
        self._main_process = main_process()
        self._running: dict[Task, _Process] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def begin_stop(self) -> None:
        """Tell the processes to requeue their work and stop, without waiting for that."""
        self._stop.set()

    def stop(self) -> None:
        """Stop the processes and the thread."""
        self.begin_stop()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_POLL):
            if self._main_process is not None and os.getppid() != self._main_process:
                # It was killed; BentoML's server processes do not notice, and would keep the port.
                _LOG.warning("The server's main process is gone; stopping.")
                os.kill(os.getpid(), signal.SIGTERM)
                break
            try:
                self._update()
            except OSError:  # out of memory, processes or disk; that may pass
                _LOG.exception("Cannot supervise the processes beside the server; retrying")
        for process in self._running.values():
            process.stop()

    def _update(self) -> None:
        tasks = self._tasks()
        for task in self._running.keys() - set(tasks):
            assert task.bundle is not None
            _LOG.info("The audits of %s have ended; stopping its worker.", task.bundle.name)
            self._running.pop(task).stop()
        for task in tasks:
            if task in self._running:
                self._running[task].restart_if_exited()
            elif (lock := acquire_lock(task.lock)) is not None:
                self._running[task] = _Process(task, lock, self._settings)

    def _tasks(self) -> list[Task]:
        state = self._settings.state
        tasks = [Task("webhooks", webhooks_lock(state))] if self._settings.webhook_urls else []
        if self._settings.worker:
            try:
                tasks += [Task("worker", worker_lock(state, bundle.name), bundle) for bundle in self._models()]
            except SQLAlchemyError:  # the database cannot say which models have audits; keep the workers
                tasks += [task for task in self._running if task.bundle]
        return tasks


class _Process:
    """One process, restarted whenever it exits."""

    def __init__(self, task: Task, lock: int, settings: Settings) -> None:
        threads = str(settings.audit_threads)  # for NumPy as well as ONNX Runtime
        self._environment = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        self._environment |= worker_environment() | settings.paths()
        if task.bundle:
            self._environment["F2AT_BUNDLE"] = str(task.bundle)
        self._task = task
        self._lock = lock
        self._backoff = _POLL
        self._restart_at: float | None = None  # when to restart it
        self._start()

    def restart_if_exited(self) -> None:
        """Restart the process if it has exited, with increasing delays."""
        if self._process.poll() is None:
            return
        if self._restart_at is None:
            _LOG.warning("The %s exited with status %s; restarting it.", self._task.name, self._process.returncode)
            uptime = time.monotonic() - self._started
            self._backoff = _POLL if uptime > 60 else min(2 * self._backoff, _LONGEST_BACKOFF)
            self._restart_at = time.monotonic() + self._backoff
        if time.monotonic() >= self._restart_at:
            self._start()

    def stop(self) -> None:
        """Stop the process, which requeues the work it was doing."""
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._lock)

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "f2at", self._task.command, "--lock", str(self._lock)],
            stdin=subprocess.PIPE,
            pass_fds=[self._lock],
            env=self._environment,
        )
        self._started = time.monotonic()
        self._restart_at = None
