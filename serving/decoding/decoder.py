"""One decode worker as the server sees it: started when needed, stopped when it takes too long."""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from f2at.images.preparation import Preparation
from f2at.serving.decoding import frames
from f2at.serving.decoding.refusals import fatal, refusal, too_much_memory, too_slow
from f2at.serving.process import family
from f2at.serving.process.metrics import DECODERS_LOST
from f2at.serving.settings import Settings

_LOG = logging.getLogger("bentoml.f2at")
# Beyond the deadline, which the worker keeps by itself: to start on a machine that is busy.
_SPARE = 10.0
_BUFFER = 1 << 20  # bytes
# Of the server's environment, which has secrets. One thread, since every decode has a process.
_INHERITED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    family.VARIABLE,
)
_OWN = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    # For glibc: arrays are given back at once; but not files of the usual sizes, since pages cost more than copies.
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(4 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 20),
}


class Decoder:
    """A process that decodes one request at a time; for one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self.proven = False  # whether the process has answered a request
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    def start(self) -> None:
        """Start the process, without waiting until it is ready."""
        self.stop()
        self.proven = False
        self._connection, other = socket.socketpair()
        # As far as the kernel lets it: the fewer pieces a file is sent in, the less often both processes wait.
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._connection.settimeout(self._settings.decode_seconds + _SPARE)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "f2at.serving.decoding.worker", str(self._settings.decode_memory)],
                stdin=other.fileno(),
                stdout=subprocess.DEVNULL,
                env=environment(os.environ),
            )

    def stop(self) -> None:
        """End the process, whatever it does."""
        if self._process:
            self._process.kill()
            self._process.wait()
        if self._connection:
            self._connection.close()
        self._process = self._connection = None

    def decode(self, files: Sequence[bytes], preparation: Preparation) -> NDArray[np.uint8]:
        """The pixels of image files, uint8 (N, H, W, 3), prepared for the model.

        Raises:
            Problem: 415 an unsupported format, 413 too many pixels or too much memory, 422 unreadable, or not decoded
                within F2AT_DECODE_SECONDS.
        """
        if self._process is None or self._process.poll() is not None:
            self.start()
        assert self._process
        assert self._connection
        settings = self._settings
        request = {
            "size": preparation.size,
            **preparation.describe(),
            "max_pixels": settings.max_pixels,
            "max_total": settings.max_request_pixels,
            "seconds": settings.decode_seconds,
        }
        try:
            frames.send(self._connection, request, files)
            answer, blobs = frames.receive(self._connection)
        except (EOFError, OSError) as error:
            slow = isinstance(error, TimeoutError) or self._ended_by() == signal.SIGALRM
            DECODERS_LOST.labels("deadline" if slow else "crash").inc()
            _LOG.warning("A decode worker %s; starting another.", "was over its deadline" if slow else "crashed")
            self.start()
            raise (too_slow(files, settings.decode_seconds) if slow else fatal(files)) from None
        self.proven = True
        if answer.get("error") == MemoryError.__name__:
            raise too_much_memory(files, settings.decode_memory)
        if "error" in answer:
            raise refusal(**answer)
        return np.frombuffer(blobs[0], np.uint8).reshape(answer["count"], *preparation.size, 3)

    def _ended_by(self) -> int | None:
        """The signal that ended the process, if one did."""
        assert self._process
        with suppress(subprocess.TimeoutExpired):
            return -self._process.wait(timeout=1)
        return None


def environment(server: Mapping[str, str]) -> dict[str, str]:
    """The environment of a decode worker, from that of the server."""
    return {name: server[name] for name in _INHERITED if name in server} | _OWN
