"""When to send again what was not taken."""

# Seconds after each try that failed: 11 tries in about two days, as Standard Webhooks advises.
PAUSES = (2, 10, 60, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000)
_SPREAD = 0.2  # so that what failed together does not come back together
_LONGEST = 86_400.0  # seconds; a longer Retry-After is cut to this


def pause_after(tries: int, asked: float | None, chance: float) -> float | None:
    """Seconds until the next try; None: that was the last.

    Args:
        tries: how many have failed, at least 1.
        asked: the seconds that the receiver asked for; None: it did not.
        chance: from 0 to 1, drawn at random.
    """
    if tries > len(PAUSES):
        return None
    pause = PAUSES[tries - 1] * (1 + _SPREAD * (2 * chance - 1))
    return pause if asked is None else max(pause, min(asked, _LONGEST))
