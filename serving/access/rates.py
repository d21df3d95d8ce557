"""Rate limits: a token bucket per client, stored as one number each."""

_MOST_CLIENTS = 10_000  # remembered; the least recently seen is forgotten first


class RateLimit:
    """At most `burst` requests at once from each client, and `rate` per second in the long run.

    The number stored for a client is when its bucket will be full again (the generic cell rate algorithm, ITU-T I.371).
    Not thread-safe.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._interval = 1 / rate
        self._room = burst / rate
        self._full: dict[str, float] = {}  # least recently seen client first

    def delay(self, client: str, now: float) -> float:
        """Count a request of `client` and return 0, or return the seconds until one is admitted; `now` in seconds."""
        full = max(self._full.pop(client, now), now)
        early = full + self._interval - self._room - now
        if early <= 1e-9 * self._interval + 1e-9:  # rounding must not refuse a request that is due
            full, early = full + self._interval, 0.0
        self._full[client] = full
        if len(self._full) > _MOST_CLIENTS:
            del self._full[next(iter(self._full))]
        return early
