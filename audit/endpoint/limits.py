"""How many images an endpoint may be asked about, in all and per second; and how many it was."""

import threading
import time
from collections.abc import Callable

from f2at.audit.endpoint.address import EndpointError


class QueriesSpentError(EndpointError):
    """The next request would send more images than were allowed."""


class Limits:
    """Counts every image that is sent, repeated ones included. Threads may share it.

    Args:
        most: how many images may be sent; None: any number.
        rate: how many a second, on average; None: as fast as the endpoint answers.
        clock, sleep: the time, in seconds, and how it passes.

    Attributes:
        sent: images, so far.
        requests: in which they were sent.
    """

    def __init__(
        self,
        *,
        most: int | None = None,
        rate: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if most is not None and most < 1:
            raise ValueError(f"max_queries must be at least 1; got {most}")
        if rate is not None and not rate > 0:
            raise ValueError(f"rate must be > 0, in images per second; got {rate}")
        self.most, self.rate = most, rate
        self.sent = self.requests = 0
        self._clock, self._sleep = clock, sleep
        self._free = -float("inf")  # when the next image may leave
        self._lock = threading.Lock()

    @property
    def left(self) -> int | None:
        """How many images may still be sent; None: any number."""
        return None if self.most is None else max(0, self.most - self.sent)

    def count(self, images: int) -> None:
        """Images that an earlier run has sent."""
        with self._lock:
            self.sent += images

    def describe(self) -> dict[str, int | float | None]:
        """What a report says."""
        return {"sent": self.sent, "requests": self.requests, "most": self.most, "rate": self.rate}

    def take(self, images: int) -> None:
        """Count a request with so many images, and wait until it may leave.

        Raises:
            QueriesSpentError: it may not.
        """
        with self._lock:
            if self.most is not None and self.sent + images > self.most:
                raise QueriesSpentError(
                    f"the budget of {self.most} queries is spent: {self.sent} images were sent, repeated ones "
                    "included; what is done is kept, and the same command with more --max-queries goes on"
                )
            self.sent += images
            self.requests += 1
            now = self._clock()
            leaves = max(now, self._free)
            if self.rate is not None:
                self._free = leaves + images / self.rate
        if leaves > now:
            self._sleep(leaves - now)
