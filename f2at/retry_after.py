"""The header Retry-After: how long a server that is busy asks to be left alone."""

import time
from email.utils import parsedate_to_datetime


def retry_after(text: str) -> float | None:
    """Seconds from now on, of a number or a date; None of anything else."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except ValueError:
        return None
