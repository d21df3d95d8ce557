"""The audit workers beside the server: one a model, however many processes the server has, and none left behind."""

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
_LOOK = 0.5  # seconds between looks at the workers
_LONGEST_BACKOFF = 30.0
_PATIENCE = 5.0  # seconds in which a worker must leave when it is told to


def worker_lock(state: Path, digest: str) -> Path:
    """The file whose lock the one worker of a model has that works on this state folder."""
    return state / f"worker-{digest.removeprefix('sha256:')[:16]}.lock"


class Supervisor:
    """A thread that keeps one `f2at worker` a model alive while this process lives.

    Every server process runs one; whoever gets a model's lock starts its worker and hands the lock on to it, and
    another takes over if that process dies. The worker holds the reading end of a pipe from its supervisor: the pipe
    closes with the process, even after kill -9, and the worker leaves.

    Args:
        settings: the server's.
        models: gives the folders of the bundles that need a worker, each named by its digest.
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
        """Begin to stop, without waiting: the workers put their audits back into the queue."""
        self._stop.set()

    def stop(self) -> None:
        """Stop the workers and the thread."""
        self.begin_stop()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK):
            if self._main_process is not None and os.getppid() != self._main_process:
                # It was killed, and BentoML's server processes, which do not notice, would keep the port.
                _LOG.warning("The server's main process is gone; stopping.")
                os.kill(os.getpid(), signal.SIGTERM)
                break
            if self._settings.worker:
                try:
                    self._look_after_workers()
                except OSError:  # no memory, no processes, no disk: there may be some soon
                    _LOG.exception("Cannot look after the audit workers")
        for worker in self._workers.values():
            worker.stop()

    def _look_after_workers(self) -> None:
        try:
            models = self._models()
        except SQLAlchemyError:  # which models have audits is not known just now
            models = list(self._workers)
        for bundle in self._workers.keys() - set(models):
            _LOG.info("The audits of %s have ended; its worker stops.", bundle.name)
            self._workers.pop(bundle).stop()
        for bundle in models:
            if bundle in self._workers:
                self._workers[bundle].look()
            elif (lock := acquire_lock(worker_lock(self._settings.state, bundle.name))) is not None:
                self._workers[bundle] = _Worker(bundle, lock, self._settings)


class _Worker:
    """One worker process, started again whenever it ends."""

    def __init__(self, bundle: Path, lock: int, settings: Settings) -> None:
        threads = str(settings.audit_threads)  # of NumPy, too
        self._environment = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        self._environment |= worker_environment()
        self._environment |= {**settings.paths(), "F2AT_BUNDLE": str(bundle)}
        self._lock = lock
        self._backoff = _LOOK
        self._again: float | None = None  # when to start it again
        self._start()

    def look(self) -> None:
        """Start it again if it ended, but not too often."""
        if self._process.poll() is None:
            return
        if self._again is None:
            _LOG.warning("The audit worker ended with status %s; restarting it.", self._process.returncode)
            lived = time.monotonic() - self._started
            self._backoff = _LOOK if lived > 60 else min(2 * self._backoff, _LONGEST_BACKOFF)
            self._again = time.monotonic() + self._backoff
        if time.monotonic() >= self._again:
            self._start()

    def stop(self) -> None:
        """End the process; it puts the audits that it was running back into the queue."""
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
        self._again = None
