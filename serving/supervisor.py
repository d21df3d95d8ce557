"""One audit worker beside the server, however many processes the server has, and none left behind."""

import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import bentoml

from serving.settings import Settings

_LOG = logging.getLogger("bentoml.f2at")


def acquire_lock(path: Path) -> int | None:
    """Take the worker's lock; return its file descriptor, or None while another process holds it.

    The kernel releases the lock when the last process that holds the descriptor ends, however it ends.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


class Supervisor:
    """A thread that keeps one `python -m serving worker` alive while this process lives.

    Every server process runs one; whoever gets the lock starts the worker and hands the lock on to it, and another
    takes over if that process dies. The worker holds the reading end of a pipe from its supervisor: the pipe closes
    with the process, even after kill -9, and the worker leaves.
    """

    _INTERVAL = 0.5  # seconds
    _LONGEST_BACKOFF = 30.0

    def __init__(self, settings: Settings, bundle: Path) -> None:
        self._lock_path = settings.state / "worker.lock"
        threads = str(settings.audit_threads)  # of NumPy, too
        self._environment = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads} | os.environ
        self._environment |= {**settings.paths(), "F2AT_BUNDLE": str(bundle)}
        # Set in the processes that BentoML's arbiter starts: there, and only there, the parent is the arbiter.
        self._arbiter = None if bentoml.server_context.worker_index is None else os.getppid()
        self._lock: int | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._backoff = self._INTERVAL
        self._started = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the worker and the thread; an audit under way resumes when a worker starts again."""
        self._stop.set()
        self._thread.join()
        if self._worker is not None:
            self._worker.kill()  # audits are durable: there is nothing to tidy up
            self._worker.wait()
        if self._lock is not None:
            os.close(self._lock)

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._arbiter is not None and os.getppid() != self._arbiter:
                # BentoML's arbiter was killed: its server processes would go on holding the port.
                _LOG.warning("The server's main process is gone; stopping.")
                os.kill(os.getpid(), signal.SIGTERM)
                return
            self._look_after_worker()
            self._stop.wait(self._INTERVAL)

    def _look_after_worker(self) -> None:
        if self._lock is None:
            self._lock = acquire_lock(self._lock_path)
            if self._lock is None:
                return
        if self._worker is not None:
            if self._worker.poll() is None:
                return
            _LOG.warning("The audit worker ended with status %s; restarting it.", self._worker.returncode)
            lived = time.monotonic() - self._started
            self._backoff = self._INTERVAL if lived > 60 else min(2 * self._backoff, self._LONGEST_BACKOFF)
            if self._stop.wait(self._backoff):
                return
        self._worker = subprocess.Popen(
            [sys.executable, "-m", "serving", "worker", "--lock", str(self._lock)],
            stdin=subprocess.PIPE,
            pass_fds=[self._lock],
            env=self._environment,
            cwd=Path(__file__).parent.parent,  # where the packages are, from source and in a Bento alike
        )
        self._started = time.monotonic()


def call_on_exit_signal(callback: Callable[[], None]) -> None:
    """Call `callback` as soon as this process is asked to end, before the server's own handling of it.

    Servers close idle connections first and tell the application last, which is too late for an endless response.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        previous = signal.getsignal(number)

        def handle(signum: int, frame: FrameType | None, previous: object = previous) -> None:
            callback()
            if callable(previous):
                previous(signum, frame)

        signal.signal(number, handle)
