"""Start a server in its own process, wait until it is ready, and stop it.

with running_server("bundles/digits") as server, Client(server.url) as client:
    print(client.predict(Path("digit.png")).label)

This needs only httpx; the server's own dependencies are imported in its process alone.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import httpx

from f2at.serving.process.family import Family

_TAIL_LINES, _TAIL_BYTES = 20, 1 << 14  # of the log, included in errors


class LaunchError(RuntimeError):
    """A server exited or was not ready in time; the message includes the end of its log."""


@dataclass(frozen=True)
class RunningServer:
    """A server that is ready; use it as a context manager, or `stop` it.

    It ends with all the processes that it started, at the latest when the process that launched it does, however that
    ends.

    Attributes:
        url: its address, without a trailing slash.
        family: its processes.
        seconds: until it was ready.
    """

    url: str
    family: Family
    seconds: float

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """Its main process."""
        return self.family.process

    def stop(self, number: int = signal.SIGTERM, *, patience: float = 60) -> bool:
        """Stop the server with a signal to its main process.

        What has not exited after `patience` seconds is killed, and so is what is left for long after the main process.

        Returns:
            Whether the signal was enough.
        """
        return self.family.stop(number, patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def running_server(
    bundle: str | Path,
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
    patience: float = 120,
) -> RunningServer:
    """`f2at serve` of a bundle, on a free port of this machine.

    Args:
        bundle: its folder.
        environment: settings (F2AT_...) and other variables, in addition to those of this process.
        cwd: the folder to start it in, which gets its state (.f2at) unless F2AT_STATE is set; None: the current one.
        log: see `launch`.
        patience: see `launch`.

    Raises:
        LaunchError: see `launch`; for example, the bundle cannot be served.
    """
    command = [sys.executable, "-m", "f2at", "serve", str(Path(bundle).absolute()), "--port", "{port}"]
    return launch(command, environment={**os.environ, **(environment or {})}, cwd=cwd, log=log, patience=patience)


def is_ready(client: httpx.Client) -> bool:
    """Whether /readyz answers that the server is ready."""
    try:
        return client.get("/readyz").is_success
    except httpx.TransportError:
        return False


def launch(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
    port: int | None = None,
    ready: Callable[[httpx.Client], bool] | None = is_ready,
    patience: float = 120,
) -> RunningServer:
    """Start any HTTP server and wait until it is ready.

    Args:
        command: its program and arguments; {port} in them is the port on 127.0.0.1 that it must listen on.
        environment: all of its variables; None: those of this process.
        cwd: the folder to start it in; None: the current one.
        log: the file that its output is appended to; None: a temporary one.
        port: to listen on; None: a free port.
        ready: polled with a client of the server until it returns true; None: do not wait.
        patience: seconds to wait.

    Raises:
        LaunchError: the server exited before it was ready, or was not ready after `patience` seconds and was stopped.
        OSError: the command or the log cannot be opened.
    """
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    words = [word.replace("{port}", str(port)) for word in command]
    with tempfile.TemporaryFile() if log is None else log.open("a+b") as output:
        logged_before = os.fstat(output.fileno()).st_size
        begun = time.monotonic()
        family = Family(words, environment=environment, cwd=cwd, output=output)
        try:
            if ready is not None:
                _wait(family.process, ready, url, begun + patience)
        except LaunchError as error:
            RunningServer(url, family, 0).stop()
            raise LaunchError(f"{error}: {' '.join(words)}\n{_tail(output, logged_before)}") from None
        except BaseException:
            RunningServer(url, family, 0).stop()
            raise
        return RunningServer(url, family, time.monotonic() - begun)


def free_port() -> int:
    """A port of this machine that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait(process: subprocess.Popen[bytes], ready: Callable[[httpx.Client], bool], url: str, deadline: float) -> None:
    with httpx.Client(base_url=url) as client:
        while not ready(client):
            if process.poll() is not None:
                raise LaunchError(f"the server exited with status {process.returncode} before it was ready")
            if time.monotonic() > deadline:
                raise LaunchError("the server was not ready in time")
            time.sleep(0.05)


def _tail(output: IO[bytes], begin: int) -> str:
    """The last lines written from offset `begin` on; the server's position in the file does not move."""
    end = os.fstat(output.fileno()).st_size
    begin = max(begin, end - _TAIL_BYTES)
    text = os.pread(output.fileno(), end - begin, begin).decode(errors="replace")
    return "\n".join(text.splitlines()[-_TAIL_LINES:])
