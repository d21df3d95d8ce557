"""Reads query parameters."""

import re

from f2at.images.bitplanes import BITS
from f2at.serving.problems import Problem

_WHOLE = re.compile("0|[1-9][0-9]{0,8}")


def read_integer(text: str, name: str, accepted: range, meaning: str = "") -> int:
    """The whole number in `text`, the query parameter `name`; `meaning` ends the message for a refused one.

    Raises:
        Problem: 422, it is not one of those accepted.
    """
    if not _WHOLE.fullmatch(text) or int(text) not in accepted:
        bounds = f"{accepted.start} to {accepted.stop - 1}"
        raise Problem(
            422,
            "invalid-argument",
            f"{name} must be a whole number from {bounds}{meaning}.",
            argument=name,
            accepted=bounds,
            received=text[:40],
        )
    return int(text)


def read_planes(text: str | None) -> int | None:
    """K, the number of bit-planes that the query asks for; None if it asks for none.

    Raises:
        Problem: 422, `text` is not a whole number from 1 to 8.
    """
    if text is None:
        return None
    meaning = ": how many upper bit-planes the natural pattern keeps"
    return read_integer(text, "planes", range(1, BITS + 1), meaning)
