"""How often each client may ask: a token bucket a client, kept as one number each."""

_MOST_CLIENTS = 10_000  # remembered; the one that was seen longest ago is forgotten first


class RateLimit:
    """At most `burst` requests of a client at once, and `rate` a second in the long run.

    The number kept of a client is when its bucket will be full again (the generic cell rate algorithm, ITU-T I.371).
    Not for several threads.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._interval = 1 / rate
        self._room = burst / rate
        self._full: dict[str, float] = {}  # in the order in which the clients were seen last

    def delay(self, client: str, now: float) -> float:
        """Count a request of `client` and return 0, or the seconds until one will be admitted; `now` in seconds."""
        full = max(self._full.pop(client, now), now)
        early = full + self._interval - self._room - now
        if early <= 1e-9 * self._interval + 1e-9:  # rounding shall not refuse what is due
            full, early = full + self._interval, 0.0
        self._full[client] = full
        if len(self._full) > _MOST_CLIENTS:
            del self._full[next(iter(self._full))]
        return early
