"""Signals: SIGTERM and SIGINT stop the server within seconds, SIGHUP reloads its bundle.

Works around how uvicorn and circus, which BentoML runs its processes with, handle these signals; each function says
how.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from circus.sighandler import SysHandler  # type: ignore[import-untyped]

_LOG = logging.getLogger("bentoml.f2at")


def call_on_exit_signal(callback: Callable[[], None]) -> None:
    """Call `callback` as soon as this process is told to stop, before the server's own handler.

    Uvicorn closes idle connections first and tells the application last, which is too late for an endless response.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        previous = signal.getsignal(number)

        def handle(signum: int, frame: FrameType | None, previous: object = previous) -> None:
            callback()
            if callable(previous):
                previous(signum, frame)

        signal.signal(number, handle)


def exit_within(seconds: float) -> None:
    """Exit after `seconds` if the process is still running then.

    Uvicorn waits until every client has finished its request, which may be never.
    """

    def end() -> None:
        _LOG.warning("Requests were still open %g s after the server was told to stop; dropping them.", seconds)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def call_on_hangup(callback: Callable[[], None]) -> None:
    """Call `callback` in its own thread at every SIGHUP to this process; BentoML has no hook for that."""
    signal.signal(signal.SIGHUP, lambda *_: threading.Thread(target=callback, name="hangup", daemon=True).start())


def forward_hangup() -> None:
    """Make BentoML's main process forward SIGHUP to its server processes.

    Circus, which BentoML runs them with, would start new processes and stop the old ones before it knows whether the
    new ones can serve. It has an option to forward the signal instead, but BentoML does not expose it.
    """

    def reload(handler: SysHandler) -> None:
        for watcher in handler.controller.arbiter.iter_watchers():
            watcher.send_hup = True
        handler.reload()

    SysHandler.handle_hup = reload
