"""What signals mean: SIGTERM and SIGINT end the server within seconds, SIGHUP makes it read its bundle again.

Gets round what uvicorn and circus, with which BentoML runs its processes, do at these signals; each function says what.
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
    """Call `callback` as soon as this process is asked to end, before the server's own handling of it.

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
    """End this process after `seconds` if it is still there then.

    Uvicorn waits until every client has finished its request, which one may never do.
    """

    def end() -> None:
        _LOG.warning("Requests were still open %g s after the server was told to stop; dropping them.", seconds)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def call_on_hangup(callback: Callable[[], None]) -> None:
    """Call `callback` in a thread of its own at every SIGHUP to this process, where BentoML has no hook for it."""
    signal.signal(signal.SIGHUP, lambda *_: threading.Thread(target=callback, name="hangup", daemon=True).start())


def pass_hangup_on() -> None:
    """Let BentoML's main process pass SIGHUP on to its server processes.

    Circus, which BentoML runs them with, would start new processes and end the old ones before it knows whether the
    new ones can serve. Its option to pass the signal on instead is out of BentoML's reach.
    """

    def reload(handler: SysHandler) -> None:
        for watcher in handler.controller.arbiter.iter_watchers():
            watcher.send_hup = True
        handler.reload()

    SysHandler.handle_hup = reload
