"""Runs the server's audit workers: one per model, however many processes the server has, and no orphans."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from f2at.serving.bento.environment import main_process, worker_environment
from f2at.serving.process.files import acquire_lock
from f2at.serving.settings import Settings

_LOG = logging.getLogger("bentoml.f2at")
_POLL = 0.5  # seconds between checks of the workers
_LONGEST_BACKOFF = 30.0
_PATIENCE = 5.0  # seconds that a worker gets to stop before it is killed


def worker_lock(state: Path, digest: str) -> Path:
    """The file whose lock is held by a model's only worker on this state folder."""
    return state / f"worker-{digest.removeprefix('sha256:')[:16]}.lock"


class Supervisor:
    """A thread that keeps one `f2at worker` per model running while this process runs.

    Every server process has one. The one that acquires a model's lock starts its worker, which inherits the lock; if
    that process exits, another takes over. The worker holds the reading end of a pipe from its supervisor: the pipe
    closes when the process exits, even after kill -9, and the worker then stops.

    Args:
        settings: of the server.
        models: returns the folders of the bundles that need a worker, each named by its digest.
    """

    def __init__(self, settings: Settings, models: Callable[[], Sequence[Path]]) -> None:
        self._settings = settings
        self._models = models
        self._main_process = main_process()
        self._workers: dict[Path, _Worker] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def begin_stop(self) -> None:
        """Tell the workers to requeue their audits and stop, without waiting for that."""
        self._stop.set()

    def stop(self) -> None:
        """Stop the workers and the thread."""
        self.begin_stop()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_POLL):
            if self._main_process is not None and os.getppid() != self._main_process:
                # It was killed; BentoML's server processes do not notice, and would keep the port.
                _LOG.warning("The server's main process is gone; stopping.")
                os.kill(os.getpid(), signal.SIGTERM)
                break
            if self._settings.worker:
                try:
                    self._update_workers()
                except OSError:  # out of memory, processes or disk; that may pass
                    _LOG.exception("Cannot supervise the audit workers; retrying")
        for worker in self._workers.values():
            worker.stop()

    def _update_workers(self) -> None:
        try:
            models = self._models()
        except SQLAlchemyError:  # the database cannot say which models have audits; keep the workers
            models = list(self._workers)
        for bundle in self._workers.keys() - set(models):
            _LOG.info("The audits of %s have ended; stopping its worker.", bundle.name)
            self._workers.pop(bundle).stop()
        for bundle in models:
            if bundle in self._workers:
                self._workers[bundle].restart_if_exited()
            elif (lock := acquire_lock(worker_lock(self._settings.state, bundle.name))) is not None:
                self._workers[bundle] = _Worker(bundle, lock, self._settings)


class _Worker:
    """One worker process, restarted whenever it exits."""

    def __init__(self, bundle: Path, lock: int, settings: Settings) -> None:
        threads = str(settings.audit_threads)  # for NumPy as well as ONNX Runtime
        self._environment = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        self._environment |= worker_environment()
        self._environment |= {**settings.paths(), "F2AT_BUNDLE": str(bundle)}
        self._lock = lock
        self._backoff = _POLL
        self._restart_at: float | None = None  # when to restart it
        self._start()

    def restart_if_exited(self) -> None:
        """Restart the process if it has exited, with increasing delays."""
        if self._process.poll() is None:
            return
        if self._restart_at is None:
            _LOG.warning("The audit worker exited with status %s; restarting it.", self._process.returncode)
            uptime = time.monotonic() - self._started
            self._backoff = _POLL if uptime > 60 else min(2 * self._backoff, _LONGEST_BACKOFF)
            self._restart_at = time.monotonic() + self._backoff
        if time.monotonic() >= self._restart_at:
            self._start()

    def stop(self) -> None:
        """Stop the process, which requeues the audits it was running."""
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._lock)

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "f2at", "worker", "--lock", str(self._lock)],
            stdin=subprocess.PIPE,
            pass_fds=[self._lock],
            env=self._environment,
        )
        self._started = time.monotonic()
        self._restart_at = None
